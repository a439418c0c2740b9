"""envoy.filters.http.ratelimit: a rate-limit service decides by the request's descriptors.

Not here: descriptors (config/rate_limits.py), the call (grpc_service.py).
Source: envoy.extensions.filters.http.ratelimit.v3, envoy.service.ratelimit.v3.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from envoy.service.ratelimit.v3 import rls_pb2

from mizzen.proxy.codec.headers import RequestHeaders, ResponseHeaders
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.header_ops import add_ops
from mizzen.proxy.config.matchers import runtime_fraction
from mizzen.proxy.config.rate_limits import Descriptor, Limits, descriptors, limits
from mizzen.proxy.config.values import only_v3, optional_seconds
from mizzen.proxy.filters.base import HttpFilter
from mizzen.proxy.filters.grpc_service import GrpcService
from mizzen.proxy.http import info as flags
from mizzen.proxy.http.header_ops import apply

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

SHOULD = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
OK, OVER_LIMIT = 1, 2
UNITS = {1: 1, 2: 60, 3: 3600, 4: 86400, 5: 2592000, 6: 31536000, 7: 604800}  # seconds of RateLimit.Unit


class Route:
    """A RateLimitPerRoute."""

    def __init__(self, message: Any) -> None:
        self.vhost: int = message.vh_rate_limits
        self.limits: Limits = limits(message.rate_limits)
        self.domain: str = message.domain


class Asked:
    __slots__ = ("add", "call")

    def __init__(self) -> None:
        self.call: Any = None
        self.add: list[tuple[str, str]] = []  # to the answer


class RateLimit(HttpFilter):
    decodes = encodes = finishes = True

    def __init__(self, config: Any, server: Any) -> None:
        if not config.domain:
            raise ConfigError("RateLimitValidationError.Domain: value length must be at least 1 characters")
        self.server = server
        self.domain: str = config.domain
        self.stage: int = config.stage
        self.kind: str = config.request_type or "both"
        self.deny: bool = config.failure_mode_deny
        self.exhausted = 8 if config.rate_limited_as_resource_exhausted else None
        only_v3(config.rate_limit_service, "transport_api_version", "RateLimit.rate_limit_service")
        timeout = optional_seconds(config, "timeout", 0.02) or 0.02
        self.service = GrpcService(config.rate_limit_service.grpc_service, server, timeout)
        if not self.service.timeout:
            self.service.timeout = timeout
        self.headers = config.enable_x_ratelimit_headers == 1
        self.mark = not config.disable_x_envoy_ratelimited_header
        self.code: int = config.rate_limited_status.code if config.rate_limited_status.code >= 400 else 429
        self.error_code: int = config.status_on_error.code or 500
        self.ops = tuple(add_ops(config.response_headers_to_add))
        self.enabled = (
            runtime_fraction(config.filter_enabled, server.runtime) if config.HasField("filter_enabled") else None
        )
        self.enforced = (
            runtime_fraction(config.filter_enforced, server.runtime) if config.HasField("filter_enforced") else None
        )
        self.own = limits(config.rate_limits)
        self.prefix = f"ratelimit.{config.stat_prefix}" if config.stat_prefix else "ratelimit"

    def _count(self, stream: Stream, name: str) -> None:
        if stream.cluster is not None:
            self.server.stats.group(f"{stream.cluster.stat_prefix}.{self.prefix}").count(name)

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        if self.kind != "both" and (self.kind == "internal") != stream.internal:
            return True
        if self.enabled is not None and random.random() >= self.enabled():
            return True
        route: Route | None = self.route_config(stream)
        wanted = descriptors(
            stream, self.stage, route.vhost if route else 0, (route.limits if route else ()) or self.own
        )
        if not wanted:
            return True
        asked = Asked()
        if stream.state is None:
            stream.state = {}
        stream.state[self] = asked
        request = self._request((route.domain if route else "") or self.domain, wanted)
        starting, early = True, []

        def done(status: int, data: bytes) -> None:
            asked.call = None
            if starting:
                early.append((status, data))
            else:
                self._decided(stream, asked, status, data)

        asked.call = self.service.call(SHOULD, request, done)
        starting = False
        if early:
            asked.call = None
            self.server.loop.call_soon(self._decided, stream, asked, *early[0])
        return False

    @staticmethod
    def _request(domain: str, wanted: list[Descriptor]) -> bytes:
        message = rls_pb2.RateLimitRequest(domain=domain)
        for descriptor in wanted:
            entries = message.descriptors.add().entries
            for key, value in descriptor:
                entries.add(key=key, value=value)
        return bytes(message.SerializeToString())

    def _decided(self, stream: Stream, asked: Asked, status: int, data: bytes) -> None:
        if stream.done:
            return
        request = stream.request
        assert request is not None
        answer = rls_pb2.RateLimitResponse.FromString(data) if status == 0 else None
        if answer is None or answer.overall_code not in (OK, OVER_LIMIT):
            self._count(stream, "error")
            if self.deny:
                stream.local_reply(self.error_code, "", "rate_limiter_error", flags.RATE_LIMIT_SERVICE_ERROR)
                return
            self._count(stream, "failure_mode_allowed")
            stream.continue_request()
            return
        asked.add = [(each.key.lower(), each.value) for each in answer.response_headers_to_add]
        if self.headers:
            asked.add += limit_headers(answer.statuses)
        for each in answer.request_headers_to_add:
            request.add(each.key.lower(), each.value)
        if answer.overall_code == OK:
            self._count(stream, "ok")
            stream.continue_request()
            return
        self._count(stream, "over_limit")
        if self.enforced is not None and random.random() >= self.enforced():
            stream.continue_request()
            return

        def modify(response: ResponseHeaders) -> None:
            if self.mark:
                response.set("x-envoy-ratelimited", "true")
            apply(self.ops, response, stream)

        body = answer.raw_body.decode("utf-8", "replace")
        stream.local_reply(
            self.code, body, "request_rate_limited", flags.RATE_LIMITED, grpc_status=self.exhausted, modify=modify
        )

    def response_headers(self, stream: Stream, headers: ResponseHeaders, end: bool) -> bool:
        asked: Asked | None = stream.state.get(self) if stream.state is not None else None
        if asked is not None:
            for name, value in asked.add:
                headers.add(name, value)
        return True

    def finished(self, stream: Stream) -> None:
        asked: Asked | None = stream.state.get(self) if stream.state is not None else None
        if asked is not None and asked.call is not None:
            asked.call.cancel()
            asked.call = None


def limit_headers(statuses: Any) -> list[tuple[str, str]]:
    """X-RateLimit headers of the descriptor with the least left (draft 3)."""
    limited = [each for each in statuses if each.HasField("current_limit")]
    if not limited:
        return []
    least = min(limited, key=lambda each: each.limit_remaining)
    policies = "".join(
        f", {each.current_limit.requests_per_unit};w={UNITS[each.current_limit.unit]}"
        + (f';name="{each.current_limit.name}"' if each.current_limit.name else "")
        for each in limited
        if each.current_limit.unit in UNITS
    )
    return [
        ("x-ratelimit-limit", f"{least.current_limit.requests_per_unit}{policies}"),
        ("x-ratelimit-remaining", str(least.limit_remaining)),
        ("x-ratelimit-reset", str(least.duration_until_reset.seconds)),
    ]


def http_filter(config: Any, server: Any, hcm: Any) -> RateLimit:
    return RateLimit(config, server)


def route_config(config: Any, server: Any) -> Route:
    return Route(config)
