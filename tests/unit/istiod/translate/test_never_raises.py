"""Translation of any object that decodes gives messages and no exception, for sidecars and gateways alike.

More than is asked: admission refuses many of these objects before they get here.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mizzen.api import kinds
from mizzen.istiod.mesh_config import load_mesh_config
from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.listeners import listeners
from mizzen.istiod.translate.routes import route_configuration
from tests.unit.istiod.translate.simulation import node

HOSTS = ("a", "b.shop.svc.cluster.local", "ext.test", "*.wild.test", "192.0.2.7")
PORTS = (0, 80, 443, 8443, 9000)
WORDS = ("x", "/", "/a/b", "v1", "%PREFIX()%", "a.*", "[0-9]+", "*")
hosts, ports, words = st.sampled_from(HOSTS), st.sampled_from(PORTS), st.sampled_from(WORDS)
seconds = st.sampled_from(("1s", "250ms", "2h"))
string_match = st.one_of(
    st.builds(lambda w: {"exact": w}, words),
    st.builds(lambda w: {"prefix": w}, words),
    st.just({"regex": "a.*"}),
    st.just({}),
)
headers = st.dictionaries(
    st.sampled_from(("x-a", "host", "cookie", "@request.auth.claims.group")), string_match, max_size=2
)
values = st.dictionaries(st.sampled_from(("x-a", "x-b", "Host")), words, max_size=2)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


destination = st.fixed_dictionaries(
    {"host": hosts}, optional={"subset": st.just("v1"), "port": st.builds(lambda n: {"number": n}, ports)}
)
operations = some(request=some(set=values, add=values, remove=st.lists(words, max_size=2)), response=some(set=values))
weighted = st.fixed_dictionaries(
    {"destination": destination}, optional={"weight": st.integers(0, 100), "headers": operations}
)
percent = some(value=st.floats(0, 100))
l4 = some(
    port=ports, sourceLabels=st.just({"app": "a"}), gateways=st.lists(st.sampled_from(("mesh", "edge")), max_size=2)
)
http_match = some(
    uri=string_match, method=string_match, authority=string_match, headers=headers, withoutHeaders=headers,
    queryParams=headers, port=ports, ignoreUriCase=st.booleans(), name=words, statPrefix=st.just("p"),
    gateways=st.lists(st.sampled_from(("mesh", "edge")), max_size=2), sourceLabels=st.just({"app": "a"}),
)  # fmt: skip
http_route = some(
    name=words, match=st.lists(http_match, max_size=3), route=st.lists(weighted, max_size=3), timeout=seconds,
    redirect=some(uri=words, authority=hosts, port=ports, scheme=st.just("https"), redirectCode=st.sampled_from((301, 302, 305))),
    directResponse=st.fixed_dictionaries({"status": st.just(418)}, optional={"body": some(string=words)}),
    rewrite=some(uri=words, authority=hosts), headers=operations, mirror=destination, mirrorPercentage=percent,
    mirrors=st.lists(st.fixed_dictionaries({"destination": destination}, optional={"percentage": percent}), max_size=2),
    retries=some(attempts=st.integers(0, 3), perTryTimeout=seconds, retryOn=st.just("5xx,503"), backoff=seconds),
    fault=some(delay=some(fixedDelay=seconds, percentage=percent), abort=some(httpStatus=st.just(503), percentage=percent)),
    corsPolicy=some(allowOrigins=st.lists(string_match, max_size=2), maxAge=seconds, allowCredentials=st.booleans()),
)  # fmt: skip
plain = st.fixed_dictionaries({"destination": destination}, optional={"weight": st.integers(0, 100)})
tcp_route = some(match=st.lists(l4, max_size=2), route=st.lists(plain, min_size=1, max_size=2))
tls_route = st.builds(
    lambda match, route: {"match": match, "route": route},
    st.lists(l4.map(lambda m: {**m, "sniHosts": ["ext.test"]}), min_size=1, max_size=2),
    st.lists(plain, min_size=1, max_size=2),
)
virtual_service = st.fixed_dictionaries(
    {"hosts": st.lists(hosts, min_size=1, max_size=3, unique=True)},
    optional={
        "gateways": st.lists(st.sampled_from(("mesh", "edge")), min_size=1, max_size=2, unique=True),
        "http": st.lists(http_route, max_size=3), "tcp": st.lists(tcp_route, max_size=2), "tls": st.lists(tls_route, max_size=2),
    },
)  # fmt: skip
server_tls = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(
            ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL", "ISTIO_MUTUAL", "PASSTHROUGH", "AUTO_PASSTHROUGH")
        )
    },
    optional={"credentialName": st.just("c"), "subjectAltNames": st.just(["s"]), "httpsRedirect": st.booleans()},
)
server = st.builds(
    lambda number, protocol, bound, tls, index: {
        "port": {"number": number or 80, "protocol": protocol, "name": f"p{index}"},
        "hosts": bound,
        **({"tls": tls} if tls else {}),
    },
    ports, st.sampled_from(("HTTP", "HTTPS", "TLS", "TCP", "GRPC", "MONGO")),
    st.lists(st.sampled_from(("*", "./ext.test", "*/*.wild.test", "ext.test")), min_size=1, max_size=2, unique=True),
    st.none() | server_tls, st.integers(0, 9),
)  # fmt: skip
gateway = st.builds(
    lambda servers: {"servers": servers, "selector": {"app": "a"}}, st.lists(server, min_size=1, max_size=4)
)

SERVICES = [
    ("a", "10.0.0.1", [("http", 80), ("tcp", 9000), ("auto", 8443)]),
    ("b", "None", [("tls", 443), ("http", 80), ("mongo", 9000)]),
]


def objects(rules: list[dict[str, Any]], gateways: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def istio(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        meta = {"name": name, "namespace": "shop"}
        return {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": meta, "spec": spec}

    out = [istio("VirtualService", f"vs-{i}", spec) for i, spec in enumerate(rules)]
    return out + [istio("Gateway", "edge" if i == 0 else f"gw-{i}", spec) for i, spec in enumerate(gateways)]


def services() -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"clusterIP": ip, "ports": [{"name": n, "port": p} for n, p in named]},
        }
        for name, ip, named in SERVICES
    ]


NODES: tuple[Node, ...] = (
    node(labels={"app": "a"}),
    node("other", INTERCEPTION_MODE="NONE"),
    node(labels={"app": "a"}, kind="router"),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(virtual_service, max_size=3), st.lists(gateway, max_size=2))
def test_any_object_is_translated(rules: list[dict[str, Any]], gateways: list[dict[str, Any]]) -> None:
    typed = [kinds.decode(obj) for obj in (*services(), *objects(rules, gateways))]
    snap = Snapshot.build(typed, load_mesh_config(None))
    for proxy in NODES:
        for listener in listeners(snap, proxy):
            assert listener.SerializeToString()
        for name in ("80", "9000", "http_proxy", "a.shop.svc.cluster.local:8443", "http.80", "https.443.p0.edge.shop"):
            assert route_configuration(snap, proxy, name).SerializeToString()
