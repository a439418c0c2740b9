"""envoy.filters.http.cors: preflight requests answered, headers for browsers added. The policy is the route's.

Source: envoy.extensions.filters.http.cors.v3.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import RequestHeaders, ResponseHeaders
from mizzen.proxy.config.matchers import runtime_fraction, string_matcher
from mizzen.proxy.config.values import wrapped
from mizzen.proxy.filters.base import HttpFilter

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream


class Policy:
    """A CorsPolicy."""

    def __init__(self, message: Any, server: Any) -> None:
        self.origins = [string_matcher(each) for each in message.allow_origin_string_match]
        self.methods: str = message.allow_methods
        self.headers: str = message.allow_headers
        self.expose: str = message.expose_headers
        self.max_age: str = message.max_age
        self.credentials = wrapped(message, "allow_credentials", None)
        self.private_network = wrapped(message, "allow_private_network_access", None)
        self.forward_unmatched = wrapped(message, "forward_not_matching_preflights", None)
        self.enabled = (
            runtime_fraction(message.filter_enabled, server.runtime)
            if message.HasField("filter_enabled")
            else (lambda: 1.0)
        )
        self.shadow = (
            runtime_fraction(message.shadow_enabled, server.runtime)
            if message.HasField("shadow_enabled")
            else (lambda: 0.0)
        )

    def merged(self, outer: Policy) -> Policy:
        """This policy with what it does not say taken from a less specific one."""
        out = copy(self)
        for name in ("origins", "methods", "headers", "expose", "max_age"):
            if not getattr(out, name):
                setattr(out, name, getattr(outer, name))
        for name in ("credentials", "private_network", "forward_unmatched"):
            if getattr(out, name) is None:
                setattr(out, name, getattr(outer, name))
        return out


class Cors(HttpFilter):
    decodes = encodes = True

    def __init__(self, server: Any, hcm: Any) -> None:
        self.stats: Any = server.stats.group(f"http.{hcm.stat_prefix}.cors", ["origin_invalid", "origin_valid"])

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        policy: Policy | None = self.route_config(stream)
        if policy is None:
            return True
        origin = headers.d.get("origin")
        enabled, shadow = policy.enabled() > 0, policy.shadow() > 0
        if not origin or not (enabled or shadow):
            return True
        valid = any(test(origin) for test in policy.origins)
        if valid:
            self.stats.origin_valid += 1
        else:
            self.stats.origin_invalid += 1
        if not enabled:
            return True
        preflight = headers.method == "OPTIONS" and bool(headers.d.get("access-control-request-method"))
        if not valid:
            if preflight and policy.forward_unmatched is False:
                self._preflight(stream, policy, headers, None)
                return False
            return True
        if stream.state is None:
            stream.state = {}
        stream.state[self] = origin
        if not preflight:
            return True
        self._preflight(stream, policy, headers, origin)
        return False

    @staticmethod
    def _preflight(stream: Stream, policy: Policy, headers: RequestHeaders, origin: str | None) -> None:
        """Answer a preflight; an origin that is not allowed is told all but that it is."""
        answer = ResponseHeaders(200, {} if origin is None else {"access-control-allow-origin": origin})
        if policy.credentials:
            answer.d["access-control-allow-credentials"] = "true"
        if policy.private_network and headers.d.get("access-control-request-private-network") == "true":
            answer.d["access-control-allow-private-network"] = "true"
        for name, value in (
            ("access-control-allow-methods", policy.methods),
            ("access-control-allow-headers", policy.headers),
            ("access-control-max-age", policy.max_age),
        ):
            if value:
                answer.d[name] = value
        stream.details = "cors_response"
        stream.local = True
        stream.respond(answer, True)

    def response_headers(self, stream: Stream, headers: ResponseHeaders, end: bool) -> bool:
        origin = stream.state.get(self) if stream.state is not None else None
        policy: Policy | None = self.route_config(stream)
        if origin is None or policy is None:
            return True
        headers.set("access-control-allow-origin", origin)
        if policy.credentials:
            headers.set("access-control-allow-credentials", "true")
        if policy.expose:
            headers.set("access-control-expose-headers", policy.expose)
        return True


def http_filter(config: Any, server: Any, hcm: Any) -> Cors:
    return Cors(server, hcm)


def route_config(config: Any, server: Any) -> Policy:
    return Policy(config, server)
