"""Key sets: fetched when wanted, again when due, put into what proxies are served."""

from __future__ import annotations

from typing import Any

from mizzen.api.errors import PeerError
from mizzen.istiod import dump
from mizzen.istiod.config.jwks import REFRESH_S, RETRY_S, JwksSource
from mizzen.istiod.config.store import ConfigStore
from mizzen.istiod.jwks import Jwks
from mizzen.istiod.mesh_config import load_mesh_config
from mizzen.istiod.snapshot import Snapshot

URI = "https://keys.test/jwks"


def policy(**rule: Any) -> dict[str, Any]:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": {"name": "jwt", "namespace": "shop"},
        "spec": {"jwtRules": [{"issuer": "https://issuer.test", **rule}]},
    }


class Keys:
    """A peer that may fail."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails = False

    async def fetch(self, source: str) -> str:
        self.asked.append(source)
        if self.fails:
            raise PeerError("no route")
        return f'{{"keys":["{len(self.asked)}"]}}'


async def test_fetched_once_until_due() -> None:
    store, keys = ConfigStore(), Keys()
    source = JwksSource(store, keys.fetch)
    store.put(policy(jwksUri=URI))
    for now in (1.0, 2.0, 3.0):
        await source.look(now)
    assert keys.asked == [URI]
    await source.look(1.0 + REFRESH_S)
    assert store.objects["Jwks", ("", URI)].text == '{"keys":["2"]}'


async def test_retried_and_kept() -> None:
    store, keys = ConfigStore(), Keys()
    source = JwksSource(store, keys.fetch)
    store.put(policy(jwksUri=URI))
    await source.look(1.0)
    keys.fails = True
    await source.look(1.0 + REFRESH_S)
    await source.look(1.0 + REFRESH_S + RETRY_S)
    assert len(keys.asked) == 3
    assert store.objects["Jwks", ("", URI)].text == '{"keys":["1"]}'


async def test_issuer_alone_is_discovered_and_forgotten() -> None:
    store, keys = ConfigStore(), Keys()
    source = JwksSource(store, keys.fetch)
    store.put(policy())
    await source.look(1.0)
    assert keys.asked == ["https://issuer.test/.well-known/openid-configuration"]
    store.remove(("RequestAuthentication", ("shop", "jwt")))
    await source.look(2.0)
    assert not [key for key in store.objects if key[0] == "Jwks"]


def test_served_inline() -> None:
    store = ConfigStore()
    store.put(policy(jwksUri=URI))
    node = dump.node_of({"namespace": "shop", "pod": "a", "ip": "10.0.0.1", "labels": {}})
    snap = Snapshot.build(store.objects.values(), load_mesh_config())
    assert "abc" in str(dump.dump_node(snap, node)["listeners"])
    after = snap.replaced([Jwks.of(URI, '{"keys":["here"]}')])
    assert '{"keys":["here"]}' in str(dump.dump_node(after, node)["listeners"])
