"""Clients that take their time, many at once, beside Envoy: the same answers and counters, while others are served."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mizzen.agent.supervisor import find_envoy
from tests.interop.test_http2_attacks import _get, _used
from tests.support.either_proxy import DIRECT, ROUTER, TYPES, http_chains, proxy, two_alike

pytestmark = [pytest.mark.skipif(not find_envoy(), reason="no Envoy here"), pytest.mark.timeout(120)]
SLOW = {
    "says nothing": b"",
    "half a head": b"GET / HTTP/1.1\r\nHost: a\r\nX-",
    "half a body": b"POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf",
    "half a preface": b"PRI * HTTP/2.0\r\n",
    "half a chunk": b"POST /wait HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nhalf",
}
EACH = 200
WATCHED = (
    "downstream_rq_header_timeout",
    "downstream_rq_timeout",
    "downstream_rq_idle_timeout",
    "downstream_cx_idle_timeout",
)


def bootstrap(timeout: str) -> dict[str, Any]:
    buffer = {"@type": TYPES + "envoy.extensions.filters.http.buffer.v3.Buffer", "max_request_bytes": 1000}
    filters = [{"name": "buffer", "typed_config": buffer}, ROUTER]
    options = {timeout: "1s", "common_http_protocol_options": {"idle_timeout": "3s"}}
    return two_alike(http_chains([DIRECT], http_filters=filters, **options))


async def one(port: int, said: bytes) -> str:
    """The status that a slow client gets before its connection is closed, or "closed"; "open" after a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(said)
        got = await asyncio.wait_for(reader.read(), 6.0)
    except ConnectionError:
        got = b""
    except TimeoutError:
        return "open"
    finally:
        writer.transport.abort()
    status = re.match(rb"HTTP/1\.1 (\d+)", got)
    return status[1].decode() if status is not None else "closed"


async def observed(which: str, folder: Path, timeout: str) -> tuple[dict[str, Any], float]:
    """Answers by kind of client with the counters; and what the proxy grew by, in MB."""
    async with proxy(which, folder, bootstrap(timeout)) as (admin, ports):
        before = _used(admin)[0]
        kinds = [(name, said) for name, said in SLOW.items() for _ in range(EACH)]
        waiting = [asyncio.ensure_future(one(ports["one"], said)) for _, said in kinds]
        assert await _get(ports["one"], "/") == "hello"
        grown = _used(admin)[0] - before
        answers = Counter(zip((name for name, _ in kinds), await asyncio.gather(*waiting), strict=True))
        lines = (await _get(admin, "/stats?filter=http.h.downstream")).splitlines()
        counters = dict(line.split(": ") for line in lines if line.split(": ")[0].endswith(WATCHED))
        return {"answers": dict(answers), **counters}, grown


@pytest.mark.parametrize("timeout", ["request_headers_timeout", "request_timeout", "stream_idle_timeout"])
async def test_as_envoy(tmp_path: Path, timeout: str) -> None:
    (ours, grown), (theirs, _) = await asyncio.gather(
        observed("mizzen", tmp_path / "ours", timeout), observed("envoy", tmp_path / "theirs", timeout)
    )
    assert ours == theirs
    assert grown < 32
