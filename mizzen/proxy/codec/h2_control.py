"""The control frames of an HTTP/2 connection: SETTINGS, PING, RST_STREAM, PRIORITY, GOAWAY, WINDOW_UPDATE, and their floods.

Source: RFC 9113, section 6.
"""

from __future__ import annotations

from typing import Any, Final

from mizzen.proxy.codec.h2_frames import (
    ACK,
    ENABLE_CONNECT,
    ENABLE_PUSH,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME,
    FRAME_SIZE_ERROR,
    GOAWAY,
    INITIAL_WINDOW,
    MAX_FRAME,
    MAX_STREAMS,
    MAX_WINDOW,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    TABLE_SIZE,
    WINDOW_UPDATE,
    Broken,
)
from mizzen.proxy.codec.h2_send import Sending
from mizzen.proxy.codec.h2_stream import H2Stream


class Control(Sending):
    """Answers control frames."""

    def _control_answer(self) -> None:
        self.control += 1
        if self.control > self.limits.outbound_control:
            raise Broken(ENHANCE_YOUR_CALM, "http2.outbound_control_flood")

    def _stream_error(self, stream: H2Stream, code: int) -> None:
        self._control_answer()
        self.reset(stream, code)
        self.handler.h2_reset(stream, -code)

    def _priority(self, number: int, flags: int, body: bytes) -> None:
        if not number:
            raise Broken(PROTOCOL_ERROR)
        if len(body) != 5:
            raise Broken(FRAME_SIZE_ERROR)
        if int.from_bytes(body[:4], "big") & 0x7FFFFFFF == number:
            raise Broken(PROTOCOL_ERROR)
        self.priorities += 1
        if self.priorities > self.limits.priorities * (1 + self.opened):
            raise Broken(ENHANCE_YOUR_CALM, "http2.inbound_priority_frames_flood")

    def _rst(self, number: int, flags: int, body: bytes) -> None:
        if not number or self._idle(number):
            raise Broken(PROTOCOL_ERROR)
        if len(body) != 4:
            raise Broken(FRAME_SIZE_ERROR)
        stream = self.streams.get(number)
        if stream is None:
            return
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
        self.window_updates += 1
        if self.window_updates > 5 + 2 * (self.opened + self.limits.window_updates * self.data_sent):
            raise Broken(ENHANCE_YOUR_CALM, "http2.inbound_window_update_frames_flood")
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


CONTROL: Final[dict[int, Any]] = {
    PRIORITY: Control._priority,
    RST_STREAM: Control._rst,
    SETTINGS: Control._settings,
    PUSH_PROMISE: Control._push,
    PING: Control._ping,
    GOAWAY: Control._goaway,
    WINDOW_UPDATE: Control._window,
}
