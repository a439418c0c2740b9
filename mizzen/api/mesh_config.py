"""MeshConfig, MeshNetworks and the proxies' ProxyConfig, read from YAML and laid over the defaults.

Takes text as the ConfigMap `istio`, a file or the annotation proxy.istio.io/config holds it, gives frozen values. Names
may be proto's (snake_case) or JSON's, enums may be numbers, 64-bit numbers may be quoted: as protobuf's JSON reader
takes them. Not here: which field has which effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from mizzen.api.errors import Invalid
from mizzen.api.istio.mesh import MeshConfig, MeshNetworks
from mizzen.api.istio.proxy_config import ProxyConfig
from mizzen.api.kinds import decode_as, encode
from mizzen.api.manifest import loads
from mizzen.api.shapes import Choice, Entries, Fields, Items, Number, Ruled, Shape, shape
from mizzen.api.validation.mesh import mesh_config_errors, mesh_networks_errors, proxy_config_errors

DEFAULT_PROXY_CONFIG: Final[Mapping[str, Any]] = {
    "configPath": "./etc/istio/proxy",
    "binaryPath": "/usr/local/bin/envoy",
    "serviceCluster": "istio-proxy",
    "drainDuration": "45s",
    "terminationDrainDuration": "5s",
    "discoveryAddress": "istiod.istio-system.svc:15012",
    "proxyAdminPort": 15000,
    "statusPort": 15020,
    "controlPlaneAuthPolicy": "MUTUAL_TLS",
    "statNameLength": 189,
}
DEFAULT_MESH_CONFIG: Final[Mapping[str, Any]] = {
    "proxyListenPort": 15001,
    "proxyInboundListenPort": 15006,
    "connectTimeout": "10s",
    "protocolDetectionTimeout": "0s",
    "dnsRefreshRate": "60s",
    "ingressClass": "istio",
    "ingressService": "istio-ingressgateway",
    "ingressControllerMode": "STRICT",
    "enableTracing": True,
    "outboundTrafficPolicy": {"mode": "ALLOW_ANY"},
    "inboundTrafficPolicy": {},
    "localityLbSetting": {"enabled": True},
    "enableAutoMtls": True,
    "enablePrometheusMerge": True,
    "trustDomain": "cluster.local",
    "rootNamespace": "istio-system",
    "defaultServiceExportTo": ["*"],
    "defaultVirtualServiceExportTo": ["*"],
    "defaultDestinationRuleExportTo": ["*"],
    "defaultConfig": DEFAULT_PROXY_CONFIG,
    "defaultProviders": {},
    "extensionProviders": [
        {"name": "prometheus", "prometheus": {}},
        {"name": "stackdriver", "stackdriver": {}},
        {"name": "envoy", "envoyFileAccessLog": {"path": "/dev/stdout"}},
    ],
}

M = TypeVar("M", bound=msgspec.Struct)


def default() -> MeshConfig:
    """The MeshConfig of the control plane's binary."""
    return _decode(MeshConfig, DEFAULT_MESH_CONFIG)


def read(text: str, base: MeshConfig | None = None) -> MeshConfig:
    """The MeshConfig of a YAML text, laid over base (the defaults when None).

    A field that is given replaces base's; defaultConfig is merged (`merged_proxy_config`), so are defaultProviders (by
    field) and extensionProviders (by name); trustDomainAliases are added. Raises Invalid.
    """
    given = _normal(MeshConfig, _mapping(text))
    below = dict(DEFAULT_MESH_CONFIG) if base is None else encode(base)
    result = below | given
    result["defaultConfig"] = merged_proxy_config(below.get("defaultConfig", {}), given.get("defaultConfig", {}))
    result["defaultProviders"] = below.get("defaultProviders", {}) | given.get("defaultProviders", {})
    providers = {provider.get("name", ""): provider for provider in below.get("extensionProviders", ())}
    providers |= {provider.get("name", ""): provider for provider in given.get("extensionProviders", ())}
    result["extensionProviders"] = list(providers.values())
    aliases = {*below.get("trustDomainAliases", ()), *given.get("trustDomainAliases", ())}
    result["trustDomainAliases"] = sorted(aliases)
    return _sound(_decode(MeshConfig, result), mesh_config_errors)


def read_proxy_config(text: str, base: ProxyConfig) -> ProxyConfig:
    """The ProxyConfig of a YAML text (the annotation proxy.istio.io/config) over base. Raises Invalid."""
    given = _normal(ProxyConfig, _mapping(text))
    return _sound(_decode(ProxyConfig, merged_proxy_config(encode(base), given)), proxy_config_errors)


def merged_proxy_config(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A ProxyConfig in JSON over another: each field replaced, but proxyMetadata and proxyHeaders merged inside."""
    result = {**base, **over}
    for name in ("proxyMetadata", "proxyHeaders"):
        if name in base and name in over:
            result[name] = {**base[name], **over[name]}
    if "tracingServiceName" in over and "serviceCluster" not in over:
        result.pop("serviceCluster", None)  # the two exclude each other
    return result


def read_networks(text: str) -> MeshNetworks:
    """The MeshNetworks of a YAML text. Raises Invalid."""
    return _sound(_decode(MeshNetworks, _normal(MeshNetworks, _mapping(text))), mesh_networks_errors)


def _sound(value: M, errors_of: Callable[[M], list[Invalid]]) -> M:
    for error in errors_of(value):
        raise error
    return value


def _mapping(text: str) -> dict[str, Any]:
    documents = loads(text if "\n" in text else text + "\n")
    if not documents:
        return {}
    for problem in documents[0].problems:
        raise Invalid(problem.path, f"line {problem.line}: {problem.reason}")
    return documents[0].object


def _decode(type_: type[M], obj: Mapping[str, Any]) -> M:
    value: M = decode_as(type_, obj)
    return value


def _normal(type_: type[msgspec.Struct], value: Mapping[str, Any]) -> dict[str, Any]:
    result = normal(shape(type_), value)
    assert isinstance(result, dict)
    return result


def normal(form: Shape, value: Any) -> Any:
    """A value in protobuf's JSON with the names, enums and numbers written as our types know them."""
    if isinstance(form, Ruled):
        return normal(form.inner, value)
    if isinstance(form, Fields) and isinstance(value, Mapping):
        named = {form.proto_names.get(str(name), str(name)): entry for name, entry in value.items()}
        return {
            name: normal(form.fields[name], entry) if name in form.fields else entry
            for name, entry in named.items()
            if entry is not None
        }
    if isinstance(form, Items) and isinstance(value, list):
        return [normal(form.item, item) for item in value]
    if isinstance(form, Entries) and isinstance(value, Mapping):
        return {key: normal(form.value, entry) for key, entry in value.items()}
    if isinstance(form, Choice) and isinstance(value, int) and not isinstance(value, bool):
        return form.values[value] if 0 <= value < len(form.values) else value
    if isinstance(form, Number) and isinstance(value, str):
        try:
            return int(value) if form.whole else float(value)
        except ValueError:
            return value
    return value
