"""Effective mutual TLS modes: mesh, namespace, workload, port."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import kinds
from mizzen.istiod.snapshot.peer_authentication import PeerAuthentications


def policy(namespace: str, name: str, mode: str = "", labels: Any = None, ports: Any = None, created: str = "") -> Any:
    spec: dict[str, Any] = {}
    if mode:
        spec["mtls"] = {"mode": mode}
    if labels:
        spec["selector"] = {"matchLabels": labels}
    if ports:
        spec["portLevelMtls"] = {port: {"mode": one} for port, one in ports.items()}
    meta = {"name": name, "namespace": namespace} | ({"creationTimestamp": created} if created else {})
    return kinds.decode(
        {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": meta, "spec": spec}
    )


APP = {"app": "a"}
MESH, OWN = policy("istio-system", "m", "STRICT"), policy("shop", "n", "PERMISSIVE")


@pytest.mark.parametrize(
    ("policies", "default", "on_80"),
    [
        ([], "PERMISSIVE", "PERMISSIVE"),
        ([MESH], "STRICT", "STRICT"),
        ([MESH, OWN], "PERMISSIVE", "PERMISSIVE"),
        ([MESH, policy("shop", "n", "UNSET")], "STRICT", "STRICT"),
        ([MESH, policy("shop", "w", "DISABLE", APP)], "DISABLE", "DISABLE"),
        ([MESH, policy("shop", "w", "DISABLE", {"app": "b"})], "STRICT", "STRICT"),
        ([MESH, policy("shop", "w", "", APP, {"80": "DISABLE"})], "STRICT", "DISABLE"),
        ([OWN, policy("shop", "w", "STRICT", APP, {"80": "UNSET"})], "STRICT", "STRICT"),
        ([policy("istio-system", "w", "STRICT", APP)], "PERMISSIVE", "PERMISSIVE"),
        (
            [policy("shop", "b", "STRICT", None, None, "2024-02-01T00:00:00Z"),
             policy("shop", "c", "DISABLE", None, None, "2024-01-01T00:00:00Z")],
            "DISABLE", "DISABLE",
        ),
    ],
)  # fmt: skip
def test_modes(policies: list[Any], default: str, on_80: str) -> None:
    modes = PeerAuthentications.build(policies, "istio-system").for_workload("shop", APP)
    assert (modes.default, modes.port(80)) == (default, on_80)


def test_namespace_mode_is_what_clients_go_by() -> None:
    found = PeerAuthentications.build([MESH, policy("shop", "w", "DISABLE", APP)], "istio-system")
    assert found.namespace_mode("shop") == "STRICT"
    assert PeerAuthentications.build([], "istio-system").namespace_mode("shop") == ""
