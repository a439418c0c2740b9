"""envoy.filters.http.health_check: answers health checks itself, or marks them on their way through.

Source: envoy.extensions.filters.http.health_check.v3.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import RequestHeaders, ResponseHeaders
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.matchers import all_headers
from mizzen.proxy.config.values import optional_seconds
from mizzen.proxy.filters.base import HttpFilter
from mizzen.proxy.http import info as flags

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

CLUSTER_HEADER = "x-envoy-upstream-healthchecked-cluster"


class HealthCheck(HttpFilter):
    decodes = encodes = True

    def __init__(self, config: Any, server: Any) -> None:
        self.server = server
        self.pass_through: bool = config.pass_through_mode.value
        self.cache_s = optional_seconds(config, "cache_time", 0.0) or 0.0
        if self.cache_s and not self.pass_through:
            raise ConfigError("cache_time_ms must not be set when path_through_mode is disabled")
        self.least = {name: each.value for name, each in config.cluster_min_healthy_percentages.items()}
        if self.least and self.pass_through:
            raise ConfigError("cluster_min_healthy_percentages must not be set when pass_through_mode is enabled")
        self.matches = all_headers(config.headers)
        self.cached: tuple[float, int] | None = None  # until when, status

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        if self.matches is not None and not self.matches(headers):
            return True
        stream.health_check = True
        failed = self.server.health_failed
        if self.pass_through and not failed:
            cached = self.cached
            if cached is None or time.monotonic() >= cached[0]:
                return True
            self._answer(
                stream, cached[1], "health_check_cached", 0 if cached[1] == 200 else flags.FAILED_LOCAL_HEALTH_CHECK
            )
            return False
        if failed:
            self._answer(stream, 503, "health_check_failed", flags.FAILED_LOCAL_HEALTH_CHECK)
        elif self.least:
            code, details = self._clusters()
            self._answer(stream, code, details, 0 if code == 200 else flags.FAILED_LOCAL_HEALTH_CHECK)
        else:
            self._answer(stream, 200, "health_check_ok")
        return False

    def _answer(self, stream: Stream, code: int, details: str, flag: int = 0) -> None:
        stream.local_reply(code, "", details, flag)

    def _clusters(self) -> tuple[int, str]:
        for name, percent in self.least.items():
            cluster = self.server.clusters.get(name)
            if cluster is None:
                return 503, "health_check_failed_no_cluster_found"
            total, usable = cluster.stats.membership_total, cluster.stats.membership_healthy
            if not total:
                if percent > 0:
                    return 503, "health_check_failed_cluster_empty"
                continue
            if 100 * (usable + cluster.stats.membership_degraded) < percent * total:
                return 503, "health_check_failed_cluster_unhealthy"
        return 200, "health_check_ok_cluster_healthy"

    def response_headers(self, stream: Stream, headers: ResponseHeaders, end: bool) -> bool:
        if stream.health_check:
            if self.pass_through and self.cache_s and not stream.local:
                self.cached = (time.monotonic() + self.cache_s, headers.status)
            headers.set(CLUSTER_HEADER, self.server.node.cluster)
        if self.server.health_failed:
            headers.set("x-envoy-immediate-health-check-fail", "true")
        return True


def http_filter(config: Any, server: Any, hcm: Any) -> HealthCheck:
    return HealthCheck(config, server)
