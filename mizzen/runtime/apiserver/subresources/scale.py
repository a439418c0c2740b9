"""The scale subresource: a workload seen as autoscaling/v1 Scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from .. import bodies, options
from ..accept import negotiate
from ..cache import Item
from ..context import Ask
from ..errors import StatusError, bad_request, invalid, not_found, refused
from ..http1 import Response
from ..parts import Parts
from ..patching.handler import APPLY, JSON, MERGE, STRATEGIC, patcher
from ..reading import rendered
from ..schema.decode import Decoder, Mistyped
from ..schema.facts import struct
from ..tables.text import NONE, labels_text, selector_text
from ..writing import check_names, update_object

Object = dict[str, Any]
SHAPE = "autoscaling/v1.Scale"
Lens = tuple[Callable[[Object], Object], Callable[[Object, Object], None]]


def built_in(tree: Object) -> Object:
    """The Scale of a built-in workload."""
    spec, status = tree.get("spec") or {}, tree.get("status") or {}
    selector = spec.get("selector")
    text = labels_text(selector) if tree.get("kind") == "ReplicationController" else selector_text(selector)
    return of(tree, spec.get("replicas", 0), status.get("replicas", 0), "" if text == NONE else text)


def of(tree: Object, wanted: int, present: int, selector: str) -> Object:
    meta = {
        key: tree["metadata"][key]
        for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if key in tree["metadata"]
    }
    return {
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": {"replicas": wanted} if wanted else {},
        "status": {"replicas": present, **({"selector": selector} if selector else {})},
    }  # fmt: skip


def _set(tree: Object, given: Object) -> None:
    tree["spec"]["replicas"] = (given.get("spec") or {}).get("replicas", 0)


def lens_of(ask: Ask) -> Lens:
    if ask.resource.custom is not None:
        custom: Lens = ask.resource.custom.scale
        return custom
    return built_in, _set


def scale(ask: Ask, parts: Parts) -> Any:
    if ask.info.verb in ("get", "list", "watch"):
        resource = ask.resource
        item = resource.collection.items.get(resource.key(ask.info.namespace, ask.info.name))
        if item is None:
            raise not_found(resource.group, resource.plural, ask.info.name)
        return _shown(ask, item)
    return _write(ask, parts)


def _shown(ask: Ask, item: Item) -> Response:
    from ..reading import bytes_of

    form = negotiate(ask.request.headers.get("accept", ""))
    show, _ = lens_of(ask)
    return rendered(ask, form, 200, msgspec.json.encode(show(msgspec.json.decode(bytes_of(item, ask.resource)))))


async def _write(ask: Ask, parts: Parts) -> Response:
    show, put = lens_of(ask)
    resource = ask.resource
    media = ask.request.headers.get("content-type", "").split(";")[0].strip().lower()
    patching = ask.info.verb == "patch"
    options.write_options(ask, "PatchOptions" if patching else "UpdateOptions", apply=media in APPLY and patching)
    if patching:
        if media not in (JSON, MERGE, STRATEGIC, APPLY[0]):
            raise StatusError(415, "415: Unsupported Media Type")
        laid = patcher(ask.request.body, MERGE if media == APPLY[0] else media, struct(SHAPE))
    else:
        given = _read(ask)

    def change(old: Object, item: Item) -> Object:
        tree: Object = msgspec.json.decode(item.data)
        wanted = _decoded(laid(show(tree))) if patching else given
        check_names(ask, wanted)
        version = wanted["metadata"].get("resourceVersion")
        if version and not patching:
            tree["metadata"]["resourceVersion"] = version
        replicas = (wanted.get("spec") or {}).get("replicas", 0)
        if replicas < 0:
            raise _negative(ask, replicas)
        put(tree, wanted)
        return tree

    item = await update_object(ask, parts, resource, change, subresource="scale")
    return _shown(ask, item)


def _negative(ask: Ask, replicas: int) -> StatusError:
    if ask.resource.custom is not None:
        path = (ask.resource.custom.scale_paths or {}).get("specReplicasPath", "")
        return refused(
            ask.resource.group,
            ask.resource.kind,
            ask.info.name,
            [invalid(path, replicas, "should be a non-negative integer")],
        )
    return refused(
        "autoscaling",
        "Scale",
        ask.info.name,
        [invalid("spec.replicas", replicas, "must be greater than or equal to 0")],
    )


def _read(ask: Ask) -> Object:
    tree, doubles = bodies.load(ask, "Scale")
    bodies.check_kind(tree, "Scale", "autoscaling/v1")
    return bodies.shaped(ask, tree, struct(SHAPE), "Scale", "autoscaling/v1", doubles)


def _decoded(tree: Object) -> Object:
    try:
        return Decoder().object(struct(SHAPE), tree)
    except Mistyped as error:
        raise bad_request(str(error)) from None
