"""The parts that the templates with an agent share: arguments, environment, probes, volumes, labels."""

from __future__ import annotations

import json
from typing import Any

import yaml

from mizzen.istiod.inject.config import Object
from mizzen.istiod.inject.names import NETWORK, READINESS, REVISION, STATUS_PORT
from mizzen.istiod.inject.proxy_config import departing
from mizzen.istiod.inject.templates.context import Context, env, field_env, resource_env

HEALTH = "/healthz/ready"
LOCALHOST = "LOCALHOST"


def canonical_labels(context: Context) -> dict[str, str]:
    labels = context.labels
    name = next(
        (
            labels[key]
            for key in ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
            if labels.get(key)
        ),
        context.workload.name,
    )
    revision = next(
        (
            labels[key]
            for key in ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")
            if labels.get(key)
        ),
        "latest",
    )
    return {
        "service.istio.io/canonical-name": name[:63].removesuffix("-"),
        "service.istio.io/canonical-revision": revision,
    }


def common_annotations(context: Context) -> dict[str, str]:
    names = context.application_containers
    result = {REVISION: context.settings.revision or "default"}
    for key in ("kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/default-logs-container"):
        if names and key not in context.annotations:
            result[key] = names[0]
    return result


def proxy_args(context: Context, kind: str) -> list[str]:
    """The agent's arguments; kind is sidecar or router."""
    values = context.settings.values.global_
    args = [
        "proxy",
        kind,
        "--domain",
        f"$(POD_NAMESPACE).svc.{values.proxy.cluster_domain}",
        f"--proxyLogLevel={context.annotation('sidecar.istio.io/logLevel', values.proxy.log_level)}",
        f"--proxyComponentLogLevel="
        f"{context.annotation('sidecar.istio.io/componentLogLevel', values.proxy.component_log_level)}",
        f"--log_output_level={context.annotation('sidecar.istio.io/agentLogLevel', values.logging.level)}",
    ]
    if values.sts.service_port:
        args.append(f"--stsPort={values.sts.service_port}")
    if values.log_as_json:
        args.append("--log_as_json")
    if values.proxy.outlier_log_path and kind == "sidecar":
        args.append(f"--outlierLogPath={values.proxy.outlier_log_path}")
    return args


def ca_address(context: Context) -> str:
    values, revision = context.settings.values.global_, context.settings.revision
    if values.ca_address:
        return values.ca_address
    suffix = "" if revision in ("", "default") else f"-{revision}"
    return f"istiod{suffix}.{values.istio_namespace}.svc:15012"


def identity_env(context: Context) -> list[Object]:
    result = []
    if context.settings.mesh.inbound_traffic_policy and (
        context.settings.mesh.inbound_traffic_policy.mode == LOCALHOST
    ):
        result.append(env("REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION", "true"))
    return [
        *result,
        env("PILOT_CERT_PROVIDER", context.settings.values.global_.pilot_cert_provider),
        env("CA_ADDR", ca_address(context)),
        field_env("POD_NAME", "metadata.name"),
        field_env("POD_NAMESPACE", "metadata.namespace"),
        field_env("INSTANCE_IP", "status.podIP"),
        field_env("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field_env("HOST_IP", "status.hostIP"),
        resource_env("ISTIO_CPU_LIMIT", "limits.cpu"),
    ]


def workload_env(context: Context, mode: str = "") -> list[Object]:
    """PROXY_CONFIG and node metadata; mode: how traffic is intercepted, where a proxy is there to know it."""
    values, workload = context.settings.values.global_, context.workload
    ports = ",\n".join(json.dumps(port, separators=(",", ":")) for port in context.application_ports)
    result = [
        env("PROXY_CONFIG", json.dumps(departing(context.proxy_config), separators=(",", ":")) + "\n"),
        env("ISTIO_META_POD_PORTS", f"[{ports}]"),
        env("ISTIO_META_APP_CONTAINERS", ",".join(context.application_containers)),
        resource_env("GOMEMLIMIT", "limits.memory"),
        env("ISTIO_META_CLUSTER_ID", values.multi_cluster.cluster_name or "Kubernetes"),
        field_env("ISTIO_META_NODE_NAME", "spec.nodeName"),
    ]
    if mode:
        result.append(env("ISTIO_META_INTERCEPTION_MODE", mode))
    network = context.labels.get(NETWORK) or values.network
    if network:
        result.append(env("ISTIO_META_NETWORK", network))
    name = context.labels.get("service.istio.io/workload-name") or workload.name
    if name:
        result.append(env("ISTIO_META_WORKLOAD_NAME", name))
    if workload.api_version and workload.name:
        result.append(env("ISTIO_META_OWNER", owner(context)))
    return result


def owner(context: Context) -> str:
    workload = context.workload
    place = f"namespaces/{workload.namespace or 'default'}/{workload.kind.lower()}s/{workload.name}"
    return f"kubernetes://apis/{workload.api_version}/{place}"


def mesh_env(context: Context) -> list[Object]:
    """Mesh identity, then every entry of proxyMetadata by name."""
    mesh = context.settings.mesh
    result = []
    if "sidecar.istio.io/bootstrapOverride" in context.annotations:
        result.append(env("ISTIO_BOOTSTRAP_OVERRIDE", "/etc/istio/custom-bootstrap/custom_bootstrap.json"))
    mesh_id = context.settings.values.global_.mesh_id or mesh.trust_domain
    if mesh_id:
        result.append(env("ISTIO_META_MESH_ID", mesh_id))
    if mesh.trust_domain:
        result.append(env("TRUST_DOMAIN", mesh.trust_domain))
    extra = dict(sorted(context.metadata.items()))
    named = [env(name, str(value)) for name, value in extra.items()]
    return result + named


def joined(*groups: list[Object]) -> list[Object]:
    """Variables in order; of two with one name the later wins, at the earlier one's place."""
    result: dict[str, Object] = {}
    for variable in (variable for group in groups for variable in group):
        result[variable["name"]] = variable
    return list(result.values())


def readiness(context: Context, port: int = 15021) -> Object:
    values = context.settings.values.global_.proxy
    return {
        "httpGet": {"path": HEALTH, "port": port},
        "initialDelaySeconds": seconds(context, "initialDelaySeconds", values.readiness_initial_delay_seconds),
        "periodSeconds": seconds(context, "periodSeconds", values.readiness_period_seconds),
        "timeoutSeconds": 3,
        "failureThreshold": seconds(context, "failureThreshold", values.readiness_failure_threshold),
    }


def seconds(context: Context, name: str, default: int) -> int:
    """A number as the pod's YAML would read the annotation: a leading zero means octal."""
    return int(yaml.safe_load(str(context.annotation(f"{READINESS}{name}", default))))


def status_port(context: Context) -> str:
    return str(context.annotation(STATUS_PORT, context.settings.values.global_.proxy.status_port))


def volume_json(context: Context, kind: str) -> dict[str, Any]:
    """The annotations userVolume and userVolumeMount: JSON objects by volume's name. Raises Invalid."""
    from mizzen.api.errors import Invalid

    name = f"sidecar.istio.io/{kind}"
    text = context.annotation(name)
    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Invalid(name, f"is not JSON: {error}", by="semantic") from error
    if not isinstance(value, dict) or not all(isinstance(item, dict) for item in value.values()):
        raise Invalid(name, "an object of volumes by name is expected", by="semantic")
    return value


def volumes(context: Context, *names: str) -> list[Object]:
    """Istio's own volumes, by name."""
    known: dict[str, Object] = {
        "workload-socket": {"emptyDir": {}},
        "credential-socket": {"emptyDir": {}},
        "workload-certs": {"emptyDir": {}},
        "istio-envoy": {"emptyDir": {"medium": "Memory"}},
        "istio-xds": {"emptyDir": {"medium": "Memory"}},
        "istio-data": {"emptyDir": {}},
        "istio-podinfo": {
            "downwardAPI": {
                "items": [
                    {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                    {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}},
                ]
            }
        },
        "istio-token": {
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "istio-token", "expirationSeconds": 43200, "audience": "istio-ca"}}
                ]
            }
        },
        "istiod-ca-cert": {"configMap": {"name": "istio-ca-root-cert"}},
        "istio-ca-crl": {"configMap": {"name": "istio-ca-crl", "optional": True}},
    }
    return [{"name": name, **known[name]} for name in names]


MOUNTS = {
    "workload-socket": "/var/run/secrets/workload-spiffe-uds",
    "credential-socket": "/var/run/secrets/credential-uds",
    "workload-certs": "/var/run/secrets/workload-spiffe-credentials",
    "istiod-ca-cert": "/var/run/secrets/istio",
    "istio-ca-crl": "/var/run/secrets/istio/crl",
    "istio-data": "/var/lib/istio/data",
    "istio-envoy": "/etc/istio/proxy",
    "istio-xds": "/etc/istio/proxy",
    "istio-token": "/var/run/secrets/tokens",
    "istio-podinfo": "/etc/istio/pod",
}


def mounts(*names: str) -> list[Object]:
    return [{"name": name, "mountPath": MOUNTS[name]} for name in names]


def pull(context: Context) -> Object:
    policy = context.settings.values.global_.image_pull_policy
    return {"imagePullPolicy": policy} if policy else {}


def pull_secrets(context: Context) -> Object:
    secrets = context.settings.values.global_.image_pull_secrets
    return {"imagePullSecrets": [{"name": name} for name in secrets]} if secrets else {}


def exec_hook(*command: str) -> Object:
    return {"exec": {"command": list(command)}}
