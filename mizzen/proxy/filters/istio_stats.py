"""istio.stats: Istio's standard metrics, with the labels that its dashboards know.

HTTP: istio_requests_total, istio_request_duration_milliseconds, istio_request_bytes, istio_response_bytes; of gRPC calls
besides istio_{request,response}_messages_total, as they go on. TCP: istio_tcp_{connections_opened,connections_closed,
sent_bytes,received_bytes}_total, as they go on. Of the proxy itself: istio_build. Labels are computed once per combination.
Source: Istio's standard metrics reference; stats.PluginConfig.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mizzen.proxy.accesslog.grpc import grpc_number
from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.config.values import optional_seconds
from mizzen.proxy.filters.base import HttpFilter
from mizzen.proxy.filters.grpc_stats import FILTER_STATE
from mizzen.proxy.filters.istio_peer import DOWNSTREAM, NO_PEER, UPSTREAM, Peer, peer_of, workload_peer
from mizzen.proxy.filters.network import NetworkFilter
from mizzen.proxy.http.info import StreamInfo, flags_text
from mizzen.proxy.stats.store import Histogram

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

UNKNOWN = "unknown"
Tags = tuple[tuple[str, str], ...]
INBOUND = 1
COMMON = 20  # so many of the labels are of both workloads and the service, and come first
NOBODY = Peer()
METRICS = {
    "requests_total": "istio_requests_total",
    "request_duration_milliseconds": "istio_request_duration_milliseconds",
    "request_bytes": "istio_request_bytes",
    "response_bytes": "istio_response_bytes",
    "request_messages_total": "istio_request_messages_total",
    "response_messages_total": "istio_response_messages_total",
    "tcp_connections_opened_total": "istio_tcp_connections_opened_total",
    "tcp_connections_closed_total": "istio_tcp_connections_closed_total",
    "tcp_sent_bytes_total": "istio_tcp_sent_bytes_total",
    "tcp_received_bytes_total": "istio_tcp_received_bytes_total",
}
LITERAL = re.compile(r"""^\s*(?:"([^"]*)"|'([^']*)')\s*$""")
HEADER = re.compile(r"""^\s*request\.headers\[['"]([\w-]+)['"]\]\s*$""")
NODE = re.compile(r"""^\s*node\.metadata\[['"]([\w.-]+)['"]\]\s*$""")
SIMPLE: dict[str, Callable[[StreamInfo], str]] = {
    "request.host": lambda info: (info.request.authority or "") if info.request is not None else UNKNOWN,
    "request.method": lambda info: info.request.method if info.request is not None else UNKNOWN,
    "request.path": lambda info: info.request.path if info.request is not None else UNKNOWN,
    "request.url_path": lambda info: info.request.path.partition("?")[0] if info.request is not None else UNKNOWN,
    "request.protocol": lambda info: info.protocol or UNKNOWN,
    "response.code": lambda info: str(info.code),
    "destination.port": lambda info: str(info.conn.local[1]),
    "source.address": lambda info: info.conn.remote[0],
}


def expression(text: str, server: Any) -> Callable[[StreamInfo], str]:
    """The few CEL expressions that dimensions are made of in practice. Raises Unsupported for others."""
    found = LITERAL.match(text)
    if found is not None:
        value = found[1] if found[1] is not None else found[2]
        return lambda info: value
    if text.strip() in SIMPLE:
        return SIMPLE[text.strip()]
    found = HEADER.match(text)
    if found is not None:
        name = found[1].lower()
        return lambda info: (info.request.get(name) if info.request is not None else None) or UNKNOWN
    found = NODE.match(text)
    if found is not None:
        from mizzen.proxy.accesslog.format import struct_value

        value = str(struct_value(server.node.metadata).get(found[1], UNKNOWN))
        return lambda info: value
    raise Unsupported(f"stats.PluginConfig.metrics.dimensions expression {text!r}")


class Override:
    """What MetricConfigs change about one metric."""

    def __init__(self) -> None:
        self.drop = False
        self.removed: set[str] = set()
        self.dimensions: dict[str, Callable[[StreamInfo], str]] = {}


class Reporter:
    """Counts for one filter: knows its side, its overrides and the label sets that it has seen."""

    def __init__(self, config: Any, server: Any, listener: Any) -> None:
        self.server = server
        self.store = server.stats.labelled
        inbound = listener is not None and listener.direction == INBOUND
        self.inbound = inbound or config.reporter == 1
        self.reporter = "destination" if self.inbound else "source"
        if config.definitions:
            raise Unsupported("stats.PluginConfig.definitions")
        from mizzen.proxy.accesslog.format import struct_value

        self.own = peer_of(struct_value(server.node.metadata), server.node.locality)
        version = struct_value(server.node.metadata).get("ISTIO_VERSION")
        self.store.gauges["istio_build", (("component", "proxy"), ("tag", str(version or UNKNOWN)))] = 1
        interval = optional_seconds(config, "tcp_reporting_duration")
        self.interval = 5.0 if interval is None else interval
        self.host_fallback = not config.disable_host_header_fallback
        self.overrides: dict[str, Override] = {}
        for metric in config.metrics:
            if metric.match:
                raise Unsupported("stats.PluginConfig.metrics.match")
            names = [metric.name] if metric.name else list(METRICS)
            for name in names:
                override = self.overrides.setdefault(METRICS.get(name, name), Override())
                override.drop = override.drop or metric.drop
                override.removed |= set(metric.tags_to_remove)
                for key in metric.dimensions:
                    override.dimensions[key] = expression(metric.dimensions[key], server)
        self.per_stream = any(override.dimensions for override in self.overrides.values())
        self.cache: dict[Any, Tags] = {}

    def knows_peer(self, info: StreamInfo) -> bool:
        """Whether it is known who the other workload is, or that it does not tell: of an open session nothing is said before."""
        if info.request is not None:
            return self.inbound or info.response is not None
        found = info.get_filter_state(DOWNSTREAM if self.inbound else UPSTREAM)
        return found is not None or info.get_filter_state(NO_PEER) is not None

    def labels(self, info: StreamInfo, http: bool) -> Tags:
        """The standard labels of a request or session."""
        conn = info.conn
        if self.inbound:
            peer = info.get_filter_state(DOWNSTREAM) or NOBODY
            local_tls = remote_tls = conn.tls
        else:
            peer = info.get_filter_state(UPSTREAM)
            if peer is None:
                peer = (workload_peer(info.host.metadata) if info.host is not None else None) or NOBODY
            local_tls = remote_tls = info.upstream_tls
        flags = flags_text(info)
        grpc = grpc_number(info) if http and is_grpc(info) else None
        authority = info.request.authority if info.request is not None else ""
        cluster = info.cluster
        key = (
            peer,
            cluster.name if cluster is not None else info.upstream_cluster_name,
            info.code if http else 0,
            flags,
            grpc,
            http and is_grpc(info),
            remote_tls.peer_der if remote_tls is not None else None,
            info.route.name if http and info.route is not None else "",
            "" if cluster is not None and cluster.metadata else authority,
        )
        found = self.cache.get(key)
        if found is None:
            if len(self.cache) > 10_000:
                self.cache.clear()
            found = self.cache[key] = self._labels(info, http, peer, local_tls, flags, grpc, authority or "")
        return found

    def _labels(
        self, info: StreamInfo, http: bool, peer: Peer, tls: Any, flags: str, grpc: int | None, authority: str
    ) -> Tags:
        source, destination = (peer, self.own) if self.inbound else (self.own, peer)
        local = uri(tls.local) if tls is not None and tls.local is not None else ""
        remote = uri(tls.peer) if tls is not None and tls.peer is not None else ""
        mutual = tls is not None and tls.peer_der is not None and tls.validated
        source_principal, destination_principal = (remote, local) if self.inbound else (local, remote)
        host, name, namespace = self._service(info, http, authority, destination)
        protocol = "grpc" if http and is_grpc(info) else "http" if http else "tcp"
        security = ("mutual_tls" if mutual else "none") if self.inbound else UNKNOWN
        values = [
            ("reporter", self.reporter),
            ("source_workload", source.workload),
            ("source_canonical_service", source.canonical_name),
            ("source_canonical_revision", source.canonical_revision if source is not NOBODY else ""),
            ("source_workload_namespace", source.namespace),
            ("source_principal", source_principal),
            ("source_app", source.app),
            ("source_version", source.version),
            ("source_cluster", source.cluster),
            ("destination_workload", destination.workload),
            ("destination_workload_namespace", destination.namespace),
            ("destination_principal", destination_principal),
            ("destination_app", destination.app),
            ("destination_version", destination.version),
            ("destination_service", host),
            ("destination_canonical_service", destination.canonical_name),
            ("destination_canonical_revision", destination.canonical_revision),
            ("destination_service_name", name),
            ("destination_service_namespace", namespace),
            ("destination_cluster", destination.cluster),
            ("request_protocol", protocol),
        ]
        if http:
            values.append(("response_code", str(info.code)))
            values.append(("grpc_response_status", "" if grpc is None else str(grpc)))
        values += [("response_flags", flags), ("connection_security_policy", security)]
        keep_empty = ("grpc_response_status",)
        return tuple((key, value or ("" if key in keep_empty else UNKNOWN)) for key, value in values)

    def _service(self, info: StreamInfo, http: bool, authority: str, destination: Peer) -> tuple[str, str, str]:
        """Host, name and namespace of the service that was called."""
        metadata = info.cluster.metadata if info.cluster is not None else None
        services = ((metadata or {}).get("istio") or {}).get("services") or []
        if services and isinstance(services[0], dict):
            first = services[0]
            return (
                str(first.get("host", "")),
                str(first.get("name", "")),
                str(first.get("namespace", "")) or destination.namespace,
            )
        name = (info.cluster.name if info.cluster is not None else info.upstream_cluster_name) or ""
        if http and info.route is not None and info.route.name in ("block_all", "allow_any"):
            name = "BlackHoleCluster" if info.route.name == "block_all" else "PassthroughCluster"
        host = authority if http and self.host_fallback else ""
        if name in ("BlackHoleCluster", "PassthroughCluster", "InboundPassthroughCluster"):
            return (
                host or name,
                name if name != "InboundPassthroughCluster" or not host else host,
                destination.namespace,
            )
        if name.count("|") == 3 and not host:
            host = name.rpartition("|")[2]
        return host, host.split(".")[0] if host else "", destination.namespace

    def count(self, info: StreamInfo, name: str, labels: Tags, by: int) -> None:
        tags = self._tags(info, name, labels)
        if tags is not None:
            key = (name, tags)
            self.store.counters[key] = self.store.counters.get(key, 0) + by

    def observe(self, info: StreamInfo, name: str, labels: Tags, value: float) -> None:
        tags = self._tags(info, name, labels)
        if tags is not None:
            key = (name, tags)
            histogram = self.store.histograms.get(key)
            if histogram is None:
                histogram = self.store.histograms[key] = Histogram()
            histogram.record(value)

    def _tags(self, info: StreamInfo, name: str, labels: Tags) -> Tags | None:
        override = self.overrides.get(name)
        if override is None:
            return labels
        if override.drop:
            return None
        out = [(key, value) for key, value in labels if key not in override.removed and key not in override.dimensions]
        out += [(key, make(info)) for key, make in override.dimensions.items() if key not in override.removed]
        return tuple(out)


def uri(cert: Any) -> str:
    return cert.uris[0] if cert.uris else ""


def is_grpc(info: StreamInfo) -> bool:
    kind = info.request.d.get("content-type") if info.request is not None else None
    return kind is not None and kind.startswith("application/grpc")


class Progress:
    """What is open and is counted every so often until it ends (stats.PluginConfig.tcp_reporting_duration).

    One timer serves all: a session is first reported within the interval, and then once in each.
    """

    def __init__(self, reporter: Reporter, report: Callable[[Any, list[int]], None]) -> None:
        self.reporter = reporter
        self.report = report
        self.open: dict[Any, list[int]] = {}  # with what is reported already
        self.timer: Any = None

    def begin(self, info: StreamInfo) -> None:
        self.open[info] = [0, 0, 0]
        if self.timer is None and self.reporter.interval:
            self.timer = self.reporter.server.loop.call_later(self.reporter.interval, self._tick)

    def end(self, info: StreamInfo) -> None:
        """The last report."""
        self.report(info, self.open.pop(info))

    def _tick(self) -> None:
        self.timer = None
        for info, told in self.open.items():
            if self.reporter.knows_peer(info):
                self.report(info, told)
        if self.open:
            self.timer = self.reporter.server.loop.call_later(self.reporter.interval, self._tick)


class HttpStats(HttpFilter):
    finishes = True

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.streaming = Progress(reporter, self._messages)

    def calls(self, stream: Stream) -> None:
        """A gRPC call begins whose messages are counted (grpc_stats)."""
        self.streaming.begin(stream)

    def _messages(self, stream: Stream, told: list[int]) -> None:
        counters = stream.state.get(FILTER_STATE) if stream.state is not None else None
        if counters is None:
            return
        labels = self.reporter.labels(stream, True)[:COMMON]
        for at, name in enumerate(("istio_request_messages_total", "istio_response_messages_total")):
            count = counters[at].count
            self.reporter.count(stream, name, labels, count - told[at])
            told[at] = count

    def finished(self, stream: Stream) -> None:
        reporter = self.reporter
        if stream.request is None:
            return
        if stream in self.streaming.open:
            self.streaming.end(stream)
        labels = reporter.labels(stream, True)
        reporter.count(stream, "istio_requests_total", labels, 1)
        reporter.observe(stream, "istio_request_duration_milliseconds", labels, (stream.end - stream.start) * 1000)
        reporter.observe(stream, "istio_request_bytes", labels, stream.bytes_received + stream.wire_rx)
        reporter.observe(stream, "istio_response_bytes", labels, stream.bytes_sent + stream.wire_tx)


class TcpStats(NetworkFilter):
    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.sessions = Progress(reporter, self._report)

    def began(self, session: StreamInfo) -> None:
        self.sessions.begin(session)

    def finished(self, session: StreamInfo) -> None:
        self.sessions.end(session)
        labels = self.reporter.labels(session, False)
        self.reporter.count(session, "istio_tcp_connections_closed_total", labels, 1)

    def _report(self, session: StreamInfo, told: list[int]) -> None:
        reporter = self.reporter
        labels = reporter.labels(session, False)
        if not told[2]:
            told[2] = 1
            reporter.count(session, "istio_tcp_connections_opened_total", labels, 1)
        reporter.count(session, "istio_tcp_sent_bytes_total", labels, session.bytes_sent - told[0])
        reporter.count(session, "istio_tcp_received_bytes_total", labels, session.bytes_received - told[1])
        told[0], told[1] = session.bytes_sent, session.bytes_received


def http_filter(config: Any, server: Any, hcm: Any) -> HttpStats:
    return HttpStats(Reporter(config, server, hcm.listener))


def network_filter(config: Any, server: Any, listener: Any) -> TcpStats:
    return TcpStats(Reporter(config, server, listener))
