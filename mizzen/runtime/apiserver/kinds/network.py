"""Ingresses, IngressClasses, NetworkPolicies, EndpointSlices, Endpoints: defaults and refusals."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from ..errors import Problem, duplicate, forbidden_field, invalid, required, unsupported
from ..names import DNS_LABEL, dns_label, is_ip, qualified_name, subdomain
from .base import Object, Strategy, WithStatus
from .labelrules import validate_selector
from .serviceports import PORT_TEXT, port_name, target_port
from .services import IP_TEXT, non_special

if TYPE_CHECKING:
    from ..context import Ask

CIDR_TEXT = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_WILDCARD = re.compile(rf"^\*\.{DNS_LABEL}(\.{DNS_LABEL})*\Z")
WILDCARD_TEXT = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric "
    "characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is "
    r"'\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
BAD_PATHS = ("//", "/./", "/../", "%2f", "%2F")
BAD_ENDS = ("/..", "/.")


class Ingress(WithStatus):
    def prepare_create(self, ask: Ask, obj: Object) -> None:
        obj["status"] = {"loadBalancer": {}}

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        problems: list[Problem] = []
        note = (obj["metadata"].get("annotations") or {}).get("kubernetes.io/ingress.class")
        named = spec.get("ingressClassName")
        if note and named is not None and note != named:
            problems.append(
                invalid(
                    "annotations.kubernetes.io/ingress.class",
                    note,
                    "must match `ingressClassName` when both are specified",
                )
            )
        if not spec.get("rules") and spec.get("defaultBackend") is None:
            problems.append(invalid("spec", None, "either `defaultBackend` or `rules` must be specified"))
        if spec.get("defaultBackend") is not None:
            problems += _backend(spec["defaultBackend"], "spec.defaultBackend")
        for place, rule in enumerate(spec.get("rules") or ()):
            problems += _rule(rule, f"spec.rules[{place}]")
        for place, one in enumerate(spec.get("tls") or ()):
            problems += _tls(one, f"spec.tls[{place}]")
        if named is not None:
            problems += [invalid("spec.ingressClassName", named, text) for text in subdomain(named)]
        return problems

    def validate_status(self, new: Object, old: Object) -> list[Problem]:
        problems: list[Problem] = []
        for place, one in enumerate(((new.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()):
            path = f"status.loadBalancer.ingress[{place}]"
            if one.get("ip") and not is_ip(one["ip"]):
                problems.append(invalid(f"{path}.ip", one["ip"], IP_TEXT))
            if one.get("hostname"):
                problems += [invalid(f"{path}.hostname", one["hostname"], text) for text in subdomain(one["hostname"])]
                if is_ip(one["hostname"]):
                    problems.append(
                        invalid(f"{path}.hostname", one["hostname"], "must be a DNS name, not an IP address")
                    )
        return problems


def _host(host: str, path: str) -> list[Problem]:
    if is_ip(host):
        return [invalid(path, host, "must be a DNS name, not an IP address")]
    if "*" in host:
        return [] if _WILDCARD.match(host) else [invalid(path, host, WILDCARD_TEXT)]
    return [invalid(path, host, text) for text in subdomain(host)]


def _rule(rule: Object, path: str) -> list[Problem]:
    problems = _host(rule["host"], f"{path}.host") if rule.get("host") else []
    http = rule.get("http")
    if http is None:
        return problems
    if not http.get("paths"):
        problems.append(required(f"{path}.http.paths"))
    for place, one in enumerate(http.get("paths") or ()):
        problems += _path(one, f"{path}.http.paths[{place}]")
    return problems


def _path(one: Object, path: str) -> list[Problem]:
    kind, where = one.get("pathType"), one.get("path", "")
    problems: list[Problem] = []
    if kind is None:
        return [required(f"{path}.pathType", "pathType must be specified")]
    if kind in ("Exact", "Prefix"):
        if not where.startswith("/"):
            problems.append(invalid(f"{path}.path", where, "must be an absolute path"))
        else:
            problems += [
                invalid(f"{path}.path", where, f"must not contain '{bad}'") for bad in BAD_PATHS if bad in where
            ]
            problems += [
                invalid(f"{path}.path", where, f"cannot end with '{bad}'") for bad in BAD_ENDS if where.endswith(bad)
            ]
    elif kind == "ImplementationSpecific":
        if where and not where.startswith("/"):
            problems.append(invalid(f"{path}.path", where, "must be an absolute path"))
    else:
        problems.append(unsupported(f"{path}.pathType", kind, ["Exact", "ImplementationSpecific", "Prefix"]))
    return problems + _backend(one.get("backend") or {}, f"{path}.backend")


def _backend(backend: Object, path: str) -> list[Problem]:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        return [invalid(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        return [required(f"{path}.resource.{key}") for key in ("kind", "name") if not resource.get(key)]
    if service is None:
        return [invalid(path, "", "resource or service backend is required")]
    problems: list[Problem] = []
    if not service.get("name"):
        problems.append(required(f"{path}.service.name"))
    else:
        problems += [invalid(f"{path}.service.name", service["name"], text) for text in dns_label(service["name"])]
    port = service.get("port") or {}
    if port.get("name") and port.get("number"):
        problems.append(invalid(path, "", "cannot set both port name & port number"))
    elif port.get("name"):
        problems += [invalid(f"{path}.service.port.name", port["name"], text) for text in port_name(port["name"])]
    elif port.get("number"):
        if not 1 <= port["number"] <= 65535:
            problems.append(invalid(f"{path}.service.port.number", port["number"], PORT_TEXT))
    else:
        problems.append(required(path, "port name or number is required"))
    return problems


def _tls(one: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    for place, host in enumerate(one.get("hosts") or ()):
        here = f"{path}.hosts[{place}]"
        if "*" in host:
            problems += [] if _WILDCARD.match(host) else [invalid(here, host, WILDCARD_TEXT)]
        else:
            problems += [invalid(here, host, text) for text in subdomain(host)]
    if one.get("secretName"):
        problems += [invalid(f"{path}.secretName", one["secretName"], text) for text in subdomain(one["secretName"])]
    return problems


def domain_path(value: str, path: str) -> list[Problem]:
    """A domain, a slash, a path."""
    prefix, slash, rest = value.partition("/")
    if not slash or not prefix or not rest:
        return [invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    return [invalid(path, prefix, text) for text in subdomain(prefix)]


class IngressClass(Strategy):
    generations = True

    def default(self, obj: Object) -> None:
        parameters = (obj.get("spec") or {}).get("parameters")
        if parameters is not None and parameters.get("scope") is None:
            parameters["scope"] = "Cluster"

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj.get("spec") or {}
        controller = spec.get("controller", "")
        problems = [required("spec.controller")] if not controller else domain_path(controller, "spec.controller")
        if len(controller) > 250:
            problems.append(Problem("spec.controller", "FieldValueTooLong", "Too long: may not be more than 250 bytes"))
        return problems + self._parameters(spec.get("parameters"))

    def _parameters(self, given: Object | None) -> list[Problem]:
        path = "spec.parameters"
        if given is None:
            return []
        problems = [required(f"{path}.{key}") for key in ("kind", "name") if not given.get(key)]
        scope, namespace = given.get("scope"), given.get("namespace")
        if scope not in ("Cluster", "Namespace"):
            return [*problems, unsupported(f"{path}.scope", scope, ["Cluster", "Namespace"])]
        if scope == "Namespace" and not namespace:
            problems.append(required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'"))
        if scope == "Cluster" and namespace is not None:
            problems.append(forbidden_field(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'"))
        return problems

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        problems = self.validate(new)
        if (new.get("spec") or {}).get("controller") != (old.get("spec") or {}).get("controller"):
            problems.append(invalid("spec.controller", new["spec"].get("controller"), "field is immutable"))
        return problems


class NetworkPolicy(Strategy):
    generations = True

    def default(self, obj: Object) -> None:
        spec = obj["spec"]
        for key in ("ingress", "egress"):
            for rule in spec.get(key) or ():
                for port in rule.get("ports") or ():
                    if port.get("protocol") is None:
                        port["protocol"] = "TCP"
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        problems = validate_selector(spec.get("podSelector"), "spec.podSelector")
        for key, peers in (("ingress", "from"), ("egress", "to")):
            for place, rule in enumerate(spec.get(key) or ()):
                path = f"spec.{key}[{place}]"
                for number, port in enumerate(rule.get("ports") or ()):
                    problems += self._port(port, f"{path}.ports[{number}]")
                for number, peer in enumerate(rule.get(peers) or ()):
                    problems += self._peer(peer, f"{path}.{peers}[{number}]")
        types = spec.get("policyTypes") or []
        if len(types) > 2:
            return [*problems, invalid("spec.policyTypes", types, "may not specify more than two policyTypes")]
        return problems + [
            unsupported(f"spec.policyTypes[{place}]", one, ["Ingress", "Egress"])
            for place, one in enumerate(types)
            if one not in ("Ingress", "Egress")
        ]

    def _port(self, port: Object, path: str) -> list[Problem]:
        problems: list[Problem] = []
        if port.get("protocol") not in (None, "TCP", "UDP", "SCTP"):
            problems.append(unsupported(f"{path}.protocol", port["protocol"], ["TCP", "UDP", "SCTP"]))
        number, end = port.get("port"), port.get("endPort")
        if number is not None:
            problems += target_port(number, f"{path}.port")
            if end is not None and isinstance(number, int):
                if end < number:
                    problems.append(invalid(f"{path}.endPort", end, "must be greater than or equal to `port`"))
                elif not 1 <= end <= 65535:
                    problems.append(invalid(f"{path}.endPort", end, PORT_TEXT))
            elif end is not None:
                problems.append(invalid(f"{path}.endPort", end, "may not be specified when `port` is non-numeric"))
        elif end is not None:
            problems.append(invalid(f"{path}.endPort", end, "may not be specified when `port` is not specified"))
        return problems

    def _peer(self, peer: Object, path: str) -> list[Problem]:
        problems = validate_selector(peer.get("podSelector"), f"{path}.podSelector")
        problems += validate_selector(peer.get("namespaceSelector"), f"{path}.namespaceSelector")
        block = peer.get("ipBlock")
        others = peer.get("podSelector") is not None or peer.get("namespaceSelector") is not None
        if block is not None:
            problems += _block(block, f"{path}.ipBlock")
        if block is not None and others:
            problems.append(forbidden_field(path, "may not specify both ipBlock and another peer"))
        if block is None and not others:
            problems.append(required(path, "must specify a peer"))
        return problems


def _block(block: Object, path: str) -> list[Problem]:
    try:
        network = ipaddress.ip_network(block.get("cidr", ""), strict=False)
    except ValueError:
        return (
            [invalid(f"{path}.cidr", block.get("cidr", ""), CIDR_TEXT)]
            if block.get("cidr")
            else [required(f"{path}.cidr")]
        )
    problems: list[Problem] = []
    for place, text in enumerate(block.get("except") or ()):
        here = f"{path}.except[{place}]"
        try:
            inner = ipaddress.ip_network(text, strict=False)
        except ValueError:
            problems.append(invalid(here, text, CIDR_TEXT))
            continue
        if inner.version != network.version or inner == network or not inner.subnet_of(network):  # type: ignore[arg-type]
            problems.append(invalid(here, text, "must be a strict subset of `cidr`"))
    return problems


class EndpointSlice(Strategy):
    generations = True

    def default(self, obj: Object) -> None:
        for port in obj.get("ports") or ():
            if port.get("name") is None:
                port["name"] = ""
            if port.get("protocol") is None:
                port["protocol"] = "TCP"

    def changed(self, new: Object, old: Object) -> bool:
        def parts(tree: Object) -> Object:
            meta = tree["metadata"]
            return {
                "labels": meta.get("labels"),
                **{key: tree.get(key) for key in ("endpoints", "ports", "addressType")},
            }

        return parts(new) != parts(old)

    def validate(self, obj: Object) -> list[Problem]:
        kind = obj.get("addressType", "")
        problems: list[Problem] = []
        if not kind:
            problems.append(required("addressType"))
        elif kind not in ("IPv4", "IPv6", "FQDN"):
            problems.append(unsupported("addressType", kind, ["FQDN", "IPv4", "IPv6"]))
        for place, one in enumerate(obj.get("endpoints") or ()):
            problems += self._endpoint(one, kind, f"endpoints[{place}]")
        return problems + self._ports(obj.get("ports") or [])

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        problems = self.validate(new)
        if new.get("addressType") != old.get("addressType"):
            problems.append(invalid("addressType", new.get("addressType"), "field is immutable"))
        return problems

    def _endpoint(self, one: Object, kind: str, path: str) -> list[Problem]:
        problems: list[Problem] = []
        addresses = one.get("addresses") or []
        if not addresses:
            problems.append(required(f"{path}.addresses"))
        for place, address in enumerate(addresses):
            here = f"{path}.addresses[{place}]"
            if kind == "FQDN":
                problems += [invalid(here, address, text) for text in subdomain(address)]
            elif kind in ("IPv4", "IPv6"):
                found = non_special(address, here)
                if not found and (":" in address) != (kind == "IPv6"):
                    found = [invalid(f"{path}.addresses", address, f"must be an {kind} address")]
                problems += found
        if one.get("hostname") is not None:
            problems += [invalid(f"{path}.hostname", one["hostname"], text) for text in dns_label(one["hostname"])]
        if one.get("nodeName") is not None:
            problems += [invalid(f"{path}.nodeName", one["nodeName"], text) for text in subdomain(one["nodeName"])]
        return problems

    def _ports(self, ports: list[Object]) -> list[Problem]:
        problems: list[Problem] = []
        names: set[str] = set()
        for place, port in enumerate(ports):
            path, name = f"ports[{place}]", port.get("name") or ""
            if name:
                problems += [invalid(f"{path}.name", name, text) for text in dns_label(name)]
            if name in names:
                problems.append(duplicate(f"{path}.name", name))
            names.add(name)
            if port.get("protocol") not in ("TCP", "UDP", "SCTP"):
                problems.append(unsupported(f"{path}.protocol", port.get("protocol"), ["SCTP", "TCP", "UDP"]))
            if port.get("appProtocol") is not None:
                problems += [
                    invalid(f"{path}.appProtocol", port["appProtocol"], text)
                    for text in qualified_name(port["appProtocol"])
                ]
        return problems

    def warnings(self, obj: Object) -> list[str]:
        if obj.get("addressType") == "FQDN":
            return ["addressType: FQDN endpoints are deprecated"]
        return []


class Endpoints(Strategy):
    name_rule = staticmethod(subdomain)

    def default(self, obj: Object) -> None:
        for subset in obj.get("subsets") or ():
            for port in subset.get("ports") or ():
                if not port.get("protocol"):
                    port["protocol"] = "TCP"

    def validate(self, obj: Object) -> list[Problem]:
        problems: list[Problem] = []
        for place, subset in enumerate(obj.get("subsets") or ()):
            path = f"subsets[{place}]"
            if not subset.get("addresses") and not subset.get("notReadyAddresses"):
                problems.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
            for key in ("addresses", "notReadyAddresses"):
                for number, one in enumerate(subset.get(key) or ()):
                    problems += non_special(one.get("ip", ""), f"{path}.{key}[{number}].ip")
            ports = subset.get("ports") or []
            for number, port in enumerate(ports):
                problems += self._port(port, f"{path}.ports[{number}]", len(ports) > 1)
        return problems

    def _port(self, port: Object, path: str, needed: bool) -> list[Problem]:
        problems: list[Problem] = []
        if needed and not port.get("name"):
            problems.append(required(f"{path}.name"))
        elif port.get("name"):
            problems += [invalid(f"{path}.name", port["name"], text) for text in dns_label(port["name"])]
        if not 1 <= port.get("port", 0) <= 65535:
            problems.append(invalid(f"{path}.port", port.get("port", 0), PORT_TEXT))
        if port.get("protocol") not in ("TCP", "UDP", "SCTP"):
            problems.append(unsupported(f"{path}.protocol", port.get("protocol"), ["SCTP", "TCP", "UDP"]))
        return problems
