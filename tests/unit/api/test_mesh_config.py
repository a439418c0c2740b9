"""MeshConfig is laid over its defaults field by field."""

from pathlib import Path

import pytest

from mizzen.api import mesh_config
from mizzen.api.errors import Invalid
from mizzen.api.types import Duration


def test_defaults() -> None:
    mesh = mesh_config.default()
    assert mesh.default_config is not None
    assert mesh.default_config.discovery_address == "istiod.istio-system.svc:15012"
    assert mesh.enable_auto_mtls is True
    assert mesh_config.read("") == mesh_config.read("{}") == mesh


def test_defaults_are_istios() -> None:
    path = Path(__file__).parents[2] / "answers/xds/default-mesh-config.json"
    assert mesh_config.read(path.read_text()) == mesh_config.default()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("proxyListenPort: 0", "proxyListenPort"),
        ("connectTimeout: 0s", "connectTimeout"),
        ("connectTimeout: 2h", "connectTimeout"),
        ("protocolDetectionTimeout: 0.0005s", "protocolDetectionTimeout"),
        ("trustDomain: ''", "trustDomain"),
        ("trustDomain: a_b", "trustDomain"),
        ("trustDomainAliases: [a..b]", "trustDomainAliases[0]"),
        ("meshMTLS: {ecdhCurves: [P-256]}", "meshMTLS.ecdhCurves"),
        ("localityLbSetting: {failover: [{from: a, to: a}]}", "localityLbSetting.failover[0]"),
        ("serviceSettings: [{hosts: ['a b']}]", "serviceSettings[0].hosts[0]"),
        ("defaultConfig: {drainDuration: 1.5s}", "defaultConfig.drainDuration"),
        ("defaultConfig: {discoveryAddress: a}", "defaultConfig.discoveryAddress"),
        ("defaultConfig: {discoveryAddress: 'a_b:1'}", "defaultConfig.discoveryAddress"),
        ("defaultConfig: {statusPort: 70000}", "defaultConfig.statusPort"),
        ("defaultConfig: {statsdUdpAddress: 'a:0'}", "defaultConfig.statsdUdpAddress"),
        ("defaultConfig: {tracing: {zipkin: {address: a}}}", "defaultConfig.tracing.zipkin.address"),
        ("defaultConfig: {privateKeyProvider: {}}", "defaultConfig.privateKeyProvider"),
        ("defaultConfig: {privateKeyProvider: {qat: {pollDelay: 0s}}}", "defaultConfig.privateKeyProvider.qat"),
        ("defaultConfig: {controlPlaneAuthPolicy: INHERIT}", "defaultConfig.controlPlaneAuthPolicy"),
    ],
)
def test_refused(text: str, path: str) -> None:
    with pytest.raises(Invalid) as error:
        mesh_config.read(text)
    assert error.value.path.startswith(path)


@pytest.mark.parametrize(
    "text",
    [
        "defaultConfig: {discoveryAddress: '[::1]:15012'}",
        "defaultConfig: {tracing: {zipkin: {address: '$(HOST_IP):9411'}}}",
        "defaultConfig: {tracingServiceName: CANONICAL_NAME_ONLY}",
        "trustDomain: td.example.",
        "connectTimeout: 1h",
    ],
)
def test_accepted(text: str) -> None:
    mesh_config.read(text)


@pytest.mark.parametrize(
    "network",
    ["{endpoints: [{fromCidr: x}]}", "{endpoints: [{fromRegistry: a.b}]}", "{gateways: [{address: 'a b', port: 1}]}"],
)
def test_networks_refused(network: str) -> None:
    with pytest.raises(Invalid, match="networks"):
        mesh_config.read_networks(f"networks: {{a: {network}}}")


def test_merging() -> None:
    mesh = mesh_config.read("""
connect_timeout: 3s
trustDomainAliases: [b, a]
h2UpgradePolicy: 1
outboundTrafficPolicy: {mode: REGISTRY_ONLY}
defaultConfig: {concurrency: 4, proxyMetadata: {A: b}}
extensionProviders:
- {name: envoy, envoyFileAccessLog: {path: /x}}
- {name: zip, zipkin: {service: z, port: "9411", enable64bitTraceId: true}}
meshMTLS: {minProtocolVersion: TLSV1_3}
""")
    assert mesh.connect_timeout == Duration.parse("3s")
    assert mesh.trust_domain_aliases == ("a", "b")
    assert mesh.h2_upgrade_policy == "UPGRADE"
    assert mesh.default_config is not None
    assert (mesh.default_config.concurrency, mesh.default_config.status_port) == (4, 15020)
    assert [p.name for p in mesh.extension_providers] == ["prometheus", "stackdriver", "envoy", "zip"]
    assert mesh.extension_providers[2].envoy_file_access_log is not None
    assert mesh.extension_providers[2].envoy_file_access_log.path == "/x"
    assert mesh.extension_providers[3].zipkin is not None
    assert mesh.extension_providers[3].zipkin.port == 9411
    assert mesh.mesh_mtls is not None
    more = mesh_config.read_proxy_config("proxyMetadata: {C: d}", mesh.default_config)
    assert more.proxy_metadata == {"A": "b", "C": "d"}
    assert more.concurrency == 4


def test_unknown_field() -> None:
    with pytest.raises(Invalid, match="did you mean connectTimeout"):
        mesh_config.read("conectTimeout: 1s")
    with pytest.raises(Invalid, match="line 2"):
        mesh_config.read("connectTimeout: 1s\nconnectTimeout: 2s")


def test_networks() -> None:
    networks = mesh_config.read_networks(
        "networks: {a: {endpoints: [{fromCidr: 10.0.0.0/8}], gateways: [{address: x, port: 1}]}}"
    )
    assert networks.networks["a"].gateways[0].port == 1
