"""The effective MeshConfig: what the operator gives over the built-in defaults.

Takes YAML text or a file, gives a MeshConfig. defaultConfig merges field by field (its proxyMetadata and proxyHeaders key
by key), extensionProviders by name; any other field given replaces the default.
Not here: ProxyConfig objects and annotations, watching the file (config/).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from mizzen.api.errors import UsageError
from mizzen.api.istio.mesh import MeshConfig
from mizzen.api.istio.meta import dec_hook

DEFAULTS: Mapping[str, Any] = {
    "proxyListenPort": 15001,
    "proxyInboundListenPort": 15006,
    "connectTimeout": "10s",
    "protocolDetectionTimeout": "0s",
    "ingressClass": "istio",
    "ingressService": "istio-ingressgateway",
    "ingressControllerMode": "STRICT",
    "enableTracing": True,
    "defaultConfig": {
        "configPath": "./etc/istio/proxy",
        "binaryPath": "/usr/local/bin/envoy",
        "serviceCluster": "istio-proxy",
        "drainDuration": "45s",
        "discoveryAddress": "istiod.istio-system.svc:15012",
        "proxyAdminPort": 15000,
        "controlPlaneAuthPolicy": "MUTUAL_TLS",
        "statNameLength": 189,
        "statusPort": 15020,
        "terminationDrainDuration": "5s",
    },
    "outboundTrafficPolicy": {"mode": "ALLOW_ANY"},
    "inboundTrafficPolicy": {},
    "enableAutoMtls": True,
    "trustDomain": "cluster.local",
    "defaultServiceExportTo": ["*"],
    "defaultVirtualServiceExportTo": ["*"],
    "defaultDestinationRuleExportTo": ["*"],
    "rootNamespace": "istio-system",
    "localityLbSetting": {"enabled": True},
    "dnsRefreshRate": "60s",
    "enablePrometheusMerge": True,
    "extensionProviders": [
        {"name": "prometheus", "prometheus": {}},
        {"name": "stackdriver", "stackdriver": {}},
        {"name": "envoy", "envoyFileAccessLog": {"path": "/dev/stdout"}},
    ],
    "defaultProviders": {},
}
"""What the binary has without any configuration; a Helm chart's values are given like anyone's."""
MERGED_KEYS = ("proxyMetadata", "proxyHeaders")


def load_mesh_config(path: Path | None = None) -> MeshConfig:
    """The effective configuration with what a file gives; raises UsageError when it cannot be read."""
    if path is None:
        return mesh_config({})
    try:
        return parse_mesh_config(path.read_text(), str(path))
    except OSError as error:
        raise UsageError(f"{path}: {error}") from error


def parse_mesh_config(text: str, where: str = "mesh config") -> MeshConfig:
    """The effective configuration with what a YAML text gives; raises UsageError naming the field that is wrong."""
    try:
        given = yaml.safe_load(text) or {}
        if not isinstance(given, dict):
            raise UsageError(f"{where}: not a mapping")
        return mesh_config(given)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise UsageError(f"{where}: {error}") from error


def mesh_config(given: Mapping[str, Any]) -> MeshConfig:
    """The effective configuration with some JSON over the defaults."""
    merged = {**DEFAULTS, **given}
    if "defaultConfig" in given:
        merged["defaultConfig"] = merge_proxy_config(DEFAULTS["defaultConfig"], given["defaultConfig"] or {})
    if "extensionProviders" in given:
        by_name = {one["name"]: one for one in (*DEFAULTS["extensionProviders"], *(given["extensionProviders"] or ()))}
        merged["extensionProviders"] = list(by_name.values())
    return msgspec.convert(merged, MeshConfig, dec_hook=dec_hook)


def merge_proxy_config(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """One ProxyConfig (JSON) over another: each field given replaces, maps of MERGED_KEYS merge."""
    merged = {**base, **given}
    for key in MERGED_KEYS:
        if key in base and key in given:
            merged[key] = {**base[key], **given[key]}
    return merged
