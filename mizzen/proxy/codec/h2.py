"""An HTTP/2 connection without I/O: frames in, events out to a handler, frames to send collected in `out`.

Serves both sides. The handler hears of header blocks, data, resets, GOAWAY and room to send; the three classes keep settings, flow
control, stream states and the limits that hold against floods: Sending (h2_send.py) what goes out, Control (h2_control.py) the frames
about the connection, H2 here the frames that carry messages. Not here: sockets, what a header list must look like.
Source: RFC 9113.
"""

from __future__ import annotations

from mizzen.proxy.codec.errors import CodecError
from mizzen.proxy.codec.h2_control import CONTROL, Control
from mizzen.proxy.codec.h2_frames import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME,
    FRAME_SIZE_ERROR,
    HAS_PRIORITY,
    HEADERS,
    PADDED,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    Broken,
)
from mizzen.proxy.codec.h2_stream import H2Stream


class H2(Control):
    """The connection."""

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
            elif kind == CONTINUATION:
                self._continuation(number, flags, body)
            elif kind < CONTINUATION:
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
            self._empty()
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

    def _empty(self) -> None:
        """A frame of a message with nothing in it, which does not end the stream."""
        self.empty += 1
        if self.empty > self.limits.empty_frames:
            raise Broken(ENHANCE_YOUR_CALM, "http2.inbound_empty_frames_flood")

    def _closed_frame(self, number: int) -> None:
        """DATA or HEADERS on a stream that is over: the peer may not have known yet."""
        self._control_answer()
        self._frame(RST_STREAM, 0, number, STREAM_CLOSED.to_bytes(4, "big"))

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
        if body or end:
            self.empty = 0
        else:
            self._empty()
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
        if body:
            self.empty = 0
        else:
            self._empty()
        self.block.append(body)
        self.block_size += len(body)
        self.block_frames += 1
        if self.block_size > self.max_list + FRAME or self.block_frames > 64:
            raise Broken(ENHANCE_YOUR_CALM, "http2.too_large_headers")
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
        if self.held and self.outbound + len(self.out) > self.limits.outbound_frames:
            raise Broken(ENHANCE_YOUR_CALM, "http2.outbound_flood")
        stream = H2Stream(number, self.peer_window, self.stream_window)
        if self.goaway_sent or len(self.streams) >= self.max_streams or not self.handler.h2_new(stream):
            self._control_answer()
            self._frame(RST_STREAM, 0, number, REFUSED_STREAM.to_bytes(4, "big"))
            return None
        self.streams[number] = stream
        return stream
