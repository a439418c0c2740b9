"""SPDY/3.1 framing: whole and byte by byte; what is malformed is a SpdyError and nothing else."""

from __future__ import annotations

import struct
import zlib

import pytest

from mizzen.runtime.cri.streaming.spdy import (
    DICTIONARY,
    Codec,
    Data,
    Event,
    Goaway,
    Opened,
    Ping,
    Reset,
    SpdyError,
)


def conversation() -> tuple[bytes, list[Event]]:
    client = Codec()
    first, second = {"streamtype": "error"}, {"streamType": "stdin", "port": "80"}
    sent = [
        client.open(1, first),
        client.open(3, second),
        client.data(3, b"hello"),
        client.data(3, b"", end=True),
        client.ping(7),
        client.reset(1),
        client.goaway(),
    ]
    told: list[Event] = [
        Opened(1, first, False),
        Opened(3, {"streamtype": "stdin", "port": "80"}, False),
        Data(3, b"hello", False),
        Data(3, b"", True),
        Ping(7),
        Reset(1),
        Goaway(),
    ]
    return b"".join(sent), told


@pytest.mark.parametrize("size", [1, 3, 8, 100_000])
def test_frames_however_they_arrive(size: int) -> None:
    data, told = conversation()
    server = Codec()
    assert [event for at in range(0, len(data), size) for event in server.feed(data[at : at + size])] == told


def test_the_dictionary_is_the_drafts() -> None:
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2  # the id that every peer's deflate stream names


def test_a_reply_is_read_by_a_client() -> None:
    frame = Codec().reply(5, {"a": "b"})
    word, size = struct.unpack_from(">II", frame)
    assert word == 0x80030002
    assert size & 0xFFFFFF == len(frame) - 8
    assert struct.unpack_from(">I", frame, 8) == (5,)
    raw = zlib.decompressobj(zdict=DICTIONARY).decompress(frame[12:])
    assert raw == struct.pack(">I", 1) + b"\0\0\0\1a\0\0\0\1b"


def control(kind: int, body: bytes, version: int = 3) -> bytes:
    return struct.pack(">HHI", 0x8000 | version, kind, len(body)) + body


def block(raw: bytes) -> bytes:
    deflate = zlib.compressobj(zdict=DICTIONARY)
    return struct.pack(">IIH", 1, 0, 0) + deflate.compress(raw) + deflate.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize(
    "data",
    [
        control(6, b"\0\0\0\1", version=2),
        control(1, b""),
        control(1, b"\0\0"),
        control(1, struct.pack(">IIH", 1, 0, 0) + b"not deflate"),
        control(1, block(struct.pack(">I", 1))),
        control(1, block(struct.pack(">II", 1, 99) + b"short")),
        control(1, block(struct.pack(">III", 1, 1, 99) + b"a")),
        control(3, b"\0"),
        control(6, b""),
    ],
    ids=[
        "version",
        "no stream",
        "half a stream",
        "not deflate",
        "no pair",
        "name too short",
        "pair cut",
        "reset",
        "ping",
    ],
)
def test_what_is_malformed_is_refused(data: bytes) -> None:
    with pytest.raises(SpdyError):
        Codec().feed(data)
