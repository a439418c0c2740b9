"""Where a cluster's endpoints come from: its own configuration, DNS, EDS, or the connections' original destinations.

Each starts with the cluster, calls `cluster.set_assignment` whenever it knows more, and `become_warm` once it knows anything.
"""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Any

from envoy.config.endpoint.v3 import endpoint_pb2

from mizzen.proxy.config.endpoints import Assignment, assignment
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.matchers import ip_number
from mizzen.proxy.config.values import seconds, wrapped

ORIGINAL_DST_CLEANUP_S = 5.0


class Static:
    """Endpoints in the configuration."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        proto = cluster.config.proto
        for group in proto.load_assignment.endpoints:
            for each in group.lb_endpoints:
                address = each.endpoint.address
                if (
                    address.WhichOneof("address") == "socket_address"
                    and not ip_number(address.socket_address.address)[0]
                ):
                    raise ConfigError(
                        f"malformed IP address: {address.socket_address.address}. Consider setting resolver_name or setting cluster type to 'STRICT_DNS' or 'LOGICAL_DNS'"  # noqa: E501
                    )
        self.assignment = assignment(proto.load_assignment, {})

    def start(self) -> None:
        self.cluster.set_assignment(self.assignment)
        self.cluster.become_warm()

    def stop(self) -> None:
        pass


class OriginalDst:
    """No endpoints of its own; those made on the way are dropped when unused."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        proto = cluster.config.proto
        self.interval = (
            seconds(proto.cleanup_interval) if proto.HasField("cleanup_interval") else ORIGINAL_DST_CLEANUP_S
        )
        self.timer: Any = None

    def start(self) -> None:
        self._arm()
        self.cluster.become_warm()

    def _arm(self) -> None:
        if self.interval < 1e6:  # Istio says "never" by 9223372035 s
            self.timer = self.cluster.loop.call_later(self.interval, self._clean)

    def _clean(self) -> None:
        self.cluster.forget_originals()
        self._arm()

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class Dns:
    """STRICT_DNS: every address is an endpoint. LOGICAL_DNS: one endpoint at the first address."""

    def __init__(self, cluster: Any, logical: bool) -> None:
        self.cluster = cluster
        self.logical = logical
        proto = cluster.config.proto
        self.proto = proto
        self.refresh = seconds(proto.dns_refresh_rate) if proto.HasField("dns_refresh_rate") else 5.0
        self.family = proto.dns_lookup_family  # 0 AUTO 1 V4_ONLY 2 V6_ONLY 3 V4_PREFERRED 4 ALL
        self.jitter = seconds(proto.dns_jitter) if proto.HasField("dns_jitter") else 0.0
        endpoints = [each for group in proto.load_assignment.endpoints for each in group.lb_endpoints]
        if logical and (len(endpoints) != 1 or len(proto.load_assignment.endpoints) != 1):
            raise ConfigError("LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint")
        self.task: asyncio.Task[None] | None = None
        self.failures = 0
        self.known: dict[str, list[str]] = {}

    def start(self) -> None:
        self.task = self.cluster.loop.create_task(self._run(), name=f"dns {self.cluster.name}")

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()

    async def _run(self) -> None:
        while True:
            good = await self._resolve()
            self.cluster.become_warm()
            wait = self.refresh + random.random() * self.jitter
            if not good and self.proto.HasField("dns_failure_refresh_rate"):
                rate = self.proto.dns_failure_refresh_rate
                base = seconds(rate.base_interval)
                most = seconds(rate.max_interval) if rate.HasField("max_interval") else base * 10
                wait = min(most, base * 2**self.failures) * random.random()
                self.failures += 1
            elif good:
                self.failures = 0
            await asyncio.sleep(max(0.001, wait))

    async def _resolve(self) -> bool:
        stats = self.cluster.stats
        built = endpoint_pb2.ClusterLoadAssignment()
        built.CopyFrom(self.proto.load_assignment)
        good = True
        for group in built.endpoints:
            originals = list(group.lb_endpoints)
            del group.lb_endpoints[:]
            for each in originals:
                name = each.endpoint.address.socket_address.address
                stats.update_attempt += 1
                addresses = await self._lookup(name)
                if addresses is None:
                    stats.update_failure += 1
                    good = False
                    addresses = self.known.get(name, [])
                else:
                    stats.update_success += 1
                    if not addresses:
                        stats.update_empty += 1
                    self.known[name] = addresses
                for address in addresses[:1] if self.logical else addresses:
                    copy = group.lb_endpoints.add()
                    copy.CopyFrom(each)
                    copy.endpoint.address.socket_address.address = address
                    if not copy.endpoint.hostname:
                        copy.endpoint.hostname = name
        before = [host.key for hosts in self.cluster.priorities for host in hosts]
        made = assignment(built, self.cluster.hosts)
        after = [host.key for hosts in made.priorities for host in hosts]
        if sorted(map(str, before)) != sorted(map(str, after)) or not self.cluster.warm:
            self.cluster.set_assignment(made)
        else:
            stats.update_no_rebuild += 1
        return good

    async def _lookup(self, name: str) -> list[str] | None:
        """Addresses of a name by the family that is wanted; None when it cannot be resolved."""
        if ip_number(name)[0]:
            return [name]
        family = {1: socket.AF_INET, 2: socket.AF_INET6}.get(self.family, socket.AF_UNSPEC)
        try:
            found = await self.cluster.loop.getaddrinfo(name, None, family=family, type=socket.SOCK_STREAM)
        except OSError:
            return None
        v4 = list(dict.fromkeys(str(each[4][0]) for each in found if each[0] == socket.AF_INET))
        v6 = list(dict.fromkeys(str(each[4][0]) for each in found if each[0] == socket.AF_INET6))
        if self.family == 4:
            return v6 + v4
        if self.family == 3:
            return v4 or v6
        if self.family == 0:
            return v6 or v4
        return v4 or v6


class Eds:
    """Endpoints by a discovery subscription."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self.subscription: Any = None

    def start(self) -> None:
        config = self.cluster.config
        self.subscription = self.cluster.server.xds.endpoints(
            config.proto.eds_cluster_config.eds_config, config.eds_service_name, self
        )

    def update(self, message: Any) -> None:
        """A new ClusterLoadAssignment. Raises ConfigError."""
        self.cluster.set_assignment(assignment(message, self.cluster.hosts))
        self.cluster.become_warm()

    def timed_out(self) -> None:
        """Nothing came in time: the cluster is used without endpoints."""
        self.cluster.become_warm()

    def stop(self) -> None:
        if self.subscription is not None:
            self.subscription.cancel()


def discovery(cluster: Any) -> Any:
    """The discovery of a cluster by its type. Raises ConfigError."""
    kind = cluster.config.type
    if kind == "EDS":
        return Eds(cluster)
    if kind == "STRICT_DNS":
        return Dns(cluster, False)
    if kind == "LOGICAL_DNS":
        return Dns(cluster, True)
    if kind == "ORIGINAL_DST":
        return OriginalDst(cluster)
    return Static(cluster)


__all__ = ["Assignment", "Dns", "Eds", "OriginalDst", "Static", "discovery", "wrapped"]
