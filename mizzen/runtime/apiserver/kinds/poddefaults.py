"""Defaults of pod specs, alone and in the templates of workloads. Trees are changed in place.

Source: kube-apiserver's defaults of core/v1.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def default_pod(pod: Object) -> None:
    """A Pod itself: what templates do not get."""
    spec = pod["spec"]
    for key in ("containers", "initContainers"):
        for container in spec.get(key) or ():
            _requests_from_limits(container)
    _pod_level_requests(spec)
    spec.setdefault("enableServiceLinks", True)
    default_spec(spec)


def _requests_from_limits(container: Object) -> None:
    resources = container.get("resources") or {}
    limits = resources.get("limits")
    if limits:
        requests = resources.setdefault("requests", {})
        for name, value in limits.items():
            requests.setdefault(name, value)
        resources["requests"] = {key: requests[key] for key in sorted(requests)}


def _pod_level_requests(spec: Object) -> None:
    resources = spec.get("resources")
    limits = (resources or {}).get("limits")
    if resources is None or not limits:
        return
    requests = resources.setdefault("requests", {})
    asked = {
        name for one in spec.get("containers") or () for name in ((one.get("resources") or {}).get("requests") or {})
    }
    for name, value in limits.items():
        if name not in asked:
            requests.setdefault(name, value)
    if not requests:
        del resources["requests"]


def default_spec(spec: Object) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for key in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(key) or ():
            default_container(container, bool(spec.get("hostNetwork")) and key != "ephemeralContainers")
    for volume in spec.get("volumes") or ():
        default_volume(volume)
    for one in spec.get("topologySpreadConstraints") or ():
        one.setdefault("nodeAffinityPolicy", None)
        one.pop("nodeAffinityPolicy") if one["nodeAffinityPolicy"] is None else None


def default_container(container: Object, host_network: bool = False) -> None:
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if host_network and port.get("containerPort") and not port.get("hostPort"):
            port["hostPort"] = port["containerPort"]
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image", ""))
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is not None:
            _probe(probe)
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _http(hook.get("httpGet"))
    for variable in container.get("env") or ():
        source = (variable.get("valueFrom") or {}).get("fieldRef")
        if source is not None:
            source.setdefault("apiVersion", "v1")
        key = (variable.get("valueFrom") or {}).get("fileKeyRef")
        if key is not None:
            key.setdefault("optional", False)
    context = container.get("securityContext")
    if context and context.get("procMount") is None:
        context.pop("procMount", None)


def pull_policy(image: str) -> str:
    """Always for the tag latest (or none), else IfNotPresent."""
    name, _, digest = image.partition("@")
    last = name.rpartition("/")[2]
    tag = last.partition(":")[2]
    return "Always" if (not tag and not digest) or tag == "latest" else "IfNotPresent"


def _http(get: Object | None) -> None:
    if get is not None:
        get.setdefault("path", "/")
        get.setdefault("scheme", "HTTP")


def _probe(probe: Object) -> None:
    for key, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        probe.setdefault(key, value)
    _http(probe.get("httpGet"))
    if probe.get("grpc") is not None:
        probe["grpc"].setdefault("service", "")


_SOURCES_WITH_MODE = ("secret", "configMap", "downwardAPI", "projected")


def default_volume(volume: Object) -> None:
    if len(volume) == 1 and "name" in volume:
        volume["emptyDir"] = {}
    for key in _SOURCES_WITH_MODE:
        if volume.get(key) is not None:
            volume[key].setdefault("defaultMode", 420)
    _fields((volume.get("downwardAPI") or {}).get("items"))
    for source in (volume.get("projected") or {}).get("sources") or ():
        if source.get("serviceAccountToken") is not None:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
        _fields((source.get("downwardAPI") or {}).get("items"))
    if volume.get("hostPath") is not None:
        volume["hostPath"].setdefault("type", "")
    default_source(volume)
    claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if claim and claim.get("spec"):
        claim["spec"].setdefault("volumeMode", "Filesystem")
    if volume.get("image") is not None:
        volume["image"].setdefault("pullPolicy", pull_policy(volume["image"].get("reference", "")))


def default_source(volume: Object) -> None:
    """Sources that pods and persistent volumes share."""
    if volume.get("iscsi") is not None:
        volume["iscsi"].setdefault("iscsiInterface", "default")
    if volume.get("rbd") is not None:
        for key, value in (("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring")):
            volume["rbd"].setdefault(key, value)
    if volume.get("azureDisk") is not None:
        for name, fallback in (
            ("cachingMode", "ReadWrite"),
            ("kind", "Shared"),
            ("fsType", "ext4"),
            ("readOnly", False),
        ):
            volume["azureDisk"].setdefault(name, fallback)
    if volume.get("scaleIO") is not None:
        volume["scaleIO"].setdefault("storageMode", "ThinProvisioned")
        volume["scaleIO"].setdefault("fsType", "xfs")


def _fields(items: list[Object] | None) -> None:
    for item in items or ():
        if item.get("fieldRef") is not None:
            item["fieldRef"].setdefault("apiVersion", "v1")


def qos_class(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, by the cpu and memory that the containers ask for."""
    from ..schema.scalars import quantity

    pod_level = spec.get("resources") or {}
    containers = (
        [pod_level]
        if pod_level.get("requests") or pod_level.get("limits")
        else [one.get("resources") or {} for key in ("containers", "initContainers") for one in spec.get(key) or ()]
    )
    any_, guaranteed = False, True
    for resources in containers:
        requests = {
            key: quantity(value) for key, value in (resources.get("requests") or {}).items() if key in ("cpu", "memory")
        }
        limits = {
            key: quantity(value) for key, value in (resources.get("limits") or {}).items() if key in ("cpu", "memory")
        }
        requests = {key: value for key, value in requests.items() if value}
        limits = {key: value for key, value in limits.items() if value}
        any_ = any_ or bool(requests or limits)
        if set(limits) != {"cpu", "memory"} or any(requests.get(key, limits[key]) != limits[key] for key in limits):
            guaranteed = False
    if not any_:
        return "BestEffort"
    return "Guaranteed" if guaranteed and containers else "Burstable"
