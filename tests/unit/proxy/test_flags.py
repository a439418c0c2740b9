"""Envoy's command line: each flag does what it says, or is refused by its name."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2

from mizzen.proxy.accesslog.sinks import FileSink
from mizzen.proxy.config import supported
from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.log_format import Lines, c_escaped, pattern
from mizzen.proxy.net import local
from mizzen.proxy.server import Options, Server
from tests.support.poll import until

EMPTY: dict[str, Any] = {"static_resources": {}}


def validated(tmp_path: Path, *flags: str, bootstrap: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "bootstrap.json"
    file.write_text(json.dumps(EMPTY if bootstrap is None else bootstrap))
    command = [sys.executable, "-m", "mizzen", "proxy", "--mode", "validate", "-c", str(file), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "flag",
    ["--cpuset-threads", "--enable-fine-grain-logging"],
)
def test_what_there_is_not_is_refused_by_name(tmp_path: Path, flag: str) -> None:
    done = validated(tmp_path, flag)
    assert done.returncode == 1 and flag.partition("=")[0] in done.stderr


def test_several_workers_do_not_restart_hot(tmp_path: Path) -> None:
    done = validated(tmp_path, "--concurrency", "3", "--restart-epoch", "0")
    assert done.returncode == 1 and "hot restart with --concurrency > 1" in done.stderr


def test_several_workers_have_no_sinks(tmp_path: Path) -> None:
    kind = "type.googleapis.com/envoy.config.metrics.v3.StatsdSink"
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 8125, "protocol": "UDP"}}
    sinks = {"stats_sinks": [{"name": "s", "typed_config": {"@type": kind, "address": address}}]}
    done = validated(tmp_path, "--concurrency", "2", bootstrap=sinks)
    assert done.returncode == 1 and "Bootstrap.stats_sinks with --concurrency > 1" in done.stderr
    assert validated(tmp_path, bootstrap=sinks).returncode == 0


def test_unknown_fields_of_the_bootstrap(tmp_path: Path) -> None:
    newer = {"static_resources": {"clusters": [{"name": "a", "newer_field": 1}]}, "later": {}}
    refused = validated(tmp_path, bootstrap=newer)
    assert refused.returncode == 1 and "newer_field" in refused.stderr
    taken = validated(tmp_path, "--allow-unknown-static-fields", bootstrap=newer)
    assert taken.returncode == 0 and "no field named" in taken.stderr
    wrong = validated(
        tmp_path, "--allow-unknown-static-fields", bootstrap={"static_resources": {"clusters": [{"name": 1}]}}
    )
    assert wrong.returncode == 1, "a value of the wrong type is no unknown field"


def test_unknown_fields_of_resources() -> None:
    cluster = cluster_pb2.Cluster.FromString(
        cluster_pb2.Cluster(name="a").SerializeToString() + b"\xfa\x7f\x01x"  # field 2047
    )
    with pytest.raises(Unsupported, match=r"Cluster a: field 2047 of envoy\.config\.cluster\.v3\.Cluster"):
        supported.check(cluster, "Cluster a")
    supported.ignore_unknown(True)
    try:
        supported.check(cluster, "Cluster a")
    finally:
        supported.ignore_unknown(False)


def test_the_base_id_is_written(tmp_path: Path) -> None:
    assert validated(tmp_path, "--base-id", "7", "--base-id-path", str(tmp_path / "id")).returncode == 0
    assert (tmp_path / "id").read_text() == "7"


def test_the_format_of_the_log(tmp_path: Path) -> None:
    newer = {**EMPTY, "newer_than_this": 1}
    done = validated(tmp_path, "--allow-unknown-static-fields", "--log-format", "%l|%n|%v", bootstrap=newer)
    assert done.stderr.startswith("warning|config|")
    unknown = validated(tmp_path, "--log-format", "%Q")
    assert unknown.returncode == 1 and "--log-format %Q" in unknown.stderr
    both = {"application_log_config": {"log_format": {"text_format": "%v"}}}
    twice = validated(tmp_path, "--log-format", "%v", bootstrap=both)
    assert twice.returncode == 1 and "Only one of ApplicationLogConfig.log_format" in twice.stderr


def test_escaped_lines() -> None:
    record = logging.LogRecord("envoy.main", logging.INFO, "f", 1, 'a\n"b"\té', (), None)
    assert Lines(pattern("%v", "x"), escaped=True).format(record) == r"a\n\"b\"\t\303\251"
    assert c_escaped("\\'\x01") == r"\\\'\001"


def test_the_version_of_the_local_address() -> None:
    local.use_version("v6")
    try:
        assert ":" in local.local_address()
    finally:
        local.use_version("v4")
    assert "." in local.local_address()


async def test_access_logs_wait_for_time_or_size(tmp_path: Path) -> None:
    loop, file = asyncio.get_running_loop(), tmp_path / "log"
    patient = FileSink(str(file), loop, 3600.0, 100)
    patient.write("x" * 60)
    assert file.read_text() == ""
    patient.write("y" * 60)
    assert len(file.read_text()) == 120
    hasty = FileSink(str(file), loop, 0.01, 1 << 20)
    hasty.write("z")
    await until(lambda: file.read_text().endswith("z"))


async def test_how_a_drain_ends_connections() -> None:
    def server(strategy: str) -> Server:
        options = Options(drain_strategy=strategy, drain_time_s=100.0)
        return Server(bootstrap_pb2.Bootstrap(), options, asyncio.get_running_loop())

    def stream(direction: int) -> Any:
        return SimpleNamespace(details="", hcm=SimpleNamespace(listener=SimpleNamespace(direction=direction)))

    at_once, gradual = server("immediate"), server("gradual")
    at_once.drain(inbound_only=True)
    assert at_once.draining_header(stream(1)) and not at_once.draining_header(stream(2))
    gradual.drain()
    assert sum(gradual.draining_header(stream(1)) for _ in range(100)) < 5
    gradual.drain_started = time.time() - 50
    assert 200 < sum(gradual.draining_header(stream(1)) for _ in range(1000)) < 800
    gradual.drain_started = time.time() - 101
    assert all(gradual.draining_header(stream(1)) for _ in range(100))
