"""An HTTP/2 connection without I/O: frames in, events out to a handler, frames to send collected in `out`.

Serves both sides. The handler hears of header blocks, data, resets, GOAWAY and room to send; this class keeps settings, flow
control, stream states and the limits that hold against floods. Not here: sockets, what a header list must look like.
Source: RFC 9113.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from mizzen.proxy.codec.errors import CodecError
from mizzen.proxy.codec.hpack import Decoder, Encoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, HAS_PRIORITY, ACK = 1, 4, 8, 32, 1
(
    NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
    REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, HTTP_1_1_REQUIRED,
) = range(14)  # fmt: skip
TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_LIST, ENABLE_CONNECT = 1, 2, 3, 4, 5, 6, 8
MAX_WINDOW = 2**31 - 1
FRAME = 16384
MAX_CONTROL = 1000  # answers to control frames that may wait unsent, as Envoy's
MAX_EMPTY = 100  # empty frames in a row
MAX_RESETS = 500  # resets of fresh streams by a client before it is cut off


class Broken(Exception):
    """The connection must end with GOAWAY."""

    def __init__(self, code: int, details: str = "", silent: bool = False) -> None:
        super().__init__(details or f"error {code}")
        self.code = code
        self.silent = silent  # close without a word, as Envoy does after a malformed message
        self.details = details or "http2.protocol_error"


class Handler(Protocol):
    def h2_headers(self, stream: H2Stream, fields: list[tuple[bytes, bytes]], end: bool, trailers: bool) -> None: ...
    def h2_data(self, stream: H2Stream, data: bytes, end: bool) -> None: ...
    def h2_reset(self, stream: H2Stream, code: int) -> None: ...
    def h2_goaway(self, last: int, code: int) -> None: ...
    def h2_writable(self, stream: H2Stream) -> None: ...
    def h2_new(self, stream: H2Stream) -> bool: ...
    def h2_settings(self) -> None: ...


class H2Stream:
    """One stream. `app` is what the handler hangs on it."""

    __slots__ = (
        "app",
        "blocked",
        "closed_local",
        "closed_remote",
        "end_queued",
        "got_headers",
        "id",
        "length",
        "queue",
        "queued",
        "receive_window",
        "received",
        "send_window",
        "trailers_out",
        "unacked",
    )

    def __init__(self, number: int, send_window: int, receive_window: int) -> None:
        self.id = number
        self.app: Any = None
        self.send_window = send_window
        self.receive_window = receive_window
        self.unacked = 0  # received bytes whose window was not given back yet
        self.closed_local = self.closed_remote = False
        self.got_headers = False
        self.queue: deque[bytes] | None = None
        self.queued = 0
        self.end_queued = False
        self.trailers_out: list[tuple[str, str]] | None = None  # wait behind queued data
        self.blocked = False
        self.length = -1  # content-length as stated; -1 when not
        self.received = 0


class H2:
    """The connection."""

    def __init__(
        self,
        handler: Any,
        client: bool,
        stream_window: int = 1 << 20,
        connection_window: int = 16 << 20,
        max_streams: int = 1024,
        max_list: int = 60 * 1024,
        connect: bool = True,
    ) -> None:
        self.handler = handler
        self.client = client
        self.out: list[bytes] = []
        self.buffer = b""
        self.encoder = Encoder()
        self.decoder = Decoder(max_list)
        self.max_list = max_list
        self.streams: dict[int, H2Stream] = {}
        self.next_id = 1 if client else 2
        self.last_peer = 0
        self.send_window = 65535
        self.receive_window = connection_window
        self.connection_window = connection_window
        self.unacked = 0
        self.stream_window = stream_window
        self.peer_window = 65535
        self.peer_frame = FRAME
        self.peer_streams = 2**31 if not client else 100
        self.max_streams = max_streams
        self.peer_connect = False
        self.preface_left = b"" if client else PREFACE
        self.block: list[bytes] | None = None  # a header block that goes on in CONTINUATION frames
        self.block_stream = 0
        self.block_end = False
        self.block_size = 0
        self.block_frames = 0
        self.got_settings = False
        self.control = 0
        self.empty = 0
        self.resets = 0
        self.opened = 0
        self.priorities = 0
        self.goaway_sent = False
        self.goaway_last = 2**31 - 1
        self.blocked: dict[int, H2Stream] = {}
        self.dead = False
        settings = [(INITIAL_WINDOW, stream_window), (MAX_LIST, max_list)]
        if client:
            settings += [(ENABLE_PUSH, 0)]
            self.out.append(PREFACE)
        else:
            settings += [(MAX_STREAMS, max_streams)]
            if connect:
                settings += [(ENABLE_CONNECT, 1)]
        body = b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in settings)
        self._frame(SETTINGS, 0, 0, body)
        if connection_window > 65535:
            self._frame(WINDOW_UPDATE, 0, 0, (connection_window - 65535).to_bytes(4, "big"))

    # --- sending ---

    def _frame(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        self.out.append(len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body)

    def take(self) -> bytes:
        """All that is to be sent now."""
        out = self.out
        if not out:
            return b""
        self.out = []
        self.control = 0
        return out[0] if len(out) == 1 else b"".join(out)

    def open(self) -> H2Stream:
        """A new stream of ours."""
        number = self.next_id
        self.next_id += 2
        stream = self.streams[number] = H2Stream(number, self.peer_window, self.stream_window)
        return stream

    def send_headers(self, stream: H2Stream, pseudo: list[tuple[bytes, bytes]], fields: Any, end: bool) -> None:
        block = self.encoder.encode(pseudo, fields)
        self._send_block(stream, block, end)
        if end:
            self._end_local(stream)

    def _send_block(self, stream: H2Stream, block: bytes, end: bool) -> None:
        flags = END_STREAM if end else 0
        size = len(block)
        if size <= self.peer_frame:
            self.out.append(
                size.to_bytes(3, "big") + bytes((HEADERS, flags | END_HEADERS)) + stream.id.to_bytes(4, "big") + block
            )
            return
        self._frame(HEADERS, flags, stream.id, block[: self.peer_frame])
        at = self.peer_frame
        while at < size:
            piece = block[at : at + self.peer_frame]
            at += len(piece)
            self._frame(CONTINUATION, END_HEADERS if at >= size else 0, stream.id, piece)

    def send_data(self, stream: H2Stream, data: bytes, end: bool) -> None:
        """Send, or keep until there is room; `stream.queued` tells how much waits."""
        if stream.closed_local:
            return
        size = len(data)
        if not stream.queue and size <= stream.send_window and size <= self.send_window and size <= self.peer_frame:
            if not size and not end:
                return
            stream.send_window -= size
            self.send_window -= size
            head = size.to_bytes(3, "big") + (b"\x00\x01" if end else b"\x00\x00") + stream.id.to_bytes(4, "big")
            self.out.append(head + data)
            if end:
                self._end_local(stream)
            return
        if stream.queue is None:
            stream.queue = deque()
        if size <= FRAME:
            if data:
                stream.queue.append(data)
        else:  # in pieces of a frame: what is cut off the front again and again must be small
            stream.queue.extend(data[at : at + FRAME] for at in range(0, size, FRAME))
        stream.queued += size
        if end:
            stream.end_queued = True
        self._drain(stream)

    def send_trailers(self, stream: H2Stream, fields: Any) -> None:
        if stream.closed_local:
            return
        if stream.queue:
            stream.trailers_out = list(fields)
            return
        self.send_headers(stream, [], fields, True)

    def _drain(self, stream: H2Stream) -> None:
        queue = stream.queue
        while queue:
            room = min(stream.send_window, self.send_window, self.peer_frame)
            if room <= 0:
                self.blocked[stream.id] = stream
                stream.blocked = True
                return
            data = queue[0]
            if len(data) <= room:
                queue.popleft()
            else:
                queue[0] = data[room:]
                data = data[:room]
            size = len(data)
            stream.queued -= size
            stream.send_window -= size
            self.send_window -= size
            last = stream.end_queued and not queue
            self._frame(DATA, END_STREAM if last else 0, stream.id, data)
            if last:
                self._end_local(stream)
        if stream.trailers_out is not None:
            fields, stream.trailers_out = stream.trailers_out, None
            self.send_headers(stream, [], fields, True)
        elif stream.end_queued and not stream.closed_local:
            self._frame(DATA, END_STREAM, stream.id, b"")
            self._end_local(stream)
        if stream.blocked:
            stream.blocked = False
            self.blocked.pop(stream.id, None)
            self.handler.h2_writable(stream)

    def _end_local(self, stream: H2Stream) -> None:
        stream.closed_local = True
        if stream.closed_remote:
            self._forget(stream)

    def _forget(self, stream: H2Stream) -> None:
        self.streams.pop(stream.id, None)
        self.blocked.pop(stream.id, None)

    def reset(self, stream: H2Stream, code: int) -> None:
        """End a stream with RST_STREAM."""
        if stream.id in self.streams:
            self._forget(stream)
            stream.closed_local = stream.closed_remote = True
            self._frame(RST_STREAM, 0, stream.id, code.to_bytes(4, "big"))

    def goaway(self, code: int, text: bytes = b"") -> None:
        self.goaway_sent = True
        self._frame(GOAWAY, 0, 0, self.last_peer.to_bytes(4, "big") + code.to_bytes(4, "big") + text)

    def shutdown_notice(self) -> None:
        """The first of two GOAWAYs of a graceful end."""
        self._frame(GOAWAY, 0, 0, (2**31 - 1).to_bytes(4, "big") + NO_ERROR.to_bytes(4, "big"))

    def consumed(self, stream: H2Stream | None, size: int) -> None:
        """Received bytes were passed on: give their window back, in large steps."""
        self.unacked += size
        if self.unacked >= self.connection_window >> 1:
            self._frame(WINDOW_UPDATE, 0, 0, self.unacked.to_bytes(4, "big"))
            self.receive_window += self.unacked
            self.unacked = 0
        if stream is not None and not stream.closed_remote:
            stream.unacked += size
            if stream.unacked >= self.stream_window >> 1:
                self._frame(WINDOW_UPDATE, 0, stream.id, stream.unacked.to_bytes(4, "big"))
                stream.receive_window += stream.unacked
                stream.unacked = 0

    # --- receiving ---

    def feed(self, data: bytes) -> None:
        """Take in bytes. After an error GOAWAY is in `out`, and `dead` is set. Raises Broken once."""
        if self.dead:
            return
        if self.buffer:
            data = self.buffer + data
            self.buffer = b""
        try:
            self._feed(data)
        except Broken as error:
            self.dead = True
            if not error.silent:
                self.goaway(error.code, b"")
            raise

    def _feed(self, data: bytes) -> None:
        at, end = 0, len(data)
        if self.preface_left:
            need = len(self.preface_left)
            if data[:need] != self.preface_left[:end]:
                raise Broken(PROTOCOL_ERROR, "http2.invalid_preface")
            taken = min(need, end)
            self.preface_left = self.preface_left[taken:]
            at = taken
        while end - at >= 9:
            size = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if size > FRAME:
                raise Broken(FRAME_SIZE_ERROR)
            stop = at + 9 + size
            if stop > end:
                break
            kind, flags = data[at + 3], data[at + 4]
            number = int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFFFFFF
            body = data[at + 9 : stop]
            at = stop
            if self.block is not None and (kind != CONTINUATION or number != self.block_stream):
                raise Broken(PROTOCOL_ERROR)
            if not self.got_settings:
                if kind != SETTINGS or flags & ACK:
                    raise Broken(PROTOCOL_ERROR, "http2.no_settings")
                self.got_settings = True
            if kind == DATA:
                self._data(number, flags, body)
            elif kind == HEADERS:
                self._headers(number, flags, body)
            elif kind < 10:
                CONTROL[kind](self, number, flags, body)
            if self.dead:
                return
        self.buffer = data[at:]

    def _padded(self, flags: int, body: bytes) -> bytes:
        if not flags & PADDED:
            return body
        if not body or body[0] >= len(body):
            raise Broken(PROTOCOL_ERROR)
        return body[1 : len(body) - body[0]]

    def _idle(self, number: int) -> bool:
        """Whether a stream number was never used."""
        if (number & 1) == (1 if self.client else 0):
            return number >= self.next_id
        return number > self.last_peer

    def _data(self, number: int, flags: int, body: bytes) -> None:
        if not number:
            raise Broken(PROTOCOL_ERROR)
        size = len(body)
        self.receive_window -= size
        if self.receive_window < 0:
            raise Broken(FLOW_CONTROL_ERROR)
        stream = self.streams.get(number)
        if stream is None or stream.closed_remote:
            if self._idle(number):
                raise Broken(PROTOCOL_ERROR)
            self.consumed(None, size)
            if stream is not None:
                raise Broken(STREAM_CLOSED)
            self._closed_frame(number)
            return
        if not stream.got_headers:
            raise Broken(PROTOCOL_ERROR)
        stream.receive_window -= size
        if stream.receive_window < 0:
            self._stream_error(stream, FLOW_CONTROL_ERROR)
            return
        if flags & PADDED:
            body = self._padded(flags, body)
            if size - len(body):
                self.consumed(stream, size - len(body))
        end = bool(flags & END_STREAM)
        if not body and not end:
            self.empty += 1
            if self.empty > MAX_EMPTY:
                raise Broken(ENHANCE_YOUR_CALM, "http2.inbound_empty_frames_flood")
            return
        self.empty = 0
        stream.received += len(body)
        if stream.length >= 0 and (stream.received > stream.length or (end and stream.received != stream.length)):
            self._stream_error(stream, PROTOCOL_ERROR)
            return
        if end:
            stream.closed_remote = True
            if stream.closed_local:
                self._forget(stream)
        self.handler.h2_data(stream, body, end)

    def _closed_frame(self, number: int) -> None:
        """DATA or HEADERS on a stream that is over: the peer may not have known yet."""
        self._control_answer()
        self._frame(RST_STREAM, 0, number, STREAM_CLOSED.to_bytes(4, "big"))

    def _stream_error(self, stream: H2Stream, code: int) -> None:
        self._control_answer()
        self.reset(stream, code)
        self.handler.h2_reset(stream, -code)

    def _headers(self, number: int, flags: int, body: bytes) -> None:
        if not number:
            raise Broken(PROTOCOL_ERROR)
        body = self._padded(flags, body)
        if flags & HAS_PRIORITY:
            if len(body) < 5:
                raise Broken(FRAME_SIZE_ERROR)
            if int.from_bytes(body[:4], "big") & 0x7FFFFFFF == number:
                raise Broken(PROTOCOL_ERROR)
            body = body[5:]
        end = bool(flags & END_STREAM)
        if flags & END_HEADERS:
            self._block(number, body, end)
            return
        self.block, self.block_stream, self.block_end, self.block_size, self.block_frames = (
            [body],
            number,
            end,
            len(body),
            0,
        )

    def _continuation(self, number: int, flags: int, body: bytes) -> None:
        if self.block is None:
            raise Broken(PROTOCOL_ERROR)
        self.block.append(body)
        self.block_size += len(body)
        self.block_frames += 1
        if self.block_size > self.max_list + FRAME or self.block_frames > 64:
            raise Broken(ENHANCE_YOUR_CALM, "http2.continuation_flood")
        if flags & END_HEADERS:
            block, self.block = b"".join(self.block), None
            self._block(number, block, self.block_end)

    def _block(self, number: int, block: bytes, end: bool) -> None:
        stream = self.streams.get(number)
        try:
            fields = self.decoder.decode(block)
        except CodecError as error:
            code = ENHANCE_YOUR_CALM if "large" in error.details else COMPRESSION_ERROR
            raise Broken(code, error.details) from error
        if stream is None:
            stream = self._new_stream(number)
            if stream is None:
                return
        elif stream.closed_remote:
            raise Broken(STREAM_CLOSED)
        trailers = stream.got_headers and not (self.client and any(name == b":status" for name, _ in fields[:1]))
        if trailers and not end:
            self._stream_error(stream, PROTOCOL_ERROR)
            return
        informational = (
            self.client and fields[:1] and fields[0][0] == b":status" and fields[0][1][:1] == b"1" and not end
        )
        if not informational:
            stream.got_headers = True
        if end:
            if stream.length > 0 and stream.received != stream.length and (not self.client or trailers):
                self._stream_error(stream, PROTOCOL_ERROR)
                return
            stream.closed_remote = True
            if stream.closed_local:
                self._forget(stream)
        self.handler.h2_headers(stream, fields, end, trailers)

    def _new_stream(self, number: int) -> H2Stream | None:
        if self.client:
            if self._idle(number) or not number & 1:
                raise Broken(PROTOCOL_ERROR)
            return None
        if not number & 1:
            raise Broken(PROTOCOL_ERROR)
        if number <= self.last_peer:
            raise Broken(STREAM_CLOSED)
        self.last_peer = number
        self.opened += 1
        stream = H2Stream(number, self.peer_window, self.stream_window)
        if self.goaway_sent or len(self.streams) >= self.max_streams or not self.handler.h2_new(stream):
            self._control_answer()
            self._frame(RST_STREAM, 0, number, REFUSED_STREAM.to_bytes(4, "big"))
            return None
        self.streams[number] = stream
        return stream

    # --- control frames ---

    def _control_answer(self) -> None:
        self.control += 1
        if self.control > MAX_CONTROL:
            raise Broken(ENHANCE_YOUR_CALM, "http2.outbound_control_flood")

    def _priority(self, number: int, flags: int, body: bytes) -> None:
        if not number:
            raise Broken(PROTOCOL_ERROR)
        if len(body) != 5:
            raise Broken(FRAME_SIZE_ERROR)
        if int.from_bytes(body[:4], "big") & 0x7FFFFFFF == number:
            raise Broken(PROTOCOL_ERROR)
        self.priorities += 1
        if self.priorities > 100 * (1 + self.opened):
            raise Broken(ENHANCE_YOUR_CALM, "http2.inbound_priority_frames_flood")

    def _rst(self, number: int, flags: int, body: bytes) -> None:
        if not number or self._idle(number):
            raise Broken(PROTOCOL_ERROR)
        if len(body) != 4:
            raise Broken(FRAME_SIZE_ERROR)
        stream = self.streams.get(number)
        if stream is None:
            return
        if not self.client:
            self.resets += 1
            if self.resets > MAX_RESETS and self.resets * 2 > self.opened:
                raise Broken(ENHANCE_YOUR_CALM, "http2.too_many_premature_resets")
        self._forget(stream)
        stream.closed_local = stream.closed_remote = True
        self.handler.h2_reset(stream, int.from_bytes(body, "big"))

    def _settings(self, number: int, flags: int, body: bytes) -> None:
        if number:
            raise Broken(PROTOCOL_ERROR)
        if flags & ACK:
            if body:
                raise Broken(FRAME_SIZE_ERROR)
            return
        if len(body) % 6:
            raise Broken(FRAME_SIZE_ERROR)
        for at in range(0, len(body), 6):
            self._setting(int.from_bytes(body[at : at + 2], "big"), int.from_bytes(body[at + 2 : at + 6], "big"))
        self._control_answer()
        self._frame(SETTINGS, ACK, 0, b"")
        self.handler.h2_settings()

    def _setting(self, key: int, value: int) -> None:
        if key == INITIAL_WINDOW:
            if value > MAX_WINDOW:
                raise Broken(FLOW_CONTROL_ERROR)
            change = value - self.peer_window
            self.peer_window = value
            for stream in list(self.streams.values()):
                stream.send_window += change
                if stream.send_window > MAX_WINDOW:
                    raise Broken(FLOW_CONTROL_ERROR)
                if change > 0 and stream.queue:
                    self._drain(stream)
        elif key == MAX_FRAME:
            if not FRAME <= value <= 2**24 - 1:
                raise Broken(PROTOCOL_ERROR)
            self.peer_frame = FRAME  # larger frames only hold other streams up
        elif key == ENABLE_PUSH:
            if value > 1 or (self.client and value):
                raise Broken(PROTOCOL_ERROR)
        elif key == MAX_STREAMS:
            self.peer_streams = value
        elif key == TABLE_SIZE:
            self.encoder.set_table_size(value)
        elif key == ENABLE_CONNECT:
            if value > 1:
                raise Broken(PROTOCOL_ERROR)
            self.peer_connect = bool(value)

    def _push(self, number: int, flags: int, body: bytes) -> None:
        raise Broken(PROTOCOL_ERROR)

    def _ping(self, number: int, flags: int, body: bytes) -> None:
        if number:
            raise Broken(PROTOCOL_ERROR)
        if len(body) != 8:
            raise Broken(FRAME_SIZE_ERROR)
        if not flags & ACK:
            self._control_answer()
            self._frame(PING, ACK, 0, body)

    def _goaway(self, number: int, flags: int, body: bytes) -> None:
        if number:
            raise Broken(PROTOCOL_ERROR)
        if len(body) < 8:
            raise Broken(FRAME_SIZE_ERROR)
        self.goaway_last = int.from_bytes(body[:4], "big") & 0x7FFFFFFF
        self.handler.h2_goaway(self.goaway_last, int.from_bytes(body[4:8], "big"))

    def _window(self, number: int, flags: int, body: bytes) -> None:
        if len(body) != 4:
            raise Broken(FRAME_SIZE_ERROR)
        step = int.from_bytes(body, "big") & 0x7FFFFFFF
        if not number:
            if not step:
                raise Broken(PROTOCOL_ERROR)
            self.send_window += step
            if self.send_window > MAX_WINDOW:
                raise Broken(FLOW_CONTROL_ERROR)
            for waiting in list(self.blocked.values()):
                self._drain(waiting)
                if self.send_window <= 0:
                    break
            return
        stream = self.streams.get(number)
        if stream is None:
            if self._idle(number):
                raise Broken(PROTOCOL_ERROR)
            return
        if not step:
            self._stream_error(stream, PROTOCOL_ERROR)
            return
        stream.send_window += step
        if stream.send_window > MAX_WINDOW:
            self._stream_error(stream, FLOW_CONTROL_ERROR)
            return
        if stream.queue:
            self._drain(stream)


CONTROL: dict[int, Any] = {
    PRIORITY: H2._priority,
    RST_STREAM: H2._rst,
    SETTINGS: H2._settings,
    PUSH_PROMISE: H2._push,
    PING: H2._ping,
    GOAWAY: H2._goaway,
    WINDOW_UPDATE: H2._window,
    CONTINUATION: H2._continuation,
}
