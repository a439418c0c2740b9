"""envoy.filters.http.router from its configuration."""

from __future__ import annotations

from typing import Any

from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.filters.router import Router


def http_filter(config: Any, server: Any, hcm: Any) -> Router:
    for field in ("upstream_log", "strict_check_headers", "upstream_http_filters"):
        if getattr(config, field):
            raise Unsupported(f"Router.{field}")
    return Router(config.suppress_envoy_headers, config.respect_expected_rq_timeout)
