"""One HTTP request on its way through the filter chain, and its answer on its way back.

A codec (http/h1_server.py, http/h2_server.py) makes a Stream, calls `on_request`, `on_data`, `on_trailers`, `on_reset`; the
stream writes its answer with the codec's `send_headers`, `send_data`, `send_trailers`, `reset`. Filters are in filters/.
Deadlines are plain times that the server's sweeper looks at (`next_deadline`, `expire`), not timers.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import Headers, RequestHeaders
from mizzen.proxy.filters.base import DISABLED
from mizzen.proxy.http import info as flags
from mizzen.proxy.http.clock import NEVER
from mizzen.proxy.http.grpc import grpc_timeout, is_grpc
from mizzen.proxy.http.mutate import mutate_request, normalise_path
from mizzen.proxy.http.stream_response import ResponseSide

if TYPE_CHECKING:
    from mizzen.proxy.http.route import RouteTable


class Stream(ResponseSide):
    """One request and its answer: the request on its way through the filters."""

    __slots__ = ()

    def on_request(self, request: RequestHeaders, end: bool) -> None:
        hcm = self.hcm
        hot = hcm.hot
        hot.downstream_rq_total += 1
        hot.downstream_rq_active += 1
        self.request = request
        self.request_end = end
        hcm.active.add(self)
        if end:
            self.last_downstream_rx = monotonic()
            self.deadline_request = NEVER
        server = hcm.server
        if server.overloaded and server.overload.refuses_request(self.conn):
            self.direct_reply(503, "envoy overloaded", "overload", count="downstream_rq_overload_close")
            return
        if request.authority is None:
            self.direct_reply(400, "", "missing_host_header", close=True)
            return
        if request.path[:1] != "/":
            if request.method != "CONNECT":
                self.direct_reply(404, "", "absolute_path_rejected", count="downstream_rq_non_relative_path")
                return
        elif "#" in request.path:
            self.direct_reply(400, "", "path_normalization_failed", count="downstream_rq_failed_path_normalization")
            return
        outcome = normalise_path(hcm, request)
        if outcome == "reject":
            self.direct_reply(400, "", "path_normalization_failed", count="downstream_rq_failed_path_normalization")
            return
        if hcm.strip_any_port or hcm.merge_host_port or hcm.strip_trailing_dot:
            self._strip_host(request)
        mutate_request(hcm, self, request)
        if outcome == "redirect":
            hcm.stats.downstream_rq_redirected_with_normalized_path += 1
            self.direct_reply(307, "", "path_normalization_redirect", headers={"location": request.path})
            return
        self.stream_id = request.d.get("x-request-id")
        self.resolve_route()
        if request.protocol is not None or request.method == "CONNECT":
            unrouted = self.route is None and request.protocol is None  # a CONNECT that only the router can answer
            if not unrouted and not self._upgrade_allowed(request):
                hcm.stats.downstream_rq_ws_on_non_ws_route += 1
                self.local_reply(403, "", "upgrade_failed", close=True)
                return
            self.upgrade = True
        self._decode(0, end)

    def _strip_host(self, request: RequestHeaders) -> None:
        host = request.authority or ""
        if self.hcm.strip_trailing_dot and host.endswith("."):
            host = host[:-1]
        name, colon, port = host.rpartition(":")
        if colon and port.isdigit() and (self.hcm.strip_any_port or int(port) == self.conn.local[1]):
            host = name
        request.authority = host

    def _upgrade_allowed(self, request: RequestHeaders) -> bool:
        kind = (
            "connect" if request.method == "CONNECT" and request.protocol is None else (request.protocol or "").lower()
        )
        route = self.route
        if route is not None and route.action is not None and kind in route.action.upgrades:
            return bool(route.action.upgrades[kind])
        return bool(self.hcm.upgrades.get(kind, False))

    def resolve_route(self) -> None:
        """Find virtual host, route and cluster for the request as it is now."""
        self.route_done = True
        table: RouteTable | None = self.hcm.routes.table
        request = self.request
        self.route = self.target = self.cluster = None
        self.upstream_cluster_name = None
        off = self.hcm.off
        self.per_filter = off or None
        if table is None or request is None:
            return
        authority = request.authority or ""
        if table.vhost_header:
            authority = request.get(table.vhost_header) or authority
        vhost = self.vhost = table.virtual_host(authority)
        if vhost is None:
            return
        if (
            vhost.require_tls
            and request.d.get("x-forwarded-proto") != "https"
            and (vhost.require_tls == 2 or not self.internal)
        ):
            self.route = self.hcm.server.tls_redirect
            return
        route = self.route = vhost.find(request, self)
        if route is None:
            return
        self.per_filter = {**off, **route.per_filter} if off else route.per_filter
        self.request_ops, self.response_ops = route.request_ops, route.response_ops
        action = route.action
        if action is None:
            return
        target = self.target = action.choose(request)
        if target.per_filter is not None:
            self.per_filter = {**off, **target.per_filter} if off else target.per_filter
        if target.request_ops is not None:
            self.request_ops = target.request_ops
        if target.response_ops is not None:
            self.response_ops = target.response_ops
        name = target.cluster or (request.get(target.cluster_header) or "" if target.cluster_header else "")
        cluster = self.cluster = self.hcm.clusters.get(name)
        if cluster is not None:
            self.upstream_cluster_name = cluster.config.alt_stat_name
        if action.idle_timeout is not None:
            self.idle_timeout = action.idle_timeout
            self.next_deadline = 0.0
        if action.max_stream_duration is not None or action.grpc_timeout_header_max is not None:
            self._duration(action, request)

    def _duration(self, action: Any, request: RequestHeaders) -> None:
        limit = action.max_stream_duration
        if limit is None:
            limit = self.hcm.max_stream_duration
        elif limit < 0:
            return  # max_grpc_timeout: the router's business
        if action.grpc_timeout_header_max is not None:
            asked = grpc_timeout(request.d.get("grpc-timeout"))
            if asked is not None:
                limit = min(asked, action.grpc_timeout_header_max) if action.grpc_timeout_header_max else asked
                if action.grpc_timeout_offset and limit > action.grpc_timeout_offset:
                    limit -= action.grpc_timeout_offset
        self.deadline_duration = self.start + limit if limit else NEVER
        self.next_deadline = 0.0

    def clear_route_cache(self) -> None:
        """A filter changed what routing depends on."""
        self.resolve_route()

    def _decode(self, at: int, end: bool) -> None:
        filters = self.hcm.decoders
        request = self.request
        per_filter = self.per_filter
        for i in range(at, len(filters)):
            filter_ = filters[i]
            if per_filter and per_filter.get(filter_.name) is DISABLED:
                continue
            self.at = i
            if not filter_.request_headers(self, request, end):
                if not self.done and not self.local and i < len(filters) - 1:
                    self.held = True
                return
            if self.done or self.local:
                return
            per_filter = self.per_filter

    def continue_request(self) -> None:
        """Go on behind the filter that held the request, with what came meanwhile."""
        if self.done or self.local or not self.held:
            return
        self.held = False
        parts, self.held_parts = self.held_parts, None
        trailers, self.held_trailers = self.held_trailers, None
        at = self.at + 1
        end = self.request_end and not parts and trailers is None
        self._decode(at, end)
        if self.done or self.local:
            return
        if self.held:
            if parts:
                self.held_parts = parts + (self.held_parts or [])
            self.held_trailers = trailers or self.held_trailers
            return
        if parts:
            self._data_from(at, b"".join(parts), self.request_end and trailers is None)
        if trailers is not None and not self.done and not self.local:
            self._trailers_from(at, trailers)
        if self.router is not None:
            self.router.flush_request()
        self.codec.resume_request()

    def on_data(self, data: bytes, end: bool) -> None:
        """Request body from the codec."""
        self.bytes_received += len(data)
        self.touched = monotonic()
        if end:
            self.request_end = True
            self.last_downstream_rx = self.touched
            self.deadline_request = NEVER
        if self.done or (self.local and not self.held):
            return
        if self.held:
            self._data_held(data, end)
            return
        self._data_from(0, data, end)

    def _data_held(self, data: bytes, end: bool) -> None:
        filters = self.hcm.decoders
        holder = filters[self.at]
        for filter_ in self.hcm.data_decoders:
            if filter_ is holder:
                break
            if filters.index(filter_) > self.at:
                break
            passed = filter_.request_data(self, data, end)
            if passed is None:
                return
            data = passed
        if holder.reads_request_data:
            kept = holder.request_data(self, data, end)
            if kept is None or not self.held:
                return
            data = kept
        if self.held_parts is None:
            self.held_parts = []
        if data:
            self.held_parts.append(data)
        if sum(map(len, self.held_parts)) > self.codec.limit():
            self.codec.pause_request()

    def _data_from(self, at: int, data: bytes, end: bool) -> None:
        data_decoders = self.hcm.data_decoders
        if data_decoders:
            filters = self.hcm.decoders
            for filter_ in data_decoders:
                if filters.index(filter_) < at or (self.per_filter and self.per_filter.get(filter_.name) is DISABLED):
                    continue
                passed = filter_.request_data(self, data, end)
                if passed is None or self.done or self.local:
                    return
                data = passed
        router = self.router
        if router is not None:
            router.request_data(data, end)

    def on_trailers(self, trailers: Headers) -> None:
        self.request_end = True
        self.touched = self.last_downstream_rx = monotonic()
        self.deadline_request = NEVER
        if self.done or self.local:
            return
        if self.held:
            holder = self.hcm.decoders[self.at]
            self.held_trailers = trailers
            if holder.reads_request_data:
                holder.request_trailers(self, trailers)
            return
        self._trailers_from(0, trailers)

    def _trailers_from(self, at: int, trailers: Headers) -> None:
        for filter_ in self.hcm.data_decoders:
            if self.hcm.decoders.index(filter_) >= at and not filter_.request_trailers(self, trailers):
                return
        if self.router is not None:
            self.router.request_trailers(trailers)

    def flush_request(self) -> None:
        """The codec has no more for now: what waits for company may go out."""
        if self.router is not None:
            self.router.flush_request()

    def on_reset(self, details: str, flag: int = flags.DOWNSTREAM_CONNECTION_TERMINATION) -> None:
        """The client is gone, or has reset the stream."""
        if self.done:
            return
        self.flags |= flag
        if not self.details or not self.response_started or not self.response_end:
            self.details = details
        stats = self.hcm.stats
        stats.downstream_rq_rx_reset += 1
        self.finish()

    def sweep(self, now: float) -> None:
        """Called when next_deadline has passed: acts on what expired, sets the next."""
        idle = self.touched + self.idle_timeout if self.idle_timeout else NEVER
        router = self.router
        tried = router.deadline_try if router is not None else NEVER
        if now >= self.deadline_request:
            self.deadline_request = NEVER
            self.hcm.stats.downstream_rq_timeout += 1
            self.local_reply(408, "request timeout", "request_overall_timeout", close=True)
            return
        if now >= self.deadline_duration:
            self.deadline_duration = NEVER
            self.hcm.stats.downstream_rq_max_duration_reached += 1
            if self.response_started:
                self.local_reply(408, "", "max_duration_timeout")
            else:
                grpc = self.request is not None and is_grpc(self.request)
                self.local_reply(
                    408 if not self.request_end else 504,
                    "downstream duration timeout",
                    "max_duration_timeout",
                    0,
                    None,
                    4 if grpc else None,
                )
            return
        if now >= self.deadline_route:
            self.deadline_route = NEVER
            if router is not None:
                router.route_timeout()
            return
        if now >= tried and router is not None:
            router.try_timeout(now)
            tried = router.deadline_try
        if self.done:
            return
        if now >= idle:
            self.hcm.stats.downstream_rq_idle_timeout += 1
            code = 504 if self.request_end else 408
            self.local_reply(code, "stream timeout", "stream_idle_timeout", flags.STREAM_IDLE_TIMEOUT)
            return
        self.next_deadline = min(idle, self.deadline_request, self.deadline_duration, self.deadline_route, tried)
