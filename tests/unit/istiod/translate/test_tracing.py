"""Tracers are only sent to proxies that have them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

CASE = Path(__file__).parents[3] / "answers" / "xds" / "telemetry-tracing"


def tracers(tmp_path: Path, **node: object) -> set[str]:
    """Names of the tracing providers in the listeners of a sidecar."""
    proxies = [{**proxy, **node} for proxy in yaml.safe_load((CASE / "proxies.yaml").read_text())]
    (tmp_path / "proxies.yaml").write_text(yaml.safe_dump(proxies))
    command = [sys.executable, "-m", "mizzen", "xds", "dump", "-f", str(CASE / "input.yaml"), "-o", "json"]
    command += ["--mesh-config", str(CASE / "mesh.yaml"), "--proxies", str(tmp_path / "proxies.yaml")]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    found: set[str] = set()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(tracing := value.get("tracing"), dict) and "provider" in tracing:
                found.add(tracing["provider"]["name"])
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(json.loads(text))
    return found


def test_a_proxy_that_lists_nothing_has_all(tmp_path: Path) -> None:
    assert {"envoy.tracers.zipkin", "envoy.tracers.opentelemetry"} <= tracers(tmp_path)


def test_a_proxy_gets_no_tracer_that_it_lacks(tmp_path: Path) -> None:
    assert tracers(tmp_path, extensions=["envoy.tracers.zipkin"]) == {"envoy.tracers.zipkin"}
