"""MeshConfig, MeshNetworks and the proxies' ProxyConfig: what a control plane does not start with, or ignores when it changes.

Takes typed values with the defaults below them, gives errors. Not here: the providers of extensions, which are only
looked at when something refers to them.
"""

from __future__ import annotations

from mizzen.api import text
from mizzen.api.errors import Invalid
from mizzen.api.istio.destination_rule import OutlierDetection
from mizzen.api.istio.mesh import MeshConfig, MeshNetworks, Network
from mizzen.api.istio.proxy_config import PrivateKeyProvider, ProxyConfig, ProxyTracing
from mizzen.api.types import Duration
from mizzen.api.validation.destination_rule import client_tls, locality
from mizzen.api.validation.report import Report

SECOND = 10**9  # nanoseconds
LONGEST_CONNECT = Duration(3600 * SECOND)


def mesh_config_errors(config: MeshConfig) -> list[Invalid]:
    """What is wrong with a MeshConfig."""
    report = Report()
    report.take("proxyListenPort", text.port(config.proxy_listen_port))
    _connect_timeout(config.connect_timeout, report)
    detection = config.protocol_detection_timeout
    if detection is not None and detection.nanos:
        whole = detection.nanos % text.MILLISECOND == 0
        report.need(whole, "protocolDetectionTimeout", "only whole milliseconds are kept")
    if report.need(config.default_config is not None, "defaultConfig", "is required") and config.default_config:
        _proxy_config(config.default_config, "defaultConfig.", report)
    locality(config.locality_lb_setting, OutlierDetection(), "localityLbSetting", report)
    for at, settings in enumerate(config.service_settings):
        for number, host in enumerate(settings.hosts):
            report.take(f"serviceSettings[{at}].hosts[{number}]", text.wildcard_domain(host))
    report.take("trustDomain", _trust_domain(config.trust_domain))
    for at, alias in enumerate(config.trust_domain_aliases):
        report.take(f"trustDomainAliases[{at}]", _trust_domain(alias))
    if config.mesh_mtls is not None:
        report.need(not config.mesh_mtls.ecdh_curves, "meshMTLS.ecdhCurves", "not supported inside the mesh")
    return report.errors


def proxy_config_errors(config: ProxyConfig) -> list[Invalid]:
    """What is wrong with a ProxyConfig."""
    report = Report()
    _proxy_config(config, "", report)
    return report.errors


def mesh_networks_errors(networks: MeshNetworks) -> list[Invalid]:
    """What is wrong with MeshNetworks."""
    report = Report()
    for name, network in networks.networks.items():
        _network(network, f"networks[{name}]", report)
    return report.errors


def _connect_timeout(value: Duration | None, report: Report) -> None:
    if value is None:
        report.error("connectTimeout", "is required")
    elif not text.duration(value):
        report.need(value.nanos <= LONGEST_CONNECT.nanos, "connectTimeout", f"{value} is more than an hour")
    else:
        report.take("connectTimeout", text.duration(value))


def _trust_domain(value: str) -> str:
    if not value:
        return "a trust domain must not be empty"
    parts = value.split(".")
    parts = parts[:-1] if len(parts) > 1 and not parts[-1] else parts
    return "" if all(map(text.label, parts)) else f"{value!r} is not a trust domain"


def _proxy_config(config: ProxyConfig, at: str, report: Report) -> None:
    for name, value in (("configPath", config.config_path), ("binaryPath", config.binary_path)):
        report.need(bool(value), f"{at}{name}", "is required")
    if config.tracing_service_name is None:
        report.need(bool(config.service_cluster), f"{at}serviceCluster", "is required, or else tracingServiceName")
    drain = config.drain_duration
    wrong = text.duration(drain) if drain is not None else "is required"
    report.take(f"{at}drainDuration", wrong)
    if drain is not None and not wrong:
        report.need(drain.nanos % SECOND == 0, f"{at}drainDuration", "only whole seconds are kept")
    for name, port in (("proxyAdminPort", config.proxy_admin_port), ("statusPort", config.status_port)):
        report.take(f"{at}{name}", text.port(port))
    report.take(f"{at}discoveryAddress", _address(config.discovery_address))
    optional = [
        ("statsdUdpAddress", config.statsd_udp_address),
        ("envoyMetricsServiceAddress", config.envoy_metrics_service_address),
        ("envoyMetricsService.address", config.envoy_metrics_service.address if config.envoy_metrics_service else ""),
        (
            "envoyAccessLogService.address",
            config.envoy_access_log_service.address if config.envoy_access_log_service else "",
        ),
    ]
    for name, address in optional:
        report.take(f"{at}{name}", _address(address) if address else "")
    inherit = config.control_plane_auth_policy == "INHERIT"
    report.need(not inherit, f"{at}controlPlaneAuthPolicy", "INHERIT has nothing to inherit from")
    if config.tracing is not None:
        _tracing(config.tracing, f"{at}tracing", report)
    if config.private_key_provider is not None:
        _private_key_provider(config.private_key_provider, f"{at}privateKeyProvider", report)


def _tracing(tracing: ProxyTracing, path: str, report: Report) -> None:
    tracers = (("zipkin", tracing.zipkin), ("datadog", tracing.datadog), ("lightstep", tracing.lightstep))
    for name, tracer in tracers:
        if tracer is not None:
            address = tracer.address.replace("$(HOST_IP)", "127.0.0.1", 1) if name != "lightstep" else tracer.address
            report.take(f"{path}.{name}.address", _address(address))
    if tracing.lightstep is not None:
        report.need(bool(tracing.lightstep.access_token), f"{path}.lightstep.accessToken", "is required")
    client_tls(tracing.tls_settings, f"{path}.tlsSettings", "", report)


def _private_key_provider(value: PrivateKeyProvider, path: str, report: Report) -> None:
    name, provider = ("cryptomb", value.cryptomb) if value.cryptomb is not None else ("qat", value.qat)
    if not report.need(provider is not None, path, "one of cryptomb and qat is needed") or provider is None:
        return
    delay = provider.poll_delay
    report.need(delay is not None and delay.nanos != 0, f"{path}.{name}.pollDelay", "is required, and not zero")


def _address(value: str) -> str:
    """A host and a port, as "host:port" or "[address]:port"."""
    host, colon, port = value.rpartition(":")
    if not colon or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        return f"{value!r} is not of the form host:port"
    if not port.isdecimal() or text.port(int(port)):
        return f"{port!r} is not a port number"
    host = host.removeprefix("[").removesuffix("]")
    return "" if text.is_address(host) or not text.fqdn(host) else f"{host!r} is neither a host name nor an address"


def _network(network: Network, path: str, report: Report) -> None:
    for at, endpoint in enumerate(network.endpoints):
        if endpoint.from_cidr is not None:
            report.take(f"{path}.endpoints[{at}].fromCidr", text.subnet(endpoint.from_cidr))
        if endpoint.from_registry is not None:
            named = text.label(endpoint.from_registry)
            report.need(named, f"{path}.endpoints[{at}].fromRegistry", f"{endpoint.from_registry!r} is not a label")
    for at, gateway in enumerate(network.gateways):
        here = f"{path}.gateways[{at}]"
        if gateway.registry_service_name is not None:
            report.take(f"{here}.registryServiceName", text.fqdn(gateway.registry_service_name))
        if gateway.address is not None and not text.is_address(gateway.address):
            report.take(f"{here}.address", text.fqdn(gateway.address))
        report.take(f"{here}.port", text.port(gateway.port))
