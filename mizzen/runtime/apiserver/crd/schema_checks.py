"""What a definition's schema must be: structural, with rules that compile.

Takes the JSON schema of one version, gives problems with their paths. Not here: the rest of a definition (checks.py).
Source: apiextensions-apiserver's validation of structural schemas (KEP-1111), of CEL rules (KEP-2876).
"""

from __future__ import annotations

import re
from typing import Any

import re2

from mizzen.cel import CompileError, compile_expression

from ..errors import Problem, forbidden_field, invalid, required, unsupported
from .schema import Validation, list_problems

Object = dict[str, Any]
REASONS = ("FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate")


def check_schema(schema: Object, path: str) -> list[Problem]:
    """Problems of an openAPIV3Schema: structural, and well formed."""
    problems: list[Problem] = []
    kind = schema.get("type")
    if not kind:
        problems.append(required(f"{path}.type", "must not be empty at the root"))
    elif kind != "object":
        problems.append(invalid(f"{path}.type", kind, "must be object at the root"))
    if problems:
        return problems
    meta = (schema.get("properties") or {}).get("metadata")
    if meta is not None and set(meta.get("properties") or {}) - {"name", "generateName"}:
        problems.append(
            forbidden_field(
                f"{path}.properties[metadata]",
                "must not specify anything other than name and generateName, but metadata is implicitly specified",
            )
        )
    return problems + _node(schema, path, root=True)


_ALLOWED_INT_OR_STRING = ("anyOf", "allOf")


def _node(schema: Object, path: str, *, root: bool = False, level: str = "specified object fields") -> list[Problem]:
    problems: list[Problem] = []
    if (
        not root
        and not schema.get("type")
        and not schema.get("x-kubernetes-int-or-string")
        and not schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        problems.append(required(f"{path}.type", f"must not be empty for {level}"))
    problems += _forms(schema, path) + _lists(schema, path) + _values(schema, path) + _rules(schema, path)
    for key, one in (schema.get("properties") or {}).items():
        problems += _node(one, f"{path}.properties[{key}]")
    extra, items = schema.get("additionalProperties"), schema.get("items")
    if isinstance(extra, dict):
        problems += _node(extra, f"{path}.additionalProperties")
    if isinstance(items, dict):
        problems += _node(items, f"{path}.items", level="specified array items")
    return problems


def _forms(schema: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    if schema.get("$ref"):
        problems.append(forbidden_field(f"{path}.$ref", "$ref is not supported"))
    for key in ("definitions", "dependencies", "patternProperties", "id"):
        if schema.get(key):
            problems.append(forbidden_field(f"{path}.{key}", f"{key} is not supported"))
    if schema.get("additionalProperties") and schema.get("properties"):
        problems.append(
            forbidden_field(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
        )
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        problems.append(invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined"))
    if schema.get("x-kubernetes-embedded-resource") and schema.get("type") != "object":
        problems.append(
            required(f"{path}.type", "must be object if x-kubernetes-embedded-resource is true")
            if not schema.get("type")
            else invalid(f"{path}.type", schema["type"], "must be object if x-kubernetes-embedded-resource is true")
        )
    if not schema.get("x-kubernetes-int-or-string"):
        for key in ("allOf", "anyOf", "oneOf"):
            for place, one in enumerate(schema.get(key) or ()):
                problems += _branch(one, f"{path}.{key}[{place}]")
        if schema.get("not"):
            problems += _branch(schema["not"], f"{path}.not")
    return problems


def _branch(schema: Object, path: str) -> list[Problem]:
    """Below allOf, anyOf, oneOf and not there are only value validations."""
    problems = [
        forbidden_field(
            f"{path}.{key}",
            "must be empty to be structural"
            if key in ("type", "additionalProperties")
            else "must be undefined to be structural"
            if key == "nullable"
            else "must be empty to be structural",
        )
        for key in (
            "type",
            "default",
            "nullable",
            "title",
            "description",
            "additionalProperties",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-embedded-resource",
            "x-kubernetes-list-type",
        )
        if schema.get(key) not in (None, "", False)
    ]
    for key, one in (schema.get("properties") or {}).items():
        problems += _branch(one, f"{path}.properties[{key}]")
    if isinstance(schema.get("items"), dict):
        problems += _branch(schema["items"], f"{path}.items")
    return problems


def _lists(schema: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    kind = schema.get("x-kubernetes-list-type")
    if schema.get("type") == "array" and not isinstance(schema.get("items"), dict):
        problems.append(required(f"{path}.items", "must be specified"))
    if schema.get("uniqueItems"):
        problems.append(
            forbidden_field(
                f"{path}.uniqueItems",
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            )
        )
    if kind is not None and kind not in ("atomic", "set", "map"):
        problems.append(unsupported(f"{path}.x-kubernetes-list-type", kind, ["atomic", "map", "set"]))
    if kind is not None and schema.get("type") != "array":
        text = "must be array if x-kubernetes-list-type is specified"
        problems.append(
            required(f"{path}.type", text) if not schema.get("type") else invalid(f"{path}.type", schema["type"], text)
        )
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    if kind == "map" and not keys:
        problems.append(
            required(f"{path}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map")
        )
    if keys and kind != "map":
        problems.append(
            required(f"{path}.x-kubernetes-list-type", "must be map if x-kubernetes-list-map-keys is non-empty")
            if kind is None
            else invalid(
                f"{path}.x-kubernetes-list-type", kind, "must be map if x-kubernetes-list-map-keys is non-empty"
            )
        )
    items = schema.get("items") if isinstance(schema.get("items"), dict) else {}
    for place, key in enumerate(keys):
        here = (items.get("properties") or {}).get(key) if isinstance(items, dict) else None
        if here is None:
            problems.append(
                invalid(
                    f"{path}.x-kubernetes-list-map-keys[{place}]", key, "entries must all be names of item properties"
                )
            )
        elif "default" not in here and key not in (items.get("required") or ()):  # type: ignore[union-attr]
            problems.append(
                required(
                    f"{path}.items.properties[{key}].default",
                    "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
                )
            )
    return problems


def _values(schema: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    if schema.get("pattern"):
        try:
            re2.compile(schema["pattern"])
        except re2.error as error:
            problems.append(
                invalid(
                    f"{path}.pattern",
                    schema["pattern"],
                    f"must be a valid regular expression, but isn't: error parsing regexp: {error}",
                )
            )
    if schema.get("type") not in (None, "object", "array", "string", "integer", "number", "boolean"):
        problems.append(
            unsupported(f"{path}.type", schema["type"], ["array", "boolean", "integer", "number", "object", "string"])
        )
    if "default" in schema and schema["default"] is not None:
        here = f"{path}.default"
        for one in [
            *Validation().run(schema["default"], {**schema, "default": None}, ""),
            *list_problems(schema["default"], schema, ""),
        ]:
            field = here if one.field in ("", "<nil>") else f"{here}.{one.field}"
            problems.append(one._replace(field=field))
    return problems


def _rules(schema: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    for place, one in enumerate(schema.get("x-kubernetes-validations") or ()):
        here = f"{path}.x-kubernetes-validations[{place}]"
        shown = {
            "Rule": one.get("rule", ""), "Message": one.get("message", ""), "MessageExpression": one.get("messageExpression", ""),
            "Reason": one.get("reason"), "FieldPath": one.get("fieldPath", ""), "OptionalOldSelf": one.get("optionalOldSelf"),
        }  # fmt: skip
        if not one.get("rule", "").strip():
            problems.append(required(f"{here}.rule", "rule is not specified"))
            continue
        problems += _compiles(schema, one, here, shown)
        if one.get("reason") is not None and one["reason"] not in REASONS:
            problems.append(unsupported(f"{here}.reason", one["reason"], list(REASONS)))
        if one.get("message") and "\n" in one["message"]:
            problems.append(invalid(f"{here}.message", one["message"], "message must not contain line breaks"))
        if one.get("fieldPath") and _field_schema(schema, one["fieldPath"]) is None:
            problems.append(invalid(f"{here}.fieldPath", one["fieldPath"], "fieldPath must be a valid path"))
    return problems


def _field_schema(schema: Object, path: str) -> Object | None:
    node: Any = schema
    for found in re.finditer(r"\.([A-Za-z0-9_-]+)|\['((?:[^'\\]|\\.)*)'\]", path):
        key = found[1] or found[2]
        below = (node.get("properties") or {}).get(key)
        node = below if below is not None else node.get("additionalProperties")
        if not isinstance(node, dict):
            return None
    return node if isinstance(node, dict) else None


_CEL_TYPES = {
    "string": "string",
    "integer": "int",
    "number": "double",
    "boolean": "bool",
    "array": "list",
    "object": "map",
}


def _compiles(schema: Object, rule: Object, path: str, shown: Object) -> list[Problem]:
    types = (
        {}
        if schema.get("x-kubernetes-int-or-string") or schema.get("format")
        else {
            name: _CEL_TYPES[schema["type"]]
            for name in ("self", "oldSelf")
            if schema.get("type") in ("string", "integer", "number", "boolean")
        }
    )
    if rule.get("optionalOldSelf"):
        types.pop("oldSelf", None)
    try:
        program = compile_expression(rule["rule"], types=types)
    except CompileError as error:
        return [invalid(f"{path}.rule", shown, str(error))]
    problems: list[Problem] = []
    if program.result not in ("bool", "dyn"):
        problems.append(invalid(f"{path}.rule", shown, "cel expression must evaluate to a bool"))
    if rule.get("messageExpression"):
        try:
            message = compile_expression(rule["messageExpression"], types=types)
        except CompileError as error:
            return [*problems, invalid(f"{path}.messageExpression", shown, f"messageExpression {error}")]
        if message.result not in ("string", "dyn"):
            problems.append(invalid(f"{path}.messageExpression", shown, "messageExpression must evaluate to a string"))
    return problems
