// Writes what Go's reflection and structured-merge-diff know of Kubernetes' built-in kinds: JSON names, types, what is
// left out when empty, merge keys, list kinds. Facts only; kinds.json beside the API server is its output.
//
//	go run . > ../../mizzen/runtime/apiserver/schema/kinds.json
package main

import (
	"encoding/json"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"

	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	apireg "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	smd "sigs.k8s.io/structured-merge-diff/v6/schema"
)

var served = strings.Fields(`v1 admissionregistration.k8s.io/v1 apiextensions.k8s.io/v1 apiregistration.k8s.io/v1 apps/v1
 authentication.k8s.io/v1 authorization.k8s.io/v1 autoscaling/v1 autoscaling/v2 batch/v1 certificates.k8s.io/v1
 coordination.k8s.io/v1 discovery.k8s.io/v1 events.k8s.io/v1 flowcontrol.apiserver.k8s.io/v1 networking.k8s.io/v1
 node.k8s.io/v1 policy/v1 rbac.authorization.k8s.io/v1 resource.k8s.io/v1 scheduling.k8s.io/v1 storage.k8s.io/v1
 storagemigration.k8s.io/v1`)

type field struct {
	Type    string   `json:"t"`
	Flags   string   `json:"f,omitempty"` // p pointer, o omitempty, z omitzero
	Merge   string   `json:"m,omitempty"` // patchStrategy:patchMergeKey
	List    string   `json:"l,omitempty"` // associative, atomic, set, separable (maps)
	Keys    []string `json:"k,omitempty"`
	Default any      `json:"d,omitempty"`
	Number  []int    `json:"n,omitempty"` // of the protobuf field; more than one where Go embeds a message
}
type structure struct {
	Atomic bool             `json:"atomic,omitempty"`
	Order  []string         `json:"order"`
	Fields map[string]field `json:"fields"`
}

var types = map[string]*structure{}
var schemas *smd.Schema

func name(t reflect.Type) string {
	parts := strings.Split(t.PkgPath(), "/")
	if len(parts) < 2 {
		return t.Name()
	}
	return strings.Join(parts[len(parts)-2:], "/") + "." + t.Name()
}

func flags(f reflect.StructField, tag []string) string {
	out := ""
	if f.Type.Kind() == reflect.Pointer {
		out += "p"
	}
	for _, word := range tag[1:] {
		if word == "omitempty" {
			out += "o"
		}
		if word == "omitzero" {
			out += "z"
		}
	}
	return out
}

func number(f reflect.StructField) int {
	parts := strings.Split(f.Tag.Get("protobuf"), ",")
	if len(parts) < 2 {
		return 0
	}
	found, _ := strconv.Atoi(parts[1])
	return found
}

func resolve(ref smd.TypeRef) smd.Atom {
	if schemas == nil {
		return smd.Atom{}
	}
	atom, ok := schemas.Resolve(ref)
	if !ok {
		return smd.Atom{}
	}
	return atom
}

func kind(t reflect.Type, atom smd.Atom) string {
	switch name(t) {
	case "meta/v1.Time":
		return "time"
	case "meta/v1.MicroTime":
		return "microtime"
	case "meta/v1.Duration":
		return "duration"
	case "api/resource.Quantity":
		return "quantity"
	case "util/intstr.IntOrString":
		return "intstr"
	case "pkg/runtime.RawExtension", "pkg/runtime.Object", "meta/v1.FieldsV1", "apiextensions/v1.JSON":
		return "any"
	case "apiextensions/v1.JSONSchemaPropsOrBool", "apiextensions/v1.JSONSchemaPropsOrArray", "apiextensions/v1.JSONSchemaPropsOrStringArray":
		return "any"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kind(t.Elem(), atom)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		elem := smd.Atom{}
		if atom.List != nil {
			elem = resolve(atom.List.ElementType)
		}
		return "[]" + kind(t.Elem(), elem)
	case reflect.Map:
		elem := smd.Atom{}
		if atom.Map != nil {
			elem = resolve(atom.Map.ElementType)
		}
		return "{}" + kind(t.Elem(), elem)
	case reflect.Struct:
		walk(t, atom)
		return "#" + name(t)
	case reflect.Interface:
		return "any"
	case reflect.Int, reflect.Int64:
		return "int64"
	}
	return t.Kind().String()
}

func walk(t reflect.Type, atom smd.Atom) {
	known := types[name(t)]
	if known != nil && (known.Atomic || atom.Map == nil || known.Fields == nil) {
		return
	}
	out := &structure{Fields: map[string]field{}}
	types[name(t)] = out
	if atom.Map != nil && atom.Map.ElementRelationship == smd.Atomic {
		out.Atomic = true
	}
	add(t, atom, out, nil)
}

func add(t reflect.Type, atom smd.Atom, out *structure, outer []int) {
	for i := 0; i < t.NumField(); i++ {
		f := t.Field(i)
		tag := strings.Split(f.Tag.Get("json"), ",")
		if tag[0] == "" && f.Anonymous || len(tag) > 1 && tag[1] == "inline" {
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			within := []int{-1} // TypeMeta travels outside of the message
			if n := number(f); n > 0 {
				within = append(append([]int{}, outer...), n)
			}
			add(inner, atom, out, within)
			continue
		}
		if tag[0] == "-" || tag[0] == "" {
			continue
		}
		one := field{Flags: flags(f, tag)}
		if n := number(f); n > 0 && (len(outer) == 0 || outer[0] > 0) {
			one.Number = append(append([]int{}, outer...), n)
		}
		sub := smd.Atom{}
		if atom.Map != nil {
			if entry, ok := atom.Map.FindField(tag[0]); ok {
				sub = resolve(entry.Type)
				if entry.Default != nil && reflect.TypeOf(entry.Default).Kind() != reflect.Map {
					one.Default = entry.Default
				}
				if sub.List != nil {
					one.List = string(sub.List.ElementRelationship)
					one.Keys = sub.List.Keys
				}
				if sub.Map != nil && sub.Map.ElementRelationship == smd.Atomic {
					one.List = "atomic"
				}
			}
		}
		if strategy := f.Tag.Get("patchStrategy"); strategy != "" {
			one.Merge = strategy + ":" + f.Tag.Get("patchMergeKey")
		}
		one.Type = kind(f.Type, sub)
		if _, there := out.Fields[tag[0]]; !there {
			out.Order = append(out.Order, tag[0])
		}
		out.Fields[tag[0]] = one
	}
}

func main() {
	all := runtime.NewScheme()
	_ = scheme.AddToScheme(all)
	_ = apiext.AddToScheme(all)
	_ = apireg.AddToScheme(all)
	converter := applyconfigurations.NewTypeConverter(scheme.Scheme)
	kinds := map[string]string{}
	order := map[string][]string{}
	for gvk := range all.AllKnownTypes() {
		gv := gvk.GroupVersion().String()
		order[gv] = append(order[gv], gvk.Kind)
	}
	for _, gv := range served {
		sort.Strings(order[gv])
		for _, one := range order[gv] {
			for gvk, t := range all.AllKnownTypes() {
				if gvk.GroupVersion().String() != gv || gvk.Kind != one || strings.HasSuffix(gvk.Kind, "List") ||
					strings.HasSuffix(gvk.Kind, "Options") && gvk.Kind != "DeleteOptions" || gvk.Kind == "WatchEvent" {
					continue
				}
				atom := smd.Atom{}
				object := reflect.New(t).Interface().(runtime.Object)
				object.GetObjectKind().SetGroupVersionKind(gvk)
				if _, _, err := scheme.Scheme.ObjectKinds(object); err == nil {
					if value, err := converter.ObjectToTyped(object); err == nil {
						schemas = value.Schema()
						atom = resolve(value.TypeRef())
					}
				}
				kinds[gv+" "+gvk.Kind] = name(t)
				walk(t, atom)
			}
		}
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(map[string]any{"kinds": kinds, "types": types}); err != nil {
		panic(err)
	}
}
