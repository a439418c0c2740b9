"""The templates `grpc-agent` and `grpc-simple`: proxyless gRPC, with an agent that gets certificates and without one."""

from __future__ import annotations

import json

from mizzen.istiod.inject.config import Object
from mizzen.istiod.inject.names import PROXY, REWRITE_PROBERS
from mizzen.istiod.inject.templates import proxy
from mizzen.istiod.inject.templates.context import Context, env, field_env

AGENT_VOLUMES = (
    "workload-socket",
    "workload-certs",
    "istio-xds",
    "istio-data",
    "istio-podinfo",
    "istio-token",
)
SIMPLE_BOOTSTRAP = "/var/lib/grpc/data/bootstrap.json"
SIMPLE_VOLUME = "grpc-io-proxyless-bootstrap"


def grpc_agent(context: Context) -> Object:
    """See the module."""
    values = context.settings.values.global_
    root = ("istiod-ca-cert",) if values.pilot_cert_provider == "istiod" else ()
    own = [
        env("ISTIO_META_GENERATOR", "grpc"),
        env("OUTPUT_CERTS", "/var/lib/istio/data"),
    ]
    grpc_mode = [env("ISTIO_META_DNS_CAPTURE", "false"), env("DISABLE_ENVOY", "true")]
    agent: Object = {
        "name": PROXY,
        "image": context.image(values.proxy.image),
        **proxy.pull(context),
        "ports": [{"containerPort": 15020, "protocol": "TCP", "name": "mesh-metrics"}],
        "args": proxy.proxy_args(context, "sidecar"),
        "lifecycle": {
            "postStart": proxy.exec_hook("pilot-agent", "wait", "--url=http://localhost:15020/healthz/ready")
        },
        "env": proxy.joined(
            own,
            proxy.identity_env(context),
            proxy.workload_env(context),
            proxy.mesh_env(context),
            grpc_mode,
        ),
        "readinessProbe": proxy.readiness(context, 15020),
        "resources": agent_resources(context),
        "volumeMounts": proxy.mounts(*AGENT_VOLUMES, *root),
    }
    return {
        "metadata": {
            "labels": proxy.canonical_labels(context),
            "annotations": {**proxy.common_annotations(context), REWRITE_PROBERS: "false"},
        },
        "spec": {
            "containers": [agent, *(application(name) for name in context.application_containers)],
            "volumes": proxy.volumes(context, *AGENT_VOLUMES, *root),
            **proxy.pull_secrets(context),
        },
    }


def agent_resources(context: Context) -> Object:
    from mizzen.istiod.inject.templates.sidecar import resources

    return resources(context)


def application(name: str) -> Object:
    """An application's container learns where its bootstrap is, and may read it and the certificates."""
    return {
        "name": name,
        "env": [
            env("GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT", "true"),
            env("GRPC_XDS_BOOTSTRAP", "/etc/istio/proxy/grpc-bootstrap.json"),
        ],
        "volumeMounts": proxy.mounts("istio-data", "istio-xds", "workload-certs"),
    }


def grpc_simple(context: Context) -> Object:
    """See the module."""
    values = context.settings.values.global_
    server = f"dns:///istiod.{values.istio_namespace}.svc:15010"
    bootstrap = {
        "xds_servers": [{"server_uri": server, "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}],
        "node": {
            "id": "sidecar~$INSTANCE_IP~$POD_NAME.$POD_NAMESPACE~cluster.local",
            "metadata": {"GENERATOR": "grpc"},
        },
    }
    script = f'cat > "$BOOTSTRAP" <<END\n{json.dumps(bootstrap, indent=1)}\nEND\n'
    init: Object = {
        "name": "grpc-bootstrap-init",
        "image": "busybox:1.28",
        "command": ["sh", "-c", script],
        "env": [
            field_env("INSTANCE_IP", "status.podIP"),
            field_env("POD_NAME", "metadata.name"),
            field_env("POD_NAMESPACE", "metadata.namespace"),
            env("BOOTSTRAP", SIMPLE_BOOTSTRAP),
        ],
        "volumeMounts": [{"name": SIMPLE_VOLUME, "mountPath": "/var/lib/grpc/data/"}],
    }
    containers = [
        {
            "name": container["name"],
            "env": [
                env("GRPC_XDS_BOOTSTRAP", SIMPLE_BOOTSTRAP),
                env("GRPC_GO_LOG_VERBOSITY_LEVEL", "99"),
                env("GRPC_GO_LOG_SEVERITY_LEVEL", "info"),
            ],
            "volumeMounts": [{"name": SIMPLE_VOLUME, "mountPath": "/var/lib/grpc/data/"}],
        }
        for container in context.spec.get("containers") or ()
    ]
    return {
        "metadata": {"annotations": {REWRITE_PROBERS: "false"}},
        "spec": {
            "initContainers": [init],
            "containers": containers,
            "volumes": [{"name": SIMPLE_VOLUME, "emptyDir": {}}],
        },
    }
