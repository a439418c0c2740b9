"""One endpoint of a cluster: its address, weight and health, what is under way to it, and its pools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mizzen.proxy.net.addresses import Address, text_of

if TYPE_CHECKING:
    from mizzen.proxy.upstream.pool import Pool

# health flags
FAILED_ACTIVE_HC: Final = 1
FAILED_OUTLIER: Final = 2
FAILED_EDS: Final = 4
DEGRADED_ACTIVE_HC: Final = 8
DEGRADED_EDS: Final = 16
PENDING_DYNAMIC_REMOVAL: Final = 32
PENDING_ACTIVE_HC: Final = 64
EXCLUDED_IMMEDIATE: Final = 128
TIMED_OUT: Final = 256
DRAINING_EDS: Final = 512
UNHEALTHY: Final = FAILED_ACTIVE_HC | FAILED_OUTLIER | FAILED_EDS | TIMED_OUT | DRAINING_EDS
DEGRADED: Final = DEGRADED_ACTIVE_HC | DEGRADED_EDS
FLAG_NAMES: Final = (
    (FAILED_ACTIVE_HC, "/failed_active_hc"),
    (FAILED_OUTLIER, "/failed_outlier_check"),
    (FAILED_EDS, "/failed_eds_health"),
    (DEGRADED_ACTIVE_HC, "/degraded_active_hc"),
    (DEGRADED_EDS, "/degraded_eds_health"),
    (PENDING_DYNAMIC_REMOVAL, "/pending_dynamic_removal"),
    (PENDING_ACTIVE_HC, "/pending_active_hc"),
    (EXCLUDED_IMMEDIATE, "/excluded_via_immediate_hc_fail"),
    (TIMED_OUT, "/active_hc_timeout"),
    (DRAINING_EDS, "/eds_status_draining"),
)
# EDS health status -> flags: UNKNOWN HEALTHY UNHEALTHY DRAINING TIMEOUT DEGRADED
EDS_FLAGS: Final = {0: 0, 1: 0, 2: FAILED_EDS, 3: DRAINING_EDS, 4: FAILED_EDS, 5: DEGRADED_EDS}

Locality = tuple[str, str, str]


class Host:
    """An endpoint. Identity is the address; a new assignment that names it again keeps the object and its connections."""

    __slots__ = (
        "additional",
        "address",
        "canary",
        "cx_active",
        "cx_connect_fail",
        "cx_total",
        "disable_active_health_check",
        "flags",
        "health_address",
        "health_hostname",
        "hostname",
        "key",
        "locality",
        "metadata",
        "outlier",
        "pools",
        "priority",
        "rq_active",
        "rq_error",
        "rq_success",
        "rq_timeout",
        "rq_total",
        "since",
        "text",
        "transport",
        "weight",
    )

    def __init__(self, address: Address, hostname: str = "", weight: int = 1, priority: int = 0) -> None:
        self.address = address
        self.text = text_of(address) or ""
        self.hostname = hostname
        self.weight = weight
        self.priority = priority
        self.locality: Locality = ("", "", "")
        self.metadata: dict[str, Any] | None = None
        self.flags = 0
        self.canary = False
        self.disable_active_health_check = False
        self.health_address: Address | None = None
        self.health_hostname = ""
        self.additional: tuple[Address, ...] = ()
        self.transport: Any = None  # UpstreamTls or None: set by the cluster from transport_socket_matches
        self.cx_active = self.cx_total = self.cx_connect_fail = 0
        self.rq_active = self.rq_total = self.rq_success = self.rq_error = self.rq_timeout = 0
        self.pools: dict[Any, Pool] = {}
        self.outlier: Any = None  # outlier.HostState while the cluster detects outliers
        self.since = 0.0  # monotonic seconds when it joined or became healthy, for slow start
        self.key: Any = (address, hostname)

    @property
    def healthy(self) -> bool:
        return not self.flags & (UNHEALTHY | DEGRADED)

    def health_text(self) -> str:
        return "".join(name for flag, name in FLAG_NAMES if self.flags & flag) or "healthy"

    def close_pools(self) -> None:
        """The host has left the cluster: idle connections close, busy ones end with their request."""
        for pool in list(self.pools.values()):
            pool.drain()
