"""Paths and operations of the OpenAPI documents, as far as clients read them: verbs, kinds, which queries are taken."""

from __future__ import annotations

from typing import Any

from ..resources import Resource, Sub
from .definitions import Definitions

Object = dict[str, Any]
METHODS = {"get": "get", "create": "post", "update": "put", "patch": "patch", "delete": "delete"}
PATCHES = (
    "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml",
)  # fmt: skip
MEDIA = "application/json"
COLLECTION, SINGLE = ("list", "create", "deletecollection"), ("get", "update", "patch", "delete")
_ACTIONS = {
    "create": "post",
    "update": "put",
    "list": "list",
    "get": "get",
    "patch": "patch",
    "delete": "delete",
    "deletecollection": "deletecollection",
}


def _parameter(name: str, where: str, kind: str, v3: bool) -> Object:
    schema: Object = {"schema": {"type": kind, "uniqueItems": True}} if v3 else {"type": kind, "uniqueItems": True}
    return {"name": name, "in": where, **({"required": True} if where == "path" else {}), **schema}


_QUERIES = {
    "create": ("dryRun", "fieldManager", "fieldValidation"), "update": ("dryRun", "fieldManager", "fieldValidation"),
    "patch": ("dryRun", "fieldManager", "fieldValidation", "force"),
    "delete": ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"), "get": (),
    "list": ("allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch"),
}  # fmt: skip
_QUERIES["deletecollection"] = (*_QUERIES["list"], *_QUERIES["delete"])


def _operation(resource: Resource, verb: str, schema: Object, v3: bool, gvk: Object) -> Object:
    out: Object = {"x-kubernetes-action": _ACTIONS.get(verb, verb), "x-kubernetes-group-version-kind": gvk}
    parameters = [_parameter(name, "query", "string", v3) for name in _QUERIES.get(verb, ())]
    code = "201" if verb == "create" else "200"
    if v3:
        out["responses"] = {code: {"description": "OK", "content": {MEDIA: {"schema": schema}}}}
        if verb in ("create", "update", "patch"):
            media = _patches(resource) if verb == "patch" else ("*/*",)
            body = {"type": "object"} if verb == "patch" else schema
            out["requestBody"] = {"content": {one: {"schema": body} for one in media}, "required": True}
    else:
        out["responses"] = {code: {"description": "OK", "schema": schema}}
        out["consumes"] = list(_patches(resource)) if verb == "patch" else ["*/*"]
        out["produces"] = [MEDIA]
        if verb in ("create", "update", "patch"):
            body_schema = {"type": "object"} if verb == "patch" else schema
            parameters.append({"name": "body", "in": "body", "required": True, "schema": body_schema})
    if parameters:
        out["parameters"] = parameters
    return out


def _patches(resource: Resource) -> tuple[str, ...]:
    """Media types of patches; kubectl takes the strategic one where it is offered, and custom objects do not take it."""
    return PATCHES if resource.custom is None else tuple(one for one in PATCHES if "strategic" not in one)


def paths_of(resource: Resource, definitions: Definitions, *, v3: bool) -> Object:
    """The paths of a resource and its subresources."""
    root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
    base = f"{root}/namespaces/{{namespace}}/{resource.plural}" if resource.namespaced else f"{root}/{resource.plural}"
    gvk = {"group": resource.group, "kind": resource.kind, "version": resource.version}
    one = (
        definitions.kind(resource) if resource.struct is not None or resource.custom is not None else {"type": "object"}
    )
    many = definitions.list_of(resource) if "list" in resource.verbs else one
    out: Object = {}
    collection = {
        {"list": "get", "create": "post", "deletecollection": "delete"}[verb]: _operation(resource, verb, many if verb != "create" else one, v3, gvk)
        for verb in COLLECTION if verb in resource.verbs
    }  # fmt: skip
    if collection:
        out[base] = {**collection, "parameters": _path_parameters(resource, False, v3)}
    single = {METHODS[verb]: _operation(resource, verb, one, v3, gvk) for verb in SINGLE if verb in resource.verbs}
    if single:
        out[f"{base}/{{name}}"] = {**single, "parameters": _path_parameters(resource, True, v3)}
    for name, sub in resource.subs.items():
        out[f"{base}/{{name}}/{name}"] = _subresource(resource, sub, definitions, one, v3)
    if resource.namespaced and "list" in resource.verbs:
        out[f"{root}/{resource.plural}"] = {"get": _operation(resource, "list", many, v3, gvk)}
    return out


def _subresource(resource: Resource, sub: Sub, definitions: Definitions, one: Object, v3: bool) -> Object:
    gvk = {
        "group": sub.group if sub.group is not None else resource.group,
        "kind": sub.kind,
        "version": sub.version or resource.version,
    }
    schema = (
        definitions.ref("autoscaling/v1.Scale")
        if sub.kind == "Scale"
        else one
        if sub.kind == resource.kind
        else {"type": "object"}
    )
    found = {METHODS[verb]: _operation(resource, verb, schema, v3, gvk) for verb in sub.verbs if verb in METHODS}
    return {**found, "parameters": _path_parameters(resource, True, v3)}


def _path_parameters(resource: Resource, named: bool, v3: bool) -> list[Object]:
    found = [_parameter("name", "path", "string", v3)] if named else []
    if resource.namespaced:
        found.append(_parameter("namespace", "path", "string", v3))
    return [*found, _parameter("pretty", "query", "string", v3)]
