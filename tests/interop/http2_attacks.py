"""HTTP/2 connections that mean harm: what each sends, piece by piece, and whether it reads what comes back."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


def literal(name: bytes, value: bytes, first: int = 0) -> bytes:
    """A field by its name: without indexing, or with it when `first` is 0x40. Sizes below 16,000."""

    def string(text: bytes) -> bytes:
        size = len(text)
        if size < 127:
            return bytes((size,)) + text
        return bytes((127, (size - 127) & 127 | 128, (size - 127) >> 7)) + text

    return bytes((first,)) + string(name) + string(value)


def head(path: bytes = b"/wait", method: bytes = b"GET") -> bytes:
    pairs = ((b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"a"))
    return b"".join(literal(name, value) for name, value in pairs)


def start(**settings: int) -> bytes:
    numbers = {"table": 1, "window": 4}
    body = b"".join(struct.pack("!HI", numbers[name], value) for name, value in settings.items())
    return PREFACE + frame(SETTINGS, 0, 0, body)


@dataclass(frozen=True)
class Attack:
    """counters: those of the proxy that it must move; ends: whether that must end the connection; envoy_counts: whether it
    does, where its HTTP/2 library has not ended the connection without a word before.
    """

    pieces: list[bytes]
    times: int
    counters: tuple[str, ...] = ()
    reads: bool = True
    ends: bool = False
    envoy_counts: bool = True
    first: bytes = field(default_factory=start)

    def sent(self) -> Iterator[bytes]:
        yield self.first
        for _ in range(self.times):
            yield from self.pieces


def streams(count: int, *, path: bytes = b"/wait", flags: int = END_STREAM, then: bytes = b"") -> list[bytes]:
    """So many requests; `then` is a frame whose stream number is filled in."""
    out = []
    for number in range(1, 2 * count, 2):
        follow = then[:5] + number.to_bytes(4, "big") + then[9:] if then else b""
        out.append(frame(HEADERS, END_HEADERS | flags, number, head(path)) + follow)
    return out


def chunks(piece: bytes, count: int) -> list[bytes]:
    return [piece * count]


OPEN = frame(HEADERS, END_HEADERS, 1, head(b"/wait", b"POST"))
BOMB = literal(b"x-bomb", b"v" * 4000, 0x40)
CANCEL = frame(RST, 0, 0, b"\0\0\0\x08")
ATTACKS = {
    "rapid reset": Attack(
        streams(3000, then=CANCEL), 1, ("http.h.downstream_rq_too_many_premature_resets",), ends=True
    ),
    "endless CONTINUATION": Attack(
        chunks(frame(CONTINUATION, 0, 1, literal(b"x-a", b"b" * 100)), 10),
        3000,
        ("http2.header_overflow",),
        ends=True,
        first=start() + frame(HEADERS, 0, 1, head()),
    ),
    "empty CONTINUATION": Attack(
        chunks(frame(CONTINUATION, 0, 1), 10),
        1000,
        ("http2.inbound_empty_frames_flood",),
        ends=True,
        first=start() + frame(HEADERS, 0, 1, head()),
    ),
    "SETTINGS, unread": Attack(
        chunks(frame(SETTINGS, 0, 0, b"\0\x03\0\0\0\x64"), 500),
        4000,
        ("http2.outbound_control_flood",),
        reads=False,
        ends=True,
        envoy_counts=False,
    ),
    "PING, unread": Attack(
        chunks(frame(PING, 0, 0, b"12345678"), 500),
        4000,
        ("http2.outbound_control_flood",),
        reads=False,
        ends=True,
        envoy_counts=False,
    ),
    "PRIORITY": Attack(
        chunks(frame(PRIORITY, 0, 1, b"\0\0\0\3\1"), 10), 1000, ("http2.inbound_priority_frames_flood",), ends=True
    ),
    "empty DATA": Attack(
        chunks(frame(DATA, 0, 1), 1), 1000, ("http2.inbound_empty_frames_flood",), ends=True, first=start() + OPEN
    ),
    "WINDOW_UPDATE": Attack(
        chunks(frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"), 10),
        1000,
        ("http2.inbound_window_update_frames_flood",),
        ends=True,
    ),
    "window updates of a stream": Attack(
        chunks(frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), 10),
        1000,
        ("http2.inbound_window_update_frames_flood",),
        ends=True,
        first=start() + OPEN,
    ),
    "HPACK bomb": Attack(
        [frame(HEADERS, END_HEADERS | END_STREAM, n, head() + b"\xbe" * 4000) for n in range(3, 400, 2)],
        1,
        ("http2.header_overflow",),
        ends=True,
        envoy_counts=False,
        first=start() + frame(HEADERS, END_HEADERS | END_STREAM, 1, head(b"/direct") + BOMB),
    ),
    "many fields": Attack(
        [frame(HEADERS, END_HEADERS | END_STREAM, n, head() + literal(b"x", b"") * 150) for n in range(1, 40, 2)],
        1,
        ("http2.header_overflow",),
    ),
    "large table": Attack(streams(100, path=b"/direct"), 1, first=start(table=2**32 - 1)),
    "slow reader": Attack(streams(100, path=b"/big"), 1, first=start(window=0)),
    "slow reader, large windows": Attack(
        streams(100, path=b"/big"),
        1,
        reads=False,
        first=start(window=2**31 - 1) + frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\0\0"),
    ),
    "resets of what was never opened": Attack(
        [frame(RST, 0, n, b"\0\0\0\x08") for n in range(1, 1000, 2)],
        1,
        ("http.h.downstream_cx_protocol_error",),
        ends=True,
    ),
}
