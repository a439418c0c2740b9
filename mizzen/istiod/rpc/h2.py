"""The server's side of an HTTP/2 connection, without I/O: bytes in, events to a handler, buffers to write out.

What is to be sent is queued as it is handed in and never copied: a buffer that many connections send is cut into
frames by slices, as far as the peer's windows and the caller's room allow (`pull`). So a peer that does not read
costs nothing but its place in line. Not here: sockets and gRPC (call.py). Source: RFC 9113. Not built, for gRPC has
no use for them: priorities (read over), push, trailers of requests (they end the request).
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from mizzen.api.errors import PeerError
from mizzen.wire.hpack import Decoder, HpackError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 1, 1, 4, 8, 32
NO_ERROR, PROTOCOL_ERROR, _, FLOW_CONTROL_ERROR, _, STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = range(9)
COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 9, 11
INITIAL_WINDOW, MAX_FRAME, MAX_STREAMS, MAX_LIST = 4, 5, 3, 6  # settings
FRAME = 16384
MAX_WINDOW = 2**31 - 1
STREAM_WINDOW, CONNECTION_WINDOW = 1 << 20, 16 << 20
STREAMS = 100_000  # istiod's limit
HEADER_BYTES = 64 << 10
MAX_CONTROL = 1_000  # answers that may wait unsent
MAX_RESETS = 1_000  # resets by the peer of streams that never said anything

Buffer = bytes | memoryview
Fields = Sequence[tuple[bytes, bytes]]


class Broken(PeerError):
    """The connection ends with GOAWAY and this code."""

    def __init__(self, code: int, details: str) -> None:
        super().__init__(details)
        self.code = code


class Handler(Protocol):
    """Who hears of streams. end: the peer has said its last word in it."""

    def opened(self, stream: H2Stream, fields: Fields, end: bool) -> None: ...

    def received(self, stream: H2Stream, data: bytes, end: bool) -> None: ...

    def reset(self, stream: H2Stream) -> None: ...

    def drained(self, stream: H2Stream) -> None: ...


class H2Stream:
    """One stream. app: what the handler hangs on it. parts: what waits to be sent; last: the trailers behind it."""

    __slots__ = ("app", "credit", "ended", "id", "last", "left", "parts", "window")

    def __init__(self, number: int, window: int) -> None:
        self.id, self.window = number, window
        self.app: Any = None
        self.parts: deque[Buffer] = deque()
        self.last: bytes | None = None
        self.ended = False  # by the peer
        self.left = STREAM_WINDOW  # what the peer may still send
        self.credit = 0  # consumed, not given back yet


_head = struct.Struct("!BHBBI").pack


def frame_head(length: int, kind: int, flags: int, stream: int) -> bytes:
    return _head(length >> 16, length & 0xFFFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return frame_head(len(body), kind, flags, stream) + body


class H2Server:
    """The connection. `feed` what came, then write what `pull` gives."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.streams: dict[int, H2Stream] = {}
        self.window = 65535
        self._peer_window, self._peer_frame = 65535, FRAME
        self._left, self._credit = CONNECTION_WINDOW, 0
        self._decoder = Decoder(HEADER_BYTES)
        self._rest = b""
        self._preface = PREFACE
        self._newest = 0
        self._resets = 0
        self._block: tuple[int, int, bytearray] | None = None  # stream, flags, header block so far
        self._ready: dict[int, H2Stream] = {}  # streams with something to send
        settings = {MAX_STREAMS: STREAMS, INITIAL_WINDOW: STREAM_WINDOW, MAX_LIST: HEADER_BYTES}
        body = b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in settings.items())
        grown = CONNECTION_WINDOW - 65535
        self._control: list[Buffer] = [
            frame(SETTINGS, 0, 0, body),
            frame(WINDOW_UPDATE, 0, 0, grown.to_bytes(4, "big")),
        ]

    # Sending

    def headers(self, stream: H2Stream, block: bytes, end: bool = False) -> None:
        """A response's headers, encoded already, before anything else of the stream; end: they are all there is."""
        self._control.append(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream.id, block))
        if end:
            self._close(stream)

    def send(self, stream: H2Stream, *parts: Buffer) -> None:
        """Queue data. Large parts should be memoryviews, which are cut without copying."""
        stream.parts.extend(parts)
        self._ready[stream.id] = stream

    def finish(self, stream: H2Stream, trailers: bytes) -> None:
        """The last word of a stream, behind what is queued."""
        stream.last = trailers
        self._ready[stream.id] = stream

    def ping(self) -> None:
        self._control.append(frame(PING, 0, 0, bytes(8)))

    def goaway(self, code: int) -> None:
        self._control.append(frame(GOAWAY, 0, 0, self._newest.to_bytes(4, "big") + code.to_bytes(4, "big")))

    def consumed(self, stream: H2Stream, size: int) -> None:
        """Bytes of a stream are dealt with; the peer may send as many more."""
        stream.credit += size
        if stream.credit > STREAM_WINDOW // 2 and not stream.ended:
            self._grant(stream.id, stream.credit)
            stream.left += stream.credit
            stream.credit = 0
        self._credit += size
        if self._credit > CONNECTION_WINDOW // 2:
            self._grant(0, self._credit)
            self._left += self._credit
            self._credit = 0

    def pull(self, room: int) -> list[Buffer]:
        """What can be sent now: answers to the peer, and about `room` bytes of data at most."""
        out, self._control = self._control, []
        for stream in list(self._ready.values()) if self._ready else ():
            while stream.parts and room > 0 and self.window > 0 and stream.window > 0:
                taken = self._data(stream, min(self._peer_frame, self.window, stream.window), out)
                self.window -= taken
                stream.window -= taken
                room -= taken
            if not stream.parts:
                del self._ready[stream.id]
                self._emptied(stream, out)
        return out

    @staticmethod
    def _data(stream: H2Stream, limit: int, out: list[Buffer]) -> int:
        """One DATA frame; the bytes taken."""
        at, taken, parts = len(out), 0, stream.parts
        out.append(b"")
        while parts and taken < limit:
            part = parts[0]
            size = min(len(part), limit - taken)
            if size == len(part):
                out.append(parts.popleft())
            else:
                out.append(part[:size])
                parts[0] = part[size:]
            taken += size
        out[at] = frame_head(taken, DATA, 0, stream.id)
        return taken

    def _emptied(self, stream: H2Stream, out: list[Buffer]) -> None:
        if stream.last is None:
            self.handler.drained(stream)
            return
        out.append(frame(HEADERS, END_HEADERS | END_STREAM, stream.id, stream.last))
        self._close(stream)

    def _close(self, stream: H2Stream) -> None:
        """Nothing more is sent. What the peer still sends is dropped; a reset, which could tell it to stop, may hide
        the status from grpcio's client when both come at once.
        """
        self._ready.pop(stream.id, None)
        self.streams.pop(stream.id, None)

    def _grant(self, stream: int, size: int) -> None:
        self._control.append(frame(WINDOW_UPDATE, 0, stream, size.to_bytes(4, "big")))

    # Receiving

    def feed(self, data: bytes) -> None:
        """Take in what came. Raises Broken."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        at, size = 0, len(data)
        if self._preface:
            if not data.startswith(self._preface[:size]):
                raise Broken(PROTOCOL_ERROR, "this is no HTTP/2 connection")
            if size < len(self._preface):
                self._rest = data
                return
            at, self._preface = len(self._preface), b""
        while size - at >= 9:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if length > FRAME:
                raise Broken(FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            end = at + 9 + length
            if end > size:
                break
            number = int.from_bytes(data[at + 5 : at + 9], "big") & MAX_WINDOW
            self._frame(data[at + 3], data[at + 4], number, data[at + 9 : end])
            at = end
        if at < size:
            self._rest = data[at:]
        if len(self._control) > MAX_CONTROL:
            raise Broken(ENHANCE_YOUR_CALM, "answers pile up")

    def _frame(self, kind: int, flags: int, number: int, body: bytes) -> None:
        if (self._block is not None) is not (kind == CONTINUATION):
            raise Broken(PROTOCOL_ERROR, "a header block must go on in the next frame")
        read = READERS.get(kind)
        if read is not None:
            read(self, flags, number, body)

    def _read_data(self, flags: int, number: int, body: bytes) -> None:
        self._left -= len(body)
        stream = self.streams.get(number)
        if stream is None or stream.ended:
            if not 0 < number <= self._newest:
                raise Broken(PROTOCOL_ERROR, "data of a stream that was not opened")
            self._forgotten(len(body))
            return
        stream.left -= len(body)
        if self._left < 0 or stream.left < 0:
            raise Broken(FLOW_CONTROL_ERROR, "more than the window")
        data = _unpadded(flags, body)
        if len(data) != len(body):
            self.consumed(stream, len(body) - len(data))
        stream.ended = bool(flags & END_STREAM)
        self.handler.received(stream, data, stream.ended)

    def _forgotten(self, size: int) -> None:
        """Data of a stream that is over counts on the connection alone."""
        self._credit += size
        if self._credit > CONNECTION_WINDOW // 2:
            self._grant(0, self._credit)
            self._left += self._credit
            self._credit = 0

    def _read_headers(self, flags: int, number: int, body: bytes) -> None:
        block = _unpadded(flags, body)
        if flags & HAS_PRIORITY:
            block = block[5:]
        self._block = (number, flags, bytearray(block))
        if flags & END_HEADERS:
            self._read_block()

    def _read_continuation(self, flags: int, number: int, body: bytes) -> None:
        assert self._block is not None
        if self._block[0] != number:
            raise Broken(PROTOCOL_ERROR, "a header block of another stream")
        self._block[2].extend(body)
        if len(self._block[2]) > HEADER_BYTES:
            raise Broken(ENHANCE_YOUR_CALM, "a header block without end")
        if flags & END_HEADERS:
            self._read_block()

    def _read_block(self) -> None:
        assert self._block is not None
        (number, flags, block), self._block = self._block, None
        try:
            fields = self._decoder.decode(bytes(block))
        except HpackError as error:
            raise Broken(COMPRESSION_ERROR, str(error)) from error
        end = bool(flags & END_STREAM)
        stream = self.streams.get(number)
        if stream is not None:
            stream.ended = True
            self.handler.received(stream, b"", True)
        elif number % 2 == 1 and number > self._newest:
            self._newest = number
            stream = self.streams[number] = H2Stream(number, self._peer_window)
            stream.ended = end
            self.handler.opened(stream, fields, end)
        elif number % 2 == 0:
            raise Broken(PROTOCOL_ERROR, "clients open odd streams")

    def _read_reset(self, flags: int, number: int, body: bytes) -> None:
        stream = self.streams.pop(number, None)
        self._ready.pop(number, None)
        if stream is not None:
            self._resets += stream.left == STREAM_WINDOW
            if self._resets > MAX_RESETS:
                raise Broken(ENHANCE_YOUR_CALM, "streams are opened and reset")
            self.handler.reset(stream)

    def _read_settings(self, flags: int, number: int, body: bytes) -> None:
        if flags & ACK:
            return
        if len(body) % 6 or number:
            raise Broken(FRAME_SIZE_ERROR, "malformed settings")
        for at in range(0, len(body), 6):
            key, value = int.from_bytes(body[at : at + 2], "big"), int.from_bytes(body[at + 2 : at + 6], "big")
            if key == INITIAL_WINDOW:
                if value > MAX_WINDOW:
                    raise Broken(FLOW_CONTROL_ERROR, "a window too large")
                for stream in self.streams.values():
                    stream.window += value - self._peer_window
                self._peer_window = value
            elif key == MAX_FRAME:
                if not FRAME <= value < 1 << 24:
                    raise Broken(PROTOCOL_ERROR, "a frame size out of range")
                self._peer_frame = value
        self._control.append(frame(SETTINGS, ACK, 0, b""))

    def _read_ping(self, flags: int, number: int, body: bytes) -> None:
        if not flags & ACK:
            self._control.append(frame(PING, ACK, 0, body[:8]))

    def _read_window(self, flags: int, number: int, body: bytes) -> None:
        grown = int.from_bytes(body[:4], "big") & MAX_WINDOW
        if not number:
            self.window += grown
            if not grown or self.window > MAX_WINDOW:
                raise Broken(FLOW_CONTROL_ERROR if grown else PROTOCOL_ERROR, "a bad window update")
            return
        stream = self.streams.get(number)
        if stream is not None:
            stream.window += grown
            if stream.window > MAX_WINDOW:
                raise Broken(FLOW_CONTROL_ERROR, "a bad window update")

    def _refuse_push(self, flags: int, number: int, body: bytes) -> None:
        raise Broken(PROTOCOL_ERROR, "clients do not push")


def _unpadded(flags: int, body: bytes) -> bytes:
    if not flags & PADDED:
        return body
    if not body or body[0] >= len(body):
        raise Broken(PROTOCOL_ERROR, "more padding than frame")
    return body[1 : len(body) - body[0]]


READERS: dict[int, Callable[[H2Server, int, int, bytes], None]] = {
    DATA: H2Server._read_data,
    HEADERS: H2Server._read_headers,
    RST_STREAM: H2Server._read_reset,
    SETTINGS: H2Server._read_settings,
    PUSH_PROMISE: H2Server._refuse_push,
    PING: H2Server._read_ping,
    WINDOW_UPDATE: H2Server._read_window,
    CONTINUATION: H2Server._read_continuation,
}
