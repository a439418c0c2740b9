"""Zipkin's ListOfSpans message, from spans as the JSON API has them. Source: zipkin.proto (proto3)."""

from __future__ import annotations

import socket
from typing import Any

from mizzen.wire.varint import varint

VARINT, FIXED64, LENGTH = 0, 1, 2
KINDS = {"CLIENT": 1, "SERVER": 2}


def _bytes(number: int, data: bytes) -> bytes:
    return varint(number << 3 | LENGTH) + varint(len(data)) + data if data else b""


def _text(number: int, text: str) -> bytes:
    return _bytes(number, text.encode())


def _number(number: int, value: int) -> bytes:
    return varint(number << 3 | VARINT) + varint(value) if value else b""


def _fixed(number: int, value: int) -> bytes:
    return varint(number << 3 | FIXED64) + value.to_bytes(8, "little")


def _endpoint(local: dict[str, Any]) -> bytes:
    out = _text(1, local["serviceName"])
    if "ipv4" in local:
        out += _bytes(2, socket.inet_aton(local["ipv4"]))
    if "ipv6" in local:
        out += _bytes(3, socket.inet_pton(socket.AF_INET6, local["ipv6"]))
    return out + _number(4, local["port"])


def _annotation(annotation: dict[str, Any]) -> bytes:
    return _fixed(1, annotation["timestamp"]) + _text(2, annotation["value"])


def span(made: dict[str, Any]) -> bytes:
    out = _bytes(1, bytes.fromhex(made["traceId"])) + _bytes(2, bytes.fromhex(made.get("parentId", "")))
    out += _bytes(3, bytes.fromhex(made["id"])) + _number(4, KINDS[made["kind"]]) + _text(5, made["name"])
    out += _fixed(6, made["timestamp"]) + _number(7, made["duration"]) + _bytes(8, _endpoint(made["localEndpoint"]))
    for annotation in made["annotations"]:
        out += _bytes(10, _annotation(annotation))
    for key, value in made["tags"].items():
        out += _bytes(11, _text(1, key) + _text(2, value))
    return out + _number(13, int(made.get("shared", False)))


def list_of_spans(made: list[dict[str, Any]]) -> bytes:
    return b"".join(_bytes(1, span(each)) for each in made)
