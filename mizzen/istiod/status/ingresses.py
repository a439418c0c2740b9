"""The addresses of Ingresses: where the mesh's ingress gateway is reached, written into the status of those that are ours.

Runs while its istiod leads. Not here: which Ingresses are ours and what they mean (istiod/ingress.py).
Source: networking.k8s.io/v1 IngressStatus; MeshConfig `ingressService`, `ingressSelector`, `ingressControllerMode`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mizzen.api.istio.mesh import MeshConfig
from mizzen.istiod.config.store import ConfigStore, Live
from mizzen.istiod.ingress import DEFAULT_LABEL, DEFAULT_SERVICE, KINDS, counts
from mizzen.istiod.objects import Change, Objects
from mizzen.istiod.registry.workloads import selects
from mizzen.istiod.status.writer import StatusWriter
from mizzen.istiod.xds.hub import Hub

KIND = "Ingress"
EVERY_S, RETRY_S = 1.0, 5.0
RELEVANT = KINDS | {"Service", "Pod", "Node", "Mesh"}
OFF = ("OFF", "UNSPECIFIED")


def addresses(objects: Objects, mesh: MeshConfig, system: str) -> list[dict[str, str]]:
    """Where the ingress gateway is reached: its Service's load balancer, else the nodes of its pods."""
    service = objects.table("Service").get((system, mesh.ingress_service or DEFAULT_SERVICE))
    found = set(_of_service(service)) if service is not None else set(_of_nodes(objects, mesh, system))
    return [{"ip": value} if ip else {"hostname": value} for ip, value in sorted(found, key=lambda one: one[1])]


def _of_service(service: Any) -> Iterator[tuple[bool, str]]:
    """(whether it is an IP, the address)"""
    if service.spec.type == "ExternalName":
        yield False, service.spec.externalName or ""
        return
    balancer = service.status.loadBalancer if service.status is not None else None
    for one in (balancer.ingress if balancer is not None else None) or ():
        yield (True, one.ip) if one.ip else (False, one.hostname or "")
    for ip in service.spec.externalIPs or ():
        yield True, ip


def _of_nodes(objects: Objects, mesh: MeshConfig, system: str) -> Iterator[tuple[bool, str]]:
    selector = {"istio": mesh.ingress_selector or DEFAULT_LABEL}
    for (namespace, _), pod in objects.table("Pod").items():
        if namespace != system or not selects(selector, pod.metadata.labels or {}) or pod.spec is None:
            continue
        node = objects.table("Node").get(("", pod.spec.nodeName or ""))
        known = {a.type: a.address for a in (node.status.addresses or ())} if node is not None and node.status else {}
        address = known.get("ExternalIP") or known.get("InternalIP")
        if address:
            yield True, address


class IngressReporter:
    """`run` under an election; `published` at each publication."""

    def __init__(self, hub: Hub, store: ConfigStore, writer: StatusWriter, system: str) -> None:
        self._hub, self._store, self._writer, self._system = hub, store, writer, system
        self._wake = asyncio.Event()

    def published(self, changes: Collection[Change]) -> None:
        if any(change.kind in RELEVANT for change in changes):
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self._round():
                await asyncio.sleep(RETRY_S)
                self._wake.set()
            await asyncio.sleep(EVERY_S)

    async def _round(self) -> bool:
        snapshot = self._hub.snapshot
        if snapshot is None or not snapshot.objects.table(KIND) or snapshot.mesh.ingress_controller_mode in OFF:
            return True
        given, done = addresses(snapshot.objects, snapshot.mesh, self._system), True

        def make(live: Live) -> Mapping[str, Any]:
            return {**live.status, "loadBalancer": {"ingress": given} if given else {}}

        for key, ingress in snapshot.objects.table(KIND).items():
            if counts(snapshot.objects, snapshot.mesh, ingress):
                done = await self._writer.write((KIND, key), make) and done
        return done
