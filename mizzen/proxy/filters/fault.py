"""envoy.filters.http.fault: delays and aborts, by percentage, by header, for requests that match.

Source: envoy.extensions.filters.http.fault.v3.HTTPFault.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.config.matchers import all_headers
from mizzen.proxy.config.values import fraction, seconds, wrapped
from mizzen.proxy.filters.base import HttpFilter
from mizzen.proxy.http import info as flags

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

HTTP_FROM_GRPC = {
    0: 200, 1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401,  # noqa: E501
}  # fmt: skip


class Settings:
    """One HTTPFault: the filter's own or a route's."""

    def __init__(self, message: Any, server: Any) -> None:
        if message.HasField("response_rate_limit"):
            raise Unsupported("HTTPFault.response_rate_limit")
        self.delay: float | None = None
        self.header_delay = False
        self.delay_share = 0.0
        if message.HasField("delay"):
            self.delay = seconds(message.delay.fixed_delay) if message.delay.HasField("fixed_delay") else None
            self.header_delay = message.delay.HasField("header_delay")
            self.delay_share = fraction(message.delay.percentage)
        self.http_status = 0
        self.grpc_status: int | None = None
        self.header_abort = False
        self.abort_share = 0.0
        if message.HasField("abort"):
            kind = message.abort.WhichOneof("error_type")
            if kind == "http_status":
                self.http_status = message.abort.http_status
            elif kind == "grpc_status":
                self.grpc_status = message.abort.grpc_status
            self.header_abort = kind == "header_abort"
            self.abort_share = fraction(message.abort.percentage)
        self.upstream_cluster: str = message.upstream_cluster
        self.headers = all_headers(message.headers)
        self.nodes = frozenset(message.downstream_nodes)
        self.max_active = wrapped(message, "max_active_faults", 1 << 62)
        self.inert = (
            self.delay is None
            and not self.header_delay
            and not (self.http_status or self.grpc_status is not None or self.header_abort)
        )


def asked(headers: RequestHeaders, name: str, share: float) -> tuple[int | None, float]:
    """The number in a fault header, and the share that its percentage header lowers."""
    text = headers.get(name)
    if text is None or not text.isdigit():
        return None, 0.0
    percentage = headers.get(name + "-percentage")
    if percentage is not None and percentage.isdigit():
        share = min(share, int(percentage) / 100)
    return int(text), share


class Fault(HttpFilter):
    """The filter; its state per stream is the delay's timer."""

    decodes = True
    finishes = True

    def __init__(self, settings: Settings, server: Any, hcm: Any) -> None:
        self.settings = settings
        self.server = server
        self.stats: Any = server.stats.group(
            f"http.{hcm.stat_prefix}.fault",
            ["aborts_injected", "delays_injected", "faults_overflow", "response_rl_injected"],
            ["active_faults"],
        )

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        settings: Settings = self.route_config(stream) or self.settings
        if settings.inert:
            return True
        if settings.upstream_cluster and stream.upstream_cluster_name != settings.upstream_cluster:
            return True
        if settings.headers is not None and not settings.headers(headers):
            return True
        if settings.nodes and headers.get("x-envoy-downstream-service-node") not in settings.nodes:
            return True
        wait: float | None = settings.delay
        share = settings.delay_share
        if settings.header_delay:
            number, share = asked(headers, "x-envoy-fault-delay-request", share)
            wait = None if number is None else number / 1000
        if wait and random.random() < share:
            if self.stats.active_faults >= settings.max_active:
                self.stats.faults_overflow += 1
                return True
            self.stats.delays_injected += 1
            self.stats.active_faults += 1
            stream.flags |= flags.DELAY_INJECTED
            if stream.state is None:
                stream.state = {}
            stream.state[self] = self.server.loop.call_later(wait, self._delayed, stream, headers, settings)
            return False
        return not self._abort(stream, headers, settings)

    def _delayed(self, stream: Stream, headers: RequestHeaders, settings: Settings) -> None:
        if stream.done:
            return
        self._over(stream)
        if not self._abort(stream, headers, settings):
            stream.continue_request()

    def _over(self, stream: Stream) -> None:
        if stream.state is not None and stream.state.pop(self, None) is not None:
            self.stats.active_faults -= 1

    def _abort(self, stream: Stream, headers: RequestHeaders, settings: Settings) -> bool:
        status: int = settings.http_status
        grpc = settings.grpc_status
        share = settings.abort_share
        if settings.header_abort:
            number, share = asked(headers, "x-envoy-fault-abort-request", settings.abort_share)
            status = number if number is not None and 200 <= number < 600 else 0
            if not status:
                grpc, share = asked(headers, "x-envoy-fault-abort-grpc-request", settings.abort_share)
        if (not status and grpc is None) or random.random() >= share:
            return False
        if self.stats.active_faults >= settings.max_active:
            self.stats.faults_overflow += 1
            return False
        self.stats.aborts_injected += 1
        if grpc is not None and not status:
            status = 200
        stream.local_reply(status, "fault filter abort", "fault_filter_abort", flags.FAULT_INJECTED, grpc_status=grpc)
        return True

    def finished(self, stream: Stream) -> None:
        if stream.state is not None and self in stream.state:
            stream.state[self].cancel()
            self._over(stream)


def http_filter(config: Any, server: Any, hcm: Any) -> Fault:
    return Fault(Settings(config, server), server, hcm)


def route_config(config: Any, server: Any) -> Settings:
    return Settings(config, server)
