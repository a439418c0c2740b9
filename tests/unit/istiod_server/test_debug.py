"""/debug answers: each endpoint is JSON on a mesh with a proxy; unknown ones and unknown proxies are told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mizzen.istiod.config.files import DirectorySource
from mizzen.istiod.config.store import ConfigStore
from mizzen.istiod.debug.endpoints import ENDPOINTS, Debug, DebugError, answer
from mizzen.istiod.debug.xds import CONFIG_DUMP, SYNCZ, XdsDebug
from mizzen.istiod.mesh_config import load_mesh_config
from mizzen.istiod.node import parse_node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate import generate
from mizzen.istiod.xds.hub import Hub
from mizzen.istiod.xds.server import Refused
from mizzen.istiod.xds.subscription import Request
from mizzen.istiod.xds.types import CDS, DEBUG, EDS, LDS, NDS, RDS

CASE = Path(__file__).parents[2] / "answers" / "xds" / "bookshop-baseline"
ID = "sidecar~10.244.1.2~storefront-v1-0.bookshop~bookshop.svc.cluster.local"


@pytest.fixture(scope="module")
def debug() -> Debug:
    store = ConfigStore()
    DirectorySource(CASE, store).scan()
    store.reject(("VirtualService", ("bookshop", "broken")), "a.yaml:3", ())
    hub = Hub(generate)
    hub.publish(Snapshot.build(store.objects.values(), load_mesh_config()), store.take()[0])
    meta = {"NAMESPACE": "bookshop", "CLUSTER_ID": "Kubernetes", "ISTIO_VERSION": "1.32.0", "PROXY_CONFIG": {}}
    connection = hub.connect(parse_node(ID, meta), None, "ipv4:127.0.0.1:1", True)
    for url, names in (
        (CDS, ()),
        (LDS, ()),
        (NDS, ()),
        (RDS, ("9080",)),
        (EDS, ("outbound|9080||blurbs.bookshop.svc.cluster.local",)),
    ):
        connection.request(Request(type_url=url, subscribe=names))
    while connection.next_message():
        pass
    return Debug(hub, store)


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_every_endpoint_answers_json(debug: Debug, name: str) -> None:
    value = answer(debug, name, {"proxyID": "storefront"})
    assert json.loads(json.dumps(value)) is not None
    if not isinstance(value, dict | list):
        assert value


def test_what_they_say(debug: Debug) -> None:
    (row,) = answer(debug, "syncz", {})
    assert row["proxy"] == "storefront-v1-0.bookshop" and row["cluster_sent"] and not row["cluster_acked"]
    hosts = {service["hostname"] for service in answer(debug, "registryz", {})}
    assert "blurbs.bookshop.svc.cluster.local" in hosts
    dump = answer(debug, "config_dump", {"proxyID": "storefront", "include_eds": ""})
    parts = [part["@type"].rpartition(".")[2] for part in dump["configs"]]
    assert parts == [
        "BootstrapConfigDump",
        "ClustersConfigDump",
        "EndpointsConfigDump",
        "ListenersConfigDump",
        "ScopedRoutesConfigDump",
        "RoutesConfigDump",
        "SecretsConfigDump",
        "EcdsConfigDump",
    ]
    assert {obj["kind"] for obj in answer(debug, "configz", {})} >= {"VirtualService", "DestinationRule"}
    rejected = next(entry for entry in answer(debug, "rejectedz", {}) if entry["name"] == "broken")
    assert (rejected["origin"], rejected["lastGoodInForce"]) == ("a.yaml:3", False)
    assert "blurbs.bookshop.svc.cluster.local" in answer(debug, "sidecarz", {"proxyID": "storefront"})["services"]


@pytest.mark.parametrize(
    ("name", "query", "status"),
    [("nothing", {}, 404), ("config_dump", {}, 400), ("config_dump", {"proxyID": "stranger"}, 404)],
)
def test_what_cannot_be_answered(debug: Debug, name: str, query: dict[str, str], status: int) -> None:
    with pytest.raises(DebugError) as error:
        answer(debug, name, query)
    assert error.value.status == status


ELSEWHERE = ("spiffe://cluster.local/ns/elsewhere/sa/x",)
SYSTEM = ("spiffe://cluster.local/ns/istio-system/sa/x",)


@pytest.mark.parametrize(
    ("type_url", "names", "identities", "allowed"),
    [
        (SYNCZ, (), None, True),
        (CONFIG_DUMP, ("storefront-v1-0.bookshop",), SYSTEM, True),
        (CONFIG_DUMP, ("storefront-v1-0.bookshop",), ELSEWHERE, False),
        (DEBUG, ("edsz?proxyID=storefront",), SYSTEM, True),
        (DEBUG, ("edsz?proxyID=storefront",), ELSEWHERE, False),
        (DEBUG, ("configz",), ELSEWHERE, False),
        (DEBUG, ("configz",), (), False),
        (DEBUG, (), SYSTEM, False),
        (DEBUG + "/configz", (), SYSTEM, True),
    ],
)
def test_over_xds(
    debug: Debug, type_url: str, names: tuple[str, ...], identities: tuple[str, ...] | None, allowed: bool
) -> None:
    xds = XdsDebug(debug, "istiod-1", "1.32.0", "default", "istio-system")
    if allowed:
        assert xds(type_url, names, identities, False)
    else:
        with pytest.raises(Refused):
            xds(type_url, names, identities, False)
