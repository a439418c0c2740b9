"""gRPC by our own hands: both sides against each other, and against grpcio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from mizzen.agent.channel import Server, Target
from mizzen.agent.grpc_stream import CallFailed, Connection, Stream

LARGE = 20 << 20


async def echo(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def refuse(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for _ in requests:
        yield b"one"
        raise CallFailed(14, "not today")


async def broken(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for _ in requests:
        yield b"one"
        raise KeyError("a bug")


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    server = Server({"t.T": {"Echo": echo, "Refuse": refuse, "Break": broken}}, tmp_path / "socket")
    await server.start()
    yield tmp_path / "socket"
    await server.stop()


async def call(path: Path, method: str) -> Stream:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_unix_connection(lambda: Connection(client=True), str(path))
    await connection.ready.wait()
    return connection.open("here", f"/t.T/{method}", (("x-a", "1"),))


async def test_messages_both_ways_and_an_orderly_end(path: Path) -> None:
    stream = await call(path, "Echo")
    for message in (b"a", b"", b"x" * 100_000):
        stream.write(message)
        assert await stream.read() == message
    stream.done_writing()
    assert await stream.read() is None
    assert await stream.read() is None


async def test_large_messages_cost_what_they_weigh(path: Path) -> None:
    stream = await call(path, "Echo")
    begun = time.process_time()
    stream.write(b"x" * LARGE)
    answer = await stream.read()
    assert answer is not None
    assert len(answer) == LARGE
    assert time.process_time() - begun < 3
    stream.cancel()


@pytest.mark.parametrize(
    ("method", "code"), [("Refuse", "UNAVAILABLE"), ("Break", "INTERNAL"), ("None", "UNIMPLEMENTED")]
)
async def test_other_ends(path: Path, method: str, code: str) -> None:
    stream = await call(path, method)
    stream.write(b"go")
    with pytest.raises(CallFailed) as caught:
        while await stream.read() is not None:
            pass
    assert caught.value.code == code


async def test_a_lost_connection_ends_its_calls(tmp_path: Path) -> None:
    server = Server({"t.T": {"Echo": echo}}, tmp_path / "socket")
    await server.start()
    stream = await call(tmp_path / "socket", "Echo")
    await server.stop()
    with pytest.raises(CallFailed, match="UNAVAILABLE"):
        await stream.read()


async def test_grpcio_as_the_client(path: Path) -> None:
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        streaming = channel.stream_stream("/t.T/Echo")()
        for message in (b"a", b"b" * 200_000):
            await streaming.write(message)
            assert await streaming.read() == message
        await streaming.done_writing()
        assert await streaming.code() == grpc.StatusCode.OK
        refused = channel.stream_stream("/t.T/Refuse")()
        await refused.write(b"go")
        assert await refused.read() == b"one"
        assert await refused.code() == grpc.StatusCode.UNAVAILABLE
        assert "not today" in str(await refused.details())


async def test_grpcio_as_the_server() -> None:
    async def hello(request: bytes, context: Any) -> bytes:
        if request == b"?":
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "nö")
        return b"hello " + request

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(hello)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", {"Hello": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    target = Target(f"127.0.0.1:{port}", Path(), plaintext=True)
    assert await target.unary("/t.T/Hello", b"you", (), 5) == b"hello you"
    with pytest.raises(CallFailed, match="nö") as caught:
        await target.unary("/t.T/Hello", b"?", (), 5)
    assert caught.value.code == "PERMISSION_DENIED"
    await server.stop(None)
    with pytest.raises(CallFailed, match="UNAVAILABLE"):
        await target.unary("/t.T/Hello", b"you", (), 5)
    await target.renew()
