"""TCP in CONNECT and POST beside Envoy: the same heads, the same bytes, the same statistics and log for the same answers."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mizzen.agent.supervisor import find_envoy
from tests.support.either_proxy import HTTP2, TYPES, address, cluster, proxy, with_admin
from tests.support.poll import until

pytestmark = pytest.mark.skipif(not find_envoy(), reason="no Envoy here")
QUICK = ("--file-flush-interval-msec", "20")
MORE = {"header": {"key": "x-client", "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}}
TRANSPARENT = {"header": {"key": "x-gone", "value": "%REQ(x-none)%"}}
KEPT = {"propagate_response_headers": True}
TUNNELS: dict[str, dict[str, Any]] = {
    "plain": {"hostname": "ok.x:443"},
    "formatted": {"hostname": "ok.%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%:80", "headers_to_add": [MORE, TRANSPARENT]},
    "of what is not there": {"hostname": "ok%REQ(x-none)%:80"},
    "post": {"hostname": "ok.x", "use_post": True},
    "post to a path": {"hostname": "ok.x:1", "use_post": True, "post_path": "/a?b", "headers_to_add": [MORE]},
    "created": {"hostname": "created.x:443", **KEPT},
    "forbidden": {"hostname": "forbidden.x:443", **KEPT},
    "closed": {"hostname": "closed.x:443"},
    "second time": {"hostname": "second.x:443"},
    "cut": {"hostname": "cut.x:443"},
}
ATTEMPTS = 3
SIZE = 100_000
STATISTICS = {
    "tcp.t.downstream_cx_rx_bytes_total", "tcp.t.downstream_cx_tx_bytes_total", "tcp.t.downstream_cx_total",
    "tcp.t.downstream_cx_no_route", "tcp.t.idle_timeout", "cluster.up.upstream_cx_connect_attempts_exceeded",
    "cluster.up.upstream_cx_connect_fail", "cluster.up.upstream_cx_http1_total", "cluster.up.upstream_cx_total",
    "cluster.up.upstream_rq_total", "cluster.up.upstream_cx_active", "cluster.up.upstream_rq_active",
    "cluster.up.upstream_cx_none_healthy", "cluster.up.upstream_rq_pending_total", "cluster.up.upstream_cx_destroy",
}  # fmt: skip
LOG = (
    "%RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON% %FILTER_STATE(envoy.tcp_proxy.propagate_response_headers)% "
    "%BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %UPSTREAM_CLUSTER%"
)


def listener(name: str, tunnel: dict[str, Any], cluster: str, log: Path) -> dict[str, Any]:
    format_ = {"text_format_source": {"inline_string": f"{LOG}\n"}}
    file = {
        "@type": TYPES + "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(log),
        "log_format": format_,
    }
    proxy_ = {
        "@type": TYPES + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "t",
        "cluster": cluster,
        "tunneling_config": tunnel,
        "max_connect_attempts": ATTEMPTS,
        "backoff_options": {"base_interval": "0.002s", "max_interval": "0.01s"},
        "access_log": [{"name": "file", "typed_config": file}],
    }
    return {
        "name": name,
        "address": address(0),
        "filter_chains": [{"filters": [{"name": "tcp", "typed_config": proxy_}]}],
    }


def terminator(http2: bool, log: Path) -> dict[str, Any]:
    """A listener that ends CONNECT (and passes POST on) to where the bytes go."""
    text = "%PROTOCOL% %REQ(:method)% %REQ(:authority)% %REQ(:path)% %REQ(:scheme)% %REQ(x-client)% %RESPONSE_CODE%\n"
    format_ = {"text_format_source": {"inline_string": text}}
    file = {
        "@type": TYPES + "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(log),
        "log_format": format_,
    }
    connect = {
        "match": {"connect_matcher": {}},
        "route": {"cluster": "echo", "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]},
    }
    manager = {
        "@type": TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "end",
        "codec_type": "HTTP2" if http2 else "HTTP1",
        "http2_protocol_options": {"allow_connect": True},
        "upgrade_configs": [{"upgrade_type": "CONNECT"}],
        "access_log": [{"name": "file", "typed_config": file}],
        "http_filters": [
            {"name": "router", "typed_config": {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}}
        ],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [connect]}]},
    }
    return {
        "name": "end",
        "address": address(0),
        "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}]}],
    }


class Peer:
    """Answers heads of HTTP/1.1 as their authority says, and gives back in upper case what comes after."""

    def __init__(self) -> None:
        self.heads: list[str] = []

    async def __aenter__(self) -> Peer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            chunked = "transfer-encoding: chunked" in head
            framing = "transfer-encoding: chunked\r\n" if chunked else ""
            if "closed.x" in head or ("second.x" in head and len(self.heads) < 2):
                return
            if "forbidden.x" in head:
                writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
                await reader.read()
                return
            created = b"201 Created" if "created.x" in head else b"200 OK"
            writer.write(b"HTTP/1.1 " + created + f"\r\nx-answer: a\r\n{framing}\r\n".encode())
            while data := await reader.read(65536):
                writer.write(data.upper())
                if "cut.x" in head:
                    await writer.drain()
                    return
                if chunked and data.endswith(b"0\r\n\r\n"):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def text_of(file: Path) -> str:
    return file.read_text() if file.exists() else ""


async def said(port: int, half: bool = False, quiet: bool = False) -> bytes:
    """What a client hears that says two things one after the other; with `half` it ends its side before the second's answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = b""
    try:
        writer.write(b"hello ")
        await writer.drain()
        while len(heard) < 6:
            if not (data := await asyncio.wait_for(reader.read(65536), 10)):
                return heard
            heard += data
        if quiet:
            return heard + await asyncio.wait_for(reader.read(-1), 10)
        writer.write(b"x" * SIZE)
        if half:
            writer.write_eof()
            return heard + await asyncio.wait_for(reader.read(-1), 10)
        while len(heard) < 6 + SIZE and (data := await asyncio.wait_for(reader.read(65536), 10)):
            heard += data
    except ConnectionError:
        pass  # what nobody has read when the proxy closes makes a reset of it
    finally:
        writer.close()
    return heard


async def settled(session: aiohttp.ClientSession, admin: int) -> list[str]:
    """The statistics, once nothing is under way."""
    lines: list[str] = []
    async with asyncio.timeout(10):
        while "cluster.up.upstream_rq_active: 0" not in lines or "cluster.up.upstream_cx_active: 0" not in lines:
            async with session.get(f"http://127.0.0.1:{admin}/stats") as answer:
                lines = (await answer.text()).split("\n")
            await asyncio.sleep(0.02)
    return [line for line in lines if line.partition(":")[0] in STATISTICS]


async def observed(which: str, folder: Path, kind: str) -> dict[str, Any]:
    log = folder / f"{which}.log"
    async with Peer() as peer, aiohttp.ClientSession() as session:
        static = {"listeners": [listener("in", TUNNELS[kind], "up", log)], "clusters": [cluster("up", peer.port)]}
        async with proxy(
            which,
            folder / which,
            with_admin(static),
            *QUICK,
            level="warning",
        ) as (admin, ports):
            heard = await said(ports["in"], quiet=kind == "cut")
            await until(lambda: text_of(log), f"{which}: the log")
            return {
                "heard": heard,
                "heads": [head.split("\r\n") for head in peer.heads],
                "log": text_of(log),
                "statistics": await settled(session, admin),
            }


@pytest.mark.parametrize("kind", TUNNELS)
async def test_as_envoy(tmp_path: Path, kind: str) -> None:
    ours, theirs = await asyncio.gather(*(observed(which, tmp_path, kind) for which in ("mizzen", "envoy")))
    assert ours == theirs


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data.upper())
    writer.close()


async def through(begin: str, end: str, folder: Path, http2: bool) -> tuple[bytes, str]:
    """What a client hears through one proxy's tunnel that another ends, and that one's log."""
    log = folder / f"{begin}-{end}.log"
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    static = {"listeners": [terminator(http2, log)], "clusters": [cluster("echo", port)]}
    async with proxy(
        end,
        folder / f"{begin}-{end}",
        with_admin(static),
        *QUICK,
        level="warning",
    ) as (_, ends):
        tunnel = {"hostname": "far.x:443", "headers_to_add": [MORE]}
        clusters = [cluster("up", ends["end"], **({"typed_extension_protocol_options": HTTP2} if http2 else {}))]
        static = {"listeners": [listener("in", tunnel, "up", folder / "begin.log")], "clusters": clusters}
        async with proxy(
            begin,
            folder / f"{begin}-{end}",
            with_admin(static),
            *QUICK,
            level="warning",
        ) as (_, ports):
            heard = await said(ports["in"], half=http2)
            await until(lambda: text_of(log), "the log")
    server.close()
    return heard, text_of(log)


@pytest.mark.parametrize("http2", [False, True], ids=["http/1.1", "http/2"])
async def test_between_proxies(tmp_path: Path, http2: bool) -> None:
    pairs = [(begin, end) for begin in ("mizzen", "envoy") for end in ("mizzen", "envoy")]
    found = {pair: await through(*pair, tmp_path, http2) for pair in pairs}
    assert all(each == found["envoy", "envoy"] for each in found.values()), found
