"""The bootstrap: what ProxyConfig and annotations change in it, and that a real Envoy takes all of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mizzen.agent.bootstrap import Paths, bootstrap
from mizzen.agent.environment import read_environment
from mizzen.agent.node import make_node
from mizzen.agent.proxy_config import proxy_config
from mizzen.agent.supervisor import find_envoy
from mizzen.api.errors import Unsupported
from tests.unit.agent.test_node import POD

FULL = """
tracing:
  zipkin: {address: "zipkin.ns:9411"}
gatewayTopology:
  proxyProtocol: {}
statsdUdpAddress: 127.0.0.1:8125
envoyAccessLogService: {address: "als.ns:999"}
envoyMetricsService: {address: "$(HOST_IP):998"}
runtimeValues: {"a.b": "1", "re2.max_program_size.error_level": ""}
connectionSettings: {globalDownstreamConnectionLimit: 77}
proxyStatsMatcher: {inclusionPrefixes: ["listener.{pod_ip}"]}
"""


def made(
    config: str = "",
    raw: dict[str, str] | None = None,
    *,
    lean: bool = False,
    interfaces: tuple[str, ...] = ("10.0.0.5",),
) -> dict[str, Any]:
    base = POD if ":" not in interfaces[0] else POD | {"INSTANCE_IP": ""}
    environment = read_environment(base | (raw or {}) | {"HOST_IP": "192.0.2.1"})
    notes = {"proxy.istio.io/config": config, "sidecar.istio.io/statsHistogramBuckets": '{"istio": [1, 5, 10]}'}
    merged = proxy_config("", environment, notes)
    node = make_node(
        "sidecar",
        environment,
        merged,
        domain="ns.svc.cluster.local",
        service_cluster="istio-proxy",
        interfaces=interfaces,
        labels={"app": "a"},
        annotations={},
    )
    return bootstrap(node, merged, environment, Paths("/x/XDS", "/x/sds"), annotations=notes, lean=lean)


def clusters(whole: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry for entry in whole["static_resources"]["clusters"]}


def test_static_parts() -> None:
    whole = made()
    assert list(clusters(whole)) == ["prometheus_stats", "agent", "sds-grpc", "xds-grpc"]
    assert clusters(whole)["xds-grpc"]["alt_stat_name"] == "xds-grpc;"
    assert [entry["name"] for entry in whole["static_resources"]["listeners"]] == ["0.0.0.0_15090", "0.0.0.0_15021"]
    assert whole["dynamic_resources"]["ads_config"]["api_type"] == "DELTA_GRPC"
    assert made(raw={"ISTIO_DELTA_XDS": "false"})["dynamic_resources"]["ads_config"]["api_type"] == "GRPC"


def test_what_proxy_config_asks_for() -> None:
    whole = made(FULL)
    layer = whole["layered_runtime"]["layers"][0]["static_layer"]
    assert layer["a.b"] == "1"
    assert "re2.max_program_size.error_level" not in layer
    monitor = whole["overload_manager"]["resource_monitors"][0]["typed_config"]
    assert monitor["max_active_downstream_connections"] == 77
    address = clusters(whole)["envoy_metrics_service"]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
    assert address["endpoint"]["address"]["socket_address"]["address"] == "192.0.2.1"
    patterns = whole["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"]
    assert {"prefix": "listener.10.0.0.5"} in patterns


def test_ipv6() -> None:
    whole = made(interfaces=("fd00::5",))
    assert whole["admin"]["address"]["socket_address"]["address"] == "::1"
    both = made(interfaces=("10.0.0.5", "fd00::5"))
    assert both["static_resources"]["listeners"][0]["additional_addresses"]


@pytest.mark.parametrize(
    "config", ["customConfigFile: /x", 'envoyMetricsService: {address: "a:1", tlsSettings: {mode: SIMPLE}}']
)
def test_unsupported_fields_are_named(config: str) -> None:
    with pytest.raises(Unsupported, match=config.split(":")[0]):
        made(config)


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("config", ["", FULL])
def test_envoy_accepts_it(tmp_path: Path, config: str, lean: bool) -> None:
    envoy = find_envoy()
    if not envoy:
        pytest.skip("no Envoy here")
    raw = {"ENVOY_SECURE_METRICS_PORT": "15443", "ENVOY_SECURE_MERGED_METRICS_PORT": "15444"}
    file = tmp_path / "bootstrap.json"
    file.write_text(json.dumps(made(config, raw if config else None, lean=lean)))
    done = subprocess.run([envoy, "--mode", "validate", "-c", str(file)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


SERVED = """
tracing:
  zipkin: {address: "zipkin.ns:9411"}
gatewayTopology:
  proxyProtocol: {}
runtimeValues: {"a.b": "1", "re2.max_program_size.error_level": ""}
connectionSettings: {globalDownstreamConnectionLimit: 77}
proxyStatsMatcher: {inclusionPrefixes: ["listener.{pod_ip}"]}
"""


@pytest.mark.parametrize("config", ["", SERVED])
def test_our_proxy_accepts_it(tmp_path: Path, config: str) -> None:
    raw = {"ENVOY_SECURE_METRICS_PORT": "15443", "ENVOY_SECURE_MERGED_METRICS_PORT": "15444"}
    file = tmp_path / "bootstrap.json"
    file.write_text(json.dumps(made(config, raw if config else None, lean=True)))
    command = [sys.executable, "-m", "mizzen", "proxy", "--mode", "validate", "-c", str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
