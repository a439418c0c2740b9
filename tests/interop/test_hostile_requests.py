"""Hostile HTTP/1.1 beside Envoy: each request is refused with the same status, or forwarded as the same unambiguous bytes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mizzen.agent.supervisor import find_envoy
from tests.interop.hostile_requests import CASES
from tests.support.either_proxy import TYPES, cluster, http_chains, proxy, two_alike

pytestmark = [pytest.mark.skipif(not find_envoy(), reason="no Envoy here"), pytest.mark.timeout(240)]
Outcome = tuple[list[str], list[tuple[str, str]]]
"""Statuses of the answers, and what upstream got: head and body of each whole request."""


class Upstream:
    """Answers 200 to each request; remembers them. Reads a body as its head says, and nothing else."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await self._body(head.lower(), reader)
                self.got.append((head.decode("latin-1"), body.decode("latin-1")))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @staticmethod
    async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
        if b"transfer-encoding: chunked" not in head:
            length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head)
            return await reader.readexactly(int(length[1])) if length is not None else b""
        out = b""
        while size := int(await reader.readline(), 16):
            out += await reader.readexactly(size)
            await reader.readexactly(2)
        while (await reader.readline()) != b"\r\n":  # trailers
            pass
        return out


async def answer(port: int, raw: bytes, patience_s: float) -> list[str]:
    """The statuses that come before the connection ends or has been quiet for a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        writer.write(raw)
        while True:
            data = await asyncio.wait_for(reader.read(1 << 16), patience_s)
            if not data:
                break
            got += data
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return [status.decode() for status in re.findall(rb"HTTP/1\.1 (\d+)", got)]


def bootstrap(upstream: int) -> dict[str, Any]:
    router = {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": "3s"}}]
    filters = [{"name": "router", "typed_config": router}]
    return two_alike(http_chains(routes, generate_request_id=False, http_filters=filters), cluster("up", upstream))


async def with_proxy(
    which: str, folder: Path, work: Callable[[Callable[[str, float], Awaitable[Outcome]]], Any]
) -> Any:
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, limit=1 << 20)
    async with server, proxy(which, folder, bootstrap(server.sockets[0].getsockname()[1])) as (_, ports):

        async def ask(name: str, patience_s: float) -> Outcome:
            upstream.got = []
            statuses = await answer(ports["one"], CASES[name], patience_s)
            return statuses, upstream.got

        return await work(ask)


async def all_cases(ask: Callable[[str, float], Awaitable[Outcome]]) -> dict[str, Outcome]:
    return {name: await ask(name, 0.08) for name in CASES}


async def test_as_envoy(tmp_path: Path) -> None:
    ours, theirs = await asyncio.gather(
        with_proxy("mizzen", tmp_path / "ours", all_cases), with_proxy("envoy", tmp_path / "theirs", all_cases)
    )
    assert sum(bool(got) for _, got in theirs.values()) > 30 and sum(not got for _, got in theirs.values()) > 60
    doubtful = [name for name in CASES if ours[name] != theirs[name]]  # a busy machine may have cut an answer short

    async def again(ask: Callable[[str, float], Awaitable[Outcome]]) -> dict[str, Outcome]:
        return {name: await ask(name, 1.0) for name in doubtful}

    assert len(doubtful) < len(CASES) // 2
    if doubtful:
        second = await with_proxy("mizzen", tmp_path / "ours again", again)
        assert second == await with_proxy("envoy", tmp_path / "theirs again", again)
