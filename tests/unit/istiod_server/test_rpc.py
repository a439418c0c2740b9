"""The gRPC server: frames against the `h2` package as the client, calls against grpcio, and what a peer may not do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mizzen.istiod.rpc.call import MAX_RECEIVE, Call, Refused
from mizzen.istiod.rpc.grpcio import GrpcioServer
from mizzen.istiod.rpc.h2 import PREFACE, Broken, H2Server, H2Stream, frame
from mizzen.istiod.rpc.server import GrpcServer
from mizzen.istiod.server.options import bind
from mizzen.wire.grpc_status import Status
from tests.support.poll import until

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/s/m"), (":authority", "x"), ("te", "trailers")]


class Ear:
    """A handler that keeps what it hears."""

    def __init__(self) -> None:
        self.streams: dict[int, H2Stream] = {}
        self.data: dict[int, bytes] = {}
        self.ends: list[int] = []
        self.resets: list[int] = []
        self.drains: list[int] = []

    def opened(self, stream: H2Stream, fields: Any, end: bool) -> None:
        self.streams[stream.id] = stream

    def received(self, stream: H2Stream, data: bytes, end: bool) -> None:
        self.data[stream.id] = self.data.get(stream.id, b"") + data
        if end:
            self.ends.append(stream.id)

    def reset(self, stream: H2Stream) -> None:
        self.resets.append(stream.id)

    def drained(self, stream: H2Stream) -> None:
        self.drains.append(stream.id)


class Pair:
    """Our side and `h2`'s, joined by hand. step: bytes fed at once."""

    def __init__(self, step: int = 1 << 20, room: int = 1 << 20) -> None:
        self.ear, self.step, self.room = Ear(), step, room
        self.server = H2Server(self.ear)
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.client.initiate_connection()
        self.events: list[Any] = []
        self.exchange()

    def exchange(self) -> None:
        """Until neither side has anything more to say."""
        while True:
            sent = self.client.data_to_send()
            for at in range(0, len(sent), self.step):
                self.server.feed(sent[at : at + self.step])
            answer = b"".join(self.server.pull(self.room))
            if not sent and not answer:
                return
            self.events += self.client.receive_data(answer)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def open(self, number: int = 1) -> H2Stream:
        self.client.send_headers(number, REQUEST)
        self.exchange()
        return self.ear.streams[number]


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_a_call(step: int) -> None:
    pair = Pair(step)
    stream = pair.open()
    pair.client.send_data(1, b"hello", end_stream=True)
    pair.exchange()
    assert (pair.ear.data, pair.ear.ends) == ({1: b"hello"}, [1])
    pair.server.headers(stream, b"\x88")
    pair.server.send(stream, b"head", memoryview(b"x" * 5_000))
    pair.server.finish(stream, b"\x00\x0bgrpc-status\x010")
    pair.exchange()
    (answer,) = pair.of(h2.events.ResponseReceived)
    assert next(iter(answer.headers))[1] in (b"200", "200")
    assert b"".join(e.data for e in pair.of(h2.events.DataReceived)) == b"head" + b"x" * 5_000
    assert pair.of(h2.events.StreamEnded) and not pair.server.streams


def test_data_waits_for_windows_and_for_room() -> None:
    pair = Pair()
    stream = pair.open()
    body = memoryview(bytes(range(256)) * 1_000)
    pair.server.headers(stream, b"\x88")
    pair.server.send(stream, body)
    assert sum(map(len, pair.server.pull(10_000))) < 30_000, "room is kept, to a frame"
    pair = Pair()
    stream = pair.open()
    pair.server.headers(stream, b"\x88")
    pair.server.send(stream, body)
    pair.exchange()
    assert sum(len(e.data) for e in pair.of(h2.events.DataReceived)) == 65_535
    assert stream.parts and not pair.ear.drains
    for _ in range(10):
        pair.client.increment_flow_control_window(50_000)
        pair.client.increment_flow_control_window(50_000, 1)
        pair.exchange()
    assert b"".join(e.data for e in pair.of(h2.events.DataReceived)) == bytes(body)
    assert pair.ear.drains == [1]


def test_consumed_bytes_are_given_back() -> None:
    pair = Pair()
    stream = pair.open()
    for _ in range(300):
        while pair.client.local_flow_control_window(1) < 16_384:
            pair.exchange()
        pair.client.send_data(1, bytes(16_384))
        pair.exchange()
        pair.server.consumed(stream, 16_384)
    assert len(pair.ear.data[1]) == 300 * 16_384


def test_a_peer_that_ignores_the_window_is_cut_off() -> None:
    pair = Pair()
    pair.open()
    with pytest.raises(Broken):
        for _ in range(100):
            pair.server.feed(frame(0, 0, 1, bytes(16_384)))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        PREFACE + frame(0, 0, 1, b"x"),  # data of no stream
        PREFACE + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",  # too long
        PREFACE + frame(1, 4, 1, b"\xff\xff\xff\xff\xff\xff"),  # not HPACK
        PREFACE + frame(1, 0, 1, b"") + frame(6, 0, 0, bytes(8)),  # a header block that does not go on
        PREFACE + frame(9, 4, 1, b""),
        PREFACE + frame(1, 4, 2, b"\x82"),  # a stream of ours
        PREFACE + frame(1, 4 | 8, 1, b"\x09\x82"),  # more padding than frame
        PREFACE + frame(8, 0, 0, bytes(4)),
        PREFACE + frame(5, 0, 1, bytes(4)),
        PREFACE + frame(4, 0, 0, b"\x00\x04\xff\xff\xff\xff"),
    ],
)
def test_what_breaks_a_connection(data: bytes) -> None:
    with pytest.raises(Broken):
        H2Server(Ear()).feed(data)


@pytest.mark.parametrize("kind", ["ping", "settings", "reset"])
def test_floods(kind: str) -> None:
    server = H2Server(Ear())
    server.feed(PREFACE)
    with pytest.raises(Broken):
        for n in range(3_000):
            if kind == "reset":
                server.feed(frame(1, 4, 2 * n + 1, b"\x82") + frame(3, 0, 2 * n + 1, bytes(4)))
            else:
                server.feed(frame(6, 0, 0, bytes(8)) if kind == "ping" else frame(4, 0, 0, b""))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 255), st.integers(0, 7), st.binary(max_size=40))))
def test_any_frames_are_taken_or_break_the_connection(frames: list[tuple[int, int, int, bytes]]) -> None:
    server = H2Server(Ear())
    try:
        server.feed(PREFACE + b"".join(frame(*one) for one in frames))
    except Broken:
        return
    server.pull(1 << 20)


async def echo(call: Call) -> None:
    while (message := await call.read()) is not None:
        if message == b"refuse":
            raise Refused(Status.NOT_FOUND, "nothing – at all: 100%")
        if message == b"break":
            raise RuntimeError("a bug")
        call.send(message)


@pytest.fixture
async def server() -> AsyncIterator[tuple[GrpcServer, str]]:
    one = GrpcServer({"/s/echo": echo})
    port = await one.start(bind("grpc", "127.0.0.1:0"))
    yield one, f"127.0.0.1:{port}"
    await one.stop()


@pytest.fixture(params=[GrpcServer, GrpcioServer])
async def either(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The address of our server, or of the library's."""
    one = request.param({"/s/echo": echo})
    yield f"127.0.0.1:{await one.start(bind('grpc', '127.0.0.1:0'))}"
    await one.stop()


async def test_grpcio_calls(either: str) -> None:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(either, options) as channel:
        call = channel.stream_stream("/s/echo")()
        for size in (0, 1, 10_000, 100_000, MAX_RECEIVE - 10):
            await call.write(bytes(size))
            assert await call.read() == bytes(size)
        await call.done_writing()
        assert await call.code() == grpc.StatusCode.OK
        unary = channel.unary_unary("/s/echo")
        assert await unary(b"x", metadata=[("a", "b")]) == b"x"
        for request, code, details in (
            (b"refuse", grpc.StatusCode.NOT_FOUND, "nothing – at all: 100%"),
            (b"break", grpc.StatusCode.INTERNAL, "internal error"),
            (bytes(MAX_RECEIVE + 1), grpc.StatusCode.RESOURCE_EXHAUSTED, str(MAX_RECEIVE + 1)),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await unary(request)
            assert failed.value.code() == code and details in str(failed.value.details())
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary("/s/other")(b"")
        assert failed.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_compressed_messages_are_refused(server: tuple[GrpcServer, str]) -> None:
    async with grpc.aio.insecure_channel(server[1]) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary("/s/echo")(b"x" * 1000, compression=grpc.Compression.Gzip)
        assert failed.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_a_call_ends_with_its_caller(either: str) -> None:
    async with grpc.aio.insecure_channel(either, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.stream_stream("/s/echo")()
        await call.write(b"x")
        assert await call.read() == b"x"
        call.cancel()
        await until(lambda: not any(task.get_name().startswith("gRPC /s") for task in asyncio.all_tasks()))


async def test_silent_peers_are_let_go(server: tuple[GrpcServer, str]) -> None:
    host, _, port = server[1].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(PREFACE + frame(4, 0, 0, b""))
    await until(lambda: len(server[0].connections) == 1)
    (connection,) = server[0].connections
    await until(lambda: connection.heard > 0)
    now = asyncio.get_running_loop().time()
    connection.check(now + 1, 30, 10)
    assert connection in server[0].connections
    connection.check(now + 40, 30, 10)  # pings
    connection.check(now + 45, 30, 10)
    writer.write(frame(6, 1, 0, bytes(8)))
    await until(lambda: not connection._pinged)
    connection.check(now + 80, 30, 10)
    connection.check(now + 95, 30, 10)
    await until(lambda: not server[0].connections)
    writer.close()
    del reader


async def test_no_grpc_is_refused(server: tuple[GrpcServer, str]) -> None:
    host, _, port = server[1].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.send_headers(1, [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x")], True)
    writer.write(client.data_to_send())
    async with asyncio.timeout(5):
        while not (found := [e for e in client.receive_data(await reader.read(4096)) if hasattr(e, "headers")]):
            pass
    assert next(value for _, value in found[0].headers) in (b"415", "415")
    writer.close()


async def test_any_bytes_leave_the_server_up(server: tuple[GrpcServer, str]) -> None:
    host, _, port = server[1].rpartition(":")
    for data in (b"\x16\x03\x01", bytes(1000), PREFACE + bytes(range(256)) * 10):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(5):
            await reader.read()
        writer.close()
    await until(lambda: not server[0].connections)
    async with grpc.aio.insecure_channel(server[1]) as channel:
        assert await channel.unary_unary("/s/echo")(b"x") == b"x"
