"""What objects made at random have found: each stays mended."""

from __future__ import annotations

from typing import Any

from mizzen.api import kinds
from mizzen.istiod import dump
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.security.jwt import unmatchable_keys
from tests.support.fuzz_mesh import BASE, MESH, NODES, changed, make


def test_a_subnet_that_is_none_holds_nothing_up() -> None:
    match = {"sniHosts": [], "destinationSubnets": ["a"], "port": 0}
    spec = {"hosts": ["b.shop.svc.cluster.local"], "tls": [{"match": [match]}]}
    changed([kinds.decode(make("networking.istio.io/v1", "VirtualService", "it", spec))])


def test_an_endpoint_with_a_name_is_not_in_an_assignment() -> None:
    """Envoy would refuse the others with it."""
    entries = [
        make("networking.istio.io/v1", "WorkloadEntry", name, {"address": address, "labels": {"app": "a"}}, app="a")
        for name, address in (("named", "TCP"), ("numbered", "10.1.0.9"))
    ]
    entries[0]["spec"]["network"] = "elsewhere"
    snap = Snapshot.build([*BASE, *map(kinds.decode, entries)], MESH)
    text = str(dump.resources(snap, NODES[0])["endpoints"])
    assert '"10.1.0.9"' in text
    assert '"TCP"' not in text


def test_a_provider_without_keys_has_some_that_verify_nothing() -> None:
    spec: dict[str, Any] = {"jwtRules": [{"issuer": "a"}]}
    (rule,) = kinds.decode(make("security.istio.io/v1", "RequestAuthentication", "it", spec)).spec.jwt_rules
    assert unmatchable_keys(rule) == unmatchable_keys(rule)
    assert '"n":""' not in unmatchable_keys(rule)


def test_plaintext_beside_passed_on_tls_has_its_routes() -> None:
    def gateway(name: str, **server: Any) -> dict[str, Any]:
        servers = [
            {"port": {"number": 8443, "protocol": protocol, "name": name}, **rest} for protocol, rest in server.items()
        ]
        return make("networking.istio.io/v1", "Gateway", name, {"selector": {"app": "edge"}, "servers": servers})

    found = changed(
        [
            kinds.decode(gateway("passing", TLS={"hosts": ["*/*.wild.test"], "tls": {"mode": "AUTO_PASSTHROUGH"}})),
            kinds.decode(gateway("plain", HTTP={"hosts": ["*"]})),
        ]
    )
    assert [message.name for section, message in found if section == "routes"] == ["http.8443"]  # type: ignore[attr-defined]


def test_a_port_that_is_none_holds_nothing_up() -> None:
    changed(
        [
            kinds.decode(
                make("networking.istio.io/v1", "Sidecar", "it", {"ingress": [{"port": {"number": 4_000_000_000}}]})
            )
        ]
    )
