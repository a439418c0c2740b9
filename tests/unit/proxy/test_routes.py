"""Virtual hosts, routes and filter chains: the order in which they are searched."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from envoy.config.listener.v3 import listener_components_pb2
from envoy.config.route.v3 import route_pb2
from google.protobuf import json_format

from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.routes import compile_routes
from mizzen.proxy.http.route import RouteTable
from mizzen.proxy.listener.match import ChainMatch, choose
from mizzen.proxy.net.connection import Downstream
from mizzen.proxy.stats.store import Store


def table(config: dict[str, Any], validate: bool = False) -> RouteTable:
    server = SimpleNamespace(stats=Store(), runtime={}, clusters=SimpleNamespace(known=lambda name: name == "known"))
    return compile_routes(json_format.ParseDict(config, route_pb2.RouteConfiguration()), server, validate)


def vhost(name: str, *domains: str) -> dict[str, Any]:
    return {"name": name, "domains": list(domains), "routes": [{"match": {"prefix": "/"}, "route": {"cluster": name}}]}


def test_host_search_order() -> None:
    found = table(
        {
            "name": "r",
            "virtual_hosts": [
                vhost("any", "*"),
                vhost("exact", "a.test"),
                vhost("suffix", "*.test"),
                vhost("longer", "*.x.test"),
                vhost("prefix", "a.*"),
            ],
        }
    )
    names = {
        host: found.virtual_host(host).name for host in ("a.test", "A.TEST", "b.test", "b.x.test", "a.other", "other")
    }  # type: ignore[union-attr]
    assert names == {
        "a.test": "exact",
        "A.TEST": "exact",
        "b.test": "suffix",
        "b.x.test": "longer",
        "a.other": "prefix",
        "other": "any",
    }


def test_first_match_wins() -> None:
    routes = [
        {"match": {"path": "/one"}, "route": {"cluster": "path"}},
        {
            "match": {"prefix": "/o", "headers": [{"name": "x", "string_match": {"exact": "1"}}]},
            "route": {"cluster": "header"},
        },
        {"match": {"prefix": "/o"}, "route": {"cluster": "prefix"}},
        {"match": {"safe_regex": {"regex": "/r[0-9]+"}}, "route": {"cluster": "regex"}},
    ]
    found = table({"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]}).virtual_host("x")
    assert found is not None

    def cluster(path: str, **headers: str) -> str | None:
        route = found.find(RequestHeaders("GET", path, "x", dict(headers)), None)
        return None if route is None or route.action is None else route.action.targets[0].cluster

    assert [cluster("/one"), cluster("/one?q"), cluster("/or", x="1"), cluster("/or"), cluster("/r12"), cluster("/r"), cluster("/")] == [
        "path", "path", "header", "prefix", "regex", None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"name": "r", "virtual_hosts": [vhost("a", "x.test"), vhost("b", "X.test")]}, "X.test"),
        ({"name": "r", "virtual_hosts": [vhost("nowhere", "*")]}, "nowhere"),
        (
            {
                "name": "r",
                "virtual_hosts": [
                    {
                        "name": "v",
                        "domains": ["*"],
                        "routes": [{"match": {"safe_regex": {"regex": "[a-"}}, "direct_response": {"status": 200}}],
                    }
                ],
            },
            "[a-",
        ),
    ],
)
def test_refusals_name_what_is_wrong(config: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        table(config, validate=word == "nowhere")
    assert word in str(caught.value)


def chain(name: str, **match: Any) -> SimpleNamespace:
    message = json_format.ParseDict(match, listener_components_pb2.FilterChainMatch())
    return SimpleNamespace(name=name, match=ChainMatch(message))


def test_chain_criteria_in_order_and_without_going_back() -> None:
    chains = [
        chain("port", destination_port=80),
        chain("name", server_names=["a.test"]),
        chain("wild", server_names=["*.test"]),
        chain("tls", transport_protocol="tls"),
        chain("near", prefix_ranges=[{"address_prefix": "10.1.0.0", "prefix_len": 16}]),
    ]

    def chosen(host: str, port: int, name: str = "", tls: bool = False) -> str | None:
        conn = Downstream(("192.0.2.1", 1234), (host, port))
        conn.server_name, conn.transport_protocol = name, "tls" if tls else ""
        found = choose(chains, conn)
        return None if found is None else str(found.name)

    assert chosen("10.1.2.3", 80) == "port"
    assert chosen("10.1.2.3", 81, "a.test", True) == "near"
    assert chosen("10.2.2.3", 81, "a.test", True) == "name"
    assert chosen("10.2.2.3", 81, "b.x.test", True) == "wild"
    assert chosen("10.2.2.3", 81, "other", True) == "tls"
    assert chosen("10.2.2.3", 81) is None
