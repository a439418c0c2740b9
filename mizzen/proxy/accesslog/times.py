"""Operators of points in time and what passed between them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from mizzen.proxy.accesslog.values import Getter, format_time, iso_milliseconds
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.http.info import StreamInfo


def start_time(argument: str) -> Getter:
    return lambda info: format_time(info.start_wall, argument)


POINTS: dict[str, Getter] = {
    "DS_RX_BEG": lambda info: info.start,
    "DS_RX_END": lambda info: info.last_downstream_rx,
    "US_TX_BEG": lambda info: info.first_upstream_tx,
    "US_TX_END": lambda info: info.last_upstream_tx,
    "US_RX_BEG": lambda info: info.first_upstream_rx,
    "US_RX_END": lambda info: info.last_upstream_rx,
    "DS_TX_BEG": lambda info: info.first_upstream_rx,
    "DS_TX_END": lambda info: info.last_downstream_tx,
}


def common_duration(argument: str) -> Getter:
    parts = argument.split(":")
    if len(parts) not in (2, 3) or parts[0] not in POINTS or parts[1] not in POINTS:
        raise ConfigError(f"Invalid common duration configuration: {argument}")
    scales = {"ms": 1e3, "us": 1e6, "ns": 1e9}
    precision = parts[2] if len(parts) == 3 else "ms"
    if precision not in scales:
        raise ConfigError(f"Invalid common duration precision: {precision}")
    begin, end, scale = POINTS[parts[0]], POINTS[parts[1]], scales[precision]

    def read(info: StreamInfo) -> int | None:
        a, b = begin(info), end(info)
        return int((b - a) * scale) if a and b and b >= a else None

    return read


def certificate_time(side: str, attribute: str) -> Callable[[str], Getter]:
    def make(argument: str) -> Getter:
        def read(info: StreamInfo) -> str | None:
            tls = info.conn.tls if side == "downstream" else info.upstream_tls
            if tls is None or tls.peer is None:
                return None
            moment: datetime = getattr(tls.peer, attribute)
            return format_time(moment.timestamp(), argument) if argument else moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")

        return read

    return make


def emit_time(argument: str) -> Getter:
    return lambda info: format_time(time.time(), argument) if argument else iso_milliseconds(time.time())


def start_time_local(argument: str) -> Getter:
    def read(info: StreamInfo) -> str:
        local = datetime.fromtimestamp(info.start_wall, UTC).astimezone()
        return format_time(info.start_wall + (local.utcoffset() or timedelta()).total_seconds(), argument)

    return read
