"""The agent's environment variables, read once into one value.

Source: Istio's pilot-agent. A variable that cannot be read is refused by its name. Not here: what ISTIO_META_* mean
(node.py), ProxyConfig (proxy_config.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from mizzen.api.errors import UsageError

TRUE = frozenset({"1", "t", "true"})
FALSE = frozenset({"", "0", "f", "false"})
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds. `raw` is the whole environment, for metadata, headers and the child."""

    raw: Mapping[str, str] = {}
    instance_ip: str = ""
    pod_name: str = ""
    pod_namespace: str = ""
    service_account: str = ""
    ca_address: str = ""
    ca_provider: str = "Citadel"
    pilot_cert_provider: str = "istiod"
    xds_root_ca: str = ""
    ca_root_ca: str = ""
    istiod_san: str = ""
    trust_domain: str = "cluster.local"
    jwt_policy: str = "third-party-jwt"
    prov_cert: str = ""
    file_mounted_certs: bool = False
    output_certs: str = ""
    secret_ttl_s: float = 86400.0
    grace_ratio: float = 0.5
    grace_jitter: float = 0.01
    file_debounce_s: float = 0.1
    rsa_key_size: int = 2048
    pkcs8_key: bool = False
    signature_algorithm: str = "ECDSA"
    ecc_curve: str = "P256"
    cert_signer: str = ""
    cluster_id: str = "Kubernetes"
    dns_capture: bool = False
    dns_server: bool = False
    dns_address: str = "localhost:15053"
    dns_parallel: bool = False
    dns_timeout_s: float = 5.0
    proxy_config_xds: bool = False
    status_port: int = 15021
    prometheus_port: int = 15090
    secure_metrics_port: int = 0
    secure_merged_metrics_port: int = 0
    disable_envoy: bool = False
    minimum_drain_s: float = 5.0
    exit_on_zero_connections: bool = False
    bootstrap_override: str = ""
    app_probers: str = ""
    prometheus_annotations: str = ""
    legacy_localhost_probes: bool = False
    metrics_localhost_only: bool = False
    cpu_limit: int = 0
    delta_xds: bool = True
    skip_deprecated_logs: bool = True
    socket_file: str = "socket"
    data_plane: str = "mizzen"
    envoy_binary: str = ""
    pilot_san: str = ""
    wasm_insecure_registries: str = ""
    wasm_expiry_s: float = 86400.0
    wasm_purge_every_s: float = 3600.0
    wasm_request_timeout_s: float = 15.0
    wasm_attempts: int = 5
    wasm_most_bytes: int = 256 << 20

    @property
    def headers(self) -> Mapping[str, Mapping[str, str]]:
        """Extra gRPC metadata, for "XDS" and "CA"."""
        return {
            kind: {
                name.removeprefix(f"{kind}_HEADER_"): value
                for name, value in self.raw.items()
                if name.startswith(f"{kind}_HEADER_")
            }
            for kind in ("XDS", "CA")
        }


# Variable → field; how it is read follows from the field's type.
VARIABLES: Mapping[str, str] = {
    "INSTANCE_IP": "instance_ip",
    "POD_NAME": "pod_name",
    "POD_NAMESPACE": "pod_namespace",
    "SERVICE_ACCOUNT": "service_account",
    "CA_ADDR": "ca_address",
    "CA_PROVIDER": "ca_provider",
    "PILOT_CERT_PROVIDER": "pilot_cert_provider",
    "XDS_ROOT_CA": "xds_root_ca",
    "CA_ROOT_CA": "ca_root_ca",
    "ISTIOD_SAN": "istiod_san",
    "TRUST_DOMAIN": "trust_domain",
    "JWT_POLICY": "jwt_policy",
    "PROV_CERT": "prov_cert",
    "FILE_MOUNTED_CERTS": "file_mounted_certs",
    "OUTPUT_CERTS": "output_certs",
    "SECRET_TTL": "secret_ttl_s",
    "SECRET_GRACE_PERIOD_RATIO": "grace_ratio",
    "SECRET_GRACE_PERIOD_RATIO_JITTER": "grace_jitter",
    "FILE_DEBOUNCE_DURATION": "file_debounce_s",
    "WORKLOAD_RSA_KEY_SIZE": "rsa_key_size",
    "PKCS8_KEY": "pkcs8_key",
    "ECC_SIGNATURE_ALGORITHM": "signature_algorithm",
    "ECC_CURVE": "ecc_curve",
    "ISTIO_META_CERT_SIGNER": "cert_signer",
    "ISTIO_META_CLUSTER_ID": "cluster_id",
    "ISTIO_META_DNS_CAPTURE": "dns_capture",
    "ISTIO_META_ENABLE_DNS_SERVER": "dns_server",
    "DNS_PROXY_ADDR": "dns_address",
    "DNS_FORWARD_PARALLEL": "dns_parallel",
    "DNS_FORWARD_TIMEOUT": "dns_timeout_s",
    "PROXY_CONFIG_XDS_AGENT": "proxy_config_xds",
    "ENVOY_STATUS_PORT": "status_port",
    "ENVOY_PROMETHEUS_PORT": "prometheus_port",
    "ENVOY_SECURE_METRICS_PORT": "secure_metrics_port",
    "ENVOY_SECURE_MERGED_METRICS_PORT": "secure_merged_metrics_port",
    "DISABLE_ENVOY": "disable_envoy",
    "MINIMUM_DRAIN_DURATION": "minimum_drain_s",
    "EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "exit_on_zero_connections",
    "ISTIO_BOOTSTRAP_OVERRIDE": "bootstrap_override",
    "ISTIO_KUBE_APP_PROBERS": "app_probers",
    "ISTIO_PROMETHEUS_ANNOTATIONS": "prometheus_annotations",
    "REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION": "legacy_localhost_probes",
    "METRICS_LOCALHOST_ACCESS_ONLY": "metrics_localhost_only",
    "ISTIO_CPU_LIMIT": "cpu_limit",
    "ISTIO_DELTA_XDS": "delta_xds",
    "ENVOY_SKIP_DEPRECATED_LOGS": "skip_deprecated_logs",
    "WORKLOAD_IDENTITY_SOCKET_FILE": "socket_file",
    "MIZZEN_DATA_PLANE": "data_plane",
    "ENVOY_BIN": "envoy_binary",
    "PILOT_SAN": "pilot_san",
    "WASM_INSECURE_REGISTRIES": "wasm_insecure_registries",
    "WASM_MODULE_EXPIRY": "wasm_expiry_s",
    "WASM_PURGE_INTERVAL": "wasm_purge_every_s",
    "WASM_HTTP_REQUEST_TIMEOUT": "wasm_request_timeout_s",
    "WASM_HTTP_REQUEST_MAX_RETRIES": "wasm_attempts",
    "ISTIO_WASM_MAX_BINARY_SIZE_BYTES": "wasm_most_bytes",
}


def seconds(text: str) -> float:
    """A duration in Go's notation. Raises ValueError."""
    parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)", text)
    if text.strip() == "0":
        return 0.0
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise ValueError("a duration such as 1m30s is expected")
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def boolean(text: str) -> bool:
    """Raises ValueError."""
    word = text.strip().lower()
    if word not in TRUE | FALSE:
        raise ValueError("true or false is expected")
    return word in TRUE


def read_environment(raw: Mapping[str, str]) -> Environment:
    """Raises UsageError with the variable's name."""
    defaults = Environment()
    values: dict[str, object] = {}
    for variable, name in VARIABLES.items():
        text = raw.get(variable, "")
        if not text:
            continue
        before = getattr(defaults, name)
        try:
            if isinstance(before, bool):
                values[name] = boolean(text)
            elif isinstance(before, int):
                values[name] = int(text)
            elif isinstance(before, float):
                values[name] = seconds(text) if name.endswith("_s") else float(text)
            else:
                values[name] = text
        except ValueError as error:
            raise UsageError(f"{variable}: {text!r}: {error}") from error
    environment = Environment(raw=dict(raw), **values)  # type: ignore[arg-type]
    check(environment)
    return environment


def check(environment: Environment) -> None:
    if environment.prov_cert and environment.file_mounted_certs:
        raise UsageError("PROV_CERT and FILE_MOUNTED_CERTS exclude each other")
    if "/" in environment.socket_file:
        raise UsageError("WORKLOAD_IDENTITY_SOCKET_FILE: a bare file name is expected")
    if environment.data_plane not in ("mizzen", "envoy"):
        raise UsageError(f"MIZZEN_DATA_PLANE: {environment.data_plane!r} is neither mizzen nor envoy")
    if environment.ca_provider != "Citadel":
        raise UsageError(f"CA_PROVIDER: {environment.ca_provider!r} is not supported; Citadel is")
