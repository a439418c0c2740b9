"""The overload manager of a process: reads its monitors, and answers the data path's questions.

The data path asks only while `Server.overloaded`, which is False as long as nothing acts. Stop accepting connections, the
heap and timeouts are acted on here, at each refresh. Not served: reset_high_memory_stream (no stream can hold more than the
buffer limits), and load shed points other than POINTS.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import time
from typing import TYPE_CHECKING, Any

from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.values import seconds
from mizzen.proxy.filters.registry import typed
from mizzen.proxy.overload.monitors import MONITORS
from mizzen.proxy.overload.timeouts import Timeouts
from mizzen.proxy.overload.triggers import Point

if TYPE_CHECKING:
    from mizzen.proxy.net.connection import Downstream
    from mizzen.proxy.server import Server

log = logging.getLogger("envoy.main")
CONNECTIONS = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
ACTION, POINT = "envoy.overload_actions.", "envoy.load_shed_points."
REQUESTS, KEEPALIVE, CONNECT = "stop_accepting_requests", "disable_http_keepalive", "stop_accepting_connections"
REJECT, TIMEOUTS, HEAP = "reject_incoming_connections", "reduce_timeouts", "shrink_heap"
ACTIONS = (REQUESTS, KEEPALIVE, CONNECT, REJECT, TIMEOUTS, HEAP)
ACCEPT, DECODE = "tcp_listener_accept", "http_connection_manager_decode_headers"
H1, H2 = "http1_server_abort_dispatch", "http2_server_go_away_on_dispatch"
POINTS = (ACCEPT, DECODE, H1, H2)
SHRINK_S = 10.0  # how often the heap is shrunk while it is to be


class Overload:
    """Of one process. Raises ConfigError or Unsupported for what cannot be served."""

    def __init__(self, server: Server, config: Any) -> None:
        self.server = server
        self.interval_s = seconds(config.refresh_interval) if config.HasField("refresh_interval") else 1.0
        self.monitors: dict[str, tuple[Any, Any]] = {}
        self.max_connections: int | None = None
        self.pressures: dict[str, float] = {}
        for monitor in config.resource_monitors:
            self._monitor(monitor)
        self.timeouts: Timeouts | None = None
        self.acting: dict[str, Point] = {}
        for action in config.actions:
            self._action(action)
        for point in config.loadshed_points:
            self._point(point)
        self._stopped = False
        self._shrunk = 0.0
        self._last = 0.0
        if config.resource_monitors:
            self.group: Any = server.stats.group("overload", histograms=["refresh_interval_delay"])

    # --- configuration ---

    def _monitor(self, monitor: Any) -> None:
        kind, config = typed(monitor.typed_config, monitor.name)
        if monitor.name in self.monitors:
            raise ConfigError(f"Duplicate resource monitor {monitor.name}")
        prefix = f"overload.{monitor.name}"
        if kind == CONNECTIONS:
            self.max_connections = int(config.max_active_downstream_connections)
            return
        make = MONITORS.get(kind)
        if make is None:
            raise Unsupported(f"Bootstrap.overload_manager.resource_monitors {monitor.name} ({kind})")
        group = self.server.stats.group(prefix, ["failed_updates", "skipped_updates"], ["pressure"])
        self.monitors[monitor.name] = make(config), group

    def _action(self, action: Any) -> None:
        name = action.name.removeprefix(ACTION)
        if name not in ACTIONS or not action.name.startswith(ACTION):
            raise Unsupported(f"Bootstrap.overload_manager.actions {action.name}")
        if name in self.acting:
            raise ConfigError(f"Duplicate overload action {action.name}")
        counters = ["shrink_count"] if name == HEAP else []
        group = self.server.stats.group(f"overload.{action.name}", counters, ["active", "scale_percent"])
        self.acting[name] = Point(action.name, "overload action", action.triggers, self.monitors, group)
        if name == TIMEOUTS:
            if not action.HasField("typed_config"):
                raise ConfigError(f"Overload action {action.name} requires a typed_config")
            self.timeouts = Timeouts(typed(action.typed_config, action.name)[1])
        elif action.HasField("typed_config"):
            raise ConfigError(f"Overload action {action.name} has a typed_config, which it does not take")

    def _point(self, point: Any) -> None:
        name = point.name.removeprefix(POINT)
        if name not in POINTS or not point.name.startswith(POINT):
            raise Unsupported(f"Bootstrap.overload_manager.loadshed_points {point.name}")
        if name in self.acting:
            raise ConfigError(f"Duplicate loadshed point {point.name}")
        group = self.server.stats.group(f"overload.{point.name}", ["shed_load_count"], ["scale_percent"])
        self.acting[name] = Point(point.name, "loadshed point", point.triggers, self.monitors, group)

    # --- measuring ---

    def start(self) -> None:
        if self.monitors:
            self._last = time.monotonic()
            self.server.loop.call_later(self.interval_s, self._tick)

    def _tick(self) -> None:
        now = time.monotonic()
        self.group.refresh_interval_delay.record((now - self._last) * 1000)
        self._last = now
        self.refresh()
        self.server.loop.call_later(self.interval_s, self._tick)

    def refresh(self) -> None:
        """Read every monitor and act on it."""
        for name, (monitor, group) in self.monitors.items():
            try:
                self.pressures[name] = pressure = monitor.pressure()
            except (OSError, ValueError) as error:
                log.info("Failed to update resource %s: %s", name, error)
                group.failed_updates += 1
                continue
            group.pressure = int(pressure * 100)
        for name, point in self.acting.items():
            before = point.saturated
            point.update(self.pressures)
            if name in ACTIONS:
                point.group.active = int(point.saturated)
                if point.saturated != before:
                    log.info("Overload action %s became %s", point.name, "saturated" if point.saturated else "inactive")
        self.server.overloaded = any(point.value for point in self.acting.values())
        self._act()

    def _act(self) -> None:
        stop = self._saturated(CONNECT)
        if stop != self._stopped:
            self._stopped = stop
            self.server.spawn(self.server.listeners.accepting(not stop), "overload")
        if self._saturated(HEAP) and self._last - self._shrunk >= SHRINK_S:
            self._shrunk = self._last
            shrink_heap()
            self.acting[HEAP].group.shrink_count += 1
        if self.timeouts is not None:
            self.timeouts.apply(self.server, self.acting[TIMEOUTS].value)

    def _saturated(self, name: str) -> bool:
        point = self.acting.get(name)
        return point is not None and point.saturated

    # --- asked by the data path while something acts ---

    def rejects(self, listener: Any) -> bool:
        """Whether a connection that was accepted is closed at once."""
        if listener.bypass_overload:
            return False
        reject, accept = self.acting.get(REJECT), self.acting.get(ACCEPT)
        return (reject is not None and reject.chance()) or (accept is not None and accept.sheds())

    def refuses_request(self, conn: Downstream) -> bool:
        if bypassed(conn):
            return False
        decode = self.acting.get(DECODE)
        return self._saturated(REQUESTS) or (decode is not None and decode.sheds())

    def ends_connection(self, stream: Any) -> bool:
        """Whether the answer of a stream is the last of its connection."""
        if bypassed(stream.conn):
            return False
        keepalive, go_away = self.acting.get(KEEPALIVE), self.acting.get(H2)
        if keepalive is not None and not stream.close_after and keepalive.chance():
            stream.hcm.stats.downstream_cx_overload_disable_keepalive += 1
            return True
        return go_away is not None and go_away.sheds()

    def aborts_h1(self, conn: Downstream) -> bool:
        """Whether a request of an HTTP/1 client is not even read."""
        point = self.acting.get(H1)
        return point is not None and not bypassed(conn) and point.sheds()

    def ends_h2(self, conn: Downstream) -> bool:
        """Whether an HTTP/2 client that sent something is told to go away."""
        point = self.acting.get(H2)
        return point is not None and not bypassed(conn) and point.sheds()


def bypassed(conn: Downstream) -> bool:
    """Whether a connection's listener has bypass_overload_manager."""
    return conn.listener is not None and bool(conn.listener.bypass_overload)


def shrink_heap() -> None:
    """Give what is free back to the system."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
