"""envoy.filters.http.csrf: state-changing requests must come from the target's own origin or a listed one.

Source: envoy.extensions.filters.http.csrf.v3.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.matchers import runtime_fraction, string_matcher
from mizzen.proxy.filters.base import HttpFilter

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

CHANGING = frozenset(("POST", "PUT", "DELETE", "PATCH"))


class Policy:
    def __init__(self, message: Any, server: Any) -> None:
        if not message.HasField("filter_enabled"):
            raise ConfigError("CsrfPolicyValidationError.FilterEnabled: value is required")
        self.enabled = runtime_fraction(message.filter_enabled, server.runtime)
        self.shadow = (
            runtime_fraction(message.shadow_enabled, server.runtime) if message.HasField("shadow_enabled") else None
        )
        self.origins = tuple(string_matcher(each) for each in message.additional_origins)


def host_and_port(url: str) -> str:
    """What of an origin or referer is compared: host and port; the text itself when it is no URL."""
    return urlsplit(url).netloc or url


class Csrf(HttpFilter):
    decodes = True

    def __init__(self, policy: Policy, server: Any, hcm: Any) -> None:
        self.policy = policy
        self.stats: Any = server.stats.group(
            f"http.{hcm.stat_prefix}.csrf", ["missing_source_origin", "request_invalid", "request_valid"]
        )

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        policy: Policy = self.route_config(stream) or self.policy
        enabled = random.random() < policy.enabled()
        shadow = policy.shadow is not None and random.random() < policy.shadow()
        if headers.method not in CHANGING or not (enabled or shadow):
            return True
        source = host_and_port(headers.d.get("origin", ""))
        if not source or headers.d.get("origin") == "null":
            source = host_and_port(headers.d.get("referer", ""))
        if source and (source == headers.authority or any(test(source) for test in policy.origins)):
            self.stats.request_valid += 1
            return True
        if source:
            self.stats.request_invalid += 1
        else:
            self.stats.missing_source_origin += 1
        if not enabled:
            return True
        stream.local_reply(403, "Invalid origin", "csrf_origin_mismatch")
        return False


def http_filter(config: Any, server: Any, hcm: Any) -> Csrf:
    return Csrf(Policy(config, server), server, hcm)


def route_config(config: Any, server: Any) -> Policy:
    return Policy(config, server)
