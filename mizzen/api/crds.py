"""CustomResourceDefinitions of Istio's kinds and of the Gateway API, generated from the types.

Takes kinds of the registry, gives JSON objects; `python -m mizzen.api.crds DIR` writes them as YAML, one file each. What is
checked in under mizzen/api/crd/ is what that writes, and a test fails when it is stale. Schemas are structural: types,
bounds, enums, and the rules of schema_rules.py as CEL or JSON Schema.
Not here: Istio's admission (validation/), which refuses more.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from mizzen.api.istio.meta import enc_hook
from mizzen.api.kinds import GATEWAY_API_KINDS, ISTIO_KINDS, Kind
from mizzen.api.schema_rules import DURATION_CEL, Rule
from mizzen.api.shapes import (
    Choice,
    Entries,
    Fields,
    FreeObject,
    Instant,
    IntOrString,
    Items,
    Number,
    Ruled,
    Shape,
    Span,
    Text,
    Truth,
    shape,
)

FOLDER: Final = Path(__file__).parent / "crd"
AGE: Final = ("Age", "date", ".metadata.creationTimestamp")
# Columns of `kubectl get`: name, type, path.
COLUMNS: Final[Mapping[str, tuple[tuple[str, str, str], ...]]] = {
    "VirtualService": (("Gateways", "string", ".spec.gateways"), ("Hosts", "string", ".spec.hosts"), AGE),
    "DestinationRule": (("Host", "string", ".spec.host"), AGE),
    "ServiceEntry": (
        ("Hosts", "string", ".spec.hosts"),
        ("Location", "string", ".spec.location"),
        ("Resolution", "string", ".spec.resolution"),
        AGE,
    ),
    "WorkloadEntry": (AGE, ("Address", "string", ".spec.address")),
    "WorkloadGroup": (AGE,),
    "AuthorizationPolicy": (("Action", "string", ".spec.action"), AGE),
    "PeerAuthentication": (("Mode", "string", ".spec.mtls.mode"), AGE),
    "Telemetry": (AGE,),
    "WasmPlugin": (AGE,),
    "TrafficExtension": (AGE,),
}
GATEWAY_API_COLUMNS: Final[Mapping[str, tuple[tuple[str, str, str], ...]]] = {
    "GatewayClass": (
        ("Controller", "string", ".spec.controllerName"),
        ("Accepted", "string", '.status.conditions[?(@.type=="Accepted")].status'),
        AGE,
    ),
    "Gateway": (
        ("Class", "string", ".spec.gatewayClassName"),
        ("Address", "string", ".status.addresses[*].value"),
        ("Programmed", "string", '.status.conditions[?(@.type=="Programmed")].status'),
        AGE,
    ),
    "HTTPRoute": (("Hostnames", "string", ".spec.hostnames"), AGE),
    "GRPCRoute": (("Hostnames", "string", ".spec.hostnames"), AGE),
}


def all_crds() -> list[dict[str, Any]]:
    """The definitions of every kind that is not Kubernetes' own."""
    return [crd(kind) for kind in (*ISTIO_KINDS, *GATEWAY_API_KINDS)]


def crd(kind: Kind) -> dict[str, Any]:
    """The definition of one kind, with all its versions."""
    istio = kind in ISTIO_KINDS
    names: dict[str, Any] = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.kind.lower(),
    }
    names["categories"] = ["istio-io", f"{kind.group.split('.')[0]}-istio-io"] if istio else ["gateway-api"]
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    metadata: dict[str, Any] = {"name": f"{kind.plural}.{kind.group}"}
    if not istio:  # *.k8s.io is a protected group; the annotation says that the API was reviewed
        metadata["annotations"] = {
            "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api",
            "gateway.networking.k8s.io/bundle-version": "v1.5.0",
            "gateway.networking.k8s.io/channel": "experimental",
        }
    columns = (COLUMNS if istio else GATEWAY_API_COLUMNS).get(kind.kind, () if istio else (AGE,))
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [version(kind, name, columns) for name in kind.versions],
        },
    }


def version(kind: Kind, name: str, columns: tuple[tuple[str, str, str], ...]) -> dict[str, Any]:
    """One version of a definition."""
    result: dict[str, Any] = {"name": name, "served": True, "storage": name == kind.storage_version}
    if columns:
        result["additionalPrinterColumns"] = [
            {"name": title, "type": type_, "jsonPath": path} for title, type_, path in columns
        ]
    result["schema"] = {"openAPIV3Schema": object_schema(kind)}
    result["subresources"] = {"status": {}}
    return result


def object_schema(kind: Kind) -> dict[str, Any]:
    """The schema of a kind's objects: spec and status; Kubernetes adds the rest."""
    root = shape(kind.type)
    assert isinstance(root, Fields)
    parts = {name: schema(root.fields[name]) for name in ("spec", "status") if name in root.fields}
    result: dict[str, Any] = {"type": "object", "properties": parts}
    required = [name for name in root.required if name in parts]
    if required:
        result["required"] = required
    return result


def schema(form: Shape) -> dict[str, Any]:  # one branch for each kind of shape
    """The structural schema of a shape."""
    match form:
        case Ruled():
            return with_rules(schema(form.inner), form.rules)
        case Fields():
            return fields(form)
        case Text():
            bounds = {"minLength": form.shortest or None, "maxLength": form.longest, "pattern": form.pattern}
            return {"type": "string"} | given(bounds)
        case Choice():
            return {"type": "integer" if isinstance(form.values[0], int) else "string", "enum": list(form.values)}
        case Number():
            return number(form)
        case Truth():
            return {"type": "boolean"}
        case Span():
            least = (Rule(DURATION_CEL, "a duration of at least 1ms is expected", bool),) if form.least else ()
            return with_rules({"type": "string"} | given({"pattern": form.pattern or None}), least)
        case Instant():
            return {"type": "string", "format": "date-time"}
        case IntOrString():
            return {"x-kubernetes-int-or-string": True}
        case FreeObject():
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        case Items():
            bounds = {"minItems": form.fewest or None, "maxItems": form.most}
            keys = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [form.key]} if form.key else {}
            return {"type": "array", "items": schema(form.item)} | given(bounds) | keys
        case Entries():
            bounds = {"minProperties": form.fewest or None, "maxProperties": form.most}
            result = {"type": "object", "additionalProperties": schema(form.value)} | given(bounds)
            if form.key_rule is None:
                return result
            rule = form.key_rule
            return with_rules(result, (Rule(f"self.all(key, {rule.cel})", rule.message, rule.holds),))
        case _:
            return {"x-kubernetes-preserve-unknown-fields": True}


def fields(form: Fields) -> dict[str, Any]:
    """The schema of an object with known fields."""
    properties = {name: schema(entry) for name, entry in form.fields.items()}
    properties |= {alias: schema(form.fields[name]) for alias, name in form.aliases.items()}
    if form.type.__module__.startswith("mizzen.api.gateway_api"):
        for name, value in defaults(form.type).items():
            properties[name] |= {"default": value}
    result: dict[str, Any] = {"type": "object", "properties": dict(sorted(properties.items()))}
    if form.required:
        result["required"] = sorted(form.required)
    if form.is_open:
        result["x-kubernetes-preserve-unknown-fields"] = True
    return with_rules(result, form.rules)


def defaults(type_: type[msgspec.Struct]) -> dict[str, Any]:
    """The defaults that an API server fills in: those of the struct that are more than absence."""
    found = {}
    for field in msgspec.structs.fields(type_):
        value = field.default
        if value is msgspec.NODEFAULT or value is None or value == () or value == {}:
            continue
        if isinstance(value, str | int) and not value and field.name not in ("group", "weight"):
            continue
        found[field.encode_name] = filled(value)
    return found


def filled(value: Any) -> Any:
    """A default as JSON, with the defaults inside it."""
    if isinstance(value, msgspec.Struct):
        own = msgspec.to_builtins(value, enc_hook=enc_hook)
        return defaults(type(value)) | own
    return [filled(item) for item in value] if isinstance(value, tuple) else value


def number(form: Number) -> dict[str, Any]:
    """The schema of a number; bounds of the Go type become its format."""
    result: dict[str, Any] = {"type": "integer" if form.whole else "number"}
    if (form.least, form.most) in (INT32, INT64):
        return result | {"format": "int32" if (form.least, form.most) == INT32 else "int64"}
    return result | given({"minimum": form.least, "maximum": form.most})


INT32: Final = (-(2**31), 2**31 - 1)
INT64: Final = (-(2**63), 2**63 - 1)


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are not None."""
    return {key: value for key, value in values.items() if value is not None}


def with_rules(result: dict[str, Any], rules: tuple[Rule, ...]) -> dict[str, Any]:
    """A schema with rules: CEL ones as validations, the others as a conjunction."""
    cel = [{"rule": rule.cel, "message": rule.message} for rule in rules if rule.schema is None]
    plain = [dict(rule.schema) for rule in rules if rule.schema is not None]
    if cel:
        result = {**result, "x-kubernetes-validations": [*result.get("x-kubernetes-validations", ()), *cel]}
    if len(plain) == 1 and "oneOf" not in result:
        return {**result, **plain[0]}
    return {**result, "allOf": plain} if plain else result


class _Dumper(yaml.SafeDumper):
    """Writes shared parts out each time: not every reader likes aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write(folder: Path) -> None:
    """Writes every definition into a folder, and removes files of definitions that are gone."""
    folder.mkdir(exist_ok=True)
    written = set()
    for definition in all_crds():
        path = folder / f"{definition['spec']['group']}_{definition['spec']['names']['plural']}.yaml"
        path.write_text(text(definition), encoding="utf-8")
        written.add(path)
    for path in set(folder.glob("*.yaml")) - written:
        path.unlink()


def text(definition: Mapping[str, Any]) -> str:
    """A definition as YAML."""
    head = "# Generated from mizzen.api's types by `make generate`. Do not edit.\n"
    return head + yaml.dump(definition, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
