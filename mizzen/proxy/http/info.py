"""What is known about one request or TCP session while it runs, and what is logged of it at its end.

The HTTP stream and the TCP proxy's session are StreamInfos; format operators, matchers and access logs read them.
Not here: how the facts come about.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders

if TYPE_CHECKING:
    from mizzen.proxy.net.connection import Downstream

# response flags, in the order in which Envoy prints them
(
    FAILED_LOCAL_HEALTH_CHECK,
    NO_HEALTHY_UPSTREAM,
    UPSTREAM_REQUEST_TIMEOUT,
    LOCAL_RESET,
    UPSTREAM_REMOTE_RESET,
    UPSTREAM_CONNECTION_FAILURE,
    UPSTREAM_CONNECTION_TERMINATION,
    UPSTREAM_OVERFLOW,
    NO_ROUTE_FOUND,
    DELAY_INJECTED,
    FAULT_INJECTED,
    RATE_LIMITED,
    UNAUTHORIZED_EXTERNAL_SERVICE,
    RATE_LIMIT_SERVICE_ERROR,
    DOWNSTREAM_CONNECTION_TERMINATION,
    UPSTREAM_RETRY_LIMIT_EXCEEDED,
    STREAM_IDLE_TIMEOUT,
    INVALID_ENVOY_REQUEST_HEADERS,
    DOWNSTREAM_PROTOCOL_ERROR,
    UPSTREAM_MAX_STREAM_DURATION_REACHED,
    RESPONSE_FROM_CACHE_FILTER,
    NO_FILTER_CONFIG_FOUND,
    DURATION_TIMEOUT,
    UPSTREAM_PROTOCOL_ERROR,
    NO_CLUSTER_FOUND,
    OVERLOAD_MANAGER,
    DNS_RESOLUTION_FAILED,
    DROP_OVERLOAD,
    DOWNSTREAM_REMOTE_RESET,
    UNCONDITIONAL_DROP_OVERLOAD,
) = (1 << i for i in range(30))

FLAGS: Final[tuple[tuple[int, str, str], ...]] = (
    (FAILED_LOCAL_HEALTH_CHECK, "LH", "FailedLocalHealthCheck"),
    (NO_HEALTHY_UPSTREAM, "UH", "NoHealthyUpstream"),
    (UPSTREAM_REQUEST_TIMEOUT, "UT", "UpstreamRequestTimeout"),
    (LOCAL_RESET, "LR", "LocalReset"),
    (UPSTREAM_REMOTE_RESET, "UR", "UpstreamRemoteReset"),
    (UPSTREAM_CONNECTION_FAILURE, "UF", "UpstreamConnectionFailure"),
    (UPSTREAM_CONNECTION_TERMINATION, "UC", "UpstreamConnectionTermination"),
    (UPSTREAM_OVERFLOW, "UO", "UpstreamOverflow"),
    (NO_ROUTE_FOUND, "NR", "NoRouteFound"),
    (DELAY_INJECTED, "DI", "DelayInjected"),
    (FAULT_INJECTED, "FI", "FaultInjected"),
    (RATE_LIMITED, "RL", "RateLimited"),
    (UNAUTHORIZED_EXTERNAL_SERVICE, "UAEX", "UnauthorizedExternalService"),
    (RATE_LIMIT_SERVICE_ERROR, "RLSE", "RateLimitServiceError"),
    (DOWNSTREAM_CONNECTION_TERMINATION, "DC", "DownstreamConnectionTermination"),
    (UPSTREAM_RETRY_LIMIT_EXCEEDED, "URX", "UpstreamRetryLimitExceeded"),
    (STREAM_IDLE_TIMEOUT, "SI", "StreamIdleTimeout"),
    (INVALID_ENVOY_REQUEST_HEADERS, "IH", "InvalidEnvoyRequestHeaders"),
    (DOWNSTREAM_PROTOCOL_ERROR, "DPE", "DownstreamProtocolError"),
    (UPSTREAM_MAX_STREAM_DURATION_REACHED, "UMSDR", "UpstreamMaxStreamDurationReached"),
    (RESPONSE_FROM_CACHE_FILTER, "RFCF", "ResponseFromCacheFilter"),
    (NO_FILTER_CONFIG_FOUND, "NFCF", "NoFilterConfigFound"),
    (DURATION_TIMEOUT, "DT", "DurationTimeout"),
    (UPSTREAM_PROTOCOL_ERROR, "UPE", "UpstreamProtocolError"),
    (NO_CLUSTER_FOUND, "NC", "NoClusterFound"),
    (OVERLOAD_MANAGER, "OM", "OverloadManagerTerminated"),
    (DNS_RESOLUTION_FAILED, "DF", "DnsResolutionFailed"),
    (DROP_OVERLOAD, "DO", "DropOverload"),
    (DOWNSTREAM_REMOTE_RESET, "DR", "DownstreamRemoteReset"),
    (UNCONDITIONAL_DROP_OVERLOAD, "UDO", "UnconditionalDropOverload"),
)
# the gRPC status that an HTTP status stands for; 2 (unknown) for those that are not here
FLAG_BY_NAME: Final = {short: bit for bit, short, _ in FLAGS}
SHORT: Final = {bit: short for bit, short, _ in FLAGS}
LONG: Final = {bit: name for bit, _, name in FLAGS}


def flags_text(info: StreamInfo) -> str:
    """The short names of the flags in the order in which they were set; "-" for none."""
    order = info.flag_order
    return ",".join([SHORT[bit] for bit in order]) if order else "-"


class StreamInfo:
    """Facts about one request (or one TCP session). Times are time.monotonic() seconds, 0.0 when not yet reached."""

    __slots__ = (
        "attempts",
        "bytes_received",
        "bytes_sent",
        "cluster",
        "code",
        "conn",
        "details",
        "end",
        "filter_state",
        "first_upstream_rx",
        "first_upstream_tx",
        "flag_order",
        "health_check",
        "host",
        "last_downstream_rx",
        "last_downstream_tx",
        "last_upstream_rx",
        "last_upstream_tx",
        "local_body",
        "metadata",
        "protocol",
        "remote",
        "request",
        "response",
        "response_trailers",
        "route",
        "start",
        "start_wall",
        "stream_id",
        "trace_reason",
        "upstream_cluster_name",
        "upstream_failure",
        "upstream_local",
        "upstream_protocol",
        "upstream_tls",
        "vhost",
        "wire_rx",
        "wire_tx",
    )

    def __init__(self, conn: Downstream, now: float) -> None:
        self.conn = conn
        self.start = now
        self.start_wall = time.time()
        self.end = 0.0
        self.request: RequestHeaders | None = None
        self.response: ResponseHeaders | None = None
        self.response_trailers: Headers | None = None
        self.bytes_received = 0
        self.bytes_sent = 0
        self.code = 0
        self.flag_order: list[int] | None = None
        self.details: str | None = None
        self.route: Any = None
        self.vhost: Any = None
        self.cluster: Any = None
        self.upstream_cluster_name: str | None = None
        self.host: Any = None
        self.attempts = 0
        self.protocol: str | None = None
        self.metadata: dict[str, Any] | None = None
        self.filter_state: dict[str, Any] | None = None
        self.last_downstream_rx = 0.0
        self.last_downstream_tx = 0.0
        self.first_upstream_tx = 0.0
        self.last_upstream_tx = 0.0
        self.first_upstream_rx = 0.0
        self.last_upstream_rx = 0.0
        self.upstream_local: tuple[str, int] | None = None
        self.upstream_tls: Any = None
        self.upstream_failure: str | None = None
        self.upstream_protocol: str | None = None
        self.wire_rx = 0
        self.wire_tx = 0
        self.stream_id: str | None = None
        self.trace_reason = 0  # tracing.decision; 0: not traced
        self.health_check = False
        self.remote: tuple[str, int] | None = None  # the trusted client address where headers say it
        self.local_body: str | None = None  # what a local reply said before its format

    @property
    def flags(self) -> int:
        """The response flags as bits; bits that are added are remembered in their order."""
        return sum(self.flag_order) if self.flag_order else 0

    @flags.setter
    def flags(self, value: int) -> None:
        order = [bit for bit in self.flag_order or () if value & bit]
        order += [bit for bit in SHORT if value & bit and bit not in order]
        self.flag_order = order or None

    def dynamic_metadata(self, namespace: str) -> dict[str, Any]:
        """The namespace's dynamic metadata, to be written to."""
        if self.metadata is None:
            self.metadata = {}
        found: dict[str, Any] = self.metadata.setdefault(namespace, {})
        return found

    def set_filter_state(self, key: str, value: Any) -> None:
        if self.filter_state is None:
            self.filter_state = {}
        self.filter_state[key] = value

    def get_filter_state(self, key: str) -> Any:
        """The stream's object under a key, else its connection's, else None."""
        if self.filter_state is not None and key in self.filter_state:
            return self.filter_state[key]
        return self.conn.filter_state.get(key) if self.conn.filter_state else None
