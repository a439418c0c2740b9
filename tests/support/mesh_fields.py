"""Each field of MeshConfig with a value that shows what it does, and how that is seen: what docs/mesh-config.md is made of.

`python -m tests.support.mesh_fields` prints the page. A field SERVED changes what proxies are served, one INJECTED what is
injected; READ is honoured by a part that neither shows (named in the reason); UNUSED has no effect here, for the reason given.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from msgspec import inspect

from mizzen.api.istio.mesh import MeshConfig
from mizzen.api.mesh_config import DEFAULT_MESH_CONFIG

SERVED, INJECTED, READ, UNUSED = "served", "injected", "read", "no effect"


class Field(NamedTuple):
    """beside: settings that stand in both meshes that are compared."""

    state: str
    value: Any
    why: str = ""
    beside: dict[str, Any] = {}


RETRIES = {"attempts": 7, "retryOn": "5xx"}
ACCESS_LOG = {"defaultProviders": {"accessLogging": ["envoy"]}}
FIELDS: dict[str, Field] = {
    "proxyListenPort": Field(SERVED, 15101),
    "proxyInboundListenPort": Field(SERVED, 15106),
    "proxyHttpPort": Field(SERVED, 15107),
    "connectTimeout": Field(SERVED, "3s"),
    "hboneIdleTimeout": Field(UNUSED, "3s", "of HBONE, which is not built"),
    "tcpKeepalive": Field(SERVED, {"probes": 7}),
    "protocolDetectionTimeout": Field(SERVED, "3s"),
    "dnsRefreshRate": Field(SERVED, "7s"),
    "ingressClass": Field(SERVED, "other"),
    "ingressService": Field(READ, "other", "whose addresses Ingresses get as their status"),
    "ingressSelector": Field(SERVED, "other"),
    "ingressControllerMode": Field(SERVED, "OFF"),
    "enableTracing": Field(SERVED, False),
    "accessLogFile": Field(SERVED, "/dev/stdout"),
    "accessLogFormat": Field(SERVED, "%PROTOCOL%"),
    "accessLogEncoding": Field(SERVED, "JSON", beside={"accessLogFile": "/dev/stdout"}),
    "enableEnvoyAccessLogService": Field(SERVED, True),
    "disableEnvoyListenerLog": Field(SERVED, True, beside={"accessLogFile": "/dev/stdout"}),
    "defaultConfig": Field(INJECTED, {"statusPort": 15999}, "the agent reads it from the pod, too"),
    "outboundTrafficPolicy": Field(SERVED, {"mode": "REGISTRY_ONLY"}),
    "inboundTrafficPolicy": Field(SERVED, {"mode": "LOCALHOST"}),
    "localityLbSetting": Field(SERVED, {"distribute": [{"from": "*", "to": {"a/*": 100}}]}),
    "zoneAwareLbSetting": Field(SERVED, {"minClusterSize": 3}),
    "h2UpgradePolicy": Field(SERVED, "UPGRADE"),
    "defaultHttpRetryPolicy": Field(SERVED, RETRIES),
    "defaultInboundHttpRetryPolicy": Field(SERVED, RETRIES),
    "defaultTrafficPolicy": Field(SERVED, {"connectionPool": {"tcp": {"maxConnections": 7}}}),
    "pathNormalization": Field(SERVED, {"normalization": "MERGE_SLASHES"}),
    "defaultServiceExportTo": Field(SERVED, ["~"]),
    "defaultVirtualServiceExportTo": Field(SERVED, ["."]),
    "defaultDestinationRuleExportTo": Field(SERVED, ["."]),
    "rootNamespace": Field(SERVED, "bookshop"),
    "discoverySelectors": Field(READ, [{"matchLabels": {"a": "b"}}], "which namespaces of a cluster istiod looks at"),
    "serviceEntryVisibility": Field(SERVED, {"defaultVisibility": "NONE", "applyToSidecars": True}),
    "serviceSettings": Field(
        READ,
        [{"hosts": ["*"], "settings": {"clusterLocal": True}}],
        "whose endpoints proxies of other clusters do not get",
    ),
    "serviceScopeConfigs": Field(
        UNUSED, [{"scope": "GLOBAL"}], "of several clusters in ambient mode, which is not built"
    ),
    "enableAutoMtls": Field(SERVED, False),
    "trustDomain": Field(SERVED, "other.test"),
    "trustDomainAliases": Field(SERVED, ["other.test"]),
    "caCertificates": Field(
        SERVED, [{"pem": "x", "trustDomains": ["other.test"]}], "roots of signers, too, and of the trust bundle"
    ),
    "ca": Field(UNUSED, {"address": "a:1"}, "nor has it in Istio: EXTERNAL_CA chooses another signer"),
    "certificates": Field(UNUSED, [{"secretName": "a"}], "nor has it in Istio, where it is deprecated"),
    "verifyCertificateAtClient": Field(UNUSED, True, "nor has it in Istio, where it is deprecated"),
    "meshMTLS": Field(SERVED, {"minProtocolVersion": "TLSV1_3"}),
    "tlsDefaults": Field(SERVED, {"minProtocolVersion": "TLSV1_3"}),
    "inboundClusterStatName": Field(SERVED, "x"),
    "outboundClusterStatName": Field(SERVED, "x"),
    "enablePrometheusMerge": Field(INJECTED, False),
    "configSources": Field(
        READ,
        [{"address": "fs:///a"}],
        "read at start: `fs:///PATH`, beside --config-dir, and `k8s://`, without which objects of Istio and the Gateway API "
        "do not come from the API server; `xds://` sources are refused",
    ),
    "defaultProviders": Field(SERVED, {"accessLogging": ["envoy"]}),
    "extensionProviders": Field(
        SERVED, [{"name": "envoy", "envoyFileAccessLog": {"path": "/x"}}], "where something names it", ACCESS_LOG
    ),
}
TEXT = {
    SERVED: "honoured: changes what proxies are served",
    INJECTED: "honoured: changes what is injected",
    READ: "honoured",
    UNUSED: "no effect here",
}


def shape(kind: inspect.Type) -> str:
    """A type in a reader's words."""
    if isinstance(kind, inspect.UnionType):
        return " or ".join(shape(one) for one in kind.types if not isinstance(one, inspect.NoneType))
    if isinstance(kind, inspect.StructType):
        return str(kind.cls.__name__)
    if isinstance(kind, inspect.LiteralType):
        return ", ".join(str(value) for value in kind.values)
    if isinstance(kind, inspect.VarTupleType):
        return f"list of {shape(kind.item_type)}"
    names = {"StrType": "string", "BoolType": "boolean", "IntType": "integer", "CustomType": "Duration"}
    return names[type(kind).__name__]


def fields() -> dict[str, inspect.Field]:
    info = inspect.type_info(MeshConfig)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: field for field in info.fields}


def default(name: str) -> str:
    value = DEFAULT_MESH_CONFIG.get(name)
    return (
        "" if value in (None, {}, []) or name in ("defaultConfig", "extensionProviders") else f"`{json.dumps(value)}`"
    )


def page() -> str:
    """docs/mesh-config.md."""
    head = """# MeshConfig

Settings of the whole mesh: from `--mesh-config FILE`, or from the ConfigMap `istio` of the control plane's namespace; both are
followed while istiod runs. What each field does here; a test sets each and looks at what is served and injected. Unknown fields are
refused by name. This page is made by `python -m tests.support.mesh_fields`.

| field | type | default | state |
| --- | --- | --- | --- |
"""
    rows = [
        f"| `{name}` | {shape(field.type)} | {default(name)} | {TEXT[found.state]}{': ' if found.why else ''}{found.why} |"
        for name, field in fields().items()
        if (found := FIELDS.get(name)) is not None
    ]
    return head + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(page(), end="")
