"""The process: everything that a bootstrap asks for, wired together, from start to drain.

`Server` owns the loop's long-lived parts (statistics, clusters, listeners, xDS, admin, logs) and the sweeper of deadlines.
Not here: the command line (commands.py).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import time
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from envoy.config.core.v3 import base_pb2

from mizzen.proxy.accesslog.sinks import Logs
from mizzen.proxy.admin.server import Admin
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.supported import check
from mizzen.proxy.config.values import seconds
from mizzen.proxy.filters.registry import extensions
from mizzen.proxy.hot_restart.child import HotRestart
from mizzen.proxy.hot_restart.link import Flags
from mizzen.proxy.http.route import Match, Redirect, Route
from mizzen.proxy.listener.manager import Listeners
from mizzen.proxy.log_format import Lines, configured
from mizzen.proxy.net.addresses import Address
from mizzen.proxy.overload.manager import Overload
from mizzen.proxy.stats.flush import Flusher
from mizzen.proxy.stats.matcher import StatsMatcher
from mizzen.proxy.stats.prometheus import Tags
from mizzen.proxy.stats.store import Store
from mizzen.proxy.upstream.manager import Clusters
from mizzen.proxy.xds.manager import Xds
from mizzen.proxy.xds.secrets import Secrets

log = logging.getLogger("envoy.main")
SWEEP_S = 0.01
SERVER_COUNTERS = [
    "debug_assertion_failures",
    "dropped_stat_flushes",
    "dynamic_unknown_fields",
    "envoy_bug_failures",
    "envoy_notifications",
    "static_unknown_fields",
    "wip_protos",
]
SERVER_GAUGES = [
    "compilation_settings.fips_mode", "concurrency", "days_until_first_cert_expiring", "hot_restart_epoch", "hot_restart_generation", "live",  # noqa: E501
    "memory_allocated", "memory_heap_size", "memory_physical_size", "parent_connections", "seconds_until_first_ocsp_response_expiring",
    "state", "stats_recent_lookups", "total_connections", "uptime", "version",
]  # fmt: skip
INBOUND = 1  # envoy.config.core.v3.TrafficDirection
LIVE, DRAINING, PRE_INITIALIZING, INITIALIZING = range(4)
STATES = ("LIVE", "DRAINING", "PRE_INITIALIZING", "INITIALIZING")


@dataclass
class Options:
    """The command line's say."""

    config_path: str = ""
    config_yaml: str = ""
    node_id: str = ""
    cluster: str = ""
    zone: str = ""
    concurrency: int = 1
    mode: str = "serve"
    drain_time_s: float = 600.0
    parent_shutdown_time_s: float = 900.0
    drain_strategy: str = "gradual"
    log_level: str = "info"
    component_log_level: str = ""
    admin_address_path: str = ""
    base_id: int = 0
    hot_restart: Flags | None = None  # None: no part in hot restarts
    file_flush_s: float = 0.1
    file_flush_bytes: int = 64 << 10
    ip_version: str = "v4"
    log_escaped: bool = False
    python_filters: tuple[str, ...] = ()
    given: dict[str, Any] = field(default_factory=dict)


class Server:
    """One proxy."""

    def __init__(self, bootstrap: Any, options: Options, loop: asyncio.AbstractEventLoop) -> None:
        self.bootstrap = bootstrap
        self.options = options
        self.loop = loop
        self.node = bootstrap.node
        self._node: Any = None
        self.started = self.first_started = time.time()  # of this process, and of its first epoch
        self.state = PRE_INITIALIZING
        self.health_failed = False
        self.draining = self.drains_inbound_only = False
        self.drain_started = 0.0
        self.stats = Store()
        self.group: Any = self.stats.group("server", SERVER_COUNTERS, SERVER_GAUGES, ["initialization_time_ms"])
        self.group.concurrency = options.concurrency
        self.log_lines: Lines | None = None  # how the process is to write its log, where the bootstrap says so
        self.tracers: dict[bytes, Any] = {}  # by their configuration
        self.logs = Logs(loop, options.file_flush_s, options.file_flush_bytes)
        # access loggers' streams by kind and configuration
        self.log_streams: WeakValueDictionary[tuple[str, bytes], Any] = WeakValueDictionary()
        self.runtime: dict[str, Any] = {}
        self.runtime_layers: list[tuple[str, dict[str, Any]]] = []
        self.secrets = Secrets(self)
        self.active: set[Any] = set()
        self.connections: set[Any] = set()
        self.tls_redirect = Route("", Match())
        self.tls_redirect.redirect = Redirect()
        self.tls_redirect.redirect.https = True
        self.stopping = asyncio.Event()
        self.changed = asyncio.Event()
        self.initial_clusters = asyncio.Event()
        self.overload: Overload | None = None
        self.overloaded = False  # whether there is anything to ask `overload`
        self._read_bootstrap()
        self.xds = Xds(self)
        self.clusters = Clusters(self)
        self.listeners = Listeners(self)
        self.flusher = Flusher(self)
        self.admin: Admin | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        self.worker_id = 0
        self.pool: Any = None  # workers.main.Pool: the workers beside this, the main process
        self.member: Any = None  # workers.member.Member, in a worker that is not the main process
        self.restart = HotRestart(self, options.hot_restart) if options.hot_restart is not None else None
        self.parent_connections = 0

    def _read_bootstrap(self) -> None:
        bootstrap = self.bootstrap
        check(bootstrap, "Bootstrap")
        self.stats.tag_rules = Tags(bootstrap.stats_config, bootstrap.node)
        if bootstrap.stats_config.HasField("stats_matcher"):
            self.stats.keeps = StatsMatcher(bootstrap.stats_config.stats_matcher)
        if bootstrap.application_log_config.HasField("log_format"):
            self.log_lines = configured(bootstrap.application_log_config.log_format, self.options.log_escaped)
        for layer in bootstrap.layered_runtime.layers:
            kind = layer.WhichOneof("layer_specifier")
            if kind == "static_layer":
                from mizzen.proxy.accesslog.format import struct_value

                values = flattened(struct_value(layer.static_layer))
                self.runtime.update(values)
                self.runtime_layers.append((layer.name, values))
            elif kind == "admin_layer":
                self.runtime_layers.append((layer.name, {}))
            else:
                raise Unsupported(f"Bootstrap.layered_runtime.{kind}")
        limit = self.runtime.get("overload.global_downstream_max_connections")
        self.max_connections = int(limit) if isinstance(limit, (int, float)) else 0
        if bootstrap.HasField("overload_manager"):
            self.overload = Overload(self, bootstrap.overload_manager)
            if self.overload.max_connections is not None:
                self.max_connections = self.overload.max_connections

    def node_message(self) -> Any:
        """The node as control planes are told of it: the bootstrap's, and what this proxy is and knows."""
        if self._node is None:
            node = base_pb2.Node()
            node.CopyFrom(self.node)
            node.user_agent_name = "envoy"
            node.user_agent_build_version.version.major_number = 1
            node.user_agent_build_version.version.minor_number = 40
            node.client_features.extend(
                [
                    "envoy.lb.does_not_support_overprovisioning",
                    "envoy.lrs.supports_send_all_clusters",
                    "xds.config.resource-in-sotw",
                ]
            )
            for name, kind, category in extensions():
                extension = node.extensions.add()
                extension.name, extension.category = name, category
                extension.type_urls.append(kind)
            self._node = node
        return self._node

    # --- asked by the data path ---

    def too_many(self) -> bool:
        """Whether more clients are connected, the one that just came counted, than the limit of all listeners together."""
        if not self.max_connections:
            return False
        limited = [slot.listener for slot in self.listeners.slots.values() if not slot.listener.exempt]
        counted = {listener.stat_prefix: listener.stats.downstream_cx_active for listener in limited}
        total: int = sum(counted.values())
        return total > self.max_connections

    def draining_header(self, stream: Any) -> bool:
        """Whether an answer must end its connection, and says so to health checkers."""
        if self.health_failed and stream.details == "via_upstream":
            stream.response.d["x-envoy-immediate-health-check-fail"] = "true"
        if self.health_failed or self._drains(stream):
            return True
        return self.overloaded and self.overload is not None and self.overload.ends_connection(stream)

    def _drains(self, stream: Any) -> bool:
        """Whether the drain wants this answer to end its connection: by and by over --drain-time-s, or every one."""
        if not self.draining or (self.drains_inbound_only and getattr(stream.hcm.listener, "direction", 0) != INBOUND):
            return False
        passed = time.time() - self.drain_started
        return self.options.drain_strategy == "immediate" or random.random() * self.options.drain_time_s < passed

    def cluster_ready(self, cluster: Any) -> None:
        self.xds.cluster_ready(cluster)
        self.changed.set()

    async def wait_ready(self, listener: Any, what: str) -> None:
        """Until a listener has its secrets and routes, and what its filters asked to wait for."""
        await self.xds.wait_listener(listener)
        for event in listener.awaited:
            await event.wait()

    def inherited(self, address: Address) -> Any:
        """The parent's listening socket of an address, in a hot restart."""
        return None if self.restart is None else self.restart.inherit(address)

    def drain_listener(self, listener: Any) -> None:
        for connection in [each for each in self.connections if getattr(each, "listener", None) is listener]:
            connection.drain()

    def spawn(self, coroutine: Any, name: str) -> asyncio.Task[Any]:
        """A task that the server owns; what it raises is logged."""
        task: asyncio.Task[Any] = self.loop.create_task(coroutine, name=name)
        self.tasks.add(task)
        task.add_done_callback(self._task_over)
        return task

    def _task_over(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task %s failed", task.get_name(), exc_info=error)

    # --- start ---

    def validate_static(self) -> None:
        """Compile all that the bootstrap holds. Raises ConfigError."""
        bootstrap = self.bootstrap
        self.secrets.add_static(bootstrap.static_resources.secrets)
        self.clusters.add_static(bootstrap.static_resources.clusters)

    async def start(self) -> None:
        """Everything up to LIVE. Raises ConfigError when the bootstrap cannot be served."""
        bootstrap = self.bootstrap
        if self.restart is not None:
            self.restart.begin()
        if self.member is None and bootstrap.HasField("admin") and bootstrap.admin.HasField("address"):
            self.admin = Admin(self)
            await self.admin.start(bootstrap.admin)
        self._sweep()
        self.state = INITIALIZING
        self.group.state = INITIALIZING
        self.validate_static()
        await self._wait_clusters()
        await self.xds.start(bootstrap.dynamic_resources)
        await self._wait_clusters()
        for proto in bootstrap.static_resources.listeners:
            await self.listeners.add(proto)
        await self.xds.start_listeners(bootstrap.dynamic_resources)
        self.live()

    def live(self) -> None:
        self.state = LIVE
        self.group.state = LIVE
        self.group.live = 1
        self.flusher.start()
        self.listeners.stats.workers_started = 1
        self.group.initialization_time_ms.record((time.time() - self.started) * 1000)
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 50, 100)
        log.info("all dependencies initialized. starting workers")
        if self.restart is not None:
            self.restart.live()
        if self.overload is not None:
            self.overload.start()
        if self.pool is not None:
            self.pool.start()
        if self.member is not None:
            self.member.live()

    async def _wait_clusters(self) -> None:
        """Until no cluster is warming; each has its own time limit."""
        while self.clusters.warming and not self.stopping.is_set():
            self.changed.clear()
            try:
                async with asyncio.timeout(0.05):
                    await self.changed.wait()
            except TimeoutError:
                continue

    # --- run ---

    def _sweep(self) -> None:
        active = self.active
        if active:
            now = time.monotonic()
            expired = [stream for stream in active if stream.next_deadline <= now]
            for stream in expired:
                stream.sweep(now)
        self.loop.call_later(SWEEP_S if len(active) < 2000 else 0.05, self._sweep)

    async def run(self) -> None:
        await self.stopping.wait()
        await self.shutdown()

    async def shutdown(self) -> None:
        """Stop listening, let what is under way end for a moment, go."""
        if self.restart is not None:
            self.restart.close()
        self.flusher.flush()
        await self.listeners.stop()
        await self.xds.stop()
        if self.pool is not None:
            await self.pool.close()
        for task in list(self.tasks):
            task.cancel()
        for cluster in [*self.clusters.active.values(), *self.clusters.warming.values()]:
            cluster.close()
        if self.admin is not None:
            await self.admin.stop()
        self.logs.flush()

    def drain(self, inbound_only: bool = False) -> None:
        """Answers end their connections from now on, as --drain-strategy says."""
        self.draining = True
        self.drains_inbound_only = inbound_only
        self.drain_started = time.time()
        self.state = DRAINING
        self.group.state = DRAINING

    def refresh_gauges(self) -> None:
        """Bring the gauges up to date that nobody keeps while running."""
        group = self.group
        group.uptime = int(time.time() - self.started)
        group.parent_connections = self.parent_connections
        group.total_connections = len(self.connections) + self.parent_connections
        try:
            with open("/proc/self/statm", "rb") as file:
                pages = int(file.read().split()[1])
            group.memory_allocated = group.memory_heap_size = group.memory_physical_size = pages * os.sysconf(
                "SC_PAGE_SIZE"
            )
        except OSError:
            pass
        for cluster in self.clusters.active.values():
            for each in cluster.resources:
                each.publish()
            cluster.stats.lb_healthy_panic = cluster.balancer.panics


def flattened(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Runtime keys with dots; a fractional percent stays a mapping."""
    out: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, dict) and "numerator" not in item:
            out.update(flattened(item, name + "."))
        else:
            out[name] = item
    return out


__all__ = ["ConfigError", "Options", "Server", "seconds"]
