"""Environment, ProxyConfig and node: which source wins."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.agent.environment import read_environment, seconds
from mizzen.agent.node import Node, downward, make_node
from mizzen.agent.proxy_config import proxy_config
from mizzen.api.errors import UsageError

POD = {"POD_NAME": "p", "POD_NAMESPACE": "ns", "INSTANCE_IP": "10.0.0.5", "SERVICE_ACCOUNT": "sa"}


def node(raw: dict[str, str], annotations: dict[str, str] | None = None, labels: dict[str, str] | None = None) -> Node:
    environment = read_environment(POD | raw)
    config = proxy_config("", environment, annotations or {})
    return make_node(
        "sidecar",
        environment,
        config,
        domain="ns.svc.cluster.local",
        service_cluster="istio-proxy",
        interfaces=["10.0.0.5", "10.0.0.6"],
        labels=labels or {},
        annotations=annotations or {},
    )


def test_proxy_config_order() -> None:
    mesh = "defaultConfig:\n  discoveryAddress: a:1\n  drainDuration: 1s\n  proxyMetadata: {A: '1', B: '1'}\n"
    raw = POD | {"PROXY_CONFIG": '{"drainDuration": "2s", "proxyMetadata": {"B": "2"}}', "ISTIO_CPU_LIMIT": "3"}
    notes = {"proxy.istio.io/config": "terminationDrainDuration: 9s", "status.sidecar.istio.io/port": "15999"}
    config = proxy_config(mesh, read_environment(raw), notes)
    assert config["discoveryAddress"] == "a:1"
    assert config["drainDuration"] == "2s"
    assert config["proxyMetadata"] == {"A": "1", "B": "2"}
    assert config["terminationDrainDuration"] == "9s"
    assert config["statusPort"] == 15999
    assert config["concurrency"] == 3


def test_identity() -> None:
    made = node({})
    assert made.id == "sidecar~10.0.0.5~p.ns~ns.svc.cluster.local"
    assert made.metadata["INSTANCE_IPS"] == "10.0.0.5,10.0.0.6"
    assert made.metadata["NAME"] == "p"
    assert not made.ipv6_only


def test_metadata_sources() -> None:
    raw = {
        "ISTIO_META_CLUSTER_ID": "c1",
        "ISTIO_METAJSON_EXTRA": '{"X": {"y": 1}}',
        "ISTIO_METAJSON_LABELS": '{"more": "1"}',
        "PROXY_CONFIG": '{"proxyMetadata": {"ISTIO_META_CLUSTER_ID": "lost", "ISTIO_META_A": "a", "B": "b"}}',
    }
    made = node(raw, labels={"app": "x", "pod-template-hash": "1"})
    assert made.metadata["CLUSTER_ID"] == "c1"
    assert made.metadata["A"] == "a"
    assert "B" not in made.metadata
    assert made.metadata["X"] == {"y": 1}
    assert made.metadata["LABELS"] == {"app": "x", "more": "1"}


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ({"topology.istio.io/locality": "r.z.s"}, ("r", "z", "s")),
        ({"istio-locality": "r.1/z"}, ("r.1", "z", "")),
        ({}, ("", "", "")),
    ],
)
def test_locality(label: dict[str, str], expected: tuple[str, str, str]) -> None:
    assert node({}, labels=label).locality == expected


@pytest.mark.parametrize(
    ("raw", "labels", "expected"),
    [
        ({}, {}, "istio-proxy.ns"),
        ({}, {"app": "a"}, "a.ns"),
        ({"ISTIO_META_WORKLOAD_NAME": "w"}, {}, "w.ns"),
        ({"PROXY_CONFIG": '{"serviceCluster": "mine"}'}, {"app": "a"}, "mine"),
        (
            {"PROXY_CONFIG": '{"tracingServiceName": "CANONICAL_NAME_AND_NAMESPACE"}'},
            {"service.istio.io/canonical-name": "c"},
            "c.ns",
        ),
    ],
)
def test_cluster(raw: dict[str, str], labels: dict[str, str], expected: str) -> None:
    assert node(raw, labels=labels).cluster == expected


@pytest.mark.parametrize(
    "raw",
    [
        {"SECRET_TTL": "a day"},
        {"ISTIO_META_DNS_CAPTURE": "perhaps"},
        {"ENVOY_STATUS_PORT": "x"},
        {"CA_PROVIDER": "GoogleCA"},
        {"MIZZEN_DATA_PLANE": "nginx"},
        {"WORKLOAD_IDENTITY_SOCKET_FILE": "a/b"},
        {"PROV_CERT": "/x", "FILE_MOUNTED_CERTS": "true"},
    ],
)
def test_refused_by_name(raw: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=next(iter(raw))):
        read_environment(POD | raw)


@pytest.mark.parametrize(("text", "expected"), [("1h30m", 5400), ("100ms", 0.1), ("5s", 5), ("0", 0), ("1.5s", 1.5)])
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


def test_downward_files() -> None:
    text = 'app="x"\nquoted="a \\"b\\" \\n"\nnonsense\n'
    assert downward(text) == {"app": "x", "quoted": 'a "b" \n'}


def test_headers() -> None:
    environment: Any = read_environment({"XDS_HEADER_X-A": "1", "CA_HEADER_B": "2"})
    assert environment.headers == {"XDS": {"X-A": "1"}, "CA": {"B": "2"}}
