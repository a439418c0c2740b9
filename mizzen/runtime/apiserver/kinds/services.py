"""Services: defaults, addresses and ports that are given to them, refusals.

Allocation itself is allocate.py's; `Service.allocators` is set by the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import Problem
from ..names import dns_label
from .base import Object, WithStatus

if TYPE_CHECKING:
    from ..allocate import Allocators
    from ..context import Ask


class Service(WithStatus):
    generations = False
    name_rule = staticmethod(dns_label)
    allocators: Allocators

    def default(self, obj: Object) -> None:
        spec = obj["spec"]
        spec.setdefault("sessionAffinity", "None")
        if spec["sessionAffinity"] == "None":
            spec.pop("sessionAffinityConfig", None)
        elif spec["sessionAffinity"] == "ClientIP":
            config = spec.setdefault("sessionAffinityConfig", {})
            client = config.get("clientIP")
            if client is None or client.get("timeoutSeconds") is None:
                config["clientIP"] = {"timeoutSeconds": 10800}
        spec.setdefault("type", "ClusterIP")
        for port in spec.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"
            if port.get("targetPort") in (None, 0, ""):
                port["targetPort"] = port.get("port", 0)
        kind = spec["type"]
        if kind in ("NodePort", "LoadBalancer") and not spec.get("externalTrafficPolicy"):
            spec["externalTrafficPolicy"] = "Cluster"
        if kind != "ExternalName" and spec.get("internalTrafficPolicy") is None:
            spec["internalTrafficPolicy"] = "Cluster"
        if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is None:
            spec["allocateLoadBalancerNodePorts"] = True
        obj["spec"] = ordered(spec)

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        obj["status"] = {"loadBalancer": {}}
        self._families(obj["spec"])

    def prepare_update(self, ask: Ask, new: Object, old: Object) -> None:
        super().prepare_update(ask, new, old)
        spec, before = new["spec"], old["spec"]
        if spec.get("type") != "ExternalName" and before.get("type") != "ExternalName":
            if not spec.get("clusterIP") and not spec.get("clusterIPs"):
                for key in ("clusterIP", "clusterIPs"):
                    if before.get(key):
                        spec[key] = before[key]
            for key in ("ipFamilies", "ipFamilyPolicy"):
                if spec.get(key) is None and before.get(key) is not None:
                    spec[key] = before[key]
        self._keep_ports(spec, before)
        self._families(spec)
        new["spec"] = ordered(spec)

    def _keep_ports(self, spec: Object, before: Object) -> None:
        if spec.get("type") not in ("NodePort", "LoadBalancer"):
            return
        had = {(one.get("protocol"), one["port"]): one.get("nodePort") for one in before.get("ports") or ()}
        for port in spec.get("ports") or ():
            if not port.get("nodePort") and had.get((port.get("protocol"), port.get("port"))):
                port["nodePort"] = had[port.get("protocol"), port["port"]]

    def _families(self, spec: Object) -> None:
        if spec.get("type") == "ExternalName":
            return
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        if spec.get("clusterIPs") and not spec.get("clusterIP"):
            spec["clusterIP"] = spec["clusterIPs"][0]
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        if spec.get("ipFamilies") is None:
            headless_free = spec.get("clusterIP") == "None" and not spec.get("selector")
            spec["ipFamilies"] = (
                ["IPv4"] if not headless_free or spec["ipFamilyPolicy"] == "SingleStack" else ["IPv4", "IPv6"]
            )

    def validate(self, obj: Object) -> list[Problem]:
        return []

    def allocate(self, obj: Object, old: Object | None) -> list[Problem]:
        """Gives addresses and ports; what cannot be had is a problem. Called last before the store."""
        spec: Object = obj["spec"]
        taken: list[Any] = []
        pool = self.allocators
        if spec.get("type") != "ExternalName" and not spec.get("clusterIP"):
            number = pool.addresses.next()
            taken.append(number)
            spec["clusterIP"] = pool.text(number)
            spec["clusterIPs"] = [spec["clusterIP"]]
        if spec.get("type") in ("NodePort", "LoadBalancer"):
            for port in spec.get("ports") or ():
                if not port.get("nodePort"):
                    port["nodePort"] = pool.ports.next()
        obj["spec"] = ordered(spec)
        return []


_ORDER = (
    "ports", "selector", "clusterIP", "clusterIPs", "type", "externalIPs", "sessionAffinity", "loadBalancerIP",
    "loadBalancerSourceRanges", "externalName", "externalTrafficPolicy", "healthCheckNodePort", "publishNotReadyAddresses",
    "sessionAffinityConfig", "ipFamilies", "ipFamilyPolicy", "allocateLoadBalancerNodePorts", "loadBalancerClass",
    "internalTrafficPolicy", "trafficDistribution",
)  # fmt: skip


def ordered(spec: Object) -> Object:
    return {key: spec[key] for key in _ORDER if key in spec}
