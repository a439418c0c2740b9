"""The parts that EnvoyFilter patches are made of: places in lists, merging."""

from __future__ import annotations

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf import duration_pb2

from mizzen.istiod.translate.patches.lists import placed
from mizzen.istiod.translate.patches.merge import merge


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
