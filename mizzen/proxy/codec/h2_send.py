"""The sending half of an HTTP/2 connection: header blocks, data within the peer's windows, resets, GOAWAY.

What does not fit the windows waits in its stream's queue until `_drain`. Frames gather in `out` until `take`. Not here: what the peer
sends (h2.py, h2_control.py). Source: RFC 9113, sections 4 to 6.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from mizzen.proxy.codec.h2_frames import (
    CONTINUATION,
    DATA,
    ENABLE_CONNECT,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FRAME,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW,
    MAX_LIST,
    MAX_STREAMS,
    NO_ERROR,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Limits,
)
from mizzen.proxy.codec.h2_stream import H2Stream
from mizzen.proxy.codec.hpack import Decoder, Encoder


class Sending:
    """Frames out; the state that both halves share is made here."""

    def __init__(
        self,
        handler: Any,
        client: bool,
        stream_window: int = 1 << 20,
        connection_window: int = 16 << 20,
        max_streams: int = 1024,
        max_list: int = 60 * 1024,
        connect: bool = True,
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits if limits is not None else Limits()
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
        self.held = False  # the peer does not read: nothing of what is taken has left
        self.outbound = 0  # frames taken while held
        self.data_sent = 0
        self.window_updates = 0
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

    def _frame(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        self.out.append(len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body)

    def take(self) -> bytes:
        """All that is to be sent now."""
        out = self.out
        if not out:
            return b""
        self.out = []
        if self.held:
            self.outbound += len(out)
        else:
            self.control = self.outbound = 0
        return out[0] if len(out) == 1 else b"".join(out)

    def open(self) -> H2Stream:
        """A new stream of ours."""
        number = self.next_id
        self.next_id += 2
        self.opened += 1
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
            self.data_sent += 1
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
            self.data_sent += 1
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

    def _idle(self, number: int) -> bool:
        """Whether a stream number was never used."""
        if (number & 1) == (1 if self.client else 0):
            return number >= self.next_id
        return number > self.last_peer
