"""Hash policies: the number of a request that consistent hashing places on a ring or in a table; and the hash functions.

Not here: rings and tables (ring_hash.py). Source: envoy.config.route.v3.RouteAction.HashPolicy; xxHash's specification; MurmurHash2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.matchers import query_parameters, regex
from mizzen.proxy.config.values import optional_seconds
from mizzen.proxy.http.header_ops import APPEND, Op

MASK = (1 << 64) - 1
P1, P2, P3, P4, P5 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)


def _round(acc: int, lane: int) -> int:
    acc = (acc + lane * P2) & MASK
    return (((acc << 31) | (acc >> 33)) & MASK) * P1 & MASK


def xxhash64(data: bytes, seed: int = 0) -> int:
    """XXH64 of some bytes."""
    size, at = len(data), 0
    word = int.from_bytes
    if size >= 32:
        v1, v2, v3, v4 = (seed + P1 + P2) & MASK, (seed + P2) & MASK, seed, (seed - P1) & MASK
        while at <= size - 32:
            v1 = _round(v1, word(data[at : at + 8], "little"))
            v2 = _round(v2, word(data[at + 8 : at + 16], "little"))
            v3 = _round(v3, word(data[at + 16 : at + 24], "little"))
            v4 = _round(v4, word(data[at + 24 : at + 32], "little"))
            at += 32
        acc = (
            ((v1 << 1) | (v1 >> 63)) + ((v2 << 7) | (v2 >> 57)) + ((v3 << 12) | (v3 >> 52)) + ((v4 << 18) | (v4 >> 46))
        ) & MASK
        for v in (v1, v2, v3, v4):
            acc = ((acc ^ _round(0, v)) * P1 + P4) & MASK
    else:
        acc = (seed + P5) & MASK
    acc = (acc + size) & MASK
    while at + 8 <= size:
        acc ^= _round(0, word(data[at : at + 8], "little"))
        acc = ((((acc << 27) | (acc >> 37)) & MASK) * P1 + P4) & MASK
        at += 8
    if at + 4 <= size:
        acc ^= word(data[at : at + 4], "little") * P1 & MASK
        acc = ((((acc << 23) | (acc >> 41)) & MASK) * P2 + P3) & MASK
        at += 4
    for byte in data[at:]:
        acc ^= byte * P5 & MASK
        acc = (((acc << 11) | (acc >> 53)) & MASK) * P1 & MASK
    acc ^= acc >> 33
    acc = acc * P2 & MASK
    acc ^= acc >> 29
    acc = acc * P3 & MASK
    return acc ^ (acc >> 32)


def murmur2(data: bytes, seed: int = 0xC70F6907) -> int:
    """MurmurHash64A, as libstdc++'s std::hash."""
    mul = 0xC6A4A7935BD1E995
    size = len(data)
    acc = seed ^ (size * mul & MASK)
    whole = size & ~7
    for at in range(0, whole, 8):
        lane = int.from_bytes(data[at : at + 8], "little") * mul & MASK
        lane = (lane ^ (lane >> 47)) * mul & MASK
        acc = (acc ^ lane) * mul & MASK
    if size & 7:
        acc = (acc ^ int.from_bytes(data[whole:], "little")) * mul & MASK
    acc = (acc ^ (acc >> 47)) * mul & MASK
    return acc ^ (acc >> 47)


def text_hash(text: str) -> int:
    return xxhash64(text.encode("utf-8", "surrogateescape"))


class HashPolicy:
    """One policy: `hash(stream)` gives a number, or None when the request lacks what it looks at."""

    __slots__ = ("hash", "terminal")

    def __init__(self, hash_: Callable[[Any], int | None], terminal: bool) -> None:
        self.hash = hash_
        self.terminal = terminal


def _header(message: Any) -> Callable[[Any], int | None]:
    name = message.header_name.lower()
    rewrite: Callable[[str], str] | None = None
    if message.HasField("regex_rewrite"):
        pattern = regex(message.regex_rewrite.pattern.regex)
        replacement = message.regex_rewrite.substitution
        rewrite = lambda text: str(pattern.sub(replacement, text))  # noqa: E731

    def hashed(stream: Any) -> int | None:
        request = stream.request
        if request.more is None or name not in request.more:
            value = request.get(name)
            return None if value is None else text_hash(rewrite(value) if rewrite is not None else value)
        values = request.values(name)
        out = 0
        for value in sorted(rewrite(each) if rewrite is not None else each for each in values):
            out = xxhash64(value.encode("utf-8", "surrogateescape"), out)
        return out

    return hashed


def _cookie(message: Any) -> Callable[[Any], int | None]:
    from mizzen.proxy.filters.metadata import cookie

    name, path = message.name, message.path
    ttl = optional_seconds(message, "ttl")
    attributes = "".join(
        f"; {each.name}={each.value}" if each.value else f"; {each.name}" for each in message.attributes
    )

    def hashed(stream: Any) -> int | None:
        value = cookie(stream.request, name)
        if value:
            return text_hash(value)
        if ttl is None:
            return None
        conn = stream.conn
        made = f"{text_hash(f'{conn.remote}{conn.local}'):016x}"
        parts = [f'{name}="{made}"']
        if ttl:
            parts.append(f"Max-Age={int(ttl)}")
        if path:
            parts.append(f"Path={path}")
        line = "; ".join(parts) + attributes + "; HttpOnly"
        stream.response_ops = (*stream.response_ops, Op(APPEND, "set-cookie", line, None, True))
        return text_hash(made)

    return hashed


def _query(message: Any) -> Callable[[Any], int | None]:
    name = message.name
    return lambda stream: (
        None if (value := query_parameters(stream.request.path).get(name)) is None else text_hash(value)
    )


def _source_ip(stream: Any) -> int | None:
    address = stream.remote or stream.conn.remote
    return text_hash(address[0]) if address[1] >= 0 else None


def hash_policy(message: Any) -> HashPolicy:
    kind = message.WhichOneof("policy_specifier")
    if kind == "header":
        hashed = _header(message.header)
    elif kind == "cookie":
        hashed = _cookie(message.cookie)
    elif kind == "query_parameter":
        hashed = _query(message.query_parameter)
    elif kind == "connection_properties":
        hashed = _source_ip if message.connection_properties.source_ip else lambda stream: None
    elif kind == "filter_state":
        key = message.filter_state.key
        hashed = lambda stream: None if (value := stream.get_filter_state(key)) is None else text_hash(str(value))  # noqa: E731
    elif kind is None:
        raise ConfigError("RouteAction.hash_policy: policy_specifier is required")
    else:
        raise Unsupported(f"RouteAction.hash_policy.{kind}")
    return HashPolicy(hashed, message.terminal)


def hash_policies(messages: Any) -> tuple[HashPolicy, ...]:
    """The compiled hash policies of a route."""
    return tuple(hash_policy(message) for message in messages)


def request_hash(policies: tuple[HashPolicy, ...], stream: Any) -> int | None:
    """The number of a request; None when no policy has one."""
    out: int | None = None
    for policy in policies:
        new = policy.hash(stream)
        if new is not None:
            out = new if out is None else (((out << 1) | (out >> 63)) & MASK) ^ new
        if policy.terminal and out is not None:
            break
    return out
