"""Annotations of Istio's on Kubernetes objects: IST0107, IST0108, IST0125, IST0135."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from mizzen.api import mesh_config
from mizzen.api.booleans import FALSE, TRUE
from mizzen.api.errors import Invalid
from mizzen.api.text import is_prefix
from mizzen.istiod.analysis.analyzers.workloads import INJECT
from mizzen.istiod.analysis.model import Mesh, Resource

ANY = "Any"


class Annotation(NamedTuple):
    """What is known of an annotation: the kinds that it belongs on, and whether it is deprecated."""

    kinds: tuple[str, ...]
    deprecated: bool = False


def _known() -> dict[str, Annotation]:
    table: dict[str, Annotation] = {}
    for kinds, deprecated, names in (
        (
            "Pod",
            False,
            "ambient.istio.io/bypass-inbound-capture ambient.istio.io/dns-capture ambient.istio.io/redirection "
            "inject.istio.io/templates istio.io/rev istio.io/reroute-virtual-interfaces "
            "prometheus.istio.io/merge-metrics proxy.istio.io/config proxy.istio.io/overrides "
            "readiness.status.sidecar.istio.io/applicationPorts readiness.status.sidecar.istio.io/failureThreshold "
            "readiness.status.sidecar.istio.io/initialDelaySeconds readiness.status.sidecar.istio.io/periodSeconds "
            "sidecar.istio.io/agentLogLevel sidecar.istio.io/bootstrapOverride sidecar.istio.io/componentLogLevel "
            "sidecar.istio.io/interceptionMode sidecar.istio.io/logLevel sidecar.istio.io/nativeSidecar "
            "sidecar.istio.io/proxyCPU sidecar.istio.io/proxyCPULimit sidecar.istio.io/proxyImage "
            "sidecar.istio.io/proxyImageType sidecar.istio.io/proxyMemory sidecar.istio.io/proxyMemoryLimit "
            "sidecar.istio.io/rewriteAppHTTPProbers sidecar.istio.io/statsHistogramBuckets "
            "sidecar.istio.io/statsHistogramBins sidecar.istio.io/statsFlushInterval "
            "sidecar.istio.io/statsEvictionInterval sidecar.istio.io/status sidecar.istio.io/userVolume "
            "sidecar.istio.io/userVolumeMount status.sidecar.istio.io/port "
            "traffic.sidecar.istio.io/excludeInboundPorts traffic.sidecar.istio.io/excludeInterfaces "
            "traffic.sidecar.istio.io/excludeOutboundIPRanges traffic.sidecar.istio.io/excludeOutboundPorts "
            "traffic.sidecar.istio.io/includeInboundPorts traffic.sidecar.istio.io/includeOutboundIPRanges "
            "traffic.sidecar.istio.io/includeOutboundPorts",
        ),
        (
            "Pod",
            True,
            "alpha.istio.io/identity "
            "sidecar.istio.io/controlPlaneAuthPolicy sidecar.istio.io/discoveryAddress sidecar.istio.io/enableCoreDump "
            "sidecar.istio.io/extraStatTags sidecar.istio.io/inject sidecar.istio.io/statsCompression "
            "sidecar.istio.io/statsInclusionPrefixes sidecar.istio.io/statsInclusionRegexps "
            "sidecar.istio.io/statsInclusionSuffixes traffic.sidecar.istio.io/kubevirtInterfaces",
        ),
        ("Service", False, "networking.istio.io/exportTo traffic.istio.io/nodeSelector"),
        ("Service", True, "alpha.istio.io/canonical-serviceaccounts alpha.istio.io/kubernetes-serviceaccounts"),
        ("Service Namespace ServiceEntry", False, "networking.istio.io/traffic-distribution"),
        ("Namespace", False, "topology.istio.io/controlPlaneClusters"),
        ("Ingress", False, "kubernetes.io/ingress.class"),
        ("AuthorizationPolicy", False, "istio.io/dry-run"),
        (
            "WorkloadEntry",
            False,
            "istio.io/autoRegistrationGroup istio.io/connectedAt istio.io/disconnectedAt istio.io/workloadController",
        ),
        (
            "Gateway",
            False,
            "gateway.istio.io/controller-version gateway.istio.io/name-override gateway.istio.io/service-account "
            "networking.istio.io/service-type",
        ),
        ("Gateway GatewayClass", False, "ambient.istio.io/waypoint-inbound-binding"),
        (
            ANY,
            False,
            "galley.istio.io/analyze-suppress install.operator.istio.io/chart-owner "
            "install.operator.istio.io/owner-generation install.operator.istio.io/version",
        ),
    ):
        for name in names.split():
            table[name] = Annotation(tuple(kinds.split()), deprecated)
    return table


KNOWN = _known()


def check(mesh: Mesh) -> None:
    """Checks the annotations of Namespaces, Services, Pods and Deployments."""
    for kind, group in (("Namespace", ""), ("Service", ""), ("Pod", ""), ("Deployment", "apps")):
        for resource in mesh.all(kind, group):
            for name, value in resource.annotations.items():
                if is_ours(name):
                    _check(mesh, resource, name, value)


def is_ours(name: str) -> bool:
    """Whether an annotation is Istio's, or one that Istio reads."""
    return name == "kubernetes.io/ingress.class" or name.split("/")[0].endswith("istio.io")


def _check(mesh: Mesh, resource: Resource, name: str, value: str) -> None:
    known = KNOWN.get(name)
    if known is None:
        mesh.report(resource, "IST0108", name)
        return
    if known.deprecated and not (name == INJECT and INJECT in resource.labels):
        instead = f" in favour of the label {INJECT}" if name == INJECT else ""
        mesh.report(resource, "IST0135", name, instead)
    if ANY in known.kinds:
        return
    if resource.kind not in known.kinds:
        mesh.report(resource, "IST0107", name, ", ".join(known.kinds))
        return
    wrong = VALUES[name](value) if name in VALUES else ""
    if wrong:
        mesh.report(resource, "IST0125", name, wrong)


def _mode(value: str) -> str:
    return "" if value in ("REDIRECT", "TPROXY", "NONE") else f"{value!r} is none of REDIRECT, TPROXY, NONE"


def _port(value: str) -> str:
    return "" if re.fullmatch(r"[0-9]{1,5}", value) and int(value) <= 65535 else f"{value!r} is not a port"


def _number(value: str) -> str:
    sound = re.fullmatch(r"[0-9]{1,10}", value) and int(value) < 2**32
    return "" if sound else f"{value!r} is not a number"


def _boolean(value: str) -> str:
    return "" if value in TRUE | FALSE else f"{value!r} is neither true nor false"


def _ports(value: str) -> str:
    wrong = [part for part in value.split(",") if part.strip() and _port(part.strip())]
    return f"{wrong[0]!r} is not a port" if wrong else ""


def _ports_or_all(value: str) -> str:
    return "" if value == "*" else _ports(value)


def _ranges(value: str) -> str:
    wrong = [part for part in value.split(",") if part and not is_prefix(part.strip())]
    return f"{wrong[0]!r} is not a range of addresses" if wrong else ""


def _ranges_or_all(value: str) -> str:
    return "" if value == "*" else _ranges(value)


def _proxy_config(value: str) -> str:
    base = mesh_config.default().default_config
    assert base is not None
    try:
        mesh_config.read_proxy_config(value, base)
    except Invalid as error:
        return str(error)
    return ""


VALUES: dict[str, Callable[[str], str]] = {
    "sidecar.istio.io/interceptionMode": _mode,
    "status.sidecar.istio.io/port": _port,
    "readiness.status.sidecar.istio.io/initialDelaySeconds": _number,
    "readiness.status.sidecar.istio.io/periodSeconds": _number,
    "readiness.status.sidecar.istio.io/failureThreshold": _number,
    "traffic.sidecar.istio.io/includeOutboundIPRanges": _ranges_or_all,
    "traffic.sidecar.istio.io/excludeOutboundIPRanges": _ranges,
    "traffic.sidecar.istio.io/includeInboundPorts": _ports_or_all,
    "traffic.sidecar.istio.io/excludeInboundPorts": _ports,
    "traffic.sidecar.istio.io/excludeOutboundPorts": _ports,
    "prometheus.istio.io/merge-metrics": _boolean,
    "proxy.istio.io/config": _proxy_config,
}
