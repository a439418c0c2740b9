"""Hosts: which services and ServiceEntries a name in a rule can mean. Shared by several analyzers."""

from __future__ import annotations

from typing import NamedTuple

from mizzen.istiod.analysis.model import NETWORKING, Mesh

DOMAIN = "svc.cluster.local"
ALL, LOCAL = "*", "."


class Target(NamedTuple):
    """A host of the registry: the ports that it has, and which pods are behind it."""

    ports: tuple[int, ...]
    labels: dict[str, str]


class Hosts:
    """The hosts of a mesh by the namespaces that see them."""

    def __init__(self, mesh: Mesh) -> None:
        self._targets: dict[tuple[str, str], Target] = {}
        for resource, entry in mesh.typed("ServiceEntry", NETWORKING):
            selector = entry.spec.workload_selector
            target = Target(
                tuple(port.number for port in entry.spec.ports), dict(selector.labels) if selector is not None else {}
            )
            for scope in scopes(entry.spec.export_to, resource.namespace):
                for host in entry.spec.hosts:
                    self._targets[scope, full(host, resource.namespace)] = target
        for resource in mesh.all("Service"):
            ports = tuple(int(port.get("port", 0)) for port in resource.spec.get("ports") or ())
            exported = resource.annotations.get("networking.istio.io/exportTo", "")
            wanted = tuple(part.strip() for part in exported.split(",")) if exported else ()
            for scope in scopes(wanted, resource.namespace):
                self._targets[scope, full(resource.name, resource.namespace)] = Target(ports, {})

    def find(self, host: str, namespace: str, export_to: tuple[str, ...] = ()) -> Target | None:
        """What a host means in a rule of a namespace that is exported to some namespaces."""
        name = full(host, namespace)
        visible = [namespace if scope == LOCAL else scope for scope in export_to] or [namespace]
        for scope in (ALL, *visible):
            if (scope, name) in self._targets:
                return self._targets[scope, name]
        for (scope, known), target in self._targets.items():
            visible_here = known.startswith("*") and scope in (ALL, namespace)
            if visible_here and host.removeprefix("*").endswith(known.removeprefix("*")):
                return target
        return None


def full(host: str, namespace: str) -> str:
    """The full name of a host; a short one is in its rule's namespace."""
    return host if host.startswith("*") or "." in host else f"{host}.{namespace}.{DOMAIN}"


def service_of(host: str, namespace: str) -> tuple[str, str]:
    """(namespace, name) of the Service that a host means; another host as a name in the rule's namespace."""
    if host.endswith(f".{DOMAIN}"):
        name, _, owner = host.removesuffix(f".{DOMAIN}").rpartition(".")
        if name:
            return owner, name
    return namespace, host


def scopes(export_to: tuple[str, ...], namespace: str) -> tuple[str, ...]:
    """The namespaces that see an object; ALL for all of them."""
    if not export_to or ALL in export_to:
        return (ALL,)
    return tuple(dict.fromkeys(namespace if scope == LOCAL else scope for scope in export_to))
