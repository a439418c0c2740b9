"""proxy-config and proxy-status: Envoy's and istiod's JSON in, istioctl's columns out."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.status.v3 import csds_pb2

from mizzen.istioctl import show_clusters, show_listeners, show_routes, show_secrets
from mizzen.istioctl.compare import comparison
from mizzen.istioctl.envoy_dump import istio_config
from mizzen.istioctl.proxy_config_commands import logging_paths
from mizzen.istioctl.proxy_status import istiod_name, rows, short_duration, statuses, verbose_table
from mizzen.istioctl.table import table

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
TCP = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def chain(kind: str, config: dict[str, Any], **match: Any) -> dict[str, Any]:
    return {"filters": [{"name": "f", "typed_config": {"@type": kind, **config}}], "filter_chain_match": match}


def test_table_is_padded_by_five() -> None:
    assert table(("A", "LONG"), [("x", "y"), ("xyz", "")]) == "A       LONG\nx       y\nxyz     \n"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/apis/networking.istio.io/v1/namespaces/shop/destination-rule/reviews", "reviews.shop"),
        ("/somewhere/else", "<unknown>"),
        (None, ""),
    ],
)
def test_where_a_resource_comes_from(path: str | None, shown: str) -> None:
    metadata = {"metadata": {"filter_metadata": {"istio": {"config": path} if path else {}}}}
    assert istio_config(metadata) == shown


def test_clusters() -> None:
    clusters = [
        {"name": "outbound|9080|v1|reviews.shop.svc.cluster.local", "type": "EDS"},
        {"name": "outbound|9080||reviews.shop.svc.cluster.local", "type": "EDS"},
        {"name": "inbound|80||", "type": "ORIGINAL_DST"},
        {"name": "BlackHoleCluster"},
    ]
    found = show_clusters.chosen_clusters(clusters, show_clusters.ClusterFilter())
    assert show_clusters.cluster_rows(found) == [
        ("", "80", "-", "inbound", "ORIGINAL_DST", ""),
        ("BlackHoleCluster", "-", "-", "-", "STATIC", ""),
        ("reviews.shop.svc.cluster.local", "9080", "-", "outbound", "EDS", ""),
        ("reviews.shop.svc.cluster.local", "9080", "v1", "outbound", "EDS", ""),
    ]
    only = show_clusters.chosen_clusters(clusters, show_clusters.ClusterFilter(fqdn="reviews", subset="v1"))
    assert [c["name"] for c in only] == [clusters[0]["name"]]


def test_endpoints() -> None:
    answer = {
        "cluster_statuses": [
            {
                "name": "c",
                "host_statuses": [
                    {
                        "address": {"socket_address": {"address": "10.0.0.2", "port_value": 80}},
                        "health_status": {"eds_health_status": "UNHEALTHY", "failed_outlier_check": True},
                    },
                    {"address": {"pipe": {"path": "/x"}}, "health_status": {"eds_health_status": "HEALTHY"}},
                ],
            }
        ]
    }
    every = show_clusters.chosen_endpoints(show_clusters.endpoints(answer), show_clusters.EndpointFilter())
    assert show_clusters.endpoint_rows(every) == [
        ("10.0.0.2:80", "UNHEALTHY", "FAILED", "c"),
        ("unix:///x", "HEALTHY", "OK", "c"),
    ]
    assert not show_clusters.chosen_endpoints(every, show_clusters.EndpointFilter(status="draining"))


@pytest.mark.parametrize(
    ("match", "shown"),
    [
        ({}, "ALL"),
        ({"server_names": ["a", "b"]}, "SNI: a,b"),
        (
            {
                "transport_protocol": "tls",
                "application_protocols": ["istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"],
            },
            "Trans: tls; App: HTTP TLS",
        ),
        ({"application_protocols": ["http/1.1", "h2c", "http/1.0"], "destination_port": 80}, "App: HTTP; Addr: *:80"),
        ({"prefix_ranges": [{"address_prefix": "10.0.0.1", "prefix_len": 32}]}, "Addr: 10.0.0.1/32"),
        ({"application_protocols": ["own"]}, "App: own"),
    ],
)
def test_filter_chain_match(match: dict[str, Any], shown: str) -> None:
    assert show_listeners.describe_chain_match({"filter_chain_match": match}) == shown


@pytest.mark.parametrize(
    ("one", "shown"),
    [
        (chain(HCM, {"rds": {"route_config_name": "80"}}), "Route: 80"),
        (chain(TCP, {"cluster": "outbound|80||a"}), "Cluster: outbound|80||a"),
        (chain(TCP, {"cluster": "BlackHoleCluster"}), "BlackHoleCluster"),
        (chain("x.Echo", {}), "Non-HTTP/Non-TCP"),
        (
            chain(
                HCM,
                {
                    "route_config": {
                        "virtual_hosts": [{"routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}]
                    }
                },
            ),
            "Cluster: c",
        ),
        (
            chain(
                HCM,
                {"route_config": {"virtual_hosts": [{"domains": ["*"], "routes": [{"match": {"prefix": "/stats"}}]}]}},
            ),
            "Inline Route: * /stats*",
        ),
    ],
)
def test_destination(one: dict[str, Any], shown: str) -> None:
    assert show_listeners.destination(one) == shown


def test_listeners() -> None:
    address = {"socket_address": {"address": "0.0.0.0", "port_value": 80}}
    listener = {"address": address, "filter_chains": [chain(HCM, {"rds": {"route_config_name": "80"}})]}
    both = {**listener, "default_filter_chain": chain(TCP, {"cluster": "PassthroughCluster"})}
    assert show_listeners.rows([both]) == [
        ("0.0.0.0", "80", "ALL", "PassthroughCluster"),
        ("0.0.0.0", "80", "ALL", "Route: 80"),
    ]
    assert [show_listeners.listener_type(x) for x in (listener, both)] == ["HTTP", "HTTP+TCP"]
    assert not show_listeners.chosen([listener], show_listeners.ListenerFilter(type="TCP"))


def test_routes() -> None:
    config = {
        "name": "9080",
        "virtual_hosts": [
            {
                "name": "reviews:9080",
                "domains": [
                    "reviews.shop.svc.cluster.local",
                    "reviews",
                    "reviews.shop.svc",
                    "reviews.shop",
                    "10.0.0.1",
                    "reviews:9080",
                ],
                "routes": [
                    {"match": {"prefix": "/"}, "route": {"cluster": "c"}},
                    {"match": {"prefix": "/"}, "route": {"cluster": "PassthroughCluster"}},
                    {"match": {"safe_regex": {"regex": "/a.*"}}, "route": {}},
                    {"match": {"path_separated_prefix": "/p"}, "route": {}},
                ],
            },
            {"name": "empty", "domains": ["*"]},
        ],
    }
    where = ("9080", "reviews:9080", "reviews, reviews.shop + 1 more...")
    assert show_routes.rows([config]) == [
        (*where, "/*", ""),
        (*where, "regex /a.*", ""),
        (*where, "PathPrefix:/p", ""),
        ("9080", "empty", "*", "/*", "404"),
    ]
    names = [c["name"] for c in show_routes.chosen([{"name": n} for n in ("x", "80", "9", "a")])]
    assert names == ["9", "80", "a", "x"]


def test_secrets_that_cannot_be_read_are_shown_all_the_same() -> None:
    rows = show_secrets.rows([("default", "WARMING", {"tls_certificate": {}})], NOW)
    assert rows == [("default", "Cert Chain", "WARMING", "false", "", "", "")]


@pytest.mark.parametrize(
    ("level", "paths"),
    [
        ("", ["logging"]),
        ("debug", ["logging?level=debug"]),
        ("http:debug,redis:off", ["logging?http=debug", "logging?redis=off"]),
    ],
)
def test_log_levels(level: str, paths: list[str]) -> None:
    assert logging_paths(level) == paths


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (720, "12m"),
        (11100, "3h5m"),
        (72000, "20h"),
        (1e6, "11d"),
    ],
)
def test_age(seconds: float, shown: str) -> None:
    assert short_duration(seconds) == shown


def syncz() -> Any:
    config = csds_pb2.ClientConfig()
    config.node.id = "sidecar~10.0.0.1~web.shop~shop.svc.cluster.local"
    config.node.metadata.update({"CLUSTER_ID": "Kubernetes", "ISTIO_VERSION": "1.32.0", "NAMESPACE": "shop"})
    prefix = "type.googleapis.com/envoy.config."
    one = config.generic_xds_configs.add(type_url=prefix + "listener.v3.Listener", config_status="SYNCED")
    one.last_updated.FromDatetime(NOW - timedelta(seconds=5))
    refused = config.generic_xds_configs.add(type_url=prefix + "cluster.v3.Cluster", config_status="ERROR")
    refused.error_state.details = "no such filter"
    response = discovery_pb2.DiscoveryResponse()
    response.control_plane.identifier = json.dumps({"Component": "istiod", "ID": "istiod-1", "Info": {}})
    response.resources.add().Pack(config)
    return response


def test_proxy_status() -> None:
    found = statuses([syncz()], NOW)
    assert rows(found) == [("web.shop", "Kubernetes", "istiod-1", "1.32.0", "2 (CDS,LDS)")]
    assert found[0].errors == {"CDS": "no such filter"}
    header, body = verbose_table(found)
    assert header == ("NAME", "CLUSTER", "CDS", "ECDS", "EDS", "LDS", "RDS", "ISTIOD", "VERSION")
    assert body == [
        ("web.shop", "Kubernetes", "ERROR", "IGNORED", "IGNORED", "SYNCED (5s)", "IGNORED", "istiod-1", "1.32.0")
    ]


@pytest.mark.parametrize(("identifier", "name"), [("", "MISSING"), ("x", "INVALID"), ('{"ID": "a"}', "a")])
def test_istiod_name(identifier: str, name: str) -> None:
    assert istiod_name(identifier) == name


def test_a_saved_dump(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from mizzen.istioctl.proxy_config_commands import app

    dump = {
        "configs": [
            {
                "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
                "static_clusters": [{"cluster": {"name": "x"}}],
            }
        ]
    }
    (tmp_path / "dump.json").write_text(json.dumps(dump))
    runner = CliRunner()
    result = runner.invoke(app, ["clusters", "-f", str(tmp_path / "dump.json")])
    assert result.exit_code == 0 and result.output.splitlines()[1].split() == ["x", "-", "-", "-", "STATIC"]
    assert runner.invoke(app, ["cluster", "-f", str(tmp_path / "none")]).exit_code == 1
    (tmp_path / "dump.json").write_text("{}")
    assert "not an Envoy config dump" in runner.invoke(app, ["cluster", "-f", str(tmp_path / "dump.json")]).output


def test_comparison() -> None:
    def dump(port: int, updated: str = "") -> dict[str, Any]:
        prefix = "type.googleapis.com/envoy.admin.v3."
        cluster = {"name": "c", "alt_stat_name": str(port)}
        route = {"route_config": {"name": "80"}, **({"last_updated": updated} if updated else {})}
        return {
            "configs": [
                {"@type": prefix + "ClustersConfigDump", "dynamic_active_clusters": [{"cluster": cluster}]},
                {"@type": prefix + "RoutesConfigDump", "dynamic_route_configs": [route]},
            ]
        }

    same = comparison(dump(1), dump(1, "2026-01-02T03:04:05.678Z"))
    assert same.splitlines() == [
        "Clusters Match",
        "Listeners Match",
        "Routes Match (RDS last loaded at Fri, 02 Jan 2026 03:04:05 +0000)",
    ]
    different = comparison(dump(1), dump(2)).splitlines()
    assert different[:3] == ["Clusters Don't Match", "--- Istiod Clusters", "+++ Envoy Clusters"]
    assert '-      "alt_stat_name": "1",' in different and '+      "alt_stat_name": "2",' in different
