"""The registry of kinds: group, version and kind ↔ plural and short names ↔ type; and decoding by it.

Not here: what makes an object valid beyond its types (validation/), the API server's own table of resources.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import msgspec

from mizzen.api.errors import Invalid
from mizzen.api.istio.meta import dec_hook, enc_hook
from mizzen.api.shapes import nearest, shape, tidied


class Kind(NamedTuple):
    """One kind of object.

    versions: those that are served, the storage version first; all are read alike.
    """

    group: str
    kind: str
    plural: str
    versions: tuple[str, ...]
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    module: str = ""

    @property
    def storage_version(self) -> str:
        """The version in which objects are stored."""
        return self.versions[0]

    @property
    def api_version(self) -> str:
        """group/version of the storage version."""
        return f"{self.group}/{self.versions[0]}" if self.group else self.versions[0]

    @property
    def type(self) -> type[msgspec.Struct]:
        """The struct that objects of the kind decode into. Imported when first asked for."""
        return getattr(import_module(self.module), self.kind)  # type: ignore[no-any-return]


def _istio(module: str, group: str, versions: str, *rows: str) -> tuple[Kind, ...]:
    """Rows of "Kind plural short…" of one Istio group."""
    split = [row.split() for row in rows]
    return tuple(
        Kind(group, kind, plural, tuple(versions.split()), tuple(short), module=f"mizzen.api.istio.{module}")
        for kind, plural, *short in split
    )


ISTIO_KINDS: tuple[Kind, ...] = (
    *_istio(
        "networking",
        "networking.istio.io",
        "v1 v1beta1 v1alpha3",
        "VirtualService virtualservices vs",
        "DestinationRule destinationrules dr",
        "Gateway gateways gw",
        "ServiceEntry serviceentries se",
        "Sidecar sidecars",
        "WorkloadEntry workloadentries we",
        "WorkloadGroup workloadgroups wg",
    ),
    *_istio("networking", "networking.istio.io", "v1alpha3", "EnvoyFilter envoyfilters"),
    *_istio("networking", "networking.istio.io", "v1beta1", "ProxyConfig proxyconfigs"),
    *_istio(
        "security",
        "security.istio.io",
        "v1 v1beta1",
        "AuthorizationPolicy authorizationpolicies ap",
        "PeerAuthentication peerauthentications pa",
        "RequestAuthentication requestauthentications ra",
    ),
    *_istio("telemetry", "telemetry.istio.io", "v1alpha1 v1", "Telemetry telemetries telemetry"),
    *_istio(
        "extensions",
        "extensions.istio.io",
        "v1alpha1",
        "WasmPlugin wasmplugins",
        "TrafficExtension trafficextensions",
    ),
)


def _built_in(module: str, group: str, versions: str, *rows: str) -> tuple[Kind, ...]:
    """Rows of "Kind plural short…" of one Kubernetes group; a kind with a leading / has no namespace."""
    split = [row.split() for row in rows]
    return tuple(
        Kind(
            group,
            kind.lstrip("/"),
            plural,
            tuple(versions.split()),
            tuple(short),
            not kind.startswith("/"),
            f"lightkube.models.{module}",
        )
        for kind, plural, *short in split
    )


KUBERNETES_KINDS: tuple[Kind, ...] = (
    *_built_in(
        "core_v1",
        "",
        "v1",
        "ConfigMap configmaps cm",
        "Endpoints endpoints ep",
        "Event events ev",
        "LimitRange limitranges limits",
        "/Namespace namespaces ns",
        "/Node nodes no",
        "/PersistentVolume persistentvolumes pv",
        "PersistentVolumeClaim persistentvolumeclaims pvc",
        "Pod pods po",
        "PodTemplate podtemplates",
        "ReplicationController replicationcontrollers rc",
        "ResourceQuota resourcequotas quota",
        "Secret secrets",
        "Service services svc",
        "ServiceAccount serviceaccounts sa",
    ),
    *_built_in(
        "apps_v1",
        "apps",
        "v1",
        "ControllerRevision controllerrevisions",
        "DaemonSet daemonsets ds",
        "Deployment deployments deploy",
        "ReplicaSet replicasets rs",
        "StatefulSet statefulsets sts",
    ),
    *_built_in("batch_v1", "batch", "v1", "CronJob cronjobs cj", "Job jobs"),
    *_built_in("discovery_v1", "discovery.k8s.io", "v1", "EndpointSlice endpointslices"),
    *_built_in("events_v1", "events.k8s.io", "v1", "Event events ev"),
    *_built_in(
        "networking_v1",
        "networking.k8s.io",
        "v1",
        "Ingress ingresses ing",
        "/IngressClass ingressclasses",
        "/IPAddress ipaddresses ip",
        "NetworkPolicy networkpolicies netpol",
        "/ServiceCIDR servicecidrs",
    ),
    *_built_in("policy_v1", "policy", "v1", "PodDisruptionBudget poddisruptionbudgets pdb"),
    *_built_in("autoscaling_v2", "autoscaling", "v2", "HorizontalPodAutoscaler horizontalpodautoscalers hpa"),
    *_built_in(
        "rbac_v1",
        "rbac.authorization.k8s.io",
        "v1",
        "/ClusterRole clusterroles",
        "/ClusterRoleBinding clusterrolebindings",
        "Role roles",
        "RoleBinding rolebindings",
    ),
    *_built_in(
        "admissionregistration_v1",
        "admissionregistration.k8s.io",
        "v1",
        "/MutatingWebhookConfiguration mutatingwebhookconfigurations",
        "/ValidatingAdmissionPolicy validatingadmissionpolicies",
        "/ValidatingAdmissionPolicyBinding validatingadmissionpolicybindings",
        "/ValidatingWebhookConfiguration validatingwebhookconfigurations",
    ),
    *_built_in(
        "apiextensions_v1",
        "apiextensions.k8s.io",
        "v1",
        "/CustomResourceDefinition customresourcedefinitions crd crds",
    ),
    *_built_in("apiregistration_v1", "apiregistration.k8s.io", "v1", "/APIService apiservices"),
    *_built_in(
        "certificates_v1", "certificates.k8s.io", "v1", "/CertificateSigningRequest certificatesigningrequests csr"
    ),
    *_built_in("coordination_v1", "coordination.k8s.io", "v1", "Lease leases"),
    *_built_in("node_v1", "node.k8s.io", "v1", "/RuntimeClass runtimeclasses"),
    *_built_in("scheduling_v1", "scheduling.k8s.io", "v1", "/PriorityClass priorityclasses pc"),
    *_built_in(
        "storage_v1",
        "storage.k8s.io",
        "v1",
        "/CSIDriver csidrivers",
        "/CSINode csinodes",
        "CSIStorageCapacity csistoragecapacities",
        "/StorageClass storageclasses sc",
        "/VolumeAttachment volumeattachments",
    ),
)

GATEWAY_API_KINDS: tuple[Kind, ...] = tuple(
    Kind("gateway.networking.k8s.io", kind, plural, versions, shorts, kind != "GatewayClass", "mizzen.api.gateway_api")
    for kind, plural, versions, shorts in (
        ("GatewayClass", "gatewayclasses", ("v1", "v1beta1"), ("gc",)),
        ("Gateway", "gateways", ("v1", "v1beta1"), ("gtw",)),
        ("HTTPRoute", "httproutes", ("v1", "v1beta1"), ()),
        ("GRPCRoute", "grpcroutes", ("v1",), ()),
        ("TLSRoute", "tlsroutes", ("v1", "v1alpha3", "v1alpha2"), ()),
        ("TCPRoute", "tcproutes", ("v1alpha2",), ()),
        ("ReferenceGrant", "referencegrants", ("v1beta1", "v1"), ("refgrant",)),
        ("BackendTLSPolicy", "backendtlspolicies", ("v1", "v1alpha3"), ("btlspolicy",)),
        ("ListenerSet", "listenersets", ("v1",), ()),
    )
)

KINDS: tuple[Kind, ...] = (*ISTIO_KINDS, *KUBERNETES_KINDS, *GATEWAY_API_KINDS)
BY_GROUP_KIND: dict[tuple[str, str], Kind] = {(kind.group, kind.kind): kind for kind in KINDS}
BY_GVK: dict[tuple[str, str], Kind] = {
    (f"{kind.group}/{version}" if kind.group else version, kind.kind): kind
    for kind in KINDS
    for version in kind.versions
}
BY_GROUP_PLURAL: dict[tuple[str, str], Kind] = {(kind.group, kind.plural): kind for kind in KINDS}


def group_version(api_version: str) -> tuple[str, str]:
    """("networking.istio.io", "v1") of "networking.istio.io/v1"; ("", "v1") of "v1"."""
    group, _, version = api_version.rpartition("/")
    return group, version


def find(api_version: str, kind: str) -> Kind | None:
    """The kind of that apiVersion and name, or None."""
    return BY_GVK.get((api_version, kind))


def find_by_name(name: str) -> Kind | None:
    """The kind that a user means by a plural, singular, short or qualified name ("vs", "gateways.networking.istio.io").

    Among equals Istio's kinds come first, then the order of KINDS.
    """
    name, _, group = name.lower().partition(".")
    for kind in KINDS:
        if name in (kind.plural, kind.kind.lower(), *kind.short_names) and group in ("", kind.group):
            return kind
    return None


def kind_of(obj: Mapping[str, Any]) -> Kind:
    """The kind of an object. Raises Invalid when it is none that we know."""
    api_version, name = obj.get("apiVersion"), obj.get("kind")
    for field, value in (("apiVersion", api_version), ("kind", name)):
        if not isinstance(value, str) or not value:
            raise Invalid(field, "is required" if value is None else f"a string is expected, not {value!r}")
    assert isinstance(api_version, str) and isinstance(name, str)
    kind = BY_GVK.get((api_version, name))
    if kind is not None:
        return kind
    known = BY_GROUP_KIND.get((group_version(api_version)[0], name))
    if known is not None:
        raise Invalid("apiVersion", f"{name} has no version {api_version} (served: {', '.join(known.versions)})")
    in_group = tuple(other.kind for other in KINDS if other.group == group_version(api_version)[0])
    if in_group:
        raise Invalid("kind", f"unknown kind {name} in {api_version}{nearest(name, in_group)}")
    raise Invalid("apiVersion", f"unknown group and version {api_version} of {name}")


def decode(obj: Mapping[str, Any], *, trusted: bool = False) -> Any:
    """The typed object of a JSON object: one of our structs for Istio's kinds, lightkube's for Kubernetes' own.

    trusted: the object comes from an API server, which has checked it; unknown fields of Kubernetes' own kinds are then
    dropped, and decoding is some 50 times faster.
    Raises Invalid for an unknown kind, an unknown field (naming the nearest known one) or a value of a wrong type.
    """
    return decode_as(kind_of(obj).type, obj, trusted=trusted)


def decode_as(type_: type[msgspec.Struct], obj: Mapping[str, Any], path: str = "", *, trusted: bool = False) -> Any:
    """The value of a type that a JSON object describes; errors as in decode, their paths below path."""
    if not trusted:  # lightkube's structs drop unknown fields without a word
        _refuse_first(type_, obj, path)
    try:
        return msgspec.convert(obj, type_, dec_hook=dec_hook)
    except msgspec.ValidationError as error:
        _refuse_first(type_, obj, path)
        try:
            return msgspec.convert(tidied(shape(type_), obj), type_, dec_hook=dec_hook)
        except msgspec.ValidationError as still:
            raise Invalid(path, str(still)) from error


def _refuse_first(type_: type[msgspec.Struct], obj: Mapping[str, Any], path: str) -> None:
    for error in shape(type_).check(obj, path):
        raise error


def _without_nulls(written: Any, value: Any) -> Any:
    """The JSON of a value without the fields that are None; free-form JSON stays as it is."""
    if isinstance(value, msgspec.Struct):
        fields = ((field.encode_name, getattr(value, field.name)) for field in msgspec.structs.fields(value))
        return {name: _without_nulls(written[name], entry) for name, entry in fields if written.get(name) is not None}
    if isinstance(value, dict):
        return {key: _without_nulls(entry, value[key]) if key in value else entry for key, entry in written.items()}
    if isinstance(value, list | tuple):
        return [_without_nulls(entry, of) for entry, of in zip(written, value, strict=True)]
    return written


def encode(obj: msgspec.Struct) -> dict[str, Any]:
    """The JSON object of a typed object: fields with proto's defaults and Nones are left out."""
    return _without_nulls(msgspec.to_builtins(obj, enc_hook=enc_hook), obj)  # type: ignore[no-any-return]
