"""Which CustomResourceDefinitions are refused: names, versions, schemas that are not structural, rules that do not compile.

Takes a decoded definition, gives problems with paths as kube-apiserver's (what is the same in all versions is found at spec.validation …).
Source: apiextensions-apiserver's validation.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import Problem, duplicate, forbidden_field, invalid, required, unsupported
from ..names import dns_1035, subdomain
from .columns import path_values
from .schema_checks import check_schema

Object = dict[str, Any]
COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_SIMPLE_PATH = re.compile(r"^\.")
_PROTECTED = (".k8s.io", ".kubernetes.io")
APPROVAL = "api-approved.kubernetes.io"


def check_definition(obj: Object) -> list[Problem]:
    spec = obj.get("spec") or {}
    names, group = spec.get("names") or {}, spec.get("group", "")
    problems: list[Problem] = []
    if obj["metadata"].get("name") != f"{names.get('plural', '')}.{group}":
        problems.append(
            invalid("metadata.name", obj["metadata"].get("name", ""), 'must be spec.names.plural+"."+spec.group')
        )
    problems += _group(group) + _approval(obj, group)
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        problems.append(
            unsupported("spec.scope", spec.get("scope", ""), ["Cluster", "Namespaced"])
            if spec.get("scope")
            else required("spec.scope")
        )
    problems += _names(names) + _versions(obj, spec) + _conversion(spec)
    if spec.get("preserveUnknownFields"):
        problems.append(
            invalid(
                "spec.preserveUnknownFields",
                True,
                "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
            )
        )
    return problems


def check_change(new: Object, old: Object) -> list[Problem]:
    mine, before = new["spec"], old["spec"]
    problems = [one for one in check_definition(new) if one.field != "metadata.name"]
    for path in ("group", "scope"):
        if mine.get(path) != before.get(path):
            problems.append(invalid(f"spec.{path}", mine.get(path), "field is immutable"))
    for path in ("plural", "kind"):
        established = any(
            one["type"] == "Established" and one["status"] == "True"
            for one in (old.get("status") or {}).get("conditions") or ()
        )
        if established and mine["names"].get(path) != before["names"].get(path):
            problems.append(invalid(f"spec.names.{path}", mine["names"].get(path), "field is immutable"))
    return problems


def _group(group: str) -> list[Problem]:
    if not group:
        return [required("spec.group")]
    problems = [invalid("spec.group", group, text) for text in subdomain(group)]
    if not problems and "." not in group:
        problems.append(invalid("spec.group", group, "should be a domain with at least one dot"))
    return problems


def _approval(obj: Object, group: str) -> list[Problem]:
    if not (group.endswith(_PROTECTED) or group in ("k8s.io", "kubernetes.io")):
        return []
    path, given = f"metadata.annotations[{APPROVAL}]", (obj["metadata"].get("annotations") or {}).get(APPROVAL, "")
    link = "see https://github.com/kubernetes/enhancements/pull/1111"
    if not given:
        return [required(path, f'protected groups must have approval annotation "{APPROVAL}", {link}')]
    if given.startswith(("unapproved", "https://", "http://")):
        return []
    return [
        invalid(
            path,
            given,
            f'protected groups must have approval annotation "{APPROVAL}" with either a URL or a reason starting with "unapproved", {link}',
        )
    ]


def _names(names: Object) -> list[Problem]:
    problems: list[Problem] = []
    for key in ("plural", "singular", "kind", "listKind"):
        value = names.get(key, "")
        path = f"spec.names.{key}"
        if not value:
            problems.append(required(path))
        else:
            problems += [
                invalid(path, value, text) for text in dns_1035(value.lower() if key in ("kind", "listKind") else value)
            ]
    for key in ("shortNames", "categories"):
        for place, one in enumerate(names.get(key) or ()):
            problems += [invalid(f"spec.names.{key}[{place}]", one, text) for text in dns_1035(one)]
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        problems.append(invalid("spec.names.listKind", names["listKind"], "kind and listKind may not be the same"))
    return problems


def _versions(obj: Object, spec: Object) -> list[Problem]:
    versions = spec.get("versions") or []
    problems: list[Problem] = []
    stored = [one["name"] for one in versions if one.get("storage")]
    seen: set[str] = set()
    for place, one in enumerate(versions):
        path = f"spec.versions[{place}]"
        problems += [invalid(f"{path}.name", one.get("name", ""), text) for text in dns_1035(one.get("name", ""))]
        if one.get("name") in seen:
            problems.append(invalid("spec.versions", versions, "must contain unique version names"))
        seen.add(one.get("name", ""))
        if one.get("deprecationWarning") is not None and not one.get("deprecated"):
            problems.append(
                invalid(
                    f"{path}.deprecationWarning", one["deprecationWarning"], "can only be set for deprecated versions"
                )
            )
        if (one.get("schema") or {}).get("openAPIV3Schema") is None:
            problems.append(required(f"{path}.schema.openAPIV3Schema"))
    if versions:
        problems += [
            invalid("spec.version", versions[0].get("name", ""), text) for text in dns_1035(versions[0].get("name", ""))
        ]
    if len(stored) != 1:
        problems.append(invalid("spec.versions", versions, "must have exactly one version marked as storage version"))
    return problems + _stored(obj, stored) + _per_version(versions)


def _stored(obj: Object, stored: list[str]) -> list[Problem]:
    given = (obj.get("status") or {}).get("storedVersions") or []
    path = "status.storedVersions"
    if not given:
        return [invalid(path, None, "must have at least one stored version")]
    known = {one.get("name") for one in obj["spec"].get("versions") or ()}
    problems = [
        invalid(
            f"{path}[{place}]",
            one,
            "missing from spec.versions; must not remove a version from spec.versions before it is removed from status.storedVersions",
        )
        for place, one in enumerate(given)
        if one not in known
    ]
    missing = [one for one in stored if one not in given]
    return problems + [invalid(path, given, f"must have the storage version {one}") for one in missing]


_HOISTED = ("schema", "subresources", "additionalPrinterColumns", "selectableFields")


def _per_version(versions: list[Object]) -> list[Problem]:
    """What all versions have in common is checked once, under the path that it had before there were versions."""
    problems: list[Problem] = []
    common = {key for key in _HOISTED if versions and all(one.get(key) == versions[0].get(key) for one in versions)}
    for place, one in enumerate(versions):
        for key in _HOISTED:
            if key in common and place:
                continue
            base = "spec" if key in common else f"spec.versions[{place}]"
            problems += _part(one, key, base, key in common)
    return problems


def _part(version: Object, key: str, base: str, hoisted: bool) -> list[Problem]:
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if key == "schema":
        path = f"{base}.{'validation' if hoisted else 'schema'}.openAPIV3Schema"
        return check_schema(schema, path) if schema is not None else []
    given = version.get(key)
    if not given:
        return []
    if key == "subresources":
        return _scale(given.get("scale"), f"{base}.subresources.scale")
    if key == "additionalPrinterColumns":
        return [
            one
            for place, column in enumerate(given)
            for one in _column(column, f"{base}.additionalPrinterColumns[{place}]")
        ]
    return _selectable(given, schema or {}, f"{base}.selectableFields")


def _scale(scale: Object | None, path: str) -> list[Problem]:
    if scale is None:
        return []
    problems: list[Problem] = []
    for key, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status."), ("labelSelectorPath", ".")):
        value = scale.get(key) or ""
        if not value:
            if key != "labelSelectorPath":
                problems.append(required(f"{path}.{key}"))
        elif not value.startswith(root) or "[" in value:
            word = {
                "specReplicasPath": "should be a json path under .spec",
                "statusReplicasPath": "should be a json path under .status",
            }
            problems.append(
                invalid(f"{path}.{key}", value, word.get(key, "should be a json path under either .spec or .status"))
            )
    return problems


def _column(column: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    for key in ("name", "type"):
        if not column.get(key):
            problems.append(required(f"{path}.{key}"))
    if column.get("type") and column["type"] not in COLUMN_TYPES:
        problems.append(invalid(f"{path}.type", column["type"], f"must be one of {','.join(COLUMN_TYPES)}"))
    json_path = column.get("jsonPath", "")
    if not json_path:
        problems.append(required(f"{path}.JSONPath"))
    elif not _SIMPLE_PATH.match(json_path):
        problems.append(invalid(f"{path}.JSONPath", json_path, "must be a simple json path starting with ."))
    return problems


def _selectable(given: list[Object], schema: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    seen: set[str] = set()
    if len(given) > 8:
        from ..errors import too_many

        problems.append(too_many(path, len(given), 8))
    for place, one in enumerate(given):
        json_path, here = one.get("jsonPath", ""), f"{path}[{place}].jsonPath"
        if not json_path:
            problems.append(required(here))
            continue
        found = _schema_at(schema, json_path)
        if found is None or found.get("type") not in ("string", "boolean", "integer"):
            text = (
                "does not refer to a valid field"
                if found is None
                else "must point to a field of type string, boolean or integer"
            )
            problems.append(invalid(here, json_path, f"is an invalid path: {text}"))
        elif json_path in seen:
            problems.append(duplicate(here, json_path))
        seen.add(json_path)
    return problems


def _schema_at(schema: Object, json_path: str) -> Object | None:
    node: Object | None = schema
    if not json_path.startswith(".") or json_path.startswith(".metadata"):
        return None
    for step in json_path[1:].split("."):
        node = ((node or {}).get("properties") or {}).get(step)
        if node is None:
            return None
    return node


def _conversion(spec: Object) -> list[Problem]:
    conversion = spec.get("conversion") or {}
    strategy = conversion.get("strategy")
    if strategy not in ("None", "Webhook"):
        return [unsupported("spec.conversion.strategy", strategy, ["None", "Webhook"])]
    webhook = conversion.get("webhook")
    if strategy == "None":
        return (
            [forbidden_field("spec.conversion.webhook", "should not be set when strategy is not set to Webhook")]
            if webhook
            else []
        )
    problems: list[Problem] = []
    if not (webhook or {}).get("clientConfig"):
        problems.append(required("spec.conversion.webhookClientConfig", "required when strategy is set to Webhook"))
    if not (webhook or {}).get("conversionReviewVersions"):
        problems.append(required("spec.conversion.conversionReviewVersions"))
    return problems


# schemas


__all__ = ["check_change", "check_definition", "path_values"]
