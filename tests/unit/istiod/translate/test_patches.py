"""The parts that EnvoyFilter patches are made of: places in lists, merging."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf import duration_pb2

from mizzen.api import kinds
from mizzen.istiod import dump
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.patches.lists import placed
from mizzen.istiod.translate.patches.merge import merge
from tests.support.fuzz_mesh import BASE, MESH, NODES


@pytest.mark.parametrize(
    ("operation", "named", "expected"),
    [
        ("ADD", "b", "abcX"),
        ("INSERT_FIRST", "b", "Xabc"),
        ("INSERT_BEFORE", "b", "aXbc"),
        ("INSERT_AFTER", "b", "abXc"),
        ("REPLACE", "b", "aXc"),
        ("INSERT_BEFORE", "", "Xabc"),
        ("INSERT_AFTER", "", "abcX"),
        ("INSERT_BEFORE", "z", "abc"),
        ("REPLACE", "", "abc"),
    ],
)
def test_placed(operation: str, named: str, expected: str) -> None:
    means = (lambda item: bool(item == named)) if named else None
    assert "".join(placed(list("abc"), operation, "X", means)) == expected


def cluster(**fields: object) -> cluster_pb2.Cluster:
    return cluster_pb2.Cluster(**fields)


def test_merge() -> None:
    target = cluster(name="a", connect_timeout=duration_pb2.Duration(seconds=10, nanos=5), alt_stat_name="x")
    target.transport_socket_matches.add(name="one")
    target.common_lb_config.healthy_panic_threshold.value = 7
    patch = cluster(connect_timeout=duration_pb2.Duration(seconds=1), alt_stat_name="y")
    patch.transport_socket_matches.add(name="two")
    patch.common_lb_config.ignore_new_hosts_until_first_hc = True
    merge(target, patch)
    assert target.connect_timeout == duration_pb2.Duration(seconds=1)
    assert (target.name, target.alt_stat_name) == ("a", "y")
    assert [match.name for match in target.transport_socket_matches] == ["one", "two"]
    assert target.common_lb_config.healthy_panic_threshold.value == 7
    assert target.common_lb_config.ignore_new_hosts_until_first_hc


def test_merge_and_replace_lists() -> None:
    target, patch = cluster(), cluster()
    target.transport_socket_matches.add(name="one")
    patch.transport_socket_matches.add(name="two")
    merge(target, patch, replace_lists=True)
    assert [match.name for match in target.transport_socket_matches] == ["two"]


def adding(name: str, cluster_name: str, seconds: int) -> Any:
    patch = {"operation": "ADD", "value": {"name": cluster_name, "type": "STATIC", "connect_timeout": f"{seconds}s"}}
    return kinds.decode(
        {
            "apiVersion": "networking.istio.io/v1alpha3",
            "kind": "EnvoyFilter",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"configPatches": [{"applyTo": "CLUSTER", "match": {"context": "ANY"}, "patch": patch}]},
        }
    )


def test_of_added_clusters_with_one_name_the_first_stays() -> None:
    filters = [adding("a", "new", 1), adding("b", "new", 2), adding("c", "BlackHoleCluster", 3)]
    found = dump.resources(Snapshot.build([*BASE, *filters], MESH), NODES[0])["clusters"]
    seconds = {message.name: message.connect_timeout.seconds for message in found}
    assert len(found) == len(seconds)
    assert seconds["new"] == 1 and seconds["BlackHoleCluster"] == 10
