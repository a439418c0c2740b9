"""Discovery responses put together from ready bytes: a resource is serialised once, then only copied.

A response is the concatenation of its fields, so the part that many proxies share (the resources) and the part
that is one proxy's own (nonce) are joined without parsing anything. Not here: what to send. Source:
envoy.service.discovery.v3 DiscoveryResponse {version_info 1, resources 2, type_url 4, nonce 5, control_plane 6},
DeltaDiscoveryResponse {system_version_info 1, resources 2, type_url 4, nonce 5, removed_resources 6,
control_plane 7}, Resource {resource 2, name 3}, google.protobuf.Any {type_url 1, value 2}.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mizzen.wire.varint import varint

VERSION, RESOURCES, TYPE_URL, NONCE = 1, 2, 4, 5
DELTA_REMOVED = 6
CONTROL_PLANE = {False: 6, True: 7}  # by "is delta"


def head(number: int, length: int) -> bytes:
    """Tag and length of a length-delimited field."""
    return varint(number << 3 | 2) + varint(length)


def field(number: int, data: bytes | str) -> bytes:
    """A length-delimited field: bytes, a message, or a string."""
    raw = data.encode() if isinstance(data, str) else data
    return head(number, len(raw)) + raw


class Entry:
    """One resource in its serialised form. `any` is the google.protobuf.Any; the heads make it an element of
    `resources`.
    """

    __slots__ = ("any", "delta_head", "name", "whole_head")

    def __init__(self, name: str, packed: bytes) -> None:
        self.name, self.any = name, packed
        self.whole_head = head(RESOURCES, len(packed))
        inner = field(3, name) + head(2, len(packed))
        self.delta_head = head(RESOURCES, len(inner) + len(packed)) + inner


def pack(type_url: str, message: Any) -> bytes:
    """A message, or its serialised bytes, as a google.protobuf.Any. Maps are written in a fixed order, so equal
    is equal.
    """
    value = message if isinstance(message, bytes) else message.SerializeToString(deterministic=True)
    return field(1, type_url) + field(2, value)


def resources(entries: Iterable[Entry], delta: bool) -> bytes:
    """The `resources` of a response; shareable between proxies."""
    parts: list[bytes] = []
    for entry in entries:
        parts.append(entry.delta_head if delta else entry.whole_head)
        parts.append(entry.any)
    return b"".join(parts)


def response(
    type_url: str,
    version: str,
    nonce: str,
    body: bytes,
    *,
    delta: bool,
    removed: Iterable[str] = (),
    control_plane: str = "",
) -> bytes:
    """A whole DiscoveryResponse or DeltaDiscoveryResponse. body: from `resources`. control_plane: its identifier."""
    parts = [field(VERSION, version), body, field(TYPE_URL, type_url), field(NONCE, nonce)]
    parts += [field(DELTA_REMOVED, name) for name in removed]
    if control_plane:
        parts.append(field(CONTROL_PLANE[delta], field(1, control_plane)))
    return b"".join(parts)
