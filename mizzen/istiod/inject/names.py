"""Names of Istio's annotations, labels, containers and ports that injection reads or writes."""

from __future__ import annotations

from mizzen.api.booleans import FALSE, TRUE

INJECT = "sidecar.istio.io/inject"
STATUS = "sidecar.istio.io/status"
INTERCEPTION_MODE = "sidecar.istio.io/interceptionMode"
PROXY_IMAGE = "sidecar.istio.io/proxyImage"
PROXY_IMAGE_TYPE = "sidecar.istio.io/proxyImageType"
NATIVE_SIDECAR = "sidecar.istio.io/nativeSidecar"
REWRITE_PROBERS = "sidecar.istio.io/rewriteAppHTTPProbers"
STATUS_PORT = "status.sidecar.istio.io/port"
READINESS = "readiness.status.sidecar.istio.io/"
TRAFFIC = "traffic.sidecar.istio.io/"
REROUTE_INTERFACES = "istio.io/reroute-virtual-interfaces"
PROXY_CONFIG = "proxy.istio.io/config"
OVERRIDES = "proxy.istio.io/overrides"
TEMPLATES = "inject.istio.io/templates"
MERGE_METRICS = "prometheus.istio.io/merge-metrics"
SCRAPE_TARGETS = "prometheus.istio.io/scrape-targets"
SECURE_PORT = "prometheus.istio.io/secure-port"
NETWORK = "topology.istio.io/network"
REVISION = "istio.io/rev"

PROXY, INIT, VALIDATION, CORE_DUMP = "istio-proxy", "istio-init", "istio-validation", "enable-core-dump"
SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease", "local-path-storage"})


def parse_bool(text: str) -> bool | None:
    """Go's strconv.ParseBool; None for what is no boolean."""
    return True if text in TRUE else False if text in FALSE else None
