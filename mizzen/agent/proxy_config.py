"""The agent's ProxyConfig: defaults, mesh file, PROXY_CONFIG, pod annotations, each laid over the one before.

Works on protobuf's JSON as plain mappings: the control plane has checked it at injection. Not here: its effects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mizzen.agent.environment import Environment, seconds
from mizzen.api.errors import UsageError

Config = Mapping[str, Any]

DEFAULTS: Config = {
    "configPath": "./etc/istio/proxy",
    "serviceCluster": "istio-proxy",
    "drainDuration": "45s",
    "terminationDrainDuration": "5s",
    "discoveryAddress": "istiod.istio-system.svc:15012",
    "proxyAdminPort": 15000,
    "statusPort": 15020,
    "controlPlaneAuthPolicy": "MUTUAL_TLS",
    "statNameLength": 189,
}
ANNOTATION = "proxy.istio.io/config"
MERGED = ("proxyMetadata", "proxyHeaders")


def parsed(text: str, where: str) -> dict[str, Any]:
    """YAML or JSON text as an object; {} for nothing. Raises UsageError."""
    stripped = text.strip()
    if not stripped:
        return {}
    import json

    try:
        if stripped.startswith("{"):
            try:
                value = json.loads(stripped)
            except ValueError:
                value = from_yaml(stripped)
        else:
            value = from_yaml(stripped)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{where}: an object is expected")
    return value


def from_yaml(text: str) -> Any:
    import yaml  # 4 MB: only where a human wrote the configuration

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def merged(base: Config, over: Config) -> dict[str, Any]:
    result = {**base, **over}
    for name in MERGED:
        if name in base and name in over:
            result[name] = {**base[name], **over[name]}
    if "tracingServiceName" in over and "serviceCluster" not in over:
        result.pop("serviceCluster", None)
    return result


def proxy_config(mesh_text: str, environment: Environment, annotations: Mapping[str, str]) -> dict[str, Any]:
    """The whole merge. mesh_text: the mesh file's content, or "". Raises UsageError."""
    result = dict(DEFAULTS)
    mesh = parsed(mesh_text, "--meshConfig")
    result = merged(result, mesh.get("defaultConfig") or {})
    result = merged(result, parsed(environment.raw.get("PROXY_CONFIG", ""), "PROXY_CONFIG"))
    result = merged(result, parsed(annotations.get(ANNOTATION, ""), ANNOTATION))
    if "sidecar.istio.io/discoveryAddress" in annotations:
        result["discoveryAddress"] = annotations["sidecar.istio.io/discoveryAddress"]
    port = annotations.get("status.sidecar.istio.io/port", "")
    if port:
        if not port.isdigit():
            raise UsageError(f"status.sidecar.istio.io/port: {port!r} is no port")
        result["statusPort"] = int(port)
    if "concurrency" not in result and environment.cpu_limit:
        result["concurrency"] = environment.cpu_limit
    return result


def duration(config: Config, name: str) -> float:
    """A duration field in seconds. Raises UsageError."""
    text = str(config.get(name, DEFAULTS.get(name, "0s")))
    try:
        return seconds(text)
    except ValueError as error:
        raise UsageError(f"{name}: {text!r}: {error}") from error
