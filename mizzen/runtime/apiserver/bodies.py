"""Reads what a client sends: JSON or YAML, the right kind, known fields, right types.

Takes an `Ask` and the body, gives a tree in the kind's shape, with defaults. Unknown and duplicate fields are refused, warned of or
ignored as the request's fieldValidation says. Not here: validation of values (kinds/), custom resources' schemas (crd/).
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import yaml

from .context import Ask
from .errors import StatusError, bad_request
from .kinds import strategy_of
from .resources import Resource
from .schema import protobuf
from .schema.decode import Decoder, Mistyped
from .schema.facts import Struct, struct_of

Object = dict[str, Any]
MEDIA = "application/json, application/yaml, application/vnd.kubernetes.protobuf"


def media_type(ask: Ask) -> str:
    """json, yaml or protobuf. Raises 415 for anything else."""
    header = ask.request.headers.get("content-type", "")
    media = header.split(";")[0].strip().lower()
    if media in ("", "application/json", "*/*"):
        return "json"
    if media in ("application/yaml", "application/x-yaml"):
        return "yaml"
    if media == "application/vnd.kubernetes.protobuf":
        return "protobuf"
    raise StatusError(415, f"the body of the request was in an unknown format - accepted media types include: {MEDIA}")


class Duplicates:
    """Reads JSON with an eye on keys that come twice; later values are merged over earlier ones, as Go's decoder does."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def pairs(self, pairs: list[tuple[str, Any]]) -> Object:
        out: Object = {}
        for key, value in pairs:
            if key in out:
                self.found.append(key)
                if isinstance(out[key], dict) and isinstance(value, dict):
                    value = {**out[key], **value}
            out[key] = value
        return out


def count_keys(tree: Any) -> int:
    if isinstance(tree, dict):
        return len(tree) + sum(count_keys(value) for value in tree.values() if type(value) in (dict, list))
    if isinstance(tree, list):
        return sum(count_keys(value) for value in tree if type(value) in (dict, list))
    return 0


def load_json(body: bytes, kind: str) -> tuple[Any, list[str]]:
    """The tree, and keys that came twice."""
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        shown = body.decode("utf-8", "replace") if body else "<empty>"
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: "
            f"{_json_error(body, error)} ({shown if not body else body.hex()})"
        ) from None
    if body.count(b'":') + body.count(b'" :') == count_keys(tree):
        return tree, []
    seen = Duplicates()
    return json.loads(body, object_pairs_hook=seen.pairs), duplicate_paths(body) if seen.found else []


def _json_error(body: bytes, error: Exception) -> str:
    return "unexpected end of JSON input" if not body.strip() else str(error)


def duplicate_paths(body: bytes) -> list[str]:
    """Paths of keys that come twice in an object."""
    found: list[str] = []

    class Pairs(list[Any]):
        """An object as its pairs."""

    def walk(node: Any, path: str) -> None:
        if isinstance(node, Pairs):
            seen: set[str] = set()
            for key, value in node:
                here = f"{path}.{key}" if path else key
                if key in seen:
                    found.append(here)
                seen.add(key)
                walk(value, here)
        elif isinstance(node, list):
            for place, item in enumerate(node):
                walk(item, f"{path}[{place}]")

    walk(json.loads(body, object_pairs_hook=Pairs), "")
    return list(dict.fromkeys(found))


class UniqueLoader(yaml.SafeLoader):
    """YAML whose times stay text."""


UniqueLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


UniqueLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:y|Y|n|N)$"), list("yYnN"))
UniqueLoader.add_constructor(
    "tag:yaml.org,2002:bool", lambda loader, node: str(node.value).lower() in ("y", "yes", "true", "on")
)


def load_yaml(body: bytes, kind: str) -> Any:
    try:
        return yaml.load(body, UniqueLoader)
    except yaml.YAMLError as error:
        line = str(error).replace("\n", " ")
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): yaml: {line} ({body.hex()})"
        ) from None


def load(ask: Ask, kind: str) -> tuple[Any, list[str]]:
    """The body's tree whatever its media type."""
    body, media = ask.request.body, media_type(ask)
    if media == "yaml":
        return load_yaml(body, kind), []
    if media == "protobuf":
        try:
            return protobuf.decode(body), []
        except (protobuf.Malformed, UnicodeDecodeError) as error:
            raise bad_request(f"the object provided is unrecognized (must be of type {kind}): {error}") from None
    return load_json(body, kind)


def check_kind(tree: Any, resource_kind: str, api_version: str) -> None:
    if not isinstance(tree, dict):
        raise bad_request(
            f"the object provided is unrecognized (must be of type {resource_kind}): couldn't get version/kind; json parse error: "
            "json: cannot unmarshal into Go value"
        )
    for key in ("apiVersion", "kind"):
        if not isinstance(tree.get(key, ""), str) and tree.get(key) is not None:
            raise bad_request(
                f"the object provided is unrecognized (must be of type {resource_kind}): couldn't get version/kind; json parse error"
            )
    kind, version = tree.get("kind") or resource_kind, tree.get("apiVersion") or api_version
    short = version.rpartition("/")[2]
    if kind != resource_kind or version.rpartition("/")[0] != api_version.rpartition("/")[0]:
        package = version.rpartition("/")[0].split(".")[0] or "core"
        target = api_version.rpartition("/")[0].split(".")[0] or "core"
        raise bad_request(
            f'{kind} in version "{short}" cannot be handled as a {resource_kind}: converting ({short}.{kind}) to '
            f"({target}.{resource_kind}): unknown conversion"
            if struct_of(version, kind)
            else f'{kind} in version "{short}" cannot be handled as a {resource_kind}: no kind "{kind}" is registered for version '
            f'"{version}" in scheme "{package}"'
        )
    if version != api_version:
        raise bad_request(
            f'{kind} in version "{short}" cannot be handled as a {resource_kind}: no kind "{kind}" is registered for version '
            f'"{version}" in scheme "pkg/runtime/scheme.go:111"'
        )


def read(ask: Ask, resource: Resource) -> Object:
    """The request's object: decoded, strict about what fieldValidation says, defaulted."""
    tree, doubles = load(ask, resource.kind)
    if resource.custom is not None:
        custom: Object = resource.custom.read(ask, tree, doubles)
        return custom
    check_kind(tree, resource.kind, resource.api_version)
    assert resource.struct is not None
    out = shaped(ask, tree, resource.struct, resource.kind, resource.api_version, doubles)
    strategy_of(resource).default(out)
    return stored_form(out, resource)


def stored_form(out: Object, resource: Resource) -> Object:
    """The object in the version that is stored, when that is another than the request's."""
    if not resource.storage_version:
        return out
    from .versions import to_storage

    tree = to_storage(out, resource)
    shape = struct_of(tree["apiVersion"], resource.kind)
    assert shape is not None
    made = head_first({**Decoder().object(shape, tree), "kind": resource.kind, "apiVersion": tree["apiVersion"]})
    strategy_of(resource).default(made)
    return made


def shaped(ask: Ask, tree: Object, shape: Struct, kind: str, api_version: str, doubles: list[str]) -> Object:
    """The tree in a struct's shape. Raises 400 for wrong types, and for unknown fields when they are refused."""
    decoder = Decoder()
    version = api_version.rpartition("/")[2]
    try:
        out = decoder.object(shape, tree)
    except Mistyped as error:
        raise bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {error}') from None
    out["kind"], out["apiVersion"] = kind, api_version
    strict = strictness(ask)
    if strict == "Ignore" or not (decoder.unknown or doubles):
        return head_first(out)
    texts = [f'duplicate field "{one}"' for one in doubles] + [f'unknown field "{one}"' for one in decoder.unknown]
    if strict == "Strict":
        raise bad_request(
            f'{kind} in version "{version}" cannot be handled as a {kind}: strict decoding error: {", ".join(texts)}'
        )
    for text in texts:
        ask.warn(text)
    return head_first(out)


def head_first(out: Object) -> Object:
    """Kind, apiVersion and metadata first: stored bytes rely on it."""
    if list(out)[:3] == ["kind", "apiVersion", "metadata"]:
        return out
    return {"kind": out["kind"], "apiVersion": out["apiVersion"], "metadata": out.get("metadata", {}), **out}


def strictness(ask: Ask) -> str:
    return ask.info.first("fieldValidation") or "Warn"
