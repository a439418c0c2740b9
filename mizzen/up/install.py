"""What a mesh's API server holds before any user's object: istio-system's Services, mesh configuration and webhooks, DNS.

Pure: a `Mesh` of addresses and choices in, objects out. Source: Istio's installation (names, labels, selectors of the webhook
entries), Kubernetes' kube-dns Service.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from mizzen import __version__
from mizzen.istiod.inject.selectors import entries

Object = dict[str, Any]
SYSTEM = "istio-system"
UNTOUCHED = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"]
ISTIO_GROUPS = ["security.istio.io", "networking.istio.io", "telemetry.istio.io", "extensions.istio.io"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """host: this machine's address as pods reach it; ports: istiod's; dns_ip: the cluster's resolver."""

    host: str
    revision: str = "default"
    xds_port: int = 15010
    secure_xds_port: int = 15012
    webhook_port: int = 15017
    monitoring_port: int = 15014
    dns_ip: str = "10.96.0.10"
    dns_port: int = 53
    data_plane: str = "mizzen"
    envoy: str = ""


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def service(name: str, where: str, ports: list[Object], host: str, **spec: Any) -> list[Object]:
    """A Service without a selector, and the slice that leads it to this machine."""
    slice_ports = [{"name": p["name"], "port": p["targetPort"], "protocol": p.get("protocol", "TCP")} for p in ports]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": where, "labels": {"app": name, "istio": name}},
            "spec": {"ports": ports, **spec},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-host",
                "namespace": where,
                "labels": {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "mizzen-up"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [host], "conditions": {"ready": True, "serving": True, "terminating": False}}],
            "ports": slice_ports,
        },
    ]


def istiod(plan: Plan) -> list[Object]:
    """The Service istiod, leading to this machine."""
    ports = [
        {"name": "grpc-xds", "port": 15010, "targetPort": plan.xds_port},
        {"name": "https-dns", "port": 15012, "targetPort": plan.secure_xds_port},
        {"name": "https-webhook", "port": 443, "targetPort": plan.webhook_port},
        {"name": "http-monitoring", "port": 15014, "targetPort": plan.monitoring_port},
    ]
    return service("istiod", SYSTEM, ports, plan.host)


def dns(plan: Plan) -> list[Object]:
    """The Service kube-dns, leading to the resolver on this machine."""
    ports: list[Object] = [
        {"name": "dns", "port": 53, "targetPort": plan.dns_port, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "targetPort": plan.dns_port, "protocol": "TCP"},
    ]
    return service("kube-dns", "kube-system", ports, plan.host, clusterIP=plan.dns_ip)


def mesh_config(plan: Plan) -> Object:
    """The ConfigMap istio: MeshConfig as Helm's chart has it, and access logs on."""
    mesh: Object = {
        "accessLogFile": "/dev/stdout",
        "defaultConfig": {"discoveryAddress": f"istiod.{SYSTEM}.svc:15012"},
        "defaultProviders": {"metrics": ["prometheus"]},
        "enablePrometheusMerge": True,
        "rootNamespace": SYSTEM,
        "trustDomain": "cluster.local",
    }
    if plan.data_plane == "envoy":
        mesh["defaultConfig"]["proxyMetadata"] = {"MIZZEN_DATA_PLANE": "envoy", "ENVOY_BIN": plan.envoy}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": SYSTEM, "labels": {"istio.io/rev": plan.revision}},
        "data": {"mesh": json.dumps(mesh, indent=1), "meshNetworks": "networks: {}"},
    }


def injector_config(plan: Plan) -> Object:
    """The ConfigMap istio-sidecar-injector. The node's CNI plugin leads traffic, so pods need no init container for it."""
    values = {
        "global": {"hub": "mizzen", "tag": __version__, "proxy": {"image": "proxyv2"}},
        "istio_cni": {"enabled": True, "validate": False},
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio-sidecar-injector", "namespace": SYSTEM, "labels": {"istio.io/rev": plan.revision}},
        "data": {"config": json.dumps({"policy": "enabled"}), "values": json.dumps(values, indent=1)},
    }


def injector(plan: Plan) -> Object:
    """The mutating webhook that injects sidecars."""
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "istio-sidecar-injector", "labels": _labels(plan, "sidecar-injector")},
        "webhooks": [
            {
                "name": f"{name}.sidecar-injector.istio.io",
                "clientConfig": {"service": {"name": "istiod", "namespace": SYSTEM, "path": "/inject", "port": 443}},
                "sideEffects": "None",
                "rules": [rule],
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "admissionReviewVersions": ["v1"],
                "namespaceSelector": {"matchExpressions": namespaces},
                "objectSelector": {"matchExpressions": pods},
            }
            for name, namespaces, pods in entries(plan.revision)
        ],
    }


def validator(plan: Plan) -> Object:
    """The validating webhook for Istio's kinds."""
    rule = {
        "operations": ["CREATE", "UPDATE"],
        "apiGroups": ISTIO_GROUPS,
        "apiVersions": ["*"],
        "resources": ["*"],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": f"istio-validator-{SYSTEM}", "labels": _labels(plan, "istiod")},
        "webhooks": [
            {
                "name": "validation.istio.io",
                "clientConfig": {"service": {"name": "istiod", "namespace": SYSTEM, "path": "/validate", "port": 443}},
                "rules": [rule],
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }


def _labels(plan: Plan, app: str) -> dict[str, str]:
    return {"istio.io/rev": plan.revision, "app": app, "istio": app}


def base(plan: Plan) -> list[Object]:
    """What istiod itself needs to start."""
    return [namespace(SYSTEM), mesh_config(plan), injector_config(plan), *istiod(plan), *dns(plan)]


def webhooks(plan: Plan) -> list[Object]:
    """What may only be there once istiod answers: a webhook that does not would refuse every pod."""
    return [injector(plan), validator(plan)]
