"""Statistics sent to sinks beside Envoy's: the same requests through both, and the same counters, gauges and histograms."""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from mizzen.agent.supervisor import find_envoy
from mizzen.wire.metrics import StreamMetricsMessage
from tests.support.either_proxy import HTTP2, TYPES, address, cluster, proxy
from tests.support.poll import until

pytestmark = pytest.mark.skipif(not find_envoy(), reason="no Envoy here")
METRICS = TYPES + "envoy.config.metrics.v3."
SERVICE = {
    "@type": METRICS + "MetricsServiceConfig",
    "transport_api_version": "V3",
    "grpc_service": {"envoy_grpc": {"cluster_name": "service"}},
}
SINKS: dict[str, dict[str, Any]] = {
    "statsd": {"@type": METRICS + "StatsdSink", "address": "udp"},
    "statsd with a prefix": {"@type": METRICS + "StatsdSink", "address": "udp", "prefix": "p"},
    "statsd over tcp": {"@type": METRICS + "StatsdSink", "tcp_cluster_name": "tcp"},
    "dog statsd": {"@type": METRICS + "DogStatsdSink", "address": "udp"},
    "dog statsd in large datagrams": {
        "@type": METRICS + "DogStatsdSink", "address": "udp", "prefix": "p", "max_bytes_per_datagram": 512,
    },
    "metrics service": SERVICE,
    "metrics service with deltas and labels": {
        **SERVICE, "report_counters_as_deltas": True, "emit_tags_as_labels": True, "histogram_emit_mode": "HISTOGRAM",
    },
}  # fmt: skip


class Collector:
    """Receives statistics in every way: `seen` is every line or family, `packets` the datagrams."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.packets: list[str] = []
        self.identified: list[bool] = []

    async def __aenter__(self) -> Collector:
        loop = asyncio.get_running_loop()
        collector = self

        class Datagrams(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, _: Any) -> None:
                collector.packets.append(data.decode())
                collector.seen += data.decode().split("\n")

        self._udp, _ = await loop.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0))
        self.udp_port = self._udp.get_extra_info("sockname")[1]
        self._tcp = await asyncio.start_server(self._lines, "127.0.0.1", 0)
        self.tcp_port = self._tcp.sockets[0].getsockname()[1]
        self._grpc = grpc.aio.server()
        handler = grpc.stream_unary_rpc_method_handler(self._stream)
        service = grpc.method_handlers_generic_handler(
            "envoy.service.metrics.v3.MetricsService", {"StreamMetrics": handler}
        )
        self._grpc.add_generic_rpc_handlers((service,))
        self.grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")
        await self._grpc.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._udp.close()
        self._tcp.close()
        await self._grpc.stop(None)

    async def _lines(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.seen.append(line.decode().rstrip("\n"))
        writer.close()

    async def _stream(self, bodies: Any, context: Any) -> bytes:
        async for body in bodies:
            message = StreamMetricsMessage.FromString(body)
            self.identified.append(message.HasField("identifier"))
            for family in message.envoy_metrics:
                (metric,) = family.metric
                assert metric.timestamp_ms > 1e12
                labels = ",".join(f"{label.name}={label.value}" for label in metric.label)
                kind = next(name for name in VALUES if metric.HasField(name))
                self.seen.append(f"{family.name}:{VALUES[kind](getattr(metric, kind))}|{kind}{family.type}|{labels}")
        return b""


def _summary(summary: Any) -> str:
    return f"{summary.sample_count} {[each.quantile for each in summary.quantile]}"


def _histogram(histogram: Any) -> str:
    return f"{histogram.sample_count} {[bucket.upper_bound for bucket in histogram.bucket]}"


VALUES: dict[str, Any] = {
    "counter": lambda it: int(it.value),
    "gauge": lambda it: int(it.value),
    "summary": _summary,
    "histogram": _histogram,
}


def bootstrap(sink: dict[str, Any], collector: Collector, on_admin: bool) -> dict[str, Any]:
    if sink.get("address") == "udp":
        where = {"protocol": "UDP", "address": "127.0.0.1", "port_value": collector.udp_port}
        sink = sink | {"address": {"socket_address": where}}
    router = {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "shop",
        "http_filters": [{"name": "router", "typed_config": router}],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "a",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                }
            ]
        },
    }
    listeners = [
        {"name": name, "address": address(0), "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}]}]}
        for name in ("one", "two")
    ]
    return {
        "node": {"id": "n1", "cluster": "c1"},
        "admin": {"address": address(0)},
        "stats_sinks": [{"name": "sink", "typed_config": sink}],
        "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": [{"prefix": "http.shop."}]}}},
        **({"stats_flush_on_admin": True} if on_admin else {"stats_flush_interval": "0.2s"}),
        "static_resources": {
            "listeners": listeners,
            "clusters": [
                cluster("tcp", collector.tcp_port),
                cluster("service", collector.grpc_port, typed_extension_protocol_options=HTTP2),
            ],
        },
    }


LEFT_OUT = re.compile(r"rx_bytes_buffered|bytes_total")  # depends on when one looks; another length of the date


def told(seen: list[str], deltas: bool) -> dict[str, Any]:
    """By name and kind: what the counters come to, the last of each gauge, how many observations a histogram had. Without zeros."""
    out: dict[str, Any] = defaultdict(int)
    for line in seen:
        name, value, kind, tags = re.fullmatch(r"([^:]+):([^|]*)\|(\w+)\|?(.*)", line).groups()  # type: ignore[union-attr]
        key = f"{name}|{kind}|{tags}"
        if kind.startswith("c") and deltas:
            out[key] += int(value)
        elif kind == "ms":
            out[key] += 1
        elif kind.startswith(("summary", "histogram")):
            count, rest = value.split(" ", 1)
            out[f"{key}|{rest}"] += int(count)
        else:
            out[key] = int(value)
    return {key: value for key, value in out.items() if value and not LEFT_OUT.search(key)}


def quiet(collector: Collector, for_s: float = 0.3) -> Callable[[], bool]:
    """Whether nothing new has come for a while: a flush is many packets."""
    count, since = -1, 0.0

    def holds() -> bool:
        nonlocal count, since
        if len(collector.seen) != count:
            count, since = len(collector.seen), time.monotonic()
        return time.monotonic() - since > for_s

    return holds


async def observed(which: str, folder: Path, name: str, on_admin: bool = False) -> Any:
    sink = SINKS[name]
    deltas = "MetricsService" not in sink["@type"] or "report_counters_as_deltas" in sink

    def completed() -> int:
        return max(
            (n for key, n in told(collector.seen, deltas).items() if "downstream_rq_completed" in key), default=0
        )

    async with (
        Collector() as collector,
        aiohttp.ClientSession() as session,
        proxy(which, folder, bootstrap(sink, collector, on_admin)) as (admin, ports),
    ):
        for _ in range(3):
            async with session.get(f"http://127.0.0.1:{ports['one']}/") as answer:
                await answer.read()
        if on_admin:
            async with session.get(f"http://127.0.0.1:{admin}/stats") as answer:
                await answer.read()
        await until(lambda: completed() == 3, f"{which}: three requests")
        count = len(collector.seen)
        if on_admin:
            await until(quiet(collector), f"{which}: the flush's end")
        else:
            await until(lambda: len(collector.seen) > count + 20, f"{which}: the next flush")
        if "max_bytes_per_datagram" in sink:
            assert all(len(packet) <= 512 for packet in collector.packets)
            assert any("\n" in packet for packet in collector.packets)
        elif collector.packets:
            assert not any("\n" in packet for packet in collector.packets)
        assert collector.identified == sorted(collector.identified, reverse=True)[: len(collector.identified)]
        assert sum(collector.identified) <= 1
        return told(collector.seen, deltas)


@pytest.mark.parametrize("name", SINKS)
async def test_as_envoy(tmp_path: Path, name: str) -> None:
    ours = await observed("mizzen", tmp_path / "mizzen", name)
    theirs = await observed("envoy", tmp_path / "envoy", name)
    assert ours == theirs


async def test_when_the_admin_is_asked(tmp_path: Path) -> None:
    ours = await observed("mizzen", tmp_path / "mizzen", "statsd", on_admin=True)
    theirs = await observed("envoy", tmp_path / "envoy", "statsd", on_admin=True)
    assert ours == theirs
