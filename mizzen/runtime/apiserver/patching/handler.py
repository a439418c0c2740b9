"""Answers PATCH: reads the patch, lays it over the object, and hands on to the update.

Takes an `Ask`, gives the Response. The four patches themselves are in the other files of this folder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import yaml

from .. import bodies, options
from ..accept import negotiate
from ..cache import Item
from ..context import Ask
from ..errors import Problem, StatusError, bad_request, not_found, refused, show
from ..http1 import Response
from ..kinds import strategy_of
from ..ownership import empty_of, reset_fields, shape_of
from ..parts import Parts
from ..reading import shaped
from ..resources import Resource
from ..schema.decode import Decoder, Mistyped
from ..schema.scalars import now
from ..writing import check_names, create_object, update_object, write_options_object
from . import last_applied, managed, typed
from .jsonpatch import PatchFailed, json_patch, merge_patch
from .shapes import NotTyped
from .strategic import BadDirective, strategic_merge

Object = dict[str, Any]
JSON, MERGE, STRATEGIC = (
    "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
)  # fmt: skip
APPLY = ("application/apply-patch+yaml", "application/apply-patch+cbor")
MAX_OPERATIONS = 10_000


async def patch(ask: Ask, parts: Parts, sub: str = "") -> Response:
    form = negotiate(ask.request.headers.get("accept", ""))
    media = ask.request.headers.get("content-type", "").split(";")[0].strip().lower()
    custom = ask.resource.custom is not None
    known = (JSON, MERGE, APPLY[0]) if custom else (JSON, MERGE, STRATEGIC, APPLY[0])
    if custom and media == STRATEGIC:
        raise StatusError(
            415, f"the body of the request was in an unknown format - accepted media types include: {', '.join(known)}"
        )
    if media not in known:
        raise StatusError(415, "415: Unsupported Media Type")
    apply = media == APPLY[0]
    options.write_options(ask, "PatchOptions", apply=apply)
    ask.options = write_options_object(ask, "PatchOptions")
    if apply:
        status, item = await _apply(ask, parts)
        return shaped(ask, form, status, item)
    change = change_of(ask, ask.resource, media)
    item = await update_object(ask, parts, ask.resource, change)
    return shaped(ask, form, 200, item)


def change_of(ask: Ask, resource: Resource, media: str) -> Callable[[Object, Item], Object]:
    """What the patch does to an object, as update_object wants it."""
    body = ask.request.body
    laid = patcher(body, media, resource.struct)

    def change(old: Object, item: Item) -> Object:
        given = msgspec.json.decode(bodies_of(item, resource))
        result = laid(given)
        if not isinstance(result, dict):
            raise _undecodable(result, "json: cannot unmarshal")
        new = decoded(ask, resource, result)
        check_names(ask, new)
        meta = new["metadata"]
        if meta.get("resourceVersion") in (None, ""):
            meta.pop("resourceVersion", None)
        if not strategy_of(resource).unconditional_update and "resourceVersion" not in meta:
            meta["resourceVersion"] = str(item.revision)
        return new

    return change


def bodies_of(item: Item, resource: Resource) -> bytes:
    from ..reading import bytes_of

    return bytes_of(item, resource)


def patcher(body: bytes, media: str, struct: Any) -> Callable[[Any], Any]:
    """Reads the patch, once; gives what lays it over a tree."""
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request("invalid JSON patch" if media != STRATEGIC else f"error decoding patch: {error}") from None
    if media == JSON:
        if not isinstance(tree, list) or not all(isinstance(one, dict) for one in tree):
            kind = "object" if isinstance(tree, dict) else type(tree).__name__
            raise bad_request(
                f"error decoding patch: json: cannot unmarshal {kind} into Go value of type []handlers.jsonPatchOp"
            )
        if len(tree) > MAX_OPERATIONS:
            text = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(tree)}"
            raise StatusError(413, text, "RequestEntityTooLarge")
        return lambda target: _json(target, tree)
    if not isinstance(tree, dict):
        names = {list: "array", str: "string", bool: "bool", int: "number", float: "number"}
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {names.get(type(tree), 'null')} into Go value of type map[string]interface {{}}"
        )
    if media == MERGE:
        return lambda target: merge_patch(target, tree)
    return lambda target: _strategic(target, tree, struct)


def _json(target: Any, operations: list[Object]) -> Any:
    try:
        return json_patch(target, operations)
    except PatchFailed:
        raise StatusError(
            422, "the server rejected our request due to an error in our request", "Invalid", {}
        ) from None


def _strategic(target: Any, tree: Object, struct: Any) -> Any:
    try:
        return strategic_merge(target, tree, struct)
    except BadDirective as error:
        raise StatusError(500, str(error), "") from None


def _undecodable(result: Any, why: str) -> StatusError:
    text = msgspec.json.encode(result).decode()
    problem = Problem("patch", "FieldValueInvalid", f"Invalid value: {show(text)}: {why}")
    error = refused("", "", "", [problem])
    error.message = f' "" is invalid: {problem}'
    error.details = {"causes": (error.details or {})["causes"]}
    return error


def decoded(ask: Ask, resource: Resource, result: Object) -> Object:
    """A patched tree in the kind's shape, defaults filled in. What does not decode is a 422 with cause field `patch`."""
    if resource.custom is not None:
        custom: Object = resource.custom.patched(ask, result)
        return custom
    kind, version = result.get("kind", resource.kind), result.get("apiVersion", resource.api_version)
    if kind != resource.kind or version != resource.api_version:
        raise _undecodable(
            result, f'no kind "{kind}" is registered for version "{version}" in scheme "pkg/runtime/scheme.go:111"'
        )
    assert resource.struct is not None
    decoder = Decoder()
    try:
        new = decoder.object(resource.struct, result)
    except Mistyped as error:
        raise _undecodable(result, str(error)) from None
    if decoder.unknown:
        strict = bodies.strictness(ask)
        texts = [f'unknown field "{one}"' for one in decoder.unknown]
        if strict == "Strict":
            raise _undecodable(result, f"strict decoding error: {', '.join(texts)}")
        if strict == "Warn":
            for text in texts:
                ask.warn(text)
    strategy_of(resource).default(new)
    return bodies.stored_form(new, resource)


# apply


async def _apply(ask: Ask, parts: Parts) -> tuple[int, Item]:
    resource = ask.resource
    config = _configuration(ask)
    key = resource.key(ask.info.namespace, ask.info.name)
    if resource.collection.items.get(key) is None:
        if ask.info.subresource:
            raise not_found(resource.group, resource.plural, ask.info.name)
        return 201, await _apply_new(ask, parts, config)
    item = await update_object(
        ask, parts, resource, lambda old, item: _applied_onto(ask, old, item, config), applied=True
    )
    return 200, item


def _configuration(ask: Ask) -> Object:
    resource = ask.resource
    try:
        tree = (
            yaml.load(ask.request.body, bodies.UniqueLoader)
            if ask.request.body[:1] != b"{"
            else msgspec.json.decode(ask.request.body)
        )
    except (yaml.YAMLError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"error decoding YAML: {error}") from None
    if not isinstance(tree, dict):
        raise bad_request("error decoding YAML: json: cannot unmarshal into Go value of type map[string]interface {}")
    kind, version = tree.get("kind") or "", tree.get("apiVersion") or ""
    if not kind or not version:
        group, _, short = version.rpartition("/")
        raise bad_request(f"invalid object type: {group}/{short}, Kind={kind}")
    meta = tree.setdefault("metadata", {}) or {}
    if "managedFields" in meta and meta["managedFields"] is not None:
        raise bad_request("metadata.managedFields must be nil")
    if kind != resource.kind or version != resource.api_version:
        raise bad_request(f"invalid object type: {version}, Kind={kind}")
    name, namespace = meta.get("name") or "", meta.get("namespace") or ""
    if not name:
        meta["name"] = ask.info.name
    elif name != ask.info.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({ask.info.name})")
    if namespace and namespace != ask.info.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    return tree


def _typed(ask: Ask, live: Object, config: Object, given: list[Object] | None, first: str) -> managed.Applied:
    resource = ask.resource
    who = managed.Manager(ask.info.first("fieldManager"), "Apply", resource.api_version, ask.info.subresource)
    force = ask.info.first("force") in ("true", "1")
    shape = shape_of(resource)
    last = last_applied.configuration(live) if who.name == last_applied.MANAGER else None
    try:
        result = managed.applied(
            live, config, shape, who, now(), given,
            force=force, empty=empty_of(resource), reset=reset_fields(resource, ask.info.subresource), first=first,
            yields=typed.field_set(last, shape) if last is not None else None,
        )  # fmt: skip
        return result if last is None else result._replace(object=last_applied.renewed(result.object, config))
    except NotTyped as error:
        group, _, version = resource.api_version.rpartition("/")
        namespace, name = config["metadata"].get("namespace", ""), ask.info.name
        text = f"failed to create typed patch object ({namespace}/{name}; {group}/{version}, Kind={resource.kind}): {error}"
        raise StatusError(500, text, "") from None
    except managed.Conflicts as conflicts:
        raise _conflicting(conflicts) from None


def _conflicting(conflicts: managed.Conflicts) -> StatusError:
    causes: list[Object] = []
    lines: dict[str, list[str]] = {}
    for one in conflicts.found:
        who = f'conflict with "{one.manager.name}"'
        if one.manager.subresource:
            who += f' with subresource "{one.manager.subresource}"'
        if one.manager.operation == "Update":
            who += f" using {one.manager.version}"
        causes.append({"reason": "FieldManagerConflict", "message": who, "field": one.path})
        lines.setdefault(who, []).append(one.path)
    if len(causes) == 1:
        text = f"{causes[0]['message']}: {causes[0]['field']}"
    else:
        text = "conflicts " + "\n".join(
            f"{who[9:]}:\n" + "\n".join(f"- {path}" for path in found) for who, found in lines.items()
        )
    word = "conflict" if len(causes) == 1 else "conflicts"
    return StatusError(409, f"Apply failed with {len(causes)} {word}: {text}", "Conflict", {"causes": causes})


def _applied_onto(ask: Ask, old: Object, item: Item, config: Object) -> Object:
    resource = ask.resource
    live: Object = msgspec.json.decode(bodies_of(item, resource))
    given = live["metadata"].pop("managedFields", None)
    wanted = dict(config, metadata=dict(config["metadata"]))
    version = wanted["metadata"].pop("resourceVersion", None)
    result = _typed(ask, live, wanted, given, resource.api_version)
    new = decoded(ask, resource, msgspec.json.decode(msgspec.json.encode(result.object)))
    new["metadata"].pop("resourceVersion", None)
    if version:
        new["metadata"]["resourceVersion"] = version
    elif not strategy_of(resource).unconditional_update:
        new["metadata"]["resourceVersion"] = str(item.revision)
    new["metadata"]["managedFields"] = result.entries
    return new


async def _apply_new(ask: Ask, parts: Parts, config: Object) -> Item:
    resource = ask.resource
    if config["metadata"].get("uid"):
        raise StatusError(
            409,
            f"uid mismatch: the provided object specified uid {config['metadata']['uid']}, and no existing object was found",
            "Conflict",
        )
    result = _typed(ask, {}, config, None, "")
    new = decoded(ask, resource, msgspec.json.decode(msgspec.json.encode(result.object)))
    new["metadata"]["managedFields"] = result.entries
    return await create_object(ask, parts, resource, new, apply=True)
