"""A Gateway's own proxy: the ServiceAccount, Deployment and Service that are made for it.

Pure: a Gateway as JSON, the injector's settings and parameters in; objects out, in the order in which they are made.
Names, labels and annotations are Istio's. Not here: which Gateways get one and writing (server/gateways.py), what the
container is made of (inject/templates).
Source: GEP-1762 (in-cluster gateway deployments), `spec.infrastructure`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from mizzen.istiod.gateway_api.gateways import NAME_OVERRIDE
from mizzen.istiod.inject.config import Object, Settings
from mizzen.istiod.inject.names import PROXY
from mizzen.istiod.inject.proxy_config import effective
from mizzen.istiod.inject.strategic_merge import merge
from mizzen.istiod.inject.templates import proxy
from mizzen.istiod.inject.templates.context import Context
from mizzen.istiod.inject.templates.gateway import gateway
from mizzen.istiod.inject.workload import Workload

GATEWAY_NAME, CLASS_NAME = "gateway.networking.k8s.io/gateway-name", "gateway.networking.k8s.io/gateway-class-name"
MANAGED, MANAGED_BY = "gateway.istio.io/managed", "istio.io-gateway-controller"
SERVICE_ACCOUNT, SERVICE_TYPE = "gateway.istio.io/service-account", "networking.istio.io/service-type"
CONTROLLER_VERSION = "gateway.istio.io/controller-version"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
STATUS_PORT, METRICS_PORT, AGENT_PORT = 15021, 15090, 15020
# Written by the controller for its own use; not handed on to what is made.
OWN_ANNOTATIONS = frozenset({LAST_APPLIED, NAME_OVERRIDE, SERVICE_ACCOUNT, SERVICE_TYPE, CONTROLLER_VERSION})
PROMETHEUS = {
    "prometheus.io/path": "/stats/prometheus",
    "prometheus.io/port": str(AGENT_PORT),
    "prometheus.io/scrape": "true",
}
KINDS = ("ServiceAccount", "Deployment", "Service")


class Made(msgspec.Struct, frozen=True):
    """What is common to the objects of one Gateway."""

    gateway: Object
    name: str
    account: str
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def namespace(self) -> str:
        return str(self.gateway["metadata"].get("namespace") or "default")

    @property
    def gateway_name(self) -> str:
        return str(self.gateway["metadata"]["name"])


def deployment_name(gateway: Object) -> str:
    """The name of a Gateway's Deployment and Service."""
    meta = gateway["metadata"]
    given = (meta.get("annotations") or {}).get(NAME_OVERRIDE)
    return str(given or f"{meta['name']}-{gateway['spec']['gatewayClassName']}")


def is_managed(gateway: Object) -> bool:
    """Whether a Gateway wants a proxy of its own: not when it names the address of one that is there."""
    addresses = gateway["spec"].get("addresses") or []
    return not addresses or (len(addresses) == 1 and addresses[0].get("type", "IPAddress") == "IPAddress")


def objects(gateway: Object, settings: Settings, parameters: Iterable[Mapping[str, Object]] = ()) -> list[Object]:
    """The objects to be applied. parameters: patches by kind, the class's before the Gateway's own."""
    made = _made(gateway)
    out = [_service_account(made), _deployment(made, settings), _service(made)]
    for patches in parameters:
        out = [_patched(obj, patches.get(obj["kind"])) for obj in out]
    return out


def _made(gateway: Object) -> Made:
    meta, infrastructure = gateway["metadata"], gateway["spec"].get("infrastructure") or {}
    given = meta.get("annotations") or {}
    # Without `infrastructure` the Gateway's own labels and annotations are handed on, as before there was such a field.
    own = infrastructure if infrastructure.keys() & {"labels", "annotations"} else meta
    annotations = {k: v for k, v in (own.get("annotations") or {}).items() if k not in OWN_ANNOTATIONS}
    labels = {
        **(own.get("labels") or {}),
        GATEWAY_NAME: meta["name"],
        CLASS_NAME: gateway["spec"]["gatewayClassName"],
        MANAGED: MANAGED_BY,
    }
    name = deployment_name(gateway)
    return Made(gateway, name, given.get(SERVICE_ACCOUNT) or name, labels, annotations)


def _metadata(made: Made, name: str) -> Object:
    owner = {
        "apiVersion": made.gateway["apiVersion"],
        "kind": "Gateway",
        "name": made.gateway_name,
        "uid": made.gateway["metadata"].get("uid", ""),
    }
    return {
        "name": name,
        "namespace": made.namespace,
        "labels": made.labels,
        "annotations": made.annotations,
        "ownerReferences": [owner],
    }


def _service_account(made: Made) -> Object:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(made, made.account)}


def _deployment(made: Made, settings: Settings) -> Object:
    labels = {
        **made.labels,
        "sidecar.istio.io/inject": "false",
        "istio.io/dataplane-mode": "none",
        "service.istio.io/canonical-name": made.name,
        "service.istio.io/canonical-revision": "latest",
    }
    network = settings.values.global_.network
    if network:
        labels["topology.istio.io/network"] = network
    annotations = {**PROMETHEUS, **made.annotations, "istio.io/rev": settings.revision or "default"}
    config = effective(settings.mesh.default_config, annotations)  # type: ignore[arg-type]
    context = Context(
        labels=labels,
        annotations=annotations,
        spec={},
        workload=Workload("Deployment", "apps/v1", made.name, made.namespace),
        proxy_config=config,
        settings=settings,
        native=False,
    )
    spec = gateway(context)["spec"]
    spec["containers"] = [_container(spec["containers"][0], context)]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(made, made.name),
        "spec": {
            "selector": {"matchLabels": {GATEWAY_NAME: made.gateway_name}},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {**spec, "serviceAccountName": made.account},
            },
        },
    }


def _container(container: Object, context: Context) -> Object:
    """The injected gateway's container with what a user's own manifest would say."""
    ports = [("metrics", AGENT_PORT), ("status-port", STATUS_PORT), ("http-envoy-prom", METRICS_PORT)]
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        **container["securityContext"],
    }
    startup = {**proxy.readiness(context), "initialDelaySeconds": 1, "periodSeconds": 1, "failureThreshold": 30}
    return {
        **container,
        "ports": [{"containerPort": number, "protocol": "TCP", "name": name} for name, number in ports],
        "resources": dict(context.settings.values.global_.proxy.resources),
        "securityContext": security,
        "startupProbe": {**startup, "timeoutSeconds": 1},
    }


def _service(made: Made) -> Object:
    annotations = made.gateway["metadata"].get("annotations") or {}
    spec: Object = {
        "type": annotations.get(SERVICE_TYPE) or "LoadBalancer",
        "ipFamilyPolicy": "PreferDualStack",
        "selector": {GATEWAY_NAME: made.gateway_name},
        "ports": service_ports(made.gateway["spec"].get("listeners") or ()),
    }
    addresses = made.gateway["spec"].get("addresses") or []
    if addresses and spec["type"] == "LoadBalancer" and addresses[0].get("value"):
        spec["loadBalancerIP"] = addresses[0]["value"]
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(made, made.name), "spec": spec}


def service_ports(listeners: Iterable[Object]) -> list[Object]:
    """The status port, and one port for each number that a listener has; the first listener names it."""
    out = [{"name": "status-port", "port": STATUS_PORT, "protocol": "TCP", "appProtocol": "tcp"}]
    for listener in listeners:
        if any(port["port"] == listener["port"] for port in out):
            continue
        protocol = str(listener["protocol"]).lower()
        name = _port_name(str(listener["name"]))
        if not name or any(port["name"] == name for port in out):
            name = f"{protocol}-{listener['port']}"
        out.append({"name": name, "port": listener["port"], "protocol": "TCP", "appProtocol": protocol})
    return out


def _port_name(name: str) -> str:
    """A listener's name as a Service's port may be called: a DNS label."""
    return re.sub(r"[^a-z0-9-]+", "-", name.lower())[:63].strip("-")


def _patched(obj: Object, patch: Object | None) -> Object:
    """The object with a parameters' patch laid over; it keeps its name and labels."""
    if not patch:
        return obj
    out = copy.deepcopy(obj)
    if obj["kind"] == "Deployment":
        pod = (patch.get("spec") or {}).get("template") or {}
        rest = {**patch, "spec": {k: v for k, v in (patch.get("spec") or {}).items() if k != "template"}}
        out = merge(out, rest)
        out["spec"]["template"] = merge(out["spec"]["template"], pod)
    elif obj["kind"] == "Service":
        ports = (patch.get("spec") or {}).get("ports")
        out = merge(out, patch)
        if ports is not None:
            out["spec"]["ports"] = _merged_ports(obj["spec"]["ports"], ports)
    else:
        out = merge(out, patch)
    out["metadata"]["name"], out["metadata"]["namespace"] = obj["metadata"]["name"], obj["metadata"]["namespace"]
    return out


def _merged_ports(ports: list[Object], patches: list[Object]) -> list[Object]:
    """A Service's ports merge by their number."""
    by_number = {port["port"]: port for port in ports}
    for patch in patches:
        by_number[patch["port"]] = {**by_number.get(patch["port"], {}), **patch}
    return list(by_number.values())


def covers(existing: Any, wanted: Any) -> bool:
    """Whether an object already has everything that is wanted of it, so that applying would change nothing.

    Not seen: what was wanted once and is not any more; the applied fields' names are compared for that.
    """
    if isinstance(wanted, Mapping):
        return isinstance(existing, Mapping) and all(
            (value in ({}, [], "") and not existing.get(key)) or covers(existing.get(key), value)
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        same_length = isinstance(existing, list) and len(existing) == len(wanted)
        return same_length and all(covers(a, b) for a, b in zip(existing, wanted, strict=True))
    return bool(existing == wanted)


def proxy_container(deployment: Object) -> Object:
    """The proxy in a Deployment that was made here."""
    containers: list[Object] = deployment["spec"]["template"]["spec"]["containers"]
    return next(container for container in containers if container["name"] == PROXY)
