"""All services, endpoints and workloads of the mesh, kept up to date change by change.

Takes a table of objects, gives a Registry; `updated` makes the next one and converts anew only what a change touches.
Not here: who may see a service (snapshot/visibility.py, snapshot/scope.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mizzen.istiod.node import Node
from mizzen.istiod.objects import Change, Key, Objects
from mizzen.istiod.registry import entries as service_entries
from mizzen.istiod.registry import kubernetes
from mizzen.istiod.registry.aliases import with_aliases
from mizzen.istiod.registry.model import Endpoint, Resolution, Service, ServiceTarget
from mizzen.istiod.registry.protocol import Protocol
from mizzen.istiod.registry.workloads import Identity, Workload, entry_workload, node_locality, pod_workload, selects

Services = tuple[Service, ...]
Source = tuple[str, Key]
"""The kind and key of the object behind a service."""
HEALTH_CHECKS = "proxy.istio.io/health-checks-enabled"
"""On a WorkloadEntry, "true": its health is told by its machine."""
KINDS = frozenset({"Service", "EndpointSlice", "Pod", "Node", "ServiceEntry", "WorkloadEntry"})


class Registry:
    """Immutable after building. Not built directly: `Registry.build`, `registry.updated`."""

    def __init__(self, identity: Identity, objects: Objects) -> None:
        self.identity = identity
        self.objects = objects
        self.localities: dict[str, str] = {}
        self.pods: dict[Key, Workload] = {}
        self.entries: dict[Key, Workload] = {}
        self.by_ip: dict[str, tuple[Workload, ...]] = {}
        self.sources: dict[Source, Services] = {}
        self.services: Services = ()
        self.by_host: dict[str, Services] = {}
        self.by_namespace: dict[str, Services] = {}
        self.slices: dict[Key, dict[str, Any]] = {}
        self.endpoints: dict[tuple[str, str], tuple[Endpoint, ...]] = {}
        self.revision = object()
        self._touched: tuple[object, frozenset[tuple[str, str]]] | None = None

    @classmethod
    def build(cls, objects: Objects, identity: Identity) -> Registry:
        """The registry of all objects given."""
        new = cls(identity, objects)
        new._read_workloads()
        for kind in ("Service", "ServiceEntry"):
            for key, obj in objects.table(kind).items():
                new.sources[kind, key] = _convert(kind, obj, identity)
        for (namespace, name), piece in objects.table("EndpointSlice").items():
            owner = _slice_owner(piece)
            if owner:
                new.slices.setdefault((namespace, owner), {})[name] = piece
        new._index_services()
        for host_key in {svc.key for svc in new.services}:
            new.endpoints[host_key] = new._endpoints_of(host_key)
        return new

    def updated(self, objects: Objects, changes: Iterable[Change]) -> Registry:
        """The registry after some changes; itself when none of them concerns it. objects: the table after them."""
        relevant = [change for change in changes if change.kind in KINDS]
        if not relevant:
            return self
        if any(change.kind == "Node" for change in relevant):
            return Registry.build(objects, self.identity)
        new = self._copy(objects)
        touched: set[tuple[str, str]] = set()
        if any(change.kind in ("Pod", "WorkloadEntry") for change in relevant):
            new._change_workloads(relevant, touched)
        if any(change.kind == "EndpointSlice" for change in relevant):
            new._change_slices(relevant, touched)
        if any(change.kind in ("Service", "ServiceEntry") for change in relevant):
            new._change_services(relevant, touched)
        new.revision, new._touched = object(), (self.revision, frozenset(touched))
        new.endpoints = dict(self.endpoints)
        for key in touched:
            if any(svc.namespace == key[1] for svc in new.by_host.get(key[0], ())):
                new.endpoints[key] = new._endpoints_of(key)
            else:
                new.endpoints.pop(key, None)
        return new

    def _copy(self, objects: Objects) -> Registry:
        new = Registry(self.identity, objects)
        for name, value in vars(self).items():
            if name != "objects":
                setattr(new, name, value)
        return new

    def _read_workloads(self) -> None:
        self.localities = {
            name: node_locality(node.metadata.labels) for (_, name), node in self.objects.table("Node").items()
        }
        for key, pod in self.objects.table("Pod").items():
            workload = pod_workload(pod, self.localities, self.identity)
            if workload is not None:
                self.pods[key] = workload
        for key, entry in self.objects.table("WorkloadEntry").items():
            if _healthy(entry):
                self.entries[key] = _entry(key, entry, self.identity)
        self.by_ip = _by_ip([*self.entries.values(), *self.pods.values()])

    def _index_services(self) -> None:
        every = [svc for services in self.sources.values() for svc in services]
        self.services = with_aliases(sorted(every, key=lambda s: (s.created, f"{s.name}.{s.namespace}")))
        by_host: dict[str, list[Service]] = {}
        for svc in self.services:
            by_host.setdefault(svc.host, []).append(svc)
        self.by_host = {host: tuple(found) for host, found in by_host.items()}
        by_namespace: dict[str, list[Service]] = {}
        for svc in self.services:
            by_namespace.setdefault(svc.namespace, []).append(svc)
        self.by_namespace = {namespace: tuple(found) for namespace, found in by_namespace.items()}

    def _change_workloads(self, changes: list[Change], touched: set[tuple[str, str]]) -> None:
        self.pods, self.entries, by_ip = dict(self.pods), dict(self.entries), dict(self.by_ip)
        for change in changes:
            if change.kind not in ("Pod", "WorkloadEntry"):
                continue
            table = self.pods if change.kind == "Pod" else self.entries
            old, new = table.pop(change.key, None), None
            if change.obj is not None:
                if change.kind == "Pod":
                    new = pod_workload(change.obj, self.localities, self.identity)
                elif _healthy(change.obj):
                    new = _entry(change.key, change.obj, self.identity)
            if new is not None:
                table[change.key] = new
            if new == old:
                continue
            for ip in old.ips if old else ():
                by_ip[ip] = tuple(w for w in by_ip.get(ip, ()) if w is not old)
            for ip in new.ips if new else ():
                by_ip[ip] = (*by_ip.get(ip, ()), new) if new else ()
            touched.update(self._hosts_with([w for w in (old, new) if w is not None]))
        self.by_ip = by_ip

    def _hosts_with(self, workloads: list[Workload]) -> set[tuple[str, str]]:
        """Services that some of these workloads may be endpoints of."""
        names = {(w.namespace, w.name) for w in workloads if w.kind == "Pod"}
        out: set[tuple[str, str]] = set()
        for namespace in {w.namespace for w in workloads}:
            near = [w for w in workloads if w.namespace == namespace]
            for svc in self.by_namespace.get(namespace, ()):
                by_label = svc.selector and any(selects(svc.selector, w.own_labels) for w in near)
                named = svc.kind == "Service" and self._slices_name((namespace, svc.object_name), names)
                if by_label or named:
                    out.add(svc.key)
        return out

    def _slices_name(self, owner: Key, pods: set[Key]) -> bool:
        for piece in self.slices.get(owner, {}).values():
            for entry in piece.endpoints or ():
                ref = entry.targetRef
                if ref is not None and ref.kind == "Pod" and (ref.namespace or owner[0], ref.name) in pods:
                    return True
        return False

    def _change_slices(self, changes: list[Change], touched: set[tuple[str, str]]) -> None:
        self.slices = dict(self.slices)
        for change in changes:
            if change.kind != "EndpointSlice":
                continue
            namespace, name = change.key
            for piece in (change.old, change.obj):
                owner = _slice_owner(piece) if piece is not None else ""
                if not owner:
                    continue
                pieces = dict(self.slices.get((namespace, owner), {}))
                if piece is change.obj:
                    pieces[name] = piece
                else:
                    pieces.pop(name, None)
                self.slices[namespace, owner] = pieces
                touched.update(svc.key for svc in self.sources.get(("Service", (namespace, owner)), ()))

    def _change_services(self, changes: list[Change], touched: set[tuple[str, str]]) -> None:
        self.sources = dict(self.sources)
        for change in changes:
            if change.kind not in ("Service", "ServiceEntry"):
                continue
            source = (change.kind, change.key)
            before = self.sources.pop(source, ())
            after = _convert(change.kind, change.obj, self.identity) if change.obj is not None else ()
            if after:
                self.sources[source] = after
            touched.update(svc.key for svc in (*before, *after))
        self._index_services()

    def _endpoints_of(self, key: tuple[str, str]) -> tuple[Endpoint, ...]:
        """Endpoints of a host in a namespace, from all services of that name there.

        A ServiceEntry with several addresses is several services, and gives its endpoints once for each.
        """
        out: list[Endpoint] = []
        for svc in self.by_host.get(key[0], ()):
            if svc.namespace != key[1]:
                continue
            if svc.kind == "ServiceEntry":
                obj = self.objects.table("ServiceEntry")[svc.namespace, svc.object_name]
                near: Iterable[Workload] = self._near(svc.namespace) if svc.selector else ()
                out += service_entries.endpoints(obj, svc, near, self.identity)
            elif svc.resolution is not Resolution.ALIAS:
                pieces = self.slices.get((svc.namespace, svc.object_name), {}).values()
                out += kubernetes.slice_endpoints(svc, pieces, self.pods, self.identity)
                if self.entries:
                    out += kubernetes.entry_endpoints(svc, self.entries.values())
        return tuple(out)

    def _near(self, namespace: str) -> list[Workload]:
        every = (*self.entries.values(), *self.pods.values())
        return [w for w in every if w.namespace == namespace]

    def changed_endpoints(self, before: Registry) -> set[tuple[str, str]]:
        """(host, namespace) of the services whose endpoints differ from an earlier registry's.

        For the registry that this one was made from, at no cost that grows with the mesh.
        """
        old, new = before.endpoints, self.endpoints
        if old is new:
            return set()
        if self._touched is not None and self._touched[0] is before.revision:
            return {key for key in self._touched[1] if old.get(key) is not new.get(key)}
        changed = {key for key, endpoints in new.items() if old.get(key) is not endpoints}
        return changed | (old.keys() - new.keys())

    def endpoints_for(self, svc: Service) -> tuple[Endpoint, ...]:
        """All endpoints of a service, of every port."""
        return self.endpoints.get(svc.key, ())

    def workload_of(self, node: Node) -> Workload | None:
        """The pod or WorkloadEntry that a proxy serves: by its name, else by its first address and namespace."""
        name, _, namespace = node.name.rpartition(".")
        pod = self.pods.get((namespace, name))
        if pod is not None and node.ips[0] in pod.ips:
            return pod
        found = [w for w in self.by_ip.get(node.ips[0], ()) if w.namespace == node.namespace]
        return found[0] if found else None

    def targets(self, node: Node) -> tuple[ServiceTarget, ...]:
        """The service ports that a proxy's workload implements, services by age."""
        workload = self.workload_of(node)
        out: list[ServiceTarget] = []
        for svc in self.by_namespace.get(node.namespace, ()):
            if svc.kind == "ServiceEntry":
                out += self._entry_targets(svc, node, workload)
            elif workload is not None and svc.selector and selects(svc.selector, workload.own_labels):
                out += self._kubernetes_targets(svc, workload)
        if workload is not None and not any(target.service.is_kubernetes for target in out):
            out += self._targets_by_address(node)
        return tuple(out)

    def _kubernetes_targets(self, svc: Service, workload: Workload) -> list[ServiceTarget]:
        if svc.resolution is Resolution.ALIAS:
            return []
        if workload.kind == "Pod":
            return kubernetes.pod_targets(svc, workload)
        numbers = [(port, kubernetes.entry_port(port, workload)) for port in svc.ports if port.protocol != Protocol.UDP]
        return [ServiceTarget(svc, port, number) for port, number in numbers if number is not None]

    def _entry_targets(self, svc: Service, node: Node, workload: Workload | None) -> list[ServiceTarget]:
        if svc.resolution.is_dns and not svc.selector:
            return []
        out = []
        spec = self.objects.table("ServiceEntry")[svc.namespace, svc.object_name].spec
        if svc.selector:
            if workload is not None and selects(svc.selector, workload.own_labels):
                for port, declared in zip(svc.ports, spec.ports, strict=True):
                    out.append(ServiceTarget(svc, port, service_entries.listen_port(workload, declared)))
            return out
        return self._targets_at(svc, node)

    def _targets_at(self, svc: Service, node: Node) -> list[ServiceTarget]:
        """Targets of a service whose endpoints have one of the proxy's addresses."""
        out = []
        for endpoint in self.endpoints_for(svc):
            port = svc.port_named(endpoint.port_name)
            if port is not None and endpoint.address in node.ips:
                out.append(ServiceTarget(svc, port, endpoint.port))
        return out

    def _targets_by_address(self, node: Node) -> list[ServiceTarget]:
        """Targets through EndpointSlices of services without a selector."""
        out: list[ServiceTarget] = []
        for svc in self.by_namespace.get(node.namespace, ()):
            if svc.kind == "Service" and not svc.selector:
                out += self._targets_at(svc, node)
        return out


def _convert(kind: str, obj: Any, identity: Identity) -> Services:
    if kind == "Service":
        return (kubernetes.service(obj, identity),)
    return tuple(service_entries.services(obj))


def _entry(key: Key, obj: Any, identity: Identity) -> Workload:
    return entry_workload(key[1], key[0], obj.spec, identity, obj.metadata.annotations)


def _healthy(entry: Any) -> bool:
    """Whether a WorkloadEntry may get traffic: where its health is checked, only once it was told to be well."""
    if (entry.metadata.annotations or {}).get(HEALTH_CHECKS) != "true":
        return True
    conditions = (entry.status.conditions if entry.status is not None else None) or ()
    return any(c.type == "Healthy" and c.status == "True" for c in conditions)


def _slice_owner(piece: Any) -> str:
    return str((piece.metadata.labels or {}).get(kubernetes.SERVICE_NAME, ""))


def _by_ip(workloads: Iterable[Workload]) -> dict[str, tuple[Workload, ...]]:
    out: dict[str, list[Workload]] = {}
    for workload in workloads:
        for ip in workload.ips:
            out.setdefault(ip, []).append(workload)
    return {ip: tuple(found) for ip, found in out.items()}


def service_accounts(endpoints: Mapping[tuple[str, str], tuple[Endpoint, ...]], svc: Service) -> tuple[str, ...]:
    """Identities that may answer for a service: of its endpoints and those that the object itself names; sorted."""
    found = {endpoint.service_account for endpoint in endpoints.get(svc.key, ()) if endpoint.service_account}
    return tuple(sorted(found | set(svc.service_accounts)))
