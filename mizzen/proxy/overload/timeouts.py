"""The action reduce_timeouts: idle connections and streams are given less time, the less the more pressure there is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.values import seconds

CONNECTION, STREAM = "HTTP_DOWNSTREAM_CONNECTION_IDLE", "HTTP_DOWNSTREAM_STREAM_IDLE"


def scaling(timer: Any) -> Callable[[float, float], float]:
    """The time limit of a ScaleTimer, from the configured one (seconds) and how far the action is pulled."""
    if timer.WhichOneof("overload_adjust") is None:
        raise ConfigError("ScaleTimersOverloadActionConfig: timer without min_timeout or min_scale")
    least_s = seconds(timer.min_timeout) if timer.HasField("min_timeout") else None
    share = timer.min_scale.value / 100

    def scaled(limit_s: float, pulled: float) -> float:
        least = min(limit_s, limit_s * share if least_s is None else least_s)
        return least + (limit_s - least) * (1 - pulled)

    return scaled


class Timeouts:
    """The scale factors of an action, and what they are applied to."""

    def __init__(self, config: Any) -> None:
        self.factors: dict[str, Callable[[float, float], float]] = {}
        for timer in config.timer_scale_factors:
            name = config.DESCRIPTOR.enum_types_by_name["TimerType"].values_by_number[timer.timer].name
            if name not in (CONNECTION, STREAM):
                raise Unsupported(f"ScaleTimersOverloadActionConfig.timer_scale_factors {name}")
            if name in self.factors:
                raise ConfigError(f"Found duplicate entry for timer type {name}")
            self.factors[name] = scaling(timer)
        self._applied = False

    def apply(self, server: Any, pulled: float) -> None:
        if not pulled and not self._applied:
            return
        self._applied = pulled > 0
        if CONNECTION in self.factors:
            self._connections(server, self.factors[CONNECTION], pulled)
        if STREAM in self.factors:
            for stream in server.active:
                self._stream(stream, self.factors[STREAM], pulled)

    def _connections(self, server: Any, scaled: Callable[[float, float], float], pulled: float) -> None:
        now = time.monotonic()
        for each in list(server.connections):
            timer, hcm = getattr(each, "idle_timer", None), getattr(each, "hcm", None)
            if timer is None or hcm is None or getattr(each, "stream", None) or getattr(each, "active", 0):
                continue
            if now - each.last >= scaled(hcm.idle_timeout, pulled):
                timer.cancel()
                each.idle_timer = None
                hcm.stats.downstream_cx_idle_timeout += 1
                if hasattr(each, "h2"):
                    each.drain()
                else:
                    server.loop.call_later(hcm.drain_timeout, each.drain)

    @staticmethod
    def _stream(stream: Any, scaled: Callable[[float, float], float], pulled: float) -> None:
        action = stream.route.action if stream.route is not None else None
        limit_s = action.idle_timeout if action is not None else None
        if limit_s is None:
            limit_s = stream.hcm.stream_idle_timeout
        if limit_s:
            stream.idle_timeout = scaled(limit_s, pulled)
            stream.next_deadline = 0.0
