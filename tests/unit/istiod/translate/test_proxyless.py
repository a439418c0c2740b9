"""What gRPC programs without a proxy are served, beside what a real istiod answered to the same subscriptions.

The recorded answers leave out listeners of names that were not asked for: Istio crosses every port with every spelling
of a host. Lists of resources are compared by name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format

from mizzen.api import kinds
from mizzen.istiod import dump
from mizzen.istiod.mesh_config import load_mesh_config
from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.snapshot import Options
from mizzen.istiod.translate.generate import generate
from mizzen.istiod.xds import types

FOLDER = Path(__file__).parent / "proxyless"
PROXIES = {proxy["name"]: proxy for proxy in yaml.safe_load((FOLDER / "proxies.yaml").read_text())}
TYPES = {"listeners": types.LDS, "clusters": types.CDS, "routes": types.RDS, "endpoints": types.EDS}
LISTENER = "xds.istio.io/grpc/lds/inbound/0.0.0.0:17070"


def snapshot(*more: dict[str, Any]) -> Snapshot:
    objects = [*dump.load_objects([FOLDER / "input.yaml"]), *map(kinds.decode, more)]
    return Snapshot.build(objects, load_mesh_config(None), Options())


def node(name: str) -> Node:
    return dump.node_of({key: value for key, value in PROXIES[name].items() if key != "subscribe"})


@pytest.mark.parametrize("section", TYPES)
@pytest.mark.parametrize("name", PROXIES)
def test_served_as_by_istio(name: str, section: str) -> None:
    expected = json.loads((FOLDER / "expected" / f"{name}.json").read_text())[section]
    wanted = {one.get("name", one.get("cluster_name")): one for one in expected}
    made = generate(snapshot(), node(name), TYPES[section], PROXIES[name]["subscribe"][section])
    found = {one: json_format.MessageToDict(message, preserving_proto_field_name=True) for one, message in made}
    assert found == wanted


def policy(name: str, annotations: dict[str, str], spec: dict[str, Any]) -> dict[str, Any]:
    meta = {"name": name, "namespace": "shop", "annotations": annotations}
    return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": meta, "spec": spec}


def served(*more: dict[str, Any]) -> str:
    ((_, listener),) = generate(snapshot(*more), node("server"), types.LDS, [LISTENER])
    return str(json_format.MessageToJson(listener))


def test_a_policy_without_rules_allows_nobody() -> None:
    """Istio leaves such a policy out where it is alone, and lets everybody in."""
    assert "shop-nobody-0" in served(policy("nobody", {}, {}))


def test_a_policy_on_trial_refuses_nothing() -> None:
    assert "trial" not in served(policy("trial", {"istio.io/dry-run": "true"}, {"action": "DENY", "rules": [{}]}))
