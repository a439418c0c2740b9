"""The HTTP/2 connection against the `h2` package as its peer, and against frames that must end it."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import pytest
from envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions

from mizzen.proxy.codec import h2_frames
from mizzen.proxy.codec.h2 import H2
from mizzen.proxy.codec.h2_stream import H2Stream
from mizzen.proxy.config.errors import ConfigError


class Recorder:
    """A handler that keeps what it hears."""

    def __init__(self) -> None:
        self.heads: list[tuple[int, list[tuple[bytes, bytes]], bool, bool]] = []
        self.data = b""
        self.ended = False
        self.resets: list[int] = []
        self.goaways: list[tuple[int, int]] = []
        self.writable = 0

    def h2_headers(self, stream: H2Stream, fields: list[tuple[bytes, bytes]], end: bool, trailers: bool) -> None:
        self.heads.append((stream.id, fields, end, trailers))
        self.last = stream

    def h2_data(self, stream: H2Stream, data: bytes, end: bool) -> None:
        self.data += data
        self.ended = end

    def h2_reset(self, stream: H2Stream, code: int) -> None:
        self.resets.append(code)

    def h2_goaway(self, last: int, code: int) -> None:
        self.goaways.append((last, code))

    def h2_writable(self, stream: H2Stream) -> None:
        self.writable += 1

    def h2_new(self, stream: H2Stream) -> bool:
        return True

    def h2_settings(self) -> None:
        pass


REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "x"), ("x-a", "b")]


def pair() -> tuple[H2, Recorder, h2.connection.H2Connection]:
    recorder = Recorder()
    server = H2(recorder, False)
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    return server, recorder, client


def exchange(server: H2, client: h2.connection.H2Connection) -> list[h2.events.Event]:
    events: list[h2.events.Event] = []
    for _ in range(4):
        server.feed(client.data_to_send())
        data = server.take()
        if data:
            events += client.receive_data(data)
    return events


def test_request_and_answer_byte_by_byte() -> None:
    server, recorder, client = pair()
    client.send_headers(1, REQUEST)
    client.send_data(1, b"hello", end_stream=True)
    for byte in client.data_to_send():
        server.feed(bytes([byte]))
    number, fields, end, trailers = recorder.heads[0]
    assert (number, end, trailers) == (1, False, False)
    assert (b"x-a", b"b") in fields
    assert (recorder.data, recorder.ended) == (b"hello", True)
    server.send_headers(recorder.last, [(b":status", b"200")], [("x-request-id", "1"), ("x-b", "c")], False)
    server.send_data(recorder.last, b"bye", False)
    server.send_trailers(recorder.last, [("grpc-status", "0")])
    kinds = [type(event).__name__ for event in exchange(server, client)]
    assert {"ResponseReceived", "DataReceived", "TrailersReceived", "StreamEnded"} <= set(kinds)
    assert not server.streams


def test_flow_control_holds_data_back_and_trailers_behind_it() -> None:
    server, recorder, client = pair()
    client.send_headers(1, REQUEST, end_stream=True)
    exchange(server, client)
    server.send_headers(recorder.last, [(b":status", b"200")], [], False)
    server.send_data(recorder.last, b"x" * 200_000, False)
    server.send_trailers(recorder.last, [("x-end", "1")])
    assert recorder.last.queued == 200_000 - 65_535
    got, order = 0, []
    for _ in range(20):
        for event in client.receive_data(server.take()):
            if isinstance(event, h2.events.DataReceived):
                got += len(event.data)
                client.acknowledge_received_data(event.flow_controlled_length, 1)
            order.append(type(event).__name__)
        server.feed(client.data_to_send())
    assert got == 200_000
    assert order[-2:] == ["TrailersReceived", "StreamEnded"]


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


START = h2_frames.PREFACE + frame(h2_frames.SETTINGS, 0, 0)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\nxxxxxxxxxx", h2_frames.PROTOCOL_ERROR),
        (START + frame(h2_frames.DATA, 0, 0, b"x"), h2_frames.PROTOCOL_ERROR),
        (START + frame(h2_frames.DATA, 0, 1, b"x"), h2_frames.PROTOCOL_ERROR),
        (START + frame(h2_frames.HEADERS, 4, 2, b"\x82"), h2_frames.PROTOCOL_ERROR),
        (START + frame(h2_frames.PING, 0, 0, b"short"), h2_frames.FRAME_SIZE_ERROR),
        (START + frame(h2_frames.SETTINGS, 0, 0, b"12345"), h2_frames.FRAME_SIZE_ERROR),
        (START + frame(h2_frames.WINDOW_UPDATE, 0, 0, b"\0\0\0\0"), h2_frames.PROTOCOL_ERROR),
        (START + frame(h2_frames.PUSH_PROMISE, 4, 1, b"\0\0\0\2"), h2_frames.PROTOCOL_ERROR),
        (START + frame(h2_frames.CONTINUATION, 4, 1, b""), h2_frames.PROTOCOL_ERROR),
        (START + b"\xff\xff\xff\0\0\0\0\0\0", h2_frames.FRAME_SIZE_ERROR),
        (START + frame(h2_frames.HEADERS, 4, 1, b"\xff\xff\xff\xff\xff"), h2_frames.COMPRESSION_ERROR),
    ],
)
def test_frames_that_end_the_connection(data: bytes, code: int) -> None:
    server = H2(Recorder(), False)
    with pytest.raises(h2_frames.Broken) as caught:
        server.feed(data)
    assert caught.value.code == code
    assert server.dead


@pytest.mark.parametrize(
    "flood",
    [
        frame(h2_frames.PING, 0, 0, b"12345678"),
        frame(h2_frames.SETTINGS, 0, 0),
        frame(h2_frames.PRIORITY, 0, 1, b"\0\0\0\0\1"),
    ],
    ids=["ping", "settings", "priority"],
)
def test_floods_are_cut_off(flood: bytes) -> None:
    server = H2(Recorder(), False)
    with pytest.raises(h2_frames.Broken) as caught:
        server.feed(START + flood * 2000)
    assert caught.value.code == h2_frames.ENHANCE_YOUR_CALM


def test_endless_continuation_is_cut_off() -> None:
    server = H2(Recorder(), False)
    with pytest.raises(h2_frames.Broken):
        server.feed(START + frame(h2_frames.HEADERS, 0, 1, b"") + frame(h2_frames.CONTINUATION, 0, 1, b"") * 100)


OPEN = START + frame(h2_frames.HEADERS, 4, 1, b"\x83\x86\x84\x41\x01x")


@pytest.mark.parametrize(
    ("flood", "counter"),
    [
        (frame(h2_frames.DATA, 0, 1) * 2, "inbound_empty_frames_flood"),
        (frame(h2_frames.DATA, 8, 1, b"\0") * 2, "inbound_empty_frames_flood"),
        (frame(h2_frames.WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 8, "inbound_window_update_frames_flood"),
        (frame(h2_frames.WINDOW_UPDATE, 0, 1, b"\0\0\0\1") * 8, "inbound_window_update_frames_flood"),
        (frame(h2_frames.PRIORITY, 0, 3, b"\0\0\0\0\1") * 201, "inbound_priority_frames_flood"),
        (frame(h2_frames.HEADERS, 0, 3) + frame(h2_frames.CONTINUATION, 0, 3), "inbound_empty_frames_flood"),
    ],
)
def test_what_is_one_too_many(flood: bytes, counter: str) -> None:
    server = H2(Recorder(), False)
    with pytest.raises(h2_frames.Broken) as caught:
        server.feed(OPEN + flood)
    assert caught.value.details == f"http2.{counter}"


def test_limits_are_the_options() -> None:
    options = Http2ProtocolOptions()
    options.max_consecutive_inbound_frames_with_empty_payload.value = 5
    server = H2(Recorder(), False, limits=h2_frames.Limits(options))
    server.feed(OPEN + frame(h2_frames.DATA, 0, 1) * 5)
    with pytest.raises(h2_frames.Broken):
        server.feed(frame(h2_frames.DATA, 0, 1))
    options.max_outbound_frames.value = 0
    with pytest.raises(ConfigError, match="MaxOutboundFrames: value must be greater than or equal to 1"):
        h2_frames.Limits(options)


def test_answers_pile_up_only_where_nobody_reads() -> None:
    server = H2(Recorder(), False)
    server.feed(START)
    ping = frame(h2_frames.PING, 0, 0, b"12345678")
    for _ in range(50):
        server.feed(ping * 100)
        server.take()
    server.held = True
    with pytest.raises(h2_frames.Broken) as caught:
        for _ in range(50):
            server.feed(ping * 100)
            server.take()
    assert caught.value.details == "http2.outbound_control_flood"


def test_answers_to_requests_pile_up_only_so_far() -> None:
    server = H2(Recorder(), False)
    server.feed(START)
    server.held = True
    block = b"\x82\x86\x84\x41\x01x"
    with pytest.raises(h2_frames.Broken) as caught:
        for number in range(1, 40_000, 2):
            server.feed(frame(h2_frames.HEADERS, 5, number, block))
            server.send_headers(server.streams[number], [(b":status", b"200")], [], True)
            server.take()
    assert caught.value.details == "http2.outbound_flood"
