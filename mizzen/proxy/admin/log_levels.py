"""/logging: the levels of components, told and changed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mizzen.proxy.admin.answers import Answer

if TYPE_CHECKING:
    from mizzen.proxy.server import Server

COMPONENTS = [
    "admin",
    "alternate_protocols_cache",
    "aws",
    "assert",
    "backtrace",
    "basic_auth",
    "cache_filter",
    "client",
    "config",
    "connection",
    "conn_handler",
    "compression",
    "credential_injector",
    "decompression",
    "dns",
    "dynamic_forward_proxy",
    "envoy_bug",
    "ext_authz",
    "ext_proc",
    "file",
    "filter",
    "filter_state",
    "forward_proxy",
    "geolocation",
    "golang",
    "grpc",
    "happy_eyeballs",
    "hc",
    "health_checker",
    "http",
    "http2",
    "hystrix",
    "init",
    "io",
    "jwt",
    "json_to_metadata",
    "kafka",
    "key_value_store",
    "lua",
    "main",
    "matcher",
    "mcp",
    "misc",
    "mongo",
    "multi_connection",
    "oauth2",
    "quic",
    "quic_stream",
    "pool",
    "prefetch",
    "rate_limit_quota",
    "rbac",
    "redis",
    "router",
    "runtime",
    "stats",
    "secret",
    "tap",
    "testing",
    "thrift",
    "tracing",
    "upstream",
    "udp",
    "wasm",
    "websocket",
]


LEVEL_NAMES = {5: "trace", 10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical", 60: "off"}


def log_levels(server: Server, query: dict[str, str], body: bytes) -> Answer:
    from mizzen.proxy.commands import LEVELS

    for key, value in query.items():
        if key == "paths":
            for part in value.split(","):
                name, _, level = part.partition(":")
                if name not in COMPONENTS or level not in LEVELS:
                    return Answer(f"error: invalid logger name or level: {part}\n", status=400)
                logging.getLogger(f"envoy.{name}").setLevel(LEVELS[level])
            continue
        if value not in LEVELS:
            return Answer("error: invalid logger level\n", status=400)
        if key == "level":
            logging.getLogger().setLevel(LEVELS[value])
            for name in COMPONENTS:
                logging.getLogger(f"envoy.{name}").setLevel(LEVELS[value])
        elif key in COMPONENTS:
            logging.getLogger(f"envoy.{key}").setLevel(LEVELS[value])
        else:
            return Answer("error: invalid logger name\n", status=400)
    lines = ["active loggers:"]
    for name in COMPONENTS:
        effective = logging.getLogger(f"envoy.{name}").getEffectiveLevel()
        lines.append(f"  {name}: {LEVEL_NAMES.get(effective, 'info')}")
    return Answer("\n".join(lines) + "\n\n")
