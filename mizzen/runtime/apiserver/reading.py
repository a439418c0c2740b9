"""Answers get, list and watch from the watch cache.

Takes an `Ask` whose resource is set, gives a Response, or opens a stream for a watch.
Not here: tables' columns (tables/), selectors' grammar (selectors.py), what the cache holds (cache.py).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from .accept import YAML, Form, negotiate
from .cache import Cache, Item
from .context import Ask
from .errors import StatusError, bad_request, forbidden_field, invalid, not_found, refused, show, unsupported
from .http1 import Response
from .requestinfo import truth
from .resources import Resource
from .selectors import EVERYTHING, FieldTerm, LabelSelector, parse_fields, parse_labels
from .tables import table
from .yamlout import to_yaml

encode = msgspec.json.encode
Match = Callable[[Item], bool]


def parse_revision(text: str) -> int:
    if not re.fullmatch(r"\d+", text):
        raise ValueError(
            f"resourceVersion: Invalid value: {show(text)}: strconv.ParseUint: parsing {show(text)}: invalid syntax"
        )
    return int(text)


def bytes_of(item: Item, resource: Resource) -> bytes:
    """The object's JSON in the resource's version."""
    if resource.storage_version or resource.custom is not None:
        return converted(item, resource)
    return item.data


def converted(item: Item, resource: Resource) -> bytes:
    from .versions import to_version

    return to_version(item, resource)


def get(ask: Ask) -> Response:
    info, resource = ask.info, ask.resource
    item = resource.collection.items.get(resource.key(info.namespace, info.name))
    if "resourceVersion" in info.query:
        revision = info.first("resourceVersion")
        if revision and not revision.isdigit():
            text = f"resourceVersion: Invalid value: {show(revision)}: strconv.ParseUint: parsing {show(revision)}: invalid syntax"
            raise StatusError(500, text, "")
    if item is None:
        raise not_found(resource.group, resource.plural, info.name)
    form = negotiate(ask.request.headers.get("accept", ""))
    return shaped(ask, form, 200, item)


def shaped(ask: Ask, form: Form, status: int, item: Item) -> Response:
    """One object in the form asked for."""
    resource = ask.resource
    data = bytes_of(item, resource)
    if form.shape == "Table":
        body = encode(table(resource, [item], _inclusion(ask), form.version, {"resourceVersion": str(item.revision)}))
    elif form.shape == "PartialObjectMetadata":
        body = encode(partial(msgspec.json.decode(data), form.version))
    elif form.shape:
        raise StatusError(
            406,
            "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )
    else:
        body = data
    return rendered(ask, form, status, body)


def rendered(ask: Ask, form: Form, status: int, body: bytes) -> Response:
    headers = warning_headers(ask.warnings)
    if form.media == YAML:
        return Response(status, to_yaml(msgspec.json.decode(body)), YAML, headers)
    return Response(status, body, "application/json", headers)


def warning_headers(texts: list[str]) -> tuple[tuple[str, str], ...]:
    """Warnings as headers; texts that a header cannot hold are left out."""
    return tuple(("Warning", f'299 - "{quoted(text)}"') for text in texts if text.isprintable())


def quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def partial(tree: Mapping[str, Any], version: str) -> dict[str, Any]:
    return {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{version}", "metadata": tree["metadata"]}


def _inclusion(ask: Ask) -> str:
    word = ask.info.first("includeObject", "Metadata") or "Metadata"
    if word not in ("Metadata", "Object", "None"):
        raise bad_request(
            f"Unable to convert to Table as requested: {invalid('includeObject', word, chr(39) + 'x')}".replace(
                "'x", "must be 'Metadata', 'Object', 'None', or empty"
            )
        )
    return word


# selection


def matcher(ask: Ask) -> tuple[Match | None, bool]:
    """What the request's selectors select, None for everything; and whether there were selectors."""
    labels, fields = ask.info.first("labelSelector"), ask.info.first("fieldSelector")
    selector = parse_labels(labels) if labels else EVERYTHING
    terms = parse_fields(fields) if fields else ()
    if ask.info.name:
        terms = (*terms, FieldTerm("metadata.name", True, ask.info.name))
    for term in terms:
        _known_field(ask.resource, term.field)
    if selector.everything and not terms:
        return None, False
    return _match(ask.resource, selector, terms), True


def _match(resource: Resource, selector: LabelSelector, terms: Sequence[FieldTerm]) -> Match:
    namespaced = resource.namespaced

    def value(item: Item, field: str) -> str:
        if field == "metadata.name":
            return item.key.rpartition("/")[2]
        if field == "metadata.namespace":
            return item.key.partition("/")[0] if namespaced else ""
        return (item.fields or {}).get(field, "")

    def match(item: Item) -> bool:
        if not selector.everything and not selector.matches(item.labels):
            return False
        return all((value(item, term.field) == term.value) == term.equal for term in terms)

    return match


def _known_field(resource: Resource, field: str) -> None:
    if field in ("metadata.name", "metadata.namespace"):
        return
    known = supported_fields(resource)
    if known is not None and field in known:
        return
    if known is None:
        raise bad_request(f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"')
    raise bad_request(f"field label not supported: {field}")


def supported_fields(resource: Resource) -> Iterable[str] | None:
    from .selectable import SELECTABLE

    if resource.custom is not None:
        fields: Iterable[str] | None = resource.custom.selectable
        return fields
    if resource.qualified == "replicasets.apps":
        return None
    if resource.storage_name == "events":
        return SELECTABLE["events"]({}).keys()
    read = SELECTABLE.get(resource.qualified)
    return read({}).keys() if read else None


# lists


class Page:
    """What a list answers with: items at a revision, and how to go on."""

    def __init__(self, items: list[Item], revision: int, rest: int | None = None, token: str = "") -> None:
        self.items, self.revision, self.rest, self.token = items, revision, rest, token


def list_(ask: Ask, cache: Cache) -> Response:
    form = negotiate(ask.request.headers.get("accept", ""))
    resource, info = ask.resource, ask.info
    if not info.query and not form.shape and resource.custom is None and not resource.storage_version:
        body = resource.collection.joined(info.namespace, resource.head)
        head = f'{{"kind":"{resource.kind}List","apiVersion":"{resource.api_version}","metadata":{{"resourceVersion":"{cache.revision}"}},"items":['
        return rendered(ask, form, 200, b"%b%b]}" % (head.encode(), body))
    check_list_options(ask)
    page = _page(ask, cache)
    metadata: dict[str, Any] = {"resourceVersion": str(page.revision)}
    if page.token:
        metadata["continue"] = page.token
        if page.rest is not None:
            metadata["remainingItemCount"] = page.rest
    return rendered(ask, form, 200, _listed(ask, form, page, metadata))


def _listed(ask: Ask, form: Form, page: Page, metadata: dict[str, Any]) -> bytes:
    resource = ask.resource
    if form.shape == "Table":
        return encode(table(resource, page.items, _inclusion(ask), form.version, metadata))
    if form.shape == "PartialObjectMetadataList":
        api_version = f"meta.k8s.io/{form.version}"
        items = [partial(msgspec.json.decode(bytes_of(item, resource)), form.version) for item in page.items]
        return encode(
            {"kind": "PartialObjectMetadataList", "apiVersion": api_version, "metadata": metadata, "items": items}
        )
    if form.shape:
        raise StatusError(
            406,
            "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )
    if resource.custom is not None:
        metadata = {"continue": "", **metadata}
        bodies = [bytes_of(item, resource) for item in page.items]
        return b'{"apiVersion":"%b","items":[%b],"kind":"%b","metadata":%b}' % (
            resource.api_version.encode(),
            b",".join(bodies),
            resource.custom.list_kind.encode(),
            encode(metadata),
        )
    strip = resource.head
    bodies = [b"{" + bytes_of(item, resource)[strip:] for item in page.items]
    return b'{"kind":"%bList","apiVersion":"%b","metadata":%b,"items":[%b]}' % (
        resource.kind.encode(),
        resource.api_version.encode(),
        encode(metadata),
        b",".join(bodies),
    )


def _page(ask: Ask, cache: Cache) -> Page:
    info, resource = ask.info, ask.resource
    collection = resource.collection
    match, selected = matcher(ask)
    limit = integer(info.first("limit", "0") or "0")
    token, exact = info.first("continue"), info.first("resourceVersionMatch") == "Exact"
    version = info.first("resourceVersion")
    if token:
        revision, start = read_token(token)
        if version and version != "0":
            raise bad_request("specifying resource version is not allowed when using continue")
        revision = cache.revision if revision == -1 else revision
        items = _at(resource, revision, info.namespace, cache)
        items = [
            item for item in items if item.key.removeprefix(f"{info.namespace}/" if info.namespace else "") > start
        ]
    elif version and version != "0" and (exact or (limit > 0 and info.first("resourceVersionMatch") == "")):
        revision = int(version)
        items = _at(resource, revision, info.namespace, cache)
    else:
        _not_newer(version, cache)
        revision, items = cache.revision, collection.select(info.namespace)
    if match:
        items = [item for item in items if match(item)]
    if limit <= 0 or len(items) <= limit or (version == "0" and not token):
        return Page(items, revision)
    page = items[:limit]
    rest = None if selected else len(items) - limit
    return Page(
        page,
        revision,
        rest,
        make_token(revision, page[-1].key.removeprefix(f"{info.namespace}/" if info.namespace else "")),
    )


def _not_newer(version: str, cache: Cache) -> None:
    if version and int(version) > cache.revision:
        details = {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        }
        raise StatusError(
            504,
            f"Timeout: Too large resource version: {version}, current: {cache.revision}",
            "Timeout",
            details,
            (("Retry-After", "1"),),
        )


def _at(resource: Resource, revision: int, namespace: str, cache: Cache) -> list[Item]:
    if revision > cache.revision:
        _not_newer(str(revision), cache)
    items = resource.collection.at(revision, namespace)
    if items is None:
        raise StatusError(
            410,
            "The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.",
        )
    return items


def make_token(revision: int, last: str) -> str:
    raw = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": f"{last}\x00"}, separators=(",", ":"))
    return base64.urlsafe_b64encode(raw.encode()).rstrip(b"=").decode()


def read_token(token: str) -> tuple[int, str]:
    try:
        raw = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(raw["rv"]), str(raw["start"]).rstrip("\x00").lstrip("/")
    except (ValueError, KeyError, TypeError):
        raise bad_request("invalid continue token: continue key is not valid") from None


def integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        raise bad_request(f"strconv.ParseInt: parsing {show(text)}: invalid syntax")
    return int(text)


def check_list_options(ask: Ask, watch: bool = False) -> None:
    """Refuses combinations of list options that make no sense."""
    info = ask.info
    match, version = info.first("resourceVersionMatch"), info.first("resourceVersion")
    problems = []
    initial = "sendInitialEvents" in info.query
    if watch and initial:
        if match != "NotOlderThan":
            problems.append(
                forbidden_field(
                    "resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
                )
            )
            if match:
                problems.append(unsupported("resourceVersionMatch", match, ["NotOlderThan"]))
        if (
            not truth(info.first("allowWatchBookmarks", "false") or "false")
            and truth(info.first("sendInitialEvents"))
            and match == "NotOlderThan"
        ):
            problems.append(forbidden_field("sendInitialEvents", "sendInitialEvents requires allowWatchBookmarks"))
            problems.pop()
    elif watch:
        if match:
            problems.append(
                forbidden_field(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                )
            )
    else:
        if initial:
            problems.append(forbidden_field("sendInitialEvents", "sendInitialEvents is forbidden for list"))
        if match and not version:
            problems.append(
                forbidden_field(
                    "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"
                )
            )
        elif match == "Exact" and version == "0":
            problems.append(
                forbidden_field(
                    "resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
                )
            )
        elif match and match not in ("Exact", "NotOlderThan"):
            problems.append(unsupported("resourceVersionMatch", match, ["Exact", "NotOlderThan", ""]))
        elif match and info.first("continue"):
            problems.append(
                forbidden_field("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
            )
    if problems:
        raise refused("meta.k8s.io", "ListOptions", "", problems)
    if version and not version.isdigit() and not watch:
        text = f"resourceVersion: Invalid value: {show(version)}: strconv.ParseUint: parsing {show(version)}: invalid syntax"
        raise bad_request(f"invalid resource version: {text}")
