"""All clusters: which are in use, which are warming, additions, updates and removals.

`get` is asked for every request and gives only clusters that are warm.
"""

from __future__ import annotations

import time
from typing import Any

from mizzen.proxy.config.clusters import ClusterConfig
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.upstream.cluster import Cluster
from mizzen.proxy.upstream.discovery import discovery


class Clusters:
    """The clusters of the process, by name."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.active: dict[str, Cluster] = {}
        self.warming: dict[str, Cluster] = {}
        self.get = self.active.get
        self.updated: dict[str, float] = {}
        self.versions: dict[str, str] = {}
        self.errors: dict[str, tuple[str, Any]] = {}
        self.stats: Any = server.stats.group(
            "cluster_manager",
            [
                "cluster_added",
                "cluster_modified",
                "cluster_removed",
                "cluster_updated",
                "cluster_updated_via_merge",
                "update_merge_cancelled",
                "update_out_of_merge_window",
            ],
            ["active_clusters", "warming_clusters"],
        )
        self.expected: set[str] = set()  # names that the bootstrap is about to add

    def known(self, name: str) -> bool:
        return name in self.active or name in self.warming or name in self.expected

    def add(self, proto: Any, api: bool = False, version: str = "") -> bool:
        """Add a cluster or update the one of its name; False when nothing changes. Raises ConfigError."""
        name = proto.name
        current = self.warming.get(name) or self.active.get(name)
        if current is not None:
            if current.config.proto == proto:
                self.versions[name] = version
                return False
            if api and not current.config.added_via_api:
                return False
        config = ClusterConfig(proto, self.server)
        config.added_via_api = api
        cluster = Cluster(config, self.server)
        cluster.discovery = discovery(cluster)
        if proto.health_checks:
            from mizzen.proxy.upstream.health import checker

            cluster.health = checker(cluster, proto.health_checks)
        old_warming = self.warming.pop(name, None)
        if old_warming is not None:
            old_warming.close()
        self.warming[name] = cluster
        self.versions[name] = version
        if name in self.active:
            self.stats.cluster_modified += 1
        else:
            self.stats.cluster_added += 1
        cluster.on_warm = lambda: self._warm(cluster)
        self._gauges()
        cluster.discovery.start()
        if cluster.health is not None:
            cluster.health.start()
        return True

    def _warm(self, cluster: Cluster) -> None:
        """The cluster has endpoints; with its secrets it takes its place."""
        secrets = [secret for transport in cluster.transports() for secret in transport.secrets()]
        missing = [secret for secret in secrets if secret.message is None]
        if missing:
            for secret in missing:
                secret.watchers.append(lambda: self._ready(cluster, secrets))
            return
        self._activate(cluster)

    def _ready(self, cluster: Cluster, secrets: list[Any]) -> None:
        if all(secret.message is not None for secret in secrets):
            self._activate(cluster)

    def _activate(self, cluster: Cluster) -> None:
        name = cluster.name
        if self.warming.get(name) is not cluster:
            return
        del self.warming[name]
        old = self.active.get(name)
        self.active[name] = cluster
        self.updated[name] = time.time()
        self.errors.pop(name, None)
        if old is not None:
            old.close()
        self._gauges()
        self.server.cluster_ready(cluster)

    def remove(self, name: str) -> bool:
        cluster = self.warming.pop(name, None)
        if cluster is not None:
            cluster.close()
        cluster = self.active.pop(name, None)
        if cluster is not None:
            cluster.close()
            self.server.stats.drop(cluster.stat_prefix)
            self.stats.cluster_removed += 1
        self._gauges()
        return cluster is not None

    def _gauges(self) -> None:
        self.stats.active_clusters = len(self.active)
        self.stats.warming_clusters = len(self.warming)

    def add_static(self, protos: Any) -> None:
        """The bootstrap's clusters. Raises ConfigError for one that is named twice."""
        names: set[str] = set()
        for proto in protos:
            if proto.name in names:
                raise ConfigError(f"cluster manager: duplicate cluster '{proto.name}'")
            names.add(proto.name)
        self.expected = names
        for proto in protos:
            self.add(proto)
