"""The template `gateway`: fills a user's own container istio-proxy with a router; no interception."""

from __future__ import annotations

from mizzen.istiod.inject.config import Object
from mizzen.istiod.inject.names import PROXY
from mizzen.istiod.inject.templates import proxy
from mizzen.istiod.inject.templates.context import Context

VOLUMES = (
    "workload-socket",
    "credential-socket",
    "workload-certs",
    "istio-envoy",
    "istio-data",
    "istio-podinfo",
    "istio-token",
)
LOW_PORTS = {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]}


def gateway(context: Context) -> Object:
    """See the module."""
    values = context.settings.values
    root = ("istiod-ca-cert",) if values.global_.pilot_cert_provider == "istiod" else ()
    container: Object = {
        "name": PROXY,
        "image": context.image(values.global_.proxy.image),
        **proxy.pull(context),
        "ports": [{"containerPort": 15090, "protocol": "TCP", "name": "http-envoy-prom"}],
        "args": proxy.proxy_args(context, "router"),
        "securityContext": {"runAsUser": int(context.uid), "runAsGroup": int(context.gid)},
        "env": proxy.joined(
            proxy.identity_env(context), proxy.workload_env(context, context.config_mode), proxy.mesh_env(context)
        ),
        "readinessProbe": proxy.readiness(context),
        "volumeMounts": proxy.mounts(*VOLUMES, *root),
    }
    if values.global_.proxy.lifecycle:
        container["lifecycle"] = values.global_.proxy.lifecycle
    return {
        "metadata": {"labels": proxy.canonical_labels(context), "annotations": proxy.common_annotations(context)},
        "spec": {
            "securityContext": values.gateways.security_context or LOW_PORTS,
            "containers": [container],
            "volumes": proxy.volumes(context, *VOLUMES, *root),
            **proxy.pull_secrets(context),
        },
    }
