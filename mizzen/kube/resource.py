"""Where objects live in a Kubernetes API: group, version, plural; and the paths made of them.

Takes names, gives URL paths. The constants are the resources that the project's own parts read and write; any other is
one `Resource(...)` away.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote

Object = dict[str, Any]
"""A Kubernetes object as JSON: apiVersion, kind, metadata, ….  Never written to once it is in a cache."""


class Key(NamedTuple):
    """An object's address within its resource; namespace is "" for a cluster-scoped one."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Resource(NamedTuple):
    """One collection of the API. group is "" for the core group."""

    group: str
    version: str
    plural: str
    namespaced: bool
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection (of all namespaces when none is given), an object, or its subresource."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
            if subresource:
                parts += subresource.split("/")
        return "/" + "/".join(quote(part, safe=":") for part in parts)


def key_of(obj: Object) -> Key:
    """The object's namespace and name."""
    meta = obj["metadata"]
    return Key(meta.get("namespace") or "", meta["name"])


def core(plural: str, kind: str, namespaced: bool = True) -> Resource:
    return Resource("", "v1", plural, namespaced, kind)


PODS = core("pods", "Pod")
SERVICES = core("services", "Service")
ENDPOINTS = core("endpoints", "Endpoints")
CONFIG_MAPS = core("configmaps", "ConfigMap")
SECRETS = core("secrets", "Secret")
SERVICE_ACCOUNTS = core("serviceaccounts", "ServiceAccount")
EVENTS = core("events", "Event")
NAMESPACES = core("namespaces", "Namespace", namespaced=False)
NODES = core("nodes", "Node", namespaced=False)
RUNTIME_CLASSES = Resource("node.k8s.io", "v1", "runtimeclasses", False, "RuntimeClass")
DEPLOYMENTS = Resource("apps", "v1", "deployments", True, "Deployment")
REPLICA_SETS = Resource("apps", "v1", "replicasets", True, "ReplicaSet")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", True, "StatefulSet")
DAEMON_SETS = Resource("apps", "v1", "daemonsets", True, "DaemonSet")
JOBS = Resource("batch", "v1", "jobs", True, "Job")
CRON_JOBS = Resource("batch", "v1", "cronjobs", True, "CronJob")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", True, "EndpointSlice")
LEASES = Resource("coordination.k8s.io", "v1", "leases", True, "Lease")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", True, "NetworkPolicy")
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", False, "CustomResourceDefinition"
)
MUTATING_WEBHOOKS = Resource(
    "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", False, "MutatingWebhookConfiguration"
)
VALIDATING_WEBHOOKS = Resource(
    "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", False, "ValidatingWebhookConfiguration"
)
TOKEN_REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews", False, "TokenReview")
SUBJECT_ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", False, "SubjectAccessReview")
