"""The snapshot: every index that translation asks, built from one set of objects and never written to again.

Takes typed objects and a MeshConfig, gives a Snapshot; `replaced` makes the next one and shares every index that the
change does not touch. Each index lives in a file of its own; this one only says what each is made from.
Not here: decisions about what a proxy gets (translate/).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from mizzen.api.istio.extensions import TrafficExtension, WasmPlugin
from mizzen.api.istio.mesh import MeshConfig, MeshNetworks
from mizzen.api.istio.networking import EnvoyFilter, Sidecar
from mizzen.api.istio.networking import ProxyConfig as ProxyConfigObject
from mizzen.api.istio.security import AuthorizationPolicy, RequestAuthentication
from mizzen.api.istio.telemetry import Telemetry
from mizzen.istiod import gateway_api, ingress
from mizzen.istiod.gateway_api import Translated
from mizzen.istiod.node import Locality, Node, locality_of
from mizzen.istiod.objects import Change, Key, Objects, key_of
from mizzen.istiod.registry.model import Endpoint, Service, ServiceTarget
from mizzen.istiod.registry.registry import Registry, service_accounts
from mizzen.istiod.registry.workloads import NETWORK, Identity
from mizzen.istiod.snapshot.cluster_local import ClusterLocalHosts
from mizzen.istiod.snapshot.delegates import merge_delegates
from mizzen.istiod.snapshot.destination_rules import DestinationRules
from mizzen.istiod.snapshot.entry_visibility import EntryVisibility
from mizzen.istiod.snapshot.gateways import Gateways
from mizzen.istiod.snapshot.memo import Memo
from mizzen.istiod.snapshot.networks import Networks, is_gateway
from mizzen.istiod.snapshot.peer_authentication import PeerAuthentications
from mizzen.istiod.snapshot.policies import Policies
from mizzen.istiod.snapshot.scope import Scope, router_scope, sidecar_scope
from mizzen.istiod.snapshot.sidecars import Sidecars
from mizzen.istiod.snapshot.virtual_services import VirtualServices
from mizzen.istiod.snapshot.visibility import PUBLIC, Exports


class Options(msgspec.Struct, frozen=True):
    """What is not configuration of the mesh but of this control plane.

    config_domain: appended to short names in Istio objects, "" = none; domain: of Kubernetes Services' hosts;
    default_target_ports: Service ports without targetPort get their own number; networks: of a mesh of several.
    """

    domain: str = "cluster.local"
    config_domain: str = "cluster.local"
    cluster_id: str = "Kubernetes"
    network: str = ""
    default_target_ports: bool = True
    networks: MeshNetworks = MeshNetworks()


INDEXES: dict[str, frozenset[str]] = {
    "virtual_services": frozenset({"VirtualService"}),
    "destination_rules": frozenset({"DestinationRule"}),
    "gateways": frozenset({"Gateway"}),
    "sidecars": frozenset({"Sidecar"}),
    "peer_authentications": frozenset({"PeerAuthentication"}),
    "request_authentications": frozenset({"RequestAuthentication"}),
    "authorization_policies": frozenset({"AuthorizationPolicy"}),
    "telemetries": frozenset({"Telemetry"}),
    "envoy_filters": frozenset({"EnvoyFilter"}),
    "wasm_plugins": frozenset({"WasmPlugin"}),
    "traffic_extensions": frozenset({"TrafficExtension"}),
    "proxy_configs": frozenset({"ProxyConfig"}),
}
"""Each index beside the registry, and the kinds that it is made from."""

TRANSLATED_FROM = gateway_api.KINDS | ingress.KINDS | {"Namespace", "Secret", "ConfigMap", "ServiceEntry", "Service"}
"""Kinds that objects of the Gateway API and Ingresses are translated from."""


class Snapshot:
    """Immutable. mesh: the effective MeshConfig; objects: all objects; registry: services, endpoints, workloads.

    memo: results of pure functions by what they were made from, handed on to the next snapshot; local: results that hold for
    this snapshot alone; keys: JWKS text by where it was fetched from; cluster_local: hosts whose endpoints stay in their cluster;
    entry_visibility: how widely the mesh lets ServiceEntries be seen.
    """

    mesh: MeshConfig
    options: Options
    objects: Objects
    registry: Registry
    cluster_local: ClusterLocalHosts
    entry_visibility: EntryVisibility
    exports: Exports[Service]
    networks: Networks
    virtual_services: VirtualServices
    destination_rules: DestinationRules
    gateways: Gateways
    sidecars: Sidecars
    peer_authentications: PeerAuthentications
    request_authentications: Policies[RequestAuthentication]
    authorization_policies: Policies[AuthorizationPolicy]
    telemetries: Policies[Telemetry]
    envoy_filters: Policies[EnvoyFilter]
    wasm_plugins: Policies[WasmPlugin]
    traffic_extensions: Policies[TrafficExtension]
    proxy_configs: Policies[ProxyConfigObject]

    def __init__(self, mesh: MeshConfig, options: Options, objects: Objects) -> None:
        self.mesh = mesh
        self.options = options
        self.objects = objects
        self._scopes: dict[tuple[str, str, int], Scope] = {}
        self.memo = Memo()
        self.local = Memo()
        self.keys: Mapping[str, str] = {name: obj.text for (_, name), obj in objects.table("Jwks").items()}
        self.translated = Translated()

    @classmethod
    def build(cls, objects: Iterable[Any] | Objects, mesh: MeshConfig, options: Options = Options()) -> Snapshot:
        """The snapshot of all objects given, each a typed Istio or lightkube struct, or a fetched key set."""
        new = cls(mesh, options, objects if isinstance(objects, Objects) else Objects.of(objects))
        identity = Identity(
            new.trust_domain, options.cluster_id, new.own_network, options.domain, options.default_target_ports
        )
        new.cluster_local = ClusterLocalHosts(mesh, options.domain)
        new.entry_visibility = EntryVisibility(mesh)
        new._index_networks()
        new.registry = Registry.build(new.objects, identity)
        new._index_exports()
        new._translate()
        for name in INDEXES:
            new._index(name, None)
        return new

    def replaced(self, changed: Iterable[Any] = (), removed: Iterable[tuple[str, str, str]] = ()) -> Snapshot:
        """The snapshot after some objects came or changed and others went.

        removed: (kind, namespace, name); the kind as `objects.kind_of` names it.
        """
        changes = [self.objects.change_to(obj) for obj in changed]
        changes += [self.objects.removal(kind, (namespace, name)) for kind, namespace, name in removed]
        return self.updated(changes)

    def updated(self, changes: Iterable[Change]) -> Snapshot:
        """The snapshot after these changes; indexes that none of them touches are shared with this one."""
        changes = list(changes)
        kinds = {change.kind for change in changes}
        new = Snapshot(self.mesh, self.options, self.objects.after(changes))
        new.cluster_local, new.entry_visibility = self.cluster_local, self.entry_visibility
        if new.own_network != self.own_network:
            return Snapshot.build(new.objects, self.mesh, self.options)
        services = [obj for change in changes if change.kind == "Service" for obj in (change.old, change.obj)]
        if self.options.networks.networks or any(is_gateway(obj) for obj in services if obj is not None):
            new._index_networks()
        else:
            new.networks = self.networks
        new.registry = self.registry.updated(new.objects, changes)
        capped = "Namespace" in kinds and self.entry_visibility.applies
        if new.registry.services is self.registry.services and not capped:
            new.exports = self.exports
        else:
            new._index_exports()
        new.translated = self.translated
        if kinds & TRANSLATED_FROM:
            new._translate()
            kinds |= {"VirtualService", "Gateway", "DestinationRule"} if new.translated != self.translated else set()
        for name, sources in INDEXES.items():
            if kinds & sources:
                new._index(name, self)
            else:
                setattr(new, name, getattr(self, name))
        new.memo = self.memo.next()
        same = ("exports", "virtual_services", "destination_rules", "sidecars")
        if all(getattr(new, name) is getattr(self, name) for name in same):
            new._scopes = self._scopes
        return new

    def _translate(self) -> None:
        """Istio objects made of the Gateway API's objects and of Ingresses."""
        made = gateway_api.translate(self.objects, self.options.domain)
        more = ingress.translate(self.objects, self.mesh, self.options.domain)
        self.translated = Translated(
            (*made.gateways, *more.gateways), (*made.virtual_services, *more.virtual_services), made.destination_rules
        )

    @property
    def own_network(self) -> str:
        """The network of this cluster's workloads that say nothing: the root namespace's label, else the option."""
        namespace = self.objects.table("Namespace").get(("", self.root_namespace))
        labels = (namespace.metadata.labels if namespace is not None else None) or {}
        return labels.get(NETWORK) or self.options.network

    def _index_networks(self) -> None:
        services = self.objects.table("Service").values()
        self.networks = Networks.build(services, self.options.networks, self.options.domain)

    def _index_exports(self) -> None:
        self.exports = Exports()
        default = self.mesh.default_service_export_to
        for svc in self.registry.services:
            export_to = svc.export_to
            if self.entry_visibility.applies and svc.kind == "ServiceEntry":
                namespace = self.objects.table("Namespace").get(("", svc.namespace))
                labels = (namespace.metadata.labels if namespace is not None else None) or {}
                export_to = self.entry_visibility.cap(svc.namespace, export_to or default or (PUBLIC,), labels)
            self.exports.add(svc, svc.namespace, export_to, default)

    def _index(self, name: str, before: Snapshot | None) -> None:
        mesh, root, domain = self.mesh, self.root_namespace, self.options.config_domain
        (kind,) = INDEXES[name]
        table = self.objects.table(kind)
        if name == "virtual_services":
            exports = mesh.default_virtual_service_export_to
            known = before.virtual_services if before is not None else None
            made = {key_of("VirtualService", vs): vs for vs in self.translated.virtual_services}
            self.virtual_services = VirtualServices.build(
                {**table, **made}, exports, domain, lambda every: merge_delegates(every, exports), known
            )
        elif name == "destination_rules":
            self.destination_rules = DestinationRules.build(
                [*table.values(), *self.translated.destination_rules],
                root,
                mesh.default_destination_rule_export_to,
                domain,
                before.destination_rules if before is not None else None,
            )
        elif name == "gateways":
            self.gateways = Gateways.build([*table.values(), *self.translated.gateways])
        elif name == "sidecars":
            self.sidecars = Sidecars.build(table.values(), root)
        elif name == "peer_authentications":
            self.peer_authentications = PeerAuthentications.build(table.values(), root)
        else:
            setattr(self, name, Policies.build(table.values(), root))

    @property
    def root_namespace(self) -> str:
        return self.mesh.root_namespace or "istio-system"

    @property
    def trust_domain(self) -> str:
        return self.mesh.trust_domain or "cluster.local"

    def place(self, node: Node) -> Node:
        """The node with the labels and locality of its workload where the registry knows it."""
        workload = self.registry.workload_of(node)
        if workload is None:
            return node
        locality = locality_of(workload.own_labels) or Locality.parse(workload.locality)
        return msgspec.structs.replace(
            node, labels=workload.labels, locality=locality if locality.label else node.locality
        )

    def sidecar_of(self, node: Node) -> Sidecar | None:
        """The Sidecar resource that holds for a proxy; None for gateways."""
        return self.sidecars.for_workload(node.namespace, node.labels) if node.is_sidecar else None

    def scope(self, node: Node) -> Scope:
        """What a proxy sees. The same object for all proxies of one namespace and Sidecar resource."""
        sidecar = self.sidecar_of(node)
        key = (node.type if node.is_sidecar else "router", node.namespace, id(sidecar))
        found = self._scopes.get(key)
        if found is None:
            exported = self.exports.seen_from(node.namespace)
            if node.is_sidecar:
                rules = self.virtual_services.for_gateway("mesh", node.namespace)
                every = self.registry.by_host
                found = sidecar_scope(node.namespace, sidecar, exported, rules, every, self.destination_rules)
            else:
                found = router_scope(node.namespace, exported, self.destination_rules)
            self._scopes[key] = found
        return found

    def targets(self, node: Node) -> tuple[ServiceTarget, ...]:
        """The service ports that a proxy's workload implements."""
        return self.registry.targets(node)

    def endpoints(self, svc: Service) -> tuple[Endpoint, ...]:
        """All endpoints of a service, of every port."""
        return self.registry.endpoints_for(svc)

    def service_accounts(self, svc: Service) -> tuple[str, ...]:
        """SPIFFE URIs and SANs that may answer for a service, sorted."""
        return service_accounts(self.registry.endpoints, svc)

    def get(self, kind: str, key: Key) -> Any:
        """One object by kind and (namespace, name), None when it is not there."""
        return self.objects.table(kind).get(key)
