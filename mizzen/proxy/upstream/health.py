"""Active health checks of a cluster's hosts: HTTP, TCP and gRPC.

`Checker` keeps one `Probe` a host; a probe asks, counts towards its thresholds, and sets or clears FAILED_ACTIVE_HC. Checks have
connections of their own that the cluster's statistics and limits do not count. A cluster is warm once every host was checked.
Not here: hosts' other flags (outlier.py, discovery.py). Source: envoy.config.core.v3.HealthCheck.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from mizzen.proxy.codec.headers import RequestHeaders, ResponseHeaders
from mizzen.proxy.config.clusters import HTTP2
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.header_ops import level
from mizzen.proxy.config.matchers import string_matcher
from mizzen.proxy.config.values import optional_seconds, seconds, wrapped
from mizzen.proxy.http.header_ops import apply
from mizzen.proxy.upstream.async_client import Fetch
from mizzen.proxy.upstream.host import (
    DEGRADED_ACTIVE_HC,
    EXCLUDED_IMMEDIATE,
    FAILED_ACTIVE_HC,
    PENDING_ACTIVE_HC,
    TIMED_OUT,
    Host,
)

COUNTERS = ("attempt", "failure", "network_failure", "passive_failure", "success", "verify_cluster")
GAUGES = ("degraded", "healthy")
METHODS = ("GET", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
HEALTH = "/grpc.health.v1.Health/Check"

# outcomes of one check
GOOD, DEGRADED, BAD, NETWORK, RETRIABLE = "good", "degraded", "bad", "network", "retriable"
Outcome = Callable[[str], None]


class Times:
    """When a host is checked again. All in seconds."""

    def __init__(self, message: Any) -> None:
        if not message.HasField("timeout") or not message.HasField("interval"):
            raise ConfigError("HealthCheckValidationError: timeout and interval are required")
        self.timeout = seconds(message.timeout)
        self.interval = seconds(message.interval)
        self.jitter = seconds(message.interval_jitter)
        self.jitter_percent: int = message.interval_jitter_percent
        self.initial_jitter = seconds(message.initial_jitter)
        self.no_traffic = optional_seconds(message, "no_traffic_interval", 60.0) or 60.0
        self.no_traffic_healthy = optional_seconds(message, "no_traffic_healthy_interval", self.no_traffic) or 60.0
        self.unhealthy = optional_seconds(message, "unhealthy_interval", self.interval) or self.interval
        self.unhealthy_edge = optional_seconds(message, "unhealthy_edge_interval", self.unhealthy) or self.unhealthy
        self.healthy_edge = optional_seconds(message, "healthy_edge_interval", self.interval) or self.interval

    def next(self, healthy: bool, changed: bool, traffic: bool) -> float:
        if not traffic:
            base = self.no_traffic_healthy if healthy else self.no_traffic
        elif healthy:
            base = self.healthy_edge if changed else self.interval
        else:
            base = self.unhealthy_edge if changed else self.unhealthy
        if self.jitter:
            base += random.random() * self.jitter
        return base + base * self.jitter_percent / 100 * random.random()


class Aside:
    """A cluster's way of connecting, with counts and limits apart from its own, for one host."""

    def __init__(self, cluster: Any, host: Host, http2: bool) -> None:
        self.host = Host(host.health_address or host.address, host.hostname)
        self.host.transport = host.transport or cluster.config.transport
        self.cluster = cluster.aside(self.host, HTTP2 if http2 else "http1")

    def close(self) -> None:
        self.host.close_pools()


class HttpCheck:
    """http_health_check: a request whose answer must have an expected status."""

    def __init__(self, message: Any, cluster: Any) -> None:
        http = message.http_health_check
        if not http.path:
            raise ConfigError(
                "HealthCheckValidationError.HttpHealthCheck.Path: value length must be at least 1 characters"
            )
        self.name = cluster.name
        self.http2 = http.codec_client_type == 1
        self.path, self.host = http.path, http.host
        self.method = METHODS[http.method]
        self.good = [(each.start, each.end) for each in http.expected_statuses] or [(200, 201)]
        self.retriable = [(each.start, each.end) for each in http.retriable_statuses]
        self.ops = level(http.request_headers_to_add, http.request_headers_to_remove)
        self.service = string_matcher(http.service_name_matcher) if http.HasField("service_name_matcher") else None

    def start(self, probe: Probe, done: Outcome) -> Any:
        host = probe.host
        authority = host.health_hostname or self.host or self.name
        headers = RequestHeaders(self.method, self.path, authority, {"user-agent": "Envoy/HC"}, None, "http")
        if self.ops:
            apply(self.ops, headers, probe)  # type: ignore[arg-type]

        def answered(response: ResponseHeaders | None, body: bytes, failure: str) -> None:
            done(NETWORK if response is None else self._outcome(response, probe))

        call = Fetch(probe.aside.cluster, headers, b"", 0.0, answered)
        call.start()
        return call

    def _outcome(self, response: ResponseHeaders, probe: Probe) -> str:
        status = response.status
        if not any(low <= status < high for low, high in self.good):
            return RETRIABLE if any(low <= status < high for low, high in self.retriable) else BAD
        if self.service is not None:
            probe.checker.stats.verify_cluster += 1
            if not self.service(response.get("x-envoy-upstream-healthchecked-cluster") or ""):
                return BAD
        return DEGRADED if "x-envoy-degraded" in response.d else GOOD


def payload(message: Any) -> bytes:
    kind = message.WhichOneof("payload")
    if kind == "text":
        try:
            return bytes.fromhex(message.text)
        except ValueError as error:
            raise ConfigError(f"invalid hex string '{message.text}'") from error
    return bytes(message.binary)


class TcpCheck:
    """tcp_health_check: a connection, and if so asked bytes there and back."""

    http2 = False

    def __init__(self, message: Any, cluster: Any) -> None:
        tcp = message.tcp_health_check
        self.send = payload(tcp.send) if tcp.HasField("send") else b""
        self.receive = [payload(each) for each in tcp.receive]

    def start(self, probe: Probe, done: Outcome) -> Any:
        return TcpProbe(self, probe, done)


class TcpProbe:
    """One TCP check's connection."""

    def __init__(self, check: TcpCheck, probe: Probe, done: Outcome) -> None:
        self.check = check
        self.done: Outcome | None = done
        self.transport: Any = None
        self.got = b""
        aside = probe.aside
        variant = aside.cluster._variant(aside.host, None, 0) if aside.cluster.variant_needed else 0
        aside.cluster.dial(aside.host, self, variant)

    def _over(self, outcome: str) -> None:
        done, self.done = self.done, None
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.close()
        if done is not None:
            done(outcome)

    def cancel(self) -> None:
        self.done = None
        if self.transport is not None:
            self.transport.abort()
            self.transport = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.done is None:
            transport.abort()
            return
        if self.check.send:
            transport.write(self.check.send)
        if not self.check.receive:
            self._over(GOOD)

    def connect_failed(self, reason: str, text: str | None) -> None:
        self._over(NETWORK)

    def data_received(self, data: bytes) -> None:
        self.got += data
        at = 0
        for part in self.check.receive:
            at = self.got.find(part, at)
            if at < 0:
                return
            at += len(part)
        self._over(GOOD)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        self.transport = None
        self._over(NETWORK)

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass


class GrpcCheck:
    """grpc_health_check: grpc.health.v1.Health/Check must answer SERVING."""

    http2 = True

    def __init__(self, message: Any, cluster: Any) -> None:
        grpc = message.grpc_health_check
        self.authority = grpc.authority or cluster.name
        name = grpc.service_name.encode()
        self.request = b"\x0a" + bytes((len(name),)) + name if name else b""
        if len(name) > 127:
            raise Unsupported("GrpcHealthCheck.service_name longer than 127 bytes")
        self.ops = level(grpc.initial_metadata, ())

    def start(self, probe: Probe, done: Outcome) -> Any:
        from mizzen.proxy.xds.grpc import Call

        got: list[bytes] = []

        def opened() -> None:
            call.send(self.request, True)
            if call.connection is not None:
                call.connection.flush()

        def ended(status: int, text: str) -> None:
            if status == 0:
                done(GOOD if got and serving(got[0]) else BAD)
            else:
                done(NETWORK if status == 14 else BAD)

        call = Call(probe.aside.cluster, HEALTH, [], opened, got.append, ended)
        call.headers.authority = probe.host.health_hostname or self.authority
        if self.ops:
            apply(self.ops, call.headers, probe)  # type: ignore[arg-type]
        call.start()
        return call


def serving(message: bytes) -> bool:
    """Whether a HealthCheckResponse (field 1: status) says SERVING (1)."""
    return message[:2] == b"\x08\x01"


class Probe:
    """The checks of one host."""

    def __init__(self, checker: Checker, host: Host) -> None:
        self.checker = checker
        self.host = host
        self.aside = Aside(checker.cluster, host, checker.check.http2)
        self.timer: Any = None
        self.deadline: Any = None
        self.call: Any = None
        self.first = True
        self.failures = self.successes = 0
        self.number = 0

    def stop(self) -> None:
        self.number += 1
        for timer in (self.timer, self.deadline):
            if timer is not None:
                timer.cancel()
        self.timer = self.deadline = None
        call, self.call = self.call, None
        if call is not None:
            call.cancel()
        self.aside.close()

    def schedule(self, wait_s: float) -> None:
        self.timer = self.checker.cluster.loop.call_later(wait_s, self.run)

    def run(self) -> None:
        self.timer = None
        self.number += 1
        number = self.number
        self.checker.stats.attempt += 1
        loop = self.checker.cluster.loop
        self.deadline = loop.call_later(self.checker.times.timeout, self._timed_out, number)

        def done(outcome: str) -> None:
            if number == self.number:  # an answer to a check that was given up is none
                loop.call_soon(self._finished, number, outcome)

        self.call = self.checker.check.start(self, done)

    def _timed_out(self, number: int) -> None:
        self.deadline = None
        if number != self.number:
            return
        call, self.call = self.call, None
        if call is not None:
            call.cancel()
        self._finished(number, NETWORK)

    def _finished(self, number: int, outcome: str) -> None:
        if number != self.number:
            return
        self.number += 1
        self.call = None
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None
        checker = self.checker
        if not checker.reuse:
            self.aside.close()
        changed = self._success(outcome) if outcome in (GOOD, DEGRADED) else self._failure(outcome)
        self.first = False
        healthy = not self.host.flags & FAILED_ACTIVE_HC
        self.schedule(checker.times.next(healthy, changed, checker.cluster.stats.upstream_cx_total > 0))
        checker.checked(self, changed)

    def _success(self, outcome: str) -> bool:
        checker, host = self.checker, self.host
        checker.stats.success += 1
        self.failures = 0
        before = host.flags
        host.flags &= ~(PENDING_ACTIVE_HC | TIMED_OUT)
        if outcome == DEGRADED:
            host.flags |= DEGRADED_ACTIVE_HC
        else:
            host.flags &= ~DEGRADED_ACTIVE_HC
        if host.flags & FAILED_ACTIVE_HC:
            self.successes += 1
            if self.first or self.successes >= checker.healthy_threshold:
                host.flags &= ~(FAILED_ACTIVE_HC | EXCLUDED_IMMEDIATE)
                host.since = time.monotonic()
                self.successes = 0
        return host.flags != before

    def _failure(self, outcome: str) -> bool:
        checker, host = self.checker, self.host
        checker.stats.failure += 1
        if outcome == NETWORK:
            checker.stats.network_failure += 1
        self.successes = 0
        self.failures += 1
        before = host.flags
        host.flags &= ~PENDING_ACTIVE_HC
        if self.first or outcome == BAD or self.failures >= checker.unhealthy_threshold:
            host.flags |= FAILED_ACTIVE_HC
        return host.flags != before


CHECKED = FAILED_ACTIVE_HC | DEGRADED_ACTIVE_HC | EXCLUDED_IMMEDIATE | PENDING_ACTIVE_HC | TIMED_OUT


class Checker:
    """All probes of a cluster."""

    def __init__(self, cluster: Any, message: Any) -> None:
        self.cluster = cluster
        self.times = Times(message)
        self.unhealthy_threshold = wrapped(message, "unhealthy_threshold", 1)
        self.healthy_threshold = wrapped(message, "healthy_threshold", 1)
        self.reuse = wrapped(message, "reuse_connection", True)
        self.alt_port = wrapped(message, "alt_port", 0)
        kind = message.WhichOneof("health_checker")
        if kind not in CHECKS:
            raise Unsupported(f"Cluster {cluster.name}.health_checks.{kind}")
        self.check: HttpCheck | TcpCheck | GrpcCheck = CHECKS[kind](message, cluster)
        if kind == "grpc_health_check" and cluster.http.protocol != HTTP2:
            raise ConfigError(f"{cluster.name} cluster must support HTTP/2 for gRPC healthchecking")
        self.stats: Any = cluster.server.stats.group(f"{cluster.stat_prefix}.health_check", COUNTERS, GAUGES)
        self.probes: dict[Any, Probe] = {}
        self.running = False
        self.on_ready: Callable[[], None] | None = None

    def add(self, host: Host) -> None:
        if host.disable_active_health_check or host.key in self.probes:
            return
        if self.alt_port and host.health_address is None:
            host.health_address = (host.address[0], self.alt_port)
        host.flags |= FAILED_ACTIVE_HC | PENDING_ACTIVE_HC
        probe = self.probes[host.key] = Probe(self, host)
        member = self.cluster.server.member
        if member is not None and (known := member.health.get((self.cluster.name, host.key))) is not None:
            self._take(probe, known)
        if self.running:
            probe.schedule(random.random() * self.times.initial_jitter)

    def remove(self, host: Host) -> None:
        probe = self.probes.pop(host.key, None)
        if probe is not None:
            probe.stop()
            self._ready()
            if (pool := self.cluster.server.pool) is not None:
                pool.unchecked(self.cluster.name, host.key)

    def start(self) -> None:
        if self.cluster.server.member is not None:
            return  # the main process checks for all workers, and tells
        self.running = True
        for probe in self.probes.values():
            if probe.timer is None and probe.call is None:
                probe.schedule(random.random() * self.times.initial_jitter)

    def stop(self) -> None:
        self.running = False
        for probe in self.probes.values():
            probe.stop()
        self.probes.clear()

    def ready(self) -> bool:
        """Whether every host was checked once."""
        return not any(probe.first for probe in self.probes.values())

    def when_ready(self, then: Callable[[], None]) -> None:
        self.on_ready = then
        self._ready()

    def _ready(self) -> None:
        if self.on_ready is not None and self.ready():
            then, self.on_ready = self.on_ready, None
            then()

    def checked(self, probe: Probe, changed: bool) -> None:
        hosts = [each.host for each in self.probes.values()]
        self.stats.healthy = sum(1 for host in hosts if not host.flags & FAILED_ACTIVE_HC)
        self.stats.degraded = sum(1 for host in hosts if host.flags & DEGRADED_ACTIVE_HC)
        if changed:
            self.cluster.refresh()
        self._ready()
        if (pool := self.cluster.server.pool) is not None:
            pool.checked(self.cluster.name, probe.host.key, probe.host.flags & CHECKED)

    @staticmethod
    def _take(probe: Probe, flags: int) -> bool:
        host, before = probe.host, probe.host.flags
        host.flags = before & ~CHECKED | flags
        if before & FAILED_ACTIVE_HC and not flags & FAILED_ACTIVE_HC:
            host.since = time.monotonic()
        probe.first = False
        return host.flags != before

    def told(self, key: Any, flags: int) -> None:
        """What the main process found of a host; flags: those of CHECKED that are set."""
        probe = self.probes.get(key)
        if probe is not None:
            self.checked(probe, self._take(probe, flags))

    def immediate_failure(self, host: Host) -> None:
        """An answer to a request said that its host is failing."""
        if host.key in self.probes and not host.flags & FAILED_ACTIVE_HC:
            self.stats.passive_failure += 1
            host.flags |= FAILED_ACTIVE_HC | EXCLUDED_IMMEDIATE
            self.cluster.refresh()
            server = self.cluster.server
            if server.member is not None:
                server.member.failing(self.cluster.name, host.key)
            elif server.pool is not None:
                server.pool.checked(self.cluster.name, host.key, host.flags & CHECKED)


CHECKS: dict[str, Callable[[Any, Any], Any]] = {
    "grpc_health_check": GrpcCheck,
    "http_health_check": HttpCheck,
    "tcp_health_check": TcpCheck,
}


def checker(cluster: Any, messages: Any) -> Checker:
    """The checker of a cluster's health_checks."""
    if len(messages) != 1:
        raise ConfigError("Multiple health checks not supported")
    return Checker(cluster, messages[0])
