"""Schemas of kinds: the facts of Go types as OpenAPI, with lightkube's texts as descriptions.

Takes struct names as they are needed, gives the definitions that were referred to. Custom resources bring their own schema.
"""

from __future__ import annotations

import importlib
import inspect
import re
from functools import cache
from typing import Any

from ..resources import Resource
from ..schema.facts import Field, Struct, Type, struct

Object = dict[str, Any]
SCALARS: dict[str, Object] = {
    "string": {"type": "string"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "uint32": {"type": "integer", "format": "int64"},
    "float64": {"type": "number", "format": "double"},
    "bool": {"type": "boolean"},
    "bytes": {"type": "string", "format": "byte"},
    "duration": {"type": "string"},
    "any": {"type": "object"},
}
SPECIAL = {
    "time": "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
    "microtime": "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
    "quantity": "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "intstr": "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
}
SPECIAL_SCHEMAS: dict[str, Object] = {
    SPECIAL["time"]: {"type": "string", "format": "date-time"},
    SPECIAL["microtime"]: {"type": "string", "format": "date-time"},
    SPECIAL["quantity"]: {"type": "string"},
    SPECIAL["intstr"]: {"type": "string", "format": "int-or-string"},
}
_PACKAGES = {
    "meta/v1": ("io.k8s.apimachinery.pkg.apis.meta.v1", "meta_v1"),
    "apiextensions/v1": ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", "apiextensions_v1"),
    "apiregistration/v1": ("io.k8s.kube-aggregator.pkg.apis.apiregistration.v1", "apiregistration_v1"),
}


def definition_name(struct_name: str) -> str:
    package, _, name = struct_name.rpartition(".")
    if package in _PACKAGES:
        return f"{_PACKAGES[package][0]}.{name}"
    return f"io.k8s.api.{package.replace('/', '.')}.{name}"


@cache
def texts(struct_name: str) -> tuple[str, dict[str, str], frozenset[str]]:
    """The description of a struct and of its fields, and which fields are required, from lightkube's models."""
    package, _, name = struct_name.rpartition(".")
    module = _PACKAGES[package][1] if package in _PACKAGES else package.replace("/", "_")
    try:
        model = getattr(importlib.import_module(f"lightkube.models.{module}"), name)
    except (ImportError, AttributeError):
        return "", {}, frozenset()
    text = inspect.cleandoc(model.__doc__ or "")
    head, _, tail = text.partition("**parameters**")
    fields = {}
    for part in re.split(r"^\* \*\*", tail, flags=re.M)[1:]:
        found = re.match(r"(\S+?)\*\* ``.*?``(?: - (.*))?$", part, re.S)
        if found:
            fields[found[1].rstrip("_") if found[1] not in ("continue_",) else "continue"] = _unwrapped(found[2] or "")
    needed = frozenset(getattr(model, "__struct_encode_fields__", ())[: _required_count(model)])
    return _unwrapped(head), fields, needed


def _required_count(model: Any) -> int:
    fields = getattr(model, "__struct_fields__", ())
    return len(fields) - len(getattr(model, "__struct_defaults__", ()))


def _unwrapped(text: str) -> str:
    """Lines that were broken for width joined again; lines that are indented or begin a list stay lines."""
    out = ""
    for line in text.strip().split("\n"):
        plain = line.strip()
        if not plain:
            out += "\n\n" if out and not out.endswith("\n\n") else ""
        elif plain.startswith(("- ", "* ")):
            out += (
                ("" if out.endswith("\n") or not out else "\n") + f" {plain}"
                if plain.startswith("- `")
                else f"\n{plain}"
            )
        else:
            out += ("" if not out or out.endswith("\n") else " ") + plain
    return out


class Definitions:
    """Collects the definitions that a document refers to."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._v3 = "components" in prefix
        self._found: dict[str, Object] = {}
        self._gvks: dict[str, list[Object]] = {}

    def ref(self, struct_name: str) -> Object:
        name = definition_name(struct_name)
        if name not in self._found:
            self._found[name] = {}
            self._found[name] = self._struct(struct(struct_name))
        return {"$ref": self._prefix + name}

    def kind(self, resource: Resource) -> Object:
        """The definition of a resource's kind, told apart by its group, version and kind."""
        gvk = {"group": resource.group, "kind": resource.kind, "version": resource.version}
        if resource.custom is not None:
            name = f"{'.'.join(reversed(resource.group.split('.')))}.{resource.version}.{resource.kind}"
            self._found[name] = {**resource.custom.openapi(self), "x-kubernetes-group-version-kind": [gvk]}
            return {"$ref": self._prefix + name}
        assert resource.struct is not None
        out = self.ref(resource.struct.name)
        self._tag(out, gvk)
        return out

    def list_of(self, resource: Resource) -> Object:
        one = self.kind(resource)
        name = f"{one['$ref'].removeprefix(self._prefix)}List"
        if name not in self._found:
            self._found[name] = {
                "type": "object", "required": ["items"],
                "description": f"{resource.kind}List is a list of {resource.plural}.",
                "properties": {
                    "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": self.ref("meta/v1.ListMeta"),
                    "items": {"type": "array", "items": one},
                },
                "x-kubernetes-group-version-kind": [{"group": resource.group, "kind": f"{resource.kind}List", "version": resource.version}],
            }  # fmt: skip
        return {"$ref": self._prefix + name}

    def _tag(self, ref: Object, gvk: Object) -> None:
        schema = self._found[ref["$ref"].removeprefix(self._prefix)]
        known = schema.setdefault("x-kubernetes-group-version-kind", [])
        if gvk not in known:
            known.append(gvk)

    def common_texts(self) -> dict[str, str]:
        """What is said of apiVersion, kind and metadata, which every object has."""
        return texts("core/v1.ConfigMap")[1]

    def special(self, word: str) -> Object:
        name = SPECIAL[word]
        schema = dict(SPECIAL_SCHEMAS[name])
        if self._v3 and word in ("intstr", "quantity"):
            schema.pop("type")
            schema["oneOf"] = (
                [{"type": "integer"}, {"type": "string"}]
                if word == "intstr"
                else [{"type": "string"}, {"type": "number"}]
            )
        self._found.setdefault(name, schema)
        return {"$ref": self._prefix + name}

    def _struct(self, facts: Struct) -> Object:
        description, fields, needed = texts(facts.name)
        properties = {name: self._property(field, fields.get(name, "")) for name, field in sorted(facts.fields.items())}
        out: Object = {"type": "object", "properties": properties}
        if description:
            out["description"] = description
        required = sorted(name for name in facts.fields if name in needed)
        if required:
            out["required"] = required
        if facts.atomic:
            out["x-kubernetes-map-type"] = "atomic"
        return out

    def _property(self, field: Field, text: str) -> Object:
        schema = self._type(field.type)
        enum = re.findall(r'^ - `"(.*?)"`', text, re.M)
        if "$ref" in schema and self._v3:
            schema = {"allOf": [schema], "default": {}}
        out = {**({"description": text} if text else {}), **schema}
        if enum:
            out["enum"] = sorted(enum)
        if field.strategies:
            out["x-kubernetes-patch-strategy"] = ",".join(sorted(field.strategies))
            if field.merge_key:
                out["x-kubernetes-patch-merge-key"] = field.merge_key
        if field.type.name == "list" and field.relation:
            kind = "map" if field.keys else "set"
            out["x-kubernetes-list-type"] = "atomic" if field.relation == "atomic" else kind
            if field.keys:
                out["x-kubernetes-list-map-keys"] = list(field.keys)
        if field.type.name == "map" and field.relation == "atomic":
            out["x-kubernetes-map-type"] = "atomic"
        return out

    def _type(self, type_: Type) -> Object:
        if type_.name == "struct":
            return self.ref(type_.struct)
        if type_.name in SPECIAL:
            return self.special(type_.name)
        if type_.name == "list" and type_.of:
            items = self._type(type_.of)
            return {
                "type": "array",
                "items": {"allOf": [items], "default": {}} if self._v3 and "$ref" in items else items,
            }
        if type_.name == "map" and type_.of:
            values = self._type(type_.of)
            return {
                "type": "object",
                "additionalProperties": {"allOf": [values], "default": {}} if self._v3 and "$ref" in values else values,
            }
        return dict(SCALARS.get(type_.name, {"type": "string"}))

    def made(self) -> Object:
        return {name: self._found[name] for name in sorted(self._found)}
