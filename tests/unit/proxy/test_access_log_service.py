"""Entries for an access log service that is away or does not read: bounded, dropped and counted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.data.accesslog.v3 import accesslog_pb2
from envoy.extensions.access_loggers.grpc.v3 import als_pb2
from envoy.service.accesslog.v3 import als_pb2 as service_pb2

from mizzen.proxy.accesslog import als, stream
from mizzen.proxy.codec.headers import ResponseHeaders
from mizzen.proxy.stats.store import Store


class Loop:
    """Timers that run when they are told to."""

    def __init__(self) -> None:
        self.due: list[Any] = []

    def call_later(self, delay: float, call: Any) -> Any:
        self.due.append(call)
        return SimpleNamespace(cancel=lambda: self.due.remove(call))

    def tick(self) -> None:
        due, self.due = self.due, []
        for call in due:
            call()


class Cluster:
    """A cluster whose connection opens when the test says so."""

    name = "collector"

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.calls: list[Any] = []
        self.sent: list[Any] = []

    def pick(self, _: Any) -> Any:
        return self

    def pool(self, *_: Any) -> Any:
        return SimpleNamespace(request=self.calls.append)

    def open(self) -> None:
        self.calls[-1].pool_ready(self)

    def send_headers(self, *_: Any) -> None: ...

    def flush(self) -> None: ...

    def send_data(self, data: bytes, end: bool) -> None:
        self.sent.append(service_pb2.StreamAccessLogsMessage.FromString(data[5:]))


@pytest.fixture
def server() -> Any:
    loop = Loop()
    cluster = Cluster(loop)
    node = base_pb2.Node(id="n")
    return SimpleNamespace(
        loop=loop, stats=Store(), cluster=cluster, clusters={"collector": cluster}, node_message=lambda: node
    )


def logger(server: Any, kind: str = als.HTTP, size: int = 100) -> als.Logger:
    common = als_pb2.CommonGrpcAccessLogConfig(log_name="x")
    common.grpc_service.envoy_grpc.cluster_name = "collector"
    common.buffer_size_bytes.value = size
    return als.Logger(common, kind, server)


def entry(text: str = "x" * 50) -> Any:
    made = accesslog_pb2.HTTPAccessLogEntry()
    made.request.path = text
    return made


def test_one_identifier_per_stream(server: Any) -> None:
    log = logger(server)
    log.write(entry())
    assert not server.cluster.calls
    server.loop.tick()
    server.cluster.open()
    log.write(entry())
    server.loop.tick()
    assert [message.HasField("identifier") for message in server.cluster.sent] == [True, False]
    server.cluster.calls[-1].on_headers(ResponseHeaders(503, {}), True)
    log.write(entry())
    server.loop.tick()
    server.cluster.open()
    assert [message.HasField("identifier") for message in server.cluster.sent] == [True, False, True]
    assert log.stats.logs_written == 3


@pytest.mark.parametrize("kind", [als.HTTP, als.TCP])
def test_what_waits_for_a_collector_that_is_away_is_bounded(
    server: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(stream, "MAX_WAITING", 1000)
    log = logger(server, kind)
    big = entry("x" * 200) if kind == als.HTTP else accesslog_pb2.TCPAccessLogEntry()
    if kind == als.TCP:
        big.common_properties.route_name = "x" * 200
    for _ in range(100):
        log.write(big)
    assert 0 < log.stats.logs_dropped < 100
    assert log._stream._size < 2000 and log._size < 1000
    dropped = log.stats.logs_dropped
    server.cluster.open()
    for _ in range(100):
        log.write(big)
    assert log.stats.logs_dropped == dropped


def test_a_collector_that_does_not_read_is_sent_nothing(server: Any) -> None:
    log = logger(server)
    log.write(entry("x" * 200))
    server.cluster.open()
    server.cluster.calls[-1].pause_request()
    for _ in range(10):
        log.write(entry("x" * 200))
    assert len(server.cluster.sent) == 1 and log.stats.logs_dropped == 9
    server.cluster.calls[-1].resume_request()
    server.loop.tick()
    assert len(server.cluster.sent) == 2
