"""What a fresh cluster holds: namespaces, RBAC, priority classes, the `kubernetes` Service, the service range.

Creates what is missing, leaves alone what is there. The roles are auth/bootstrap.py's.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from .auth.bootstrap import cluster_role_bindings, cluster_roles, namespaced_objects
from .parts import Parts
from .resources import Resource
from .schema.decode import Decoder
from .schema.scalars import now
from .writing import ordered_metadata

Object = dict[str, Any]
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


def _objects(cidr: str, address: str, port: int) -> Iterator[tuple[str, str, Object]]:
    """(group, plural, object)"""
    for name in NAMESPACES:
        meta = {"name": name, "labels": {"kubernetes.io/metadata.name": name}}
        yield (
            "",
            "namespaces",
            {"metadata": meta, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}},
        )
    for one in cluster_roles():
        yield "rbac.authorization.k8s.io", "clusterroles", one
    for one in cluster_role_bindings():
        yield "rbac.authorization.k8s.io", "clusterrolebindings", one
    for plural, one in namespaced_objects():
        yield "rbac.authorization.k8s.io", plural, one
    for name, value, text in (
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ):
        yield "scheduling.k8s.io", "priorityclasses", {
            "metadata": {"name": name, "generation": 1}, "value": value, "description": text, "preemptionPolicy": "PreemptLowerPriority",
        }  # fmt: skip
    yield "", "services", {
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}], "clusterIP": address, "clusterIPs": [address],
            "type": "ClusterIP", "sessionAffinity": "None", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    }  # fmt: skip
    yield (
        "networking.k8s.io",
        "servicecidrs",
        {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": [cidr]}, "status": {}},
    )


async def ensure(parts: Parts, cidr: str, port: int) -> None:
    """Creates what is missing."""
    address = parts.allocators.text(parts.allocators.addresses.low)
    for group, plural, obj in _objects(cidr, address, port):
        resource = parts.registry.get(plural, group)
        meta = obj["metadata"]
        key = resource.key(meta.get("namespace", ""), meta["name"])
        if key not in resource.collection.items:
            await parts.store.write(resource.prefix + key, finished(resource, obj), 0)


def finished(resource: Resource, obj: Object) -> bytes:
    """The stored bytes of an object that the server itself makes."""
    assert resource.struct is not None
    tree = Decoder().object(resource.struct, {**obj, "kind": resource.kind, "apiVersion": resource.api_version})
    tree["metadata"] = ordered_metadata({**tree["metadata"], "uid": str(uuid.uuid4()), "creationTimestamp": now()})
    return msgspec.json.encode(tree)
