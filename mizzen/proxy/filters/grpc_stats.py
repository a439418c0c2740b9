"""envoy.filters.http.grpc_stats: counts of gRPC calls by service and method, and of messages.

Source: envoy.extensions.filters.http.grpc_stats.v3.FilterConfig.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders
from mizzen.proxy.filters.base import HttpFilter
from mizzen.proxy.http.grpc import is_grpc

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

NO_MESSAGES = 1 << 62  # bytes to skip in an answer that is not gRPC
FILTER_STATE = "envoy.filters.http.grpc_stats"


class Counter:
    """Counts the messages in a gRPC body as it streams by."""

    __slots__ = ("count", "head", "skip")

    def __init__(self) -> None:
        self.count = 0
        self.skip = 0
        self.head = b""

    def feed(self, data: bytes) -> None:
        at, size = 0, len(data)
        while at < size:
            if self.skip:
                step = min(self.skip, size - at)
                self.skip -= step
                at += step
                continue
            if not self.head:
                self.count += 1  # a message counts from its first byte
            need = 5 - len(self.head)
            self.head += data[at : at + need]
            at += need
            if len(self.head) == 5:
                self.skip = int.from_bytes(self.head[1:], "big")
                self.head = b""


class GrpcStats(HttpFilter):
    decodes = encodes = reads_request_data = reads_response_data = finishes = True

    def __init__(self, config: Any, server: Any) -> None:
        self.server = server
        self.emit = config.emit_filter_state
        self.upstream = config.enable_upstream_stats
        kind = config.WhichOneof("per_method_stat_specifier")
        self.all_methods = kind == "stats_for_all_methods" and config.stats_for_all_methods.value
        self.listed: set[tuple[str, str]] | None = None
        if kind == "individual_method_stats_allowlist":
            self.listed = {
                (service.name, method)
                for service in config.individual_method_stats_allowlist.services
                for method in service.method_names
            }
        self.replace_dots = (
            config.replace_dots_in_grpc_service_name if hasattr(config, "replace_dots_in_grpc_service_name") else False
        )

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        if is_grpc(headers):
            if stream.state is None:
                stream.state = {}
            counters = stream.state[self] = (Counter(), Counter())
            if self.emit:
                stream.state[FILTER_STATE] = counters
                for each in stream.hcm.call_watchers:
                    each.calls(stream)
        return True

    def request_data(self, stream: Stream, data: bytes, end: bool) -> bytes | None:
        counters = stream.state.get(self) if stream.state is not None else None
        if counters is not None:
            counters[0].feed(data)
        return data

    def response_data(self, stream: Stream, data: bytes, end: bool) -> bytes | None:
        counters = stream.state.get(self) if stream.state is not None else None
        if counters is not None:
            counters[1].feed(data)
        return data

    def response_headers(self, stream: Stream, headers: ResponseHeaders, end: bool) -> bool:
        if "grpc-status" in headers.d:
            self._charge(stream, headers)
        if not headers.d.get("content-type", "").startswith("application/grpc"):
            counters = stream.state.get(self) if stream.state is not None else None
            if counters is not None:
                counters[1].skip = NO_MESSAGES
        return True

    def response_trailers(self, stream: Stream, trailers: Headers) -> bool:
        self._charge(stream, trailers)
        return True

    def _group(self, stream: Stream) -> Any:
        """The statistics of the call's method; None when its cluster is not known."""
        if stream.cluster is None or stream.request is None:
            return None
        prefix = f"{stream.cluster.stat_prefix}.grpc"
        path = stream.request.path.partition("?")[0].split("/")
        if self.all_methods or (self.listed is not None and len(path) == 3 and (path[1], path[2]) in self.listed):
            service = path[1].replace(".", "_") if self.replace_dots else path[1]
            prefix = f"{prefix}.{service}.{path[2]}" if len(path) == 3 else prefix
        return self.server.stats.group(prefix)

    def _charge(self, stream: Stream, headers: Headers) -> None:
        """Count the outcome that an answer's head or trailers tell."""
        status = headers.get("grpc-status")
        if status is None or stream.state is None or self not in stream.state:
            return
        group = self._group(stream)
        if group is not None:
            group.count(status)
            group.count("success" if status == "0" else "failure")
            group.count("total")

    def finished(self, stream: Stream) -> None:
        counters = stream.state.get(self) if stream.state is not None else None
        if counters is None:
            return
        sent, answered = counters[0].count, counters[1].count
        if self.emit:
            stream.set_filter_state(
                FILTER_STATE, {"request_message_count": str(sent), "response_message_count": str(answered)}
            )
        group = self._group(stream)
        if group is None:
            return
        group.count("request_message_count", sent)
        group.count("response_message_count", answered)
        if self.upstream and stream.first_upstream_rx:
            timed = self.server.stats.group(group._prefix, (), (), ["upstream_rq_time"])
            timed.upstream_rq_time.record((stream.end - stream.start) * 1000)


def http_filter(config: Any, server: Any, hcm: Any) -> GrpcStats:
    return GrpcStats(config, server)
