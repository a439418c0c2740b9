"""Services: defaults, addresses and ports that are given to them, refusals.

The pools are allocate.py's; `Service.allocators` is set by the server.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from ..allocate import Full
from ..errors import Problem, forbidden_field, invalid, required, unsupported
from ..names import dotless_label, is_ip, qualified_name, subdomain
from .base import Object, WithStatus, validate_labels
from .serviceports import OPEN, service_ports

if TYPE_CHECKING:
    from ..allocate import Allocators
    from ..context import Ask

IP_TEXT = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
KINDS = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")


class Service(WithStatus):
    generations = False
    returns_deleted = True
    name_rule = staticmethod(dotless_label)
    allocators: Allocators

    def default(self, obj: Object) -> None:
        spec = obj["spec"]
        if not spec.get("sessionAffinity"):
            spec["sessionAffinity"] = "None"
        if spec["sessionAffinity"] == "None":
            spec.pop("sessionAffinityConfig", None)
        elif spec["sessionAffinity"] == "ClientIP":
            client = (spec.get("sessionAffinityConfig") or {}).get("clientIP")
            if client is None or client.get("timeoutSeconds") is None:
                spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10800}}
        if not spec.get("type"):
            spec["type"] = "ClusterIP"
        for port in spec.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"
            if port.get("targetPort") in (None, 0, ""):
                port["targetPort"] = port.get("port", 0)
        kind = spec["type"]
        if kind in OPEN and not spec.get("externalTrafficPolicy"):
            spec["externalTrafficPolicy"] = "Cluster"
        if kind != "ExternalName" and spec.get("internalTrafficPolicy") is None:
            spec["internalTrafficPolicy"] = "Cluster"
        if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is None:
            spec["allocateLoadBalancerNodePorts"] = True
        for one in ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
            if one.get("ip") and one.get("ipMode") is None:
                one["ipMode"] = "VIP"

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        obj["status"] = {"loadBalancer": {}}
        self._families(obj["spec"])

    def prepare_update(self, ask: Ask, new: Object, old: Object) -> None:
        super().prepare_update(ask, new, old)
        spec, before = new["spec"], old["spec"]
        if spec.get("type") == "ExternalName":
            self._to_external(spec, before)
        elif before.get("type") != "ExternalName":
            self._keep_addresses(spec, before)
        self._keep_ports(spec, before)
        if spec.get("type") not in OPEN and before.get("type") in OPEN:
            self._close(spec, before)
        if not _wants_health_port(spec) and spec.get("healthCheckNodePort") == before.get("healthCheckNodePort"):
            spec.pop("healthCheckNodePort", None)
        elif _wants_health_port(spec) and not spec.get("healthCheckNodePort") and before.get("healthCheckNodePort"):
            spec["healthCheckNodePort"] = before["healthCheckNodePort"]
        self._families(spec)

    def _to_external(self, spec: Object, before: Object) -> None:
        """What an ExternalName does not have goes, when it was only carried over."""
        for key in (
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
            "externalTrafficPolicy",
            "allocateLoadBalancerNodePorts",
        ):
            if spec.get(key) == before.get(key):
                spec.pop(key, None)

    def _keep_addresses(self, spec: Object, before: Object) -> None:
        first, many = spec.get("clusterIP"), spec.get("clusterIPs")
        if not first and not many:
            for key in ("clusterIP", "clusterIPs"):
                if before.get(key):
                    spec[key] = before[key]
        elif first and first != before.get("clusterIP") and many == before.get("clusterIPs"):
            spec["clusterIPs"] = [first]
        for key in ("ipFamilies", "ipFamilyPolicy"):
            if spec.get(key) is None and before.get(key) is not None:
                spec[key] = before[key]

    def _keep_ports(self, spec: Object, before: Object) -> None:
        if spec.get("type") not in OPEN:
            return
        had = {(one.get("protocol"), one["port"]): one.get("nodePort") for one in before.get("ports") or ()}
        for port in spec.get("ports") or ():
            kept = had.get((port.get("protocol"), port.get("port")))
            if (
                not port.get("nodePort")
                and kept
                and not (spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False)
            ):
                port["nodePort"] = kept

    def _close(self, spec: Object, before: Object) -> None:
        """Node ports and policies of open kinds go, when they were only carried over."""
        had = {(one.get("protocol"), one["port"]): one.get("nodePort") for one in before.get("ports") or ()}
        for port in spec.get("ports") or ():
            if port.get("nodePort") and had.get((port.get("protocol"), port.get("port"))) == port["nodePort"]:
                port.pop("nodePort")
        for key in ("externalTrafficPolicy", "allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(key) == before.get(key):
                spec.pop(key, None)

    def _families(self, spec: Object) -> None:
        if spec.get("type") == "ExternalName":
            return
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        if spec.get("clusterIPs") and not spec.get("clusterIP"):
            spec["clusterIP"] = spec["clusterIPs"][0]
        if spec.get("ipFamilyPolicy") is None:
            spec["ipFamilyPolicy"] = "SingleStack"
        if not spec.get("ipFamilies"):
            free = (
                spec.get("clusterIP") == "None" and not spec.get("selector") and spec["ipFamilyPolicy"] != "SingleStack"
            )
            spec["ipFamilies"] = ["IPv4", "IPv6"] if free else ["IPv4"]

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        kind, headless = spec.get("type"), spec.get("clusterIP") == "None"
        problems: list[Problem] = []
        if not spec.get("ports") and not headless and kind != "ExternalName":
            problems.append(required("spec.ports"))
        problems += self._kind(spec, kind, headless) + service_ports(spec, kind)
        problems += validate_labels(spec.get("selector"), "spec.selector")
        problems += _affinity(spec) + self._addresses(spec, kind) + _external(spec)
        if kind not in KINDS:
            problems.append(unsupported("spec.type", kind, list(KINDS)))
        return problems + self._policies(spec, kind) + self._stacks(spec, kind)

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        spec, before = new["spec"], old["spec"]
        both = "ExternalName" not in (spec.get("type"), before.get("type"))
        had, mine = (before.get("clusterIPs") or [""])[0], (spec.get("clusterIPs") or [""])[0]
        if both and had and mine != had:
            return [invalid("spec.clusterIPs[0]", spec.get("clusterIPs"), "may not change once set")]
        return self.validate(new)

    def validate_status(self, new: Object, old: Object) -> list[Problem]:
        problems: list[Problem] = []
        given = ((new.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        for place, one in enumerate(given):
            path = f"status.loadBalancer.ingress[{place}]"
            if one.get("ip") and not is_ip(one["ip"]):
                problems.append(invalid(f"{path}.ip", one["ip"], IP_TEXT))
            if one.get("hostname"):
                problems += [invalid(f"{path}.hostname", one["hostname"], text) for text in subdomain(one["hostname"])]
                if is_ip(one["hostname"]):
                    problems.append(
                        invalid(f"{path}.hostname", one["hostname"], "must be a DNS name, not an IP address")
                    )
        if given and new["spec"].get("type") != "LoadBalancer":
            problems.append(
                forbidden_field("status.loadBalancer.ingress", "may only be used when `spec.type` is 'LoadBalancer'")
            )
        return problems

    def _kind(self, spec: Object, kind: str | None, headless: bool) -> list[Problem]:
        if kind in OPEN and headless:
            return [invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")]
        if kind != "ExternalName":
            return []
        problems: list[Problem] = []
        if spec.get("clusterIPs") or (spec.get("clusterIP") and spec["clusterIP"] != ""):
            problems.append(forbidden_field("spec.clusterIPs", "may not be set for ExternalName services"))
        for key in ("ipFamilies", "ipFamilyPolicy"):
            if spec.get(key):
                problems.append(forbidden_field(f"spec.{key}", "may not be set for ExternalName services"))
        name = (spec.get("externalName") or "").rstrip(".")
        if not name:
            problems.append(required("spec.externalName"))
        else:
            problems += [invalid("spec.externalName", spec["externalName"], text) for text in subdomain(name)]
        return problems

    def _addresses(self, spec: Object, kind: str | None) -> list[Problem]:
        problems: list[Problem] = []
        for place, one in enumerate(spec.get("clusterIPs") or ()):
            path = f"spec.clusterIPs[{place}]"
            if one == "None":
                if place:
                    problems.append(invalid(path, one, "'None' must be the first and only value"))
            elif not is_ip(one):
                problems.append(invalid(path, one, IP_TEXT))
        if spec.get("clusterIPs") and spec.get("clusterIP") and spec["clusterIPs"][0] != spec["clusterIP"]:
            problems.append(invalid("spec.clusterIPs", spec["clusterIPs"], "first value must match `clusterIP`"))
        return problems

    def _policies(self, spec: Object, kind: str | None) -> list[Problem]:
        problems: list[Problem] = []
        outer, inner = spec.get("externalTrafficPolicy"), spec.get("internalTrafficPolicy")
        if outer:
            if kind not in OPEN:
                problems.append(
                    invalid("spec.externalTrafficPolicy", outer, "may only be set for externally-accessible services")
                )
            elif outer not in ("Cluster", "Local"):
                problems.append(unsupported("spec.externalTrafficPolicy", outer, ["Cluster", "Local"]))
        if inner is not None and inner not in ("Cluster", "Local"):
            problems.append(unsupported("spec.internalTrafficPolicy", inner, ["Cluster", "Local"]))
        if spec.get("healthCheckNodePort") and not _wants_health_port(spec):
            problems.append(
                invalid(
                    "spec.healthCheckNodePort",
                    spec["healthCheckNodePort"],
                    "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
                )
            )
        if spec.get("loadBalancerSourceRanges"):
            problems += _ranges(spec, kind)
        if spec.get("allocateLoadBalancerNodePorts") is not None and kind != "LoadBalancer":
            problems.append(
                forbidden_field("spec.allocateLoadBalancerNodePorts", "may only be used when `type` is 'LoadBalancer'")
            )
        if spec.get("loadBalancerClass") is not None:
            problems += [
                invalid("spec.loadBalancerClass", spec["loadBalancerClass"], text)
                for text in qualified_name(spec["loadBalancerClass"])
            ]
            if kind != "LoadBalancer":
                problems.append(
                    forbidden_field("spec.loadBalancerClass", "may only be used when `type` is 'LoadBalancer'")
                )
        distribution = spec.get("trafficDistribution")
        if distribution is not None and distribution not in ("PreferClose", "PreferSameZone", "PreferSameNode"):
            problems.append(
                unsupported(
                    "spec.trafficDistribution", distribution, ["PreferClose", "PreferSameNode", "PreferSameZone"]
                )
            )
        return problems

    def _stacks(self, spec: Object, kind: str | None) -> list[Problem]:
        if kind == "ExternalName":
            return []
        problems: list[Problem] = []
        free = spec.get("clusterIP") == "None" and not spec.get("selector")
        for place, one in enumerate(spec.get("ipFamilies") or ()):
            if one not in ("IPv4", "IPv6"):
                problems.append(unsupported(f"spec.ipFamilies[{place}]", one, ["IPv4", "IPv6"]))
            elif one == "IPv6" and not free:
                problems.append(invalid(f"spec.ipFamilies[{place}]", one, "not configured on this cluster"))
        policy = spec.get("ipFamilyPolicy")
        if policy not in ("SingleStack", "PreferDualStack", "RequireDualStack"):
            problems.append(
                unsupported("spec.ipFamilyPolicy", policy, ["SingleStack", "PreferDualStack", "RequireDualStack"])
            )
        elif policy == "RequireDualStack" and not free:
            problems.append(
                invalid("spec.ipFamilyPolicy", policy, "this cluster is not configured for dual-stack services")
            )
        return problems

    # allocation

    def allocate(self, obj: Object, old: Object | None) -> list[Problem]:
        """Gives addresses and ports, or says why they cannot be had."""
        spec, before = obj["spec"], (old or {}).get("spec") or {}
        problems = self._address(spec, before) if spec.get("type") != "ExternalName" else []
        if not problems:
            problems = self._node_ports(spec, before)
        return problems

    def _address(self, spec: Object, before: Object) -> list[Problem]:
        pool = self.allocators.addresses
        given = spec.get("clusterIP")
        if given == "None" or (given and given in (before.get("clusterIPs") or ())):
            return []
        if not given:
            try:
                number = pool.next()
            except Full:
                return [invalid("spec.clusterIPs", None, "failed to allocate IP: range is full")]
            spec["clusterIP"] = self.allocators.text(number)
            spec["clusterIPs"] = [spec["clusterIP"]]
            return []
        wanted = self.allocators.number(given)
        if wanted is None or wanted not in pool:
            return [
                invalid(
                    "spec.clusterIPs",
                    spec["clusterIPs"],
                    f"failed to allocate IP {given}: the provided network does not match the current range",
                )
            ]
        if not pool.take(wanted):
            return [
                invalid(
                    "spec.clusterIPs",
                    spec["clusterIPs"],
                    f"failed to allocate IP {given}: provided IP is already allocated",
                )
            ]
        return []

    def _node_ports(self, spec: Object, before: Object) -> list[Problem]:
        pool = self.allocators.ports
        had = {one.get("nodePort") for one in before.get("ports") or ()} | {before.get("healthCheckNodePort")}
        problems: list[Problem] = []
        mine: dict[int, str] = {}
        wanted = spec.get("type") == "NodePort" or (
            spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False
        )
        for place, port in enumerate(spec.get("ports") or ()):
            path, number = f"spec.ports[{place}].nodePort", port.get("nodePort")
            if number:
                shared = mine.get(number) not in (None, port.get("protocol"))
                problems += [] if number in had or shared else self._port(number, path)
            elif wanted:
                port["nodePort"] = number = pool.next()
            if number:
                mine[number] = port.get("protocol", "")
        if _wants_health_port(spec):
            number = spec.get("healthCheckNodePort")
            if not number:
                spec["healthCheckNodePort"] = pool.next()
            elif number not in had:
                problems += self._port(number, "spec.healthCheckNodePort")
        return problems

    def _port(self, number: int, path: str) -> list[Problem]:
        pool = self.allocators.ports
        if number not in pool:
            return [
                invalid(
                    path,
                    number,
                    f"provided port is not in the valid range. The range of valid ports is {pool.low}-{pool.high}",
                )
            ]
        return [] if pool.take(number) else [invalid(path, number, "provided port is already allocated")]

    def warnings(self, obj: Object) -> list[str]:
        spec = obj["spec"]
        found: list[str] = []
        if spec.get("externalName") and spec.get("type") != "ExternalName":
            found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
        if spec.get("clusterIP") == "None" and spec.get("sessionAffinity") == "ClientIP":
            found.append("spec.SessionAffinity is ignored for headless services")
        return found


def _wants_health_port(spec: Object) -> bool:
    return bool(spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local")


def _affinity(spec: Object) -> list[Problem]:
    affinity = spec.get("sessionAffinity")
    if affinity not in ("ClientIP", "None"):
        return [unsupported("spec.sessionAffinity", affinity, ["ClientIP", "None"])]
    seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
    if affinity == "ClientIP" and seconds is not None and not 0 < seconds <= 86400:
        return [
            invalid(
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                seconds,
                "must be greater than 0 and less than 86400",
            )
        ]
    return []


def non_special(address: str, path: str) -> list[Problem]:
    """Addresses that no service and no endpoint may have."""
    if not is_ip(address):
        return [invalid(path, address, IP_TEXT)]
    ip = ipaddress.ip_address(address)
    if ip.is_unspecified:
        return [invalid(path, address, f"may not be unspecified ({ip})")]
    if ip.is_loopback:
        return [invalid(path, address, "may not be in the loopback range (127.0.0.0/8, ::1/128)")]
    if ip.is_link_local:
        return [invalid(path, address, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")]
    if ip.is_multicast and (
        ip in ipaddress.ip_network("224.0.0.0/24") if ip.version == 4 else ip in ipaddress.ip_network("ff02::/16")
    ):
        return [invalid(path, address, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")]
    return []


def _external(spec: Object) -> list[Problem]:
    return [
        one
        for place, address in enumerate(spec.get("externalIPs") or ())
        for one in non_special(address, f"spec.externalIPs[{place}]")
    ]


def _ranges(spec: Object, kind: str | None) -> list[Problem]:
    if kind != "LoadBalancer":
        return [forbidden_field("spec.LoadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'")]
    problems = []
    for place, one in enumerate(spec["loadBalancerSourceRanges"]):
        try:
            ipaddress.ip_network(one.strip(), strict=False)
        except ValueError:
            problems.append(
                invalid(
                    f"spec.loadBalancerSourceRanges[{place}]",
                    one,
                    "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                )
            )
    return problems
