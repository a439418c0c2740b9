"""The node that a proxy is: id, cluster, locality, metadata, put together from environment, files and addresses.

Source: Istio's node metadata. Not here: the bootstrap around it (bootstrap.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mizzen import __version__
from mizzen.agent.environment import Environment
from mizzen.api.errors import UsageError

META, META_JSON = "ISTIO_META_", "ISTIO_METAJSON_"
# The version of Istio whose protocol the agent speaks: control planes compare it.
ISTIO_VERSION = "1.32.0"
LOCALITY_LABEL = "topology.istio.io/locality"


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """What the bootstrap says of this proxy. locality: region, zone, subzone."""

    kind: str
    id: str
    cluster: str
    locality: tuple[str, str, str]
    metadata: Mapping[str, Any]
    ips: tuple[str, ...]
    domain: str

    @property
    def ipv6_only(self) -> bool:
        return all(":" in ip for ip in self.ips)

    @property
    def dual_stack(self) -> bool:
        return {":" in ip for ip in self.ips} == {True, False}


def downward(text: str) -> dict[str, str]:
    """A downward API file: lines `key="quoted value"`. Lines that are none are left out."""
    result = {}
    for line in text.splitlines():
        key, equal, quoted = line.partition("=")
        if not equal:
            continue
        try:
            result[key] = json.loads(quoted)
        except ValueError:
            result[key] = quoted.strip('"')
    return result


def node_ips(environment: Environment, interfaces: Sequence[str]) -> tuple[str, ...]:
    """The pod's addresses, INSTANCE_IP (one or a comma list) first."""
    own = [ip.strip() for ip in environment.instance_ip.split(",") if ip.strip()]
    found = tuple(dict.fromkeys([*own, *interfaces]))
    return found or ("127.0.0.1", "::1")


def make_node(
    kind: str,
    environment: Environment,
    config: Mapping[str, Any],
    *,
    domain: str,
    service_cluster: str,
    interfaces: Sequence[str],
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    sockets: Mapping[str, str] | None = None,
) -> Node:
    """The node of a proxy of that kind (sidecar or router). labels, annotations: the pod's; sockets: what
    metadata says of secret servers that are there already. Raises UsageError."""
    ips = node_ips(environment, interfaces)
    metadata = make_metadata(environment, config, labels, annotations, ips) | dict(sockets or {})
    locality = locality_of(metadata)
    if any(locality):
        metadata["LABELS"] = metadata.get("LABELS", {}) | {"istio-locality": ".".join(filter(None, locality))}
    name = f"{environment.pod_name}.{environment.pod_namespace}"
    return Node(
        kind=kind,
        id=f"{kind}~{ips[0]}~{name}~{domain}",
        cluster=cluster_name(environment, config, metadata, service_cluster),
        locality=locality,
        metadata=metadata,
        ips=ips,
        domain=domain,
    )


def make_metadata(
    environment: Environment,
    config: Mapping[str, Any],
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    ips: Sequence[str],
) -> dict[str, Any]:
    """Node metadata, in Istio's order of sources: ProxyConfig, environment, JSON from the environment, what is known."""
    result: dict[str, Any] = {
        key.removeprefix(META): value
        for key, value in (config.get("proxyMetadata") or {}).items()
        if key.startswith(META)
    }
    raw = environment.raw
    result |= {key.removeprefix(META): value for key, value in raw.items() if key.startswith(META)}
    for key, text in sorted(raw.items()):
        if key.startswith(META_JSON):
            try:
                value = json.loads(text)
            except ValueError as error:
                raise UsageError(f"{key}: is not JSON: {error}") from error
            if key == f"{META_JSON}LABELS":
                labels = {**labels, **value}
            else:
                result |= value
    known = {
        "NAME": environment.pod_name,
        "NAMESPACE": environment.pod_namespace,
        "SERVICE_ACCOUNT": environment.service_account,
        "INSTANCE_IPS": ",".join(ips),
        "PILOT_SAN": [environment.pilot_san] if environment.pilot_san else None,
        "ENVOY_STATUS_PORT": environment.status_port,
        "ENVOY_PROMETHEUS_PORT": environment.prometheus_port,
    }
    result.setdefault("ISTIO_VERSION", ISTIO_VERSION)
    result.setdefault("MIZZEN_VERSION", __version__)
    result |= {key: value for key, value in known.items() if value}
    result["PROXY_CONFIG"] = dict(config)
    own = {key: value for key, value in labels.items() if key != "pod-template-hash"}
    if own:
        result["LABELS"] = own
    if annotations:
        result["ANNOTATIONS"] = dict(annotations)
    return result


def locality_of(metadata: Mapping[str, Any]) -> tuple[str, str, str]:
    """Region, zone and subzone by label; a dot separates them where there is no slash."""
    labels = metadata.get("LABELS") or {}
    text = labels.get(LOCALITY_LABEL) or labels.get("istio-locality") or ""
    if "/" not in text:
        text = text.replace(".", "/")
    region, zone, subzone = (*text.split("/", 2), "", "")[:3]
    return region, zone, subzone


def cluster_name(environment: Environment, config: Mapping[str, Any], metadata: Mapping[str, Any], flag: str) -> str:
    """The node's cluster: what is configured, else application or workload and namespace."""
    configured = config.get("serviceCluster", "") or flag
    if "tracingServiceName" in config:
        configured = traced_name(str(config["tracingServiceName"]), metadata, environment)
    if configured and configured != "istio-proxy":
        return str(configured)
    namespace = environment.pod_namespace
    app = (metadata.get("LABELS") or {}).get("app")
    if namespace:
        return f"{app or metadata.get('WORKLOAD_NAME') or 'istio-proxy'}.{namespace}"
    return "istio-proxy"


def traced_name(how: str, metadata: Mapping[str, Any], environment: Environment) -> str:
    labels = metadata.get("LABELS") or {}
    canonical = str(labels.get("service.istio.io/canonical-name") or metadata.get("WORKLOAD_NAME") or "")
    if how == "CANONICAL_NAME_ONLY":
        return canonical
    return f"{canonical}.{environment.pod_namespace}" if how == "CANONICAL_NAME_AND_NAMESPACE" else ""
