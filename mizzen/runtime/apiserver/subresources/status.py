"""status, a namespace's finalize, a certificate request's approval: the object itself, of which only a part may change."""

from __future__ import annotations

from typing import Any

import msgspec

from .. import bodies, options, reading
from ..accept import negotiate
from ..cache import Item
from ..context import Ask
from ..http1 import Response
from ..parts import Parts
from ..patching.handler import patch
from ..reading import shaped
from ..writing import check_names, update_object, write_options_object

Object = dict[str, Any]


def status(ask: Ask, parts: Parts) -> Any:
    if ask.info.verb in ("get", "list", "watch"):
        return reading.get(ask)
    if ask.info.verb == "patch":
        return patch(ask, parts)
    return put(ask, parts)


async def put(ask: Ask, parts: Parts) -> Response:
    resource = ask.resource
    form = negotiate(ask.request.headers.get("accept", ""))
    options.write_options(ask, "UpdateOptions")
    obj = bodies.read(ask, resource)
    ask.options = write_options_object(ask, "UpdateOptions")
    check_names(ask, obj)

    def change(old: Object, item: Item) -> Object:
        new: Object = msgspec.json.decode(msgspec.json.encode(obj))
        if obj["metadata"].get("managedFields") is None:
            new["metadata"]["managedFields"] = old["metadata"].get("managedFields")
        return new

    item = await update_object(ask, parts, resource, change, once="resourceVersion" in obj["metadata"])
    return shaped(ask, form, 200, item)


async def finalize(ask: Ask, parts: Parts) -> Response:
    """Only spec.finalizers change; when the last one goes from a namespace that is being deleted, so does it."""
    form = negotiate(ask.request.headers.get("accept", ""))
    options.write_options(ask, "UpdateOptions")
    obj = bodies.read(ask, ask.resource)
    check_names(ask, obj)

    def change(old: Object, item: Item) -> Object:
        new: Object = msgspec.json.decode(item.data)
        finalizers = (obj.get("spec") or {}).get("finalizers")
        new["spec"] = {"finalizers": finalizers} if finalizers else {}
        new["metadata"].pop("resourceVersion", None)
        if obj["metadata"].get("resourceVersion"):
            new["metadata"]["resourceVersion"] = obj["metadata"]["resourceVersion"]
        return new

    item = await update_object(ask, parts, ask.resource, change)
    return shaped(ask, form, 200, item)


def approval(ask: Ask, parts: Parts) -> Any:
    return status(ask, parts)
