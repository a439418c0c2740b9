"""What is not supported is refused with the field's name; `--mode validate` tells."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
ANY = {"@type": ROUTER}
DATADOG = "type.googleapis.com/envoy.config.trace.v3.DatadogConfig"


def validated(tmp_path: Path, **manager: Any) -> tuple[int, str]:
    """Exit code and words of `mizzen proxy --mode validate` for a bootstrap with one HTTP connection manager."""
    config = {
        "@type": HCM,
        "stat_prefix": "in",
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": []}]},
        **manager,
    }
    listener = {
        "name": "in",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": config}]}],
    }
    file = tmp_path / "bootstrap.json"
    file.write_text(json.dumps({"static_resources": {"listeners": [listener]}}))
    done = subprocess.run(
        [sys.executable, "-m", "mizzen", "proxy", "--mode", "validate", "-c", str(file)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_another_tracer_is_refused_by_name(tmp_path: Path) -> None:
    provider = {"name": "envoy.tracers.datadog", "typed_config": {"@type": DATADOG, "collector_cluster": "x"}}
    code, words = validated(tmp_path, tracing={"provider": provider})
    assert code != 0 and "envoy.tracers.datadog" in words


def test_sampling_without_a_tracer_is_accepted(tmp_path: Path) -> None:
    code, words = validated(tmp_path, tracing={"random_sampling": {"value": 1}})
    assert code == 0, words


def test_an_operator_that_is_not_counted_is_refused_by_name(tmp_path: Path) -> None:
    log = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
    text = {"text_format_source": {"inline_string": "%UPSTREAM_WIRE_BYTES_SENT%\n"}}
    code, words = validated(tmp_path, access_log=[{"name": "out", "typed_config": {"@type": log, "log_format": text}}])
    assert code != 0 and "UPSTREAM_WIRE_BYTES_SENT" in words


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("http1_safe_max_connection_duration", True),
        ("early_header_mutation_extensions", [{"name": "x", "typed_config": {"@type": ROUTER}}]),
        ("http3_protocol_options", {}),
        ("append_local_overload", True),
    ],
)
def test_a_field_that_nothing_serves_is_refused_by_name(tmp_path: Path, field: str, value: Any) -> None:
    code, words = validated(tmp_path, **{field: value})
    assert code != 0 and f".{field}" in words


def test_a_field_of_a_message_within_is_refused_by_its_path(tmp_path: Path) -> None:
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    virtual_host = {"name": "all", "domains": ["*"], "routes": [route], "include_attempt_count_in_response": True}
    hosts = {"virtual_hosts": [{**virtual_host, "retry_policy_typed_config": ANY}]}
    code, words = validated(tmp_path, route_config=hosts)
    assert code != 0 and "virtual_hosts.retry_policy_typed_config" in words
