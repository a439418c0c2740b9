"""Groups whose busiest members are native: the same names and values as any group."""

from __future__ import annotations

from typing import Any

from mizzen.proxy.stats.groups import ClusterGroup
from mizzen.proxy.stats.store import Store


def values(store: Store) -> dict[str, Any]:
    return {stat.name: stat.value for stat in store.all()}


def test_native_members_are_the_groups() -> None:
    store = Store()
    group: Any = store.group(
        "cluster.a",
        ["upstream_rq_total", "bind_errors"],
        ["upstream_rq_active"],
        ["upstream_rq_time"],
        make=ClusterGroup,
    )
    group.hot.upstream_rq_total += 2
    group.upstream_rq_active += 1
    group.hot.upstream_rq_time.record(5.0)
    shown = values(store)
    assert shown["cluster.a.upstream_rq_total"] == 2
    assert shown["cluster.a.upstream_rq_active"] == group.hot.upstream_rq_active == 1
    assert shown["cluster.a.bind_errors"] == 0
    assert shown["cluster.a.upstream_rq_time"].count == 1
    group.hot.outcomes[200 << 2] = 3
    store.reset_counters()
    assert group.hot.upstream_rq_total == 0
    assert group.hot.outcomes == {200 << 2: 0}


def test_a_plain_group_becomes_native_and_keeps_its_counts() -> None:
    store = Store()
    plain: Any = store.group("cluster.a", ["upstream_rq_total", "bind_errors"])
    plain.upstream_rq_total += 7
    plain.bind_errors += 1
    group: Any = store.group("cluster.a", ["upstream_rq_total"], make=ClusterGroup)
    assert group is plain
    group.hot.upstream_rq_total += 1
    assert (plain.upstream_rq_total, plain.bind_errors) == (8, 1)
