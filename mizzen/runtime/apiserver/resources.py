"""What is served: every resource of every group and version, with its names, verbs and subresources.

`BUILT_IN` is the one list; `Registry` adds what custom resource definitions bring. Not here: objects, schemas.
Source: kube-apiserver 1.37's discovery documents.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from .cache import Cache, Collection
from .schema.facts import Struct, struct_of
from .selectable import SELECTABLE

CRUD = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
READ_WRITE = ("get", "patch", "update")
CONNECT = ("create", "get")
PROXY = ("create", "delete", "get", "patch", "update")


class Sub(NamedTuple):
    """One subresource: the kind it speaks, and that kind's group and version when they are not the resource's."""

    kind: str
    verbs: tuple[str, ...]
    group: str | None = None
    version: str | None = None


STATUS = {"status": READ_WRITE}


@dataclass(eq=False)
class Resource:
    """One resource in one version. `prefix` is where its objects are stored, shared by all its versions."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subs: dict[str, Sub] = field(default_factory=dict)
    verbs: tuple[str, ...] = CRUD
    singular: str = ""
    storage_version: str = ""  # "" when this is it
    storage_name: str = ""  # plural.group under which it is stored, when not its own
    custom: Any = None  # the crd.CustomVersion behind it, None for a built-in kind
    deprecation: str = ""  # a warning that goes with every answer
    fields: Any = None  # what a field selector may name, for custom resources
    collection: Collection = field(init=False, repr=False)

    @cached_property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def qualified(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @cached_property
    def prefix(self) -> str:
        return f"/{self.storage_name or self.qualified}/"

    @cached_property
    def struct(self) -> Struct | None:
        return struct_of(self.api_version, self.kind)

    @cached_property
    def head(self) -> int:
        """Bytes of `"kind":…,"apiVersion":…,` after the opening brace, as `Item.data` begins."""
        return len(f'{{"kind":"{self.kind}","apiVersion":"{self.api_version}",')

    @cached_property
    def storage_hash(self) -> str:
        name = f"{self.group}/{self.storage_version or self.version}/{self.kind}"
        return base64.b64encode(hashlib.sha256(name.encode()).digest()[:8]).decode()

    @property
    def persisted(self) -> bool:
        return "get" in self.verbs or "list" in self.verbs

    @property
    def kind_group(self) -> str:
        """The group under which refusals name the kind: that of the stored version."""
        return "" if self.storage_name == "events" else self.group

    def key(self, namespace: str, name: str) -> str:
        return f"{namespace}/{name}" if self.namespaced else name


def _plural(kind: str) -> str:
    low = kind.lower()
    if low.endswith("y"):
        return low[:-1] + "ies"
    if low.endswith(("ss", "class")):
        return low + "es"
    return low if low.endswith("s") else low + "s"


def _r(
    gv: str,
    kind: str,
    short: str = "",
    subs: str = "",
    *,
    cluster: bool = False,
    plural: str = "",
    all_: bool = False,
    **more: Any,
) -> Resource:
    group, _, version = gv.rpartition("/")
    found: dict[str, Sub] = {}
    for name in subs.split():
        found[name] = Sub("Scale", READ_WRITE, "autoscaling", "v1") if name == "scale" else Sub(kind, READ_WRITE)
    return Resource(
        group,
        version,
        plural or _plural(kind),
        kind,
        not cluster,
        tuple(short.split()),
        ("all",) if all_ else (),
        found,
        singular=kind.lower(),
        **more,
    )


def _review(gv: str, kind: str, *, cluster: bool = True) -> Resource:
    return _r(gv, kind, cluster=cluster, verbs=("create",))


POD_SUBS = {
    "attach": Sub("PodAttachOptions", CONNECT),
    "binding": Sub("Binding", ("create",)),
    "ephemeralcontainers": Sub("Pod", READ_WRITE),
    "eviction": Sub("Eviction", ("create",), "policy", "v1"),
    "exec": Sub("PodExecOptions", CONNECT),
    "log": Sub("Pod", ("get",)),
    "portforward": Sub("PodPortForwardOptions", CONNECT),
    "proxy": Sub("PodProxyOptions", PROXY),
    "resize": Sub("Pod", READ_WRITE),
    "status": Sub("Pod", READ_WRITE),
}

ADMISSION, EXT, REG = "admissionregistration.k8s.io/v1", "apiextensions.k8s.io/v1", "apiregistration.k8s.io/v1"
AUTHN, AUTHZ, CERT = "authentication.k8s.io/v1", "authorization.k8s.io/v1", "certificates.k8s.io/v1"
FLOW, NET, RBAC = "flowcontrol.apiserver.k8s.io/v1", "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1"
DRA, STORAGE = "resource.k8s.io/v1", "storage.k8s.io/v1"


def built_in() -> list[Resource]:
    """Every built-in resource, in the order of /apis (groups) and of names within a version."""
    return [
        _review("v1", "Binding", cluster=False),
        _r(
            "v1",
            "ComponentStatus",
            "cs",
            cluster=True,
            plural="componentstatuses",
            verbs=("get", "list"),
            deprecation="v1 ComponentStatus is deprecated in v1.19+",
        ),
        _r("v1", "ConfigMap", "cm"),
        _r(
            "v1",
            "Endpoints",
            "ep",
            deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
        ),
        _r("v1", "Event", "ev"),
        _r("v1", "LimitRange", "limits"),
        _with(
            _r(
                "v1", "Namespace", "ns", "status", cluster=True, verbs=tuple(v for v in CRUD if v != "deletecollection")
            ),
            finalize=Sub("Namespace", ("update",)),
        ),
        _with(_r("v1", "Node", "no", "status", cluster=True), proxy=Sub("NodeProxyOptions", PROXY)),
        _r("v1", "PersistentVolume", "pv", "status", cluster=True),
        _r("v1", "PersistentVolumeClaim", "pvc", "status"),
        _with(_r("v1", "Pod", "po", all_=True), **POD_SUBS),
        _r("v1", "PodTemplate"),
        _r("v1", "ReplicationController", "rc", "scale status", all_=True),
        _r("v1", "ResourceQuota", "quota", "status"),
        _r("v1", "Secret"),
        _with(_r("v1", "ServiceAccount", "sa"), token=Sub("TokenRequest", ("create",), "authentication.k8s.io", "v1")),
        _with(_r("v1", "Service", "svc", "status", all_=True), proxy=Sub("ServiceProxyOptions", PROXY)),
        _r(REG, "APIService", "", "status", cluster=True),
        _r("apps/v1", "ControllerRevision"),
        _r("apps/v1", "DaemonSet", "ds", "status", all_=True),
        _r("apps/v1", "Deployment", "deploy", "scale status", all_=True),
        _r("apps/v1", "ReplicaSet", "rs", "scale status", all_=True),
        _r("apps/v1", "StatefulSet", "sts", "scale status", all_=True),
        _r("events.k8s.io/v1", "Event", "ev", storage_name="events", storage_version="v1"),
        _review(AUTHN, "SelfSubjectReview"),
        _review(AUTHN, "TokenReview"),
        _review(AUTHZ, "LocalSubjectAccessReview", cluster=False),
        _review(AUTHZ, "SelfSubjectAccessReview"),
        _review(AUTHZ, "SelfSubjectRulesReview"),
        _review(AUTHZ, "SubjectAccessReview"),
        _r("autoscaling/v2", "HorizontalPodAutoscaler", "hpa", "status", all_=True),
        _r("autoscaling/v1", "HorizontalPodAutoscaler", "hpa", "status", all_=True, storage_version="v2"),
        _r("batch/v1", "CronJob", "cj", "status", all_=True),
        _r("batch/v1", "Job", "", "status", all_=True),
        _with(
            _r(CERT, "CertificateSigningRequest", "csr", "status", cluster=True),
            approval=Sub("CertificateSigningRequest", READ_WRITE),
        ),
        _r(CERT, "ClusterTrustBundle", cluster=True),
        _r(CERT, "PodCertificateRequest", "", "status"),
        _r(NET, "Ingress", "ing", "status"),
        _r(NET, "IngressClass", cluster=True),
        _r(NET, "IPAddress", "ip", cluster=True, plural="ipaddresses"),
        _r(NET, "NetworkPolicy", "netpol"),
        _r(NET, "ServiceCIDR", "", "status", cluster=True),
        _r("policy/v1", "PodDisruptionBudget", "pdb", "status"),
        _r(RBAC, "ClusterRole", cluster=True),
        _r(RBAC, "ClusterRoleBinding", cluster=True),
        _r(RBAC, "Role"),
        _r(RBAC, "RoleBinding"),
        _r(STORAGE, "CSIDriver", cluster=True),
        _r(STORAGE, "CSINode", cluster=True),
        _r(STORAGE, "CSIStorageCapacity"),
        _r(STORAGE, "StorageClass", "sc", cluster=True),
        _r(STORAGE, "VolumeAttachment", "", "status", cluster=True),
        _r(STORAGE, "VolumeAttributesClass", "vac", cluster=True),
        _r(ADMISSION, "MutatingAdmissionPolicy", cluster=True),
        _r(ADMISSION, "MutatingAdmissionPolicyBinding", cluster=True),
        _r(ADMISSION, "MutatingWebhookConfiguration", cluster=True),
        _r(ADMISSION, "ValidatingAdmissionPolicy", "", "status", cluster=True),
        _r(ADMISSION, "ValidatingAdmissionPolicyBinding", cluster=True),
        _r(ADMISSION, "ValidatingWebhookConfiguration", cluster=True),
        _r(EXT, "CustomResourceDefinition", "crd crds", "status", cluster=True),
        _r("scheduling.k8s.io/v1", "PriorityClass", "pc", cluster=True),
        _r("coordination.k8s.io/v1", "Lease"),
        _r("node.k8s.io/v1", "RuntimeClass", cluster=True),
        _r("discovery.k8s.io/v1", "EndpointSlice"),
        _r(FLOW, "FlowSchema", "", "status", cluster=True),
        _r(FLOW, "PriorityLevelConfiguration", "", "status", cluster=True),
        _r("storagemigration.k8s.io/v1", "StorageVersionMigration", "", "status", cluster=True),
        _r(DRA, "DeviceClass", cluster=True),
        _r(DRA, "ResourceClaim", "", "status"),
        _r(DRA, "ResourceClaimTemplate"),
        _r(DRA, "ResourceSlice", cluster=True),
    ]


def _with(resource: Resource, **subs: Sub) -> Resource:
    resource.subs = dict(sorted({**resource.subs, **subs}.items()))
    return resource


class Registry:
    """The resources served now. `generation` moves with every change, for caches of discovery documents."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._resources: dict[tuple[str, str, str], Resource] = {}
        self.groups: dict[str, list[str]] = {}  # group → versions, the preferred one first
        self.generation = 0
        for resource in built_in():
            self.add(resource)

    def add(self, resource: Resource) -> None:
        if resource.persisted:
            fields = resource.fields or SELECTABLE.get(resource.storage_name or resource.qualified)
            resource.collection = self._cache.add(resource.prefix, fields)
        self._resources[resource.group, resource.version, resource.plural] = resource
        versions = self.groups.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
        self.generation += 1

    def remove(self, group: str, version: str, plural: str) -> None:
        self._resources.pop((group, version, plural), None)
        if not any(key[:2] == (group, version) for key in self._resources):
            versions = self.groups.get(group, [])
            if version in versions:
                versions.remove(version)
            if not versions:
                self.groups.pop(group, None)
        self.generation += 1

    def order(self, group: str, key: Any) -> None:
        """Sorts a group's versions, the preferred one first."""
        if group in self.groups:
            self.groups[group].sort(key=key)
            self.generation += 1

    def custom_groups(self) -> set[str]:
        return {one.group for one in self._resources.values() if one.custom is not None}

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self._resources.get((group, version, plural))

    def get(self, name: str, group: str = "", version: str | None = None) -> Resource:
        """A resource that is known to be there. Raises KeyError."""
        return self._resources[group, version or self.groups[group][0], name]

    def by_kind(self, group: str, kind: str, version: str | None = None) -> Resource | None:
        for one in self._resources.values():
            if one.group == group and one.kind == kind and one.persisted and version in (None, one.version):
                return one
        return None

    def of(self, group: str, version: str) -> list[Resource]:
        return sorted(
            (one for key, one in self._resources.items() if key[:2] == (group, version)), key=lambda one: one.plural
        )

    def all(self) -> Iterator[Resource]:
        yield from tuple(self._resources.values())
