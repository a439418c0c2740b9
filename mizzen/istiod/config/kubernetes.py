"""Configuration from a Kubernetes API server, ours or a real one: list-watch of every kind that the mesh is made of.

Takes a client and a store. A kind whose CRD is missing counts as empty and is asked for again. Only what the
mesh needs of an object is kept (`trim`), for most of a large cluster's Pods and Secrets is nothing to us. Not
here: writing to the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from mizzen.api import kinds
from mizzen.istiod.config.membership import OWN_GROUPS, REVISION, Membership
from mizzen.istiod.config.store import ConfigStore, Live, rough_key
from mizzen.istiod.gateway_api import parameters as gateway_parameters
from mizzen.kube import Change, Client, Informer, Object, Resource
from mizzen.kube.resource import (
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    MUTATING_WEBHOOKS,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    SERVICES,
)

INGRESSES = Resource("networking.k8s.io", "v1", "ingresses", True, "Ingress")
INGRESS_CLASSES = Resource("networking.k8s.io", "v1", "ingressclasses", False, "IngressClass")
KUBERNETES: tuple[Resource, ...] = (
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    ENDPOINT_SLICES,
    SECRETS,
    CONFIG_MAPS,
    INGRESSES,
    INGRESS_CLASSES,
)

# Secrets that are no certificates of the mesh; a large cluster is full of them.
IGNORED_SECRETS = frozenset(
    {"helm.sh/release.v1", "kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"}
)
CONFIG_MAP_KEYS = frozenset({"ca.crt", "cacert", "mesh", "meshNetworks", "values", "config"}) | gateway_parameters.KEYS
TAG = "istio.io/tag"
POD_SPEC = ("serviceAccountName", "nodeName", "hostNetwork", "hostname", "subdomain")
POD_STATUS = ("phase", "podIP", "podIPs", "conditions", "hostIP")
CONTAINER = ("name", "ports", "image")
# Of these groups' kinds istiod writes the status; only this much of it is read by the mesh.
READ_STATUS = {"WorkloadEntry": ("conditions",), "ServiceEntry": ("addresses",)}
META = (
    "name",
    "namespace",
    "labels",
    "annotations",
    "uid",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "ownerReferences",
)


def istio_resources() -> list[Resource]:
    """Every kind of Istio and of the Gateway API, in its storage version."""
    return [
        Resource(kind.group, kind.storage_version, kind.plural, kind.namespaced, kind.kind)
        for kind in (*kinds.ISTIO_KINDS, *kinds.GATEWAY_API_KINDS)
    ]


class KubernetesSource:
    """One API server. `synced` when every kind has been listed once."""

    def __init__(
        self, client: Client, store: ConfigStore, system_namespace: str = "istio-system", revision: str = "default"
    ) -> None:
        self.membership = Membership(store, revision, system_namespace)
        self._revision = revision
        self._tags: dict[str, str] = {}  # by the webhook configuration that makes one
        self._resources = [*KUBERNETES, *istio_resources()]
        self._informers = [Informer(client, r, missing_ok=True, keep=_identity) for r in self._resources]
        self._webhooks = Informer(client, MUTATING_WEBHOOKS, missing_ok=True, label_selector=TAG, keep=_identity)
        self.synced = asyncio.Event()
        for informer in self._informers:
            informer.add_handler(self._changed)
        self._webhooks.add_handler(self._tag)
        self._informers.append(self._webhooks)

    async def run(self) -> None:
        """Follow the server until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for informer in self._informers:
                tasks.create_task(informer.run(), name=f"config {informer.resource}")
            for informer in self._informers:
                await informer.synced.wait()
            self.synced.set()

    def leave_out_own_kinds(self) -> None:
        """Before `run`: objects of Istio and of the Gateway API come from elsewhere."""
        own = set(istio_resources())
        self._informers = [informer for informer in self._informers if informer.resource not in own]

    def _changed(self, change: Change) -> None:
        obj = change.object
        key = rough_key(obj)
        if change.type == "deleted" or not self._wanted(obj):
            self.membership.withdraw(key)
            return
        live = None
        if _status_is_ours(obj):
            meta = obj["metadata"]
            version = str(meta.get("resourceVersion") or "")
            live = Live(int(meta.get("generation") or 0), obj.get("status") or {}, version)
            seen = self.membership.store.seen
            seen[key[0]] = max(seen.get(key[0], 0), int(version) if version.isdigit() else 0)
        self.membership.offer(trim(obj), f"resourceVersion {obj['metadata'].get('resourceVersion')}", live)

    def _tag(self, change: Change) -> None:
        """A revision tag is a webhook configuration that carries both names."""
        labels = change.object["metadata"].get("labels") or {}
        name = change.object["metadata"]["name"]
        if change.type == "deleted" or labels.get(REVISION) != self._revision or TAG not in labels:
            self._tags.pop(name, None)
        else:
            self._tags[name] = labels[TAG]
        self.membership.use_tags(self._tags.values())

    def _wanted(self, obj: Object) -> bool:
        if obj["kind"] == "Secret":
            return obj.get("type") not in IGNORED_SECRETS
        if obj["kind"] == "ConfigMap":
            return bool(CONFIG_MAP_KEYS & (obj.get("data") or {}).keys())
        return True


def trim(obj: Object) -> Object:
    """The object without what no part of the mesh reads."""
    slim = {**obj, "metadata": _only(obj["metadata"], META)}
    if obj["kind"] == "Pod":
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        containers = [_only(c, CONTAINER) for c in spec.get("containers") or ()]
        slim["spec"] = {**_only(spec, POD_SPEC), "containers": containers}
        slim["status"] = _only(status, POD_STATUS)
        slim["status"]["conditions"] = [_only(c, ("type", "status")) for c in status.get("conditions") or ()]
    elif obj["kind"] == "Node":
        slim["spec"], slim["status"] = {}, _only(obj.get("status") or {}, ("addresses", "nodeInfo"))
    elif obj["kind"] == "Namespace" or (_status_is_ours(obj) and "status" in obj):
        slim.pop("status", None)
        if obj["kind"] in READ_STATUS:
            slim["status"] = _only(obj["status"] or {}, READ_STATUS[obj["kind"]])
    return slim


def _status_is_ours(obj: Object) -> bool:
    """Whether istiod writes the status of such objects: it is no configuration then."""
    return bool(obj["kind"] == "Ingress" or obj["apiVersion"].partition("/")[0] in OWN_GROUPS)


def _only(value: Object, fields: Iterable[str]) -> dict[str, Any]:
    return {name: value[name] for name in fields if name in value}


def _identity(obj: Object) -> Object:
    """What an informer must remember of an object: which it is, and which revision of it."""
    return {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj.get("kind"),
        "metadata": _only(obj["metadata"], ("name", "namespace", "uid", "resourceVersion")),
    }
