"""What every pod worker shares: clients, paths, and facts of the node."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from mizzen.kube import ApiError, Client, Informer
from mizzen.kube.resource import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, Object
from mizzen.runtime.kubelet.environment import Lookup
from mizzen.runtime.kubelet.events import Recorder
from mizzen.runtime.kubelet.fields import Facts
from mizzen.runtime.kubelet.resolver import Dns
from mizzen.runtime.kubelet.volumes import TokenSource
from mizzen.wire.cri import CriClient

KINDS = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The kubelet's configuration. cluster_dns: the DNS servers of pods; cgroup_root: the parent of pods' cgroups."""

    node_name: str
    node_ip: str
    root: Path
    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    cgroup_root: str = "/mizzen"
    port: int = 10250
    pod_cidr: str = ""
    max_pods: int = 250
    labels: dict[str, str] = {}


class Context:
    """Shared by the workers of one kubelet."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        runtime: CriClient,
        recorder: Recorder,
        services: Informer | None,
        host_dns: Dns,
    ) -> None:
        self.settings, self.client, self.runtime, self.recorder = settings, client, runtime, recorder
        self.services, self.host_dns = services, host_dns
        self.runtime_name = "mizzen"
        self.capacity: dict[str, str] = {}
        self.memory_bytes = 1

    @property
    def pods(self) -> Path:
        """Where pods' directories are."""
        return self.settings.root / "pods"

    @property
    def logs(self) -> Path:
        """Where containers' logs are."""
        return self.settings.root / "logs"

    def facts(self, ips: tuple[str, ...]) -> Facts:
        """The downward API's facts."""
        return Facts(self.settings.node_name, self.settings.node_ip, ips, self.capacity)

    def service_objects(self) -> list[Object]:
        """All Services known."""
        return self.services.all() if self.services is not None else []

    async def lookup(self, namespace: str, wanted: set[tuple[str, str]]) -> Lookup:
        """Fetch ConfigMaps and Secrets at once; a function that finds them. Raises ApiError but for 404."""
        names = sorted(wanted)
        found = await asyncio.gather(*(self.client.find(KINDS[kind], name, namespace) for kind, name in names))
        table = dict(zip(names, found, strict=True))
        return lambda kind, name: table.get((kind, name))

    async def token(self, pod: Object, source: TokenSource) -> tuple[str, str]:
        """(token, when it expires) of the pod's service account, bound to the pod. Raises ApiError."""
        meta = pod["metadata"]
        spec: dict[str, Any] = {
            "expirationSeconds": source.seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]},
        }
        if source.audience:
            spec["audiences"] = [source.audience]
        name = pod["spec"].get("serviceAccountName") or "default"
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"name": name, "namespace": meta["namespace"]},
            "spec": spec,
        }
        answer = await self.client.create(SERVICE_ACCOUNTS, request, subresource="token")
        if "status" not in answer:
            raise ApiError(500, "InternalError", f"no token for {meta['namespace']}/{name}")
        return answer["status"]["token"], answer["status"]["expirationTimestamp"]
