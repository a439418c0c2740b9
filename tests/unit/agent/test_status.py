"""The status port: readiness, probes, metrics and who may do what."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mizzen.agent.app_probes import AppProbes, read_probers
from mizzen.agent.environment import Environment
from mizzen.agent.http1 import Request, Response, fetch, serve
from mizzen.agent.metrics import Metrics, Scrape, read_targets
from mizzen.agent.readiness import EnvoyProbe, Readiness, read_stats
from mizzen.agent.status import StatusServer
from mizzen.agent.supervisor import active_connections
from mizzen.api.errors import UsageError


@asynccontextmanager
async def application(pages: Mapping[str, Response]) -> AsyncIterator[tuple[int, list[Request]]]:
    """A server of fixed pages: its port, and the requests that came."""
    seen: list[Request] = []

    async def answer(request: Request) -> Response:
        seen.append(request)
        return pages.get(request.path, Response(404))

    made = await serve(answer, ["127.0.0.1"], 0)
    try:
        yield made.sockets[0].getsockname()[1], seen
    finally:
        made.close()


def asked(path: str, method: str = "GET", peer: str = "127.0.0.1", **headers: str) -> Request:
    return Request(method, path, "", tuple(headers.items()), peer)


async def test_http_probe() -> None:
    moved = Response(302, headers=[("location", "/ok")])
    away = Response(302, headers=[("location", "http://elsewhere/")])
    pages = {"/ok": Response(200, b"fine"), "/bad": Response(418, b"tea"), "/moved": moved, "/away": away}
    async with application(pages) as (port, seen):
        probers = {
            f"/app-health/a/{name}": {"httpGet": {"path": f"/{name}", "port": port, "httpHeaders": headers}}
            for name, headers in (
                ("ok", [{"name": "X-A", "value": "1"}]),
                ("bad", []),
                ("moved", []),
                ("away", []),
            )
        }
        probes = AppProbes(probers, "127.0.0.1", 15020)
        answers = [
            await probes.answer(asked(f"/app-health/a/{name}", Host="x:15020", Y="2"))
            for name in ("ok", "bad", "moved", "away")
        ]
    assert [answer.status for answer in answers] == [200, 418, 200, 200]
    assert answers[0].body == b"fine"
    assert (seen[0].header("x-a"), seen[0].header("y")) == ("1", "2")
    assert seen[0].header("host") == f"x:{port}"
    assert seen[0].peer == "127.0.0.6"


async def test_tcp_probe_and_unknown_paths() -> None:
    async with application({}) as (port, _):
        closed = socket.create_server(("127.0.0.1", 0))
        gone = closed.getsockname()[1]
        closed.close()
        probers = {f"/app-health/a/{p}": {"tcpSocket": {"port": p}} for p in (port, gone)}
        probes = AppProbes(probers, "127.0.0.1", 15020)
        assert (await probes.answer(asked(f"/app-health/a/{port}"))).status == 200
        assert (await probes.answer(asked(f"/app-health/a/{gone}"))).status == 500
        assert (await probes.answer(asked("/app-health/b/x"))).status == 400


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"/other": {"tcpSocket": {"port": 1}}}',
        '{"/app-health/a/x": {}}',
        '{"/app-health/a/x": {"httpGet": {"port": "web"}}}',
        '{"/app-health/a/x": {"httpGet": {"port": 1}, "grpc": {"port": 1}}}',
    ],
)
def test_probers_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match="ISTIO_KUBE_APP_PROBERS"):
        read_probers(text)


def test_scrape_targets() -> None:
    assert read_targets("") == ()
    assert read_targets('{"scrape":"false","port":"1"}') == ()
    assert read_targets('{"scrape":"true"}') == (Scrape(),)
    assert read_targets('{"port":"9","targets":[{"path":"/a","port":"9"},{"path":"/b","port":"10"}]}') == (
        Scrape(path="/a", port="9"),
        Scrape(path="/b", port="10"),
    )


async def test_metrics_are_merged_and_a_missing_part_is_left_out() -> None:
    envoy = {"/stats/prometheus": Response(200, b"envoy_x 1\n")}
    kind = "application/openmetrics-text; version=1.0.0"
    own = {"/m": Response(200, b"app_x 1\n# EOF\n", kind)}
    async with application(envoy) as (envoy_port, _), application(own) as (app_port, _):
        target = Scrape(path="/m", port=str(app_port))
        merged = await Metrics([target], envoy_port, "127.0.0.1", lambda: {"n": 2}).answer(asked("/metrics"))
        assert merged.content_type == kind
        text = merged.body.decode()
        assert text.index("istio_agent_n 2") < text.index("envoy_x 1") < text.index("app_x 1")
        lost = Scrape(path="/lost", port=str(app_port))
        several = await Metrics([target, lost], None, "127.0.0.1", dict).answer(asked("/metrics"))
    assert several.content_type.startswith("text/plain")
    assert b"# EOF" not in several.body
    assert b"app_x 1" in several.body


async def test_readiness_needs_configuration_then_life_and_remembers() -> None:
    stats: dict[str, Any] = {"text": "cluster_manager.cds.update_success: 1\n"}

    async def answer(request: Request) -> Response:
        return Response(200, stats["text"].encode())

    made = await serve(answer, ["127.0.0.1"], 0)
    probe = EnvoyProbe(made.sockets[0].getsockname()[1])
    assert "listener_manager.lds" in str(await probe.check())
    stats["text"] += "listener_manager.lds.update_success: 2\nserver.state: 2\nlistener_manager.workers_started: 1\n"
    assert "not live" in str(await probe.check())
    stats["text"] = "server.state: 0\nlistener_manager.workers_started: 1\n"
    assert await probe.check() is None
    made.close()
    assert await probe.check() is None


async def test_who_may_do_what() -> None:
    done: list[str] = []

    async def quit_() -> None:
        done.append("quit")

    readiness = Readiness([])
    made = StatusServer(
        readiness,
        AppProbes({}, "127.0.0.1", 15020),
        Metrics([], None, "127.0.0.1", dict),
        {"/quitquitquit": quit_},
        lambda: None,
        metrics_local_only=True,
    )
    table = [
        (asked("/healthz/ready", peer="10.0.0.1"), 200),
        (asked("/quitquitquit", "POST", "10.0.0.1"), 403),
        (asked("/quitquitquit"), 405),
        (asked("/metrics", peer="10.0.0.1"), 403),
        (asked("/metrics"), 200),
        (asked("/debug/ndsz"), 404),
        (asked("/nothing"), 404),
    ]
    for request, status in table:
        assert (await made.answer(request)).status == status, request
    assert not done
    assert (await made.answer(asked("/quitquitquit", "POST"))).status == 200
    assert done == ["quit"]
    readiness.stopping = True
    assert (await made.answer(asked("/healthz/ready"))).status == 503


@pytest.mark.parametrize("body", [b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"])
async def test_chunked_answers(body: bytes) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(raw, "127.0.0.1", 0)
    answer = await fetch("127.0.0.1", server.sockets[0].getsockname()[1], "/")
    server.close()
    assert answer.body == b"hello world"


def test_connections_of_applications_only() -> None:
    text = (
        "listener.0.0.0.0_15006.downstream_cx_active: 2\n"
        "listener.0.0.0.0_15021.downstream_cx_active: 5\n"
        "listener.0.0.0.0_15090.downstream_cx_active: 5\n"
        "listener.admin.downstream_cx_active: 1\n"
        "listener.0.0.0.0_15006.worker_0.downstream_cx_active: 2\n"
        "listener.envoy_internal_x.downstream_cx_active: 9\n"
        "h: P0(1,2)\n"
    )
    assert active_connections(read_stats(text), Environment()) == 2
