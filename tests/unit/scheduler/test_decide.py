"""Where pods go and what is said when nowhere fits: tables over decide()."""

import pytest

from mizzen.runtime.scheduler.decide import decide
from mizzen.runtime.scheduler.filters import Cluster
from mizzen.runtime.scheduler.nodes import NodeInfo


def node(name, cpu="4", memory="8Gi", taints=(), pods=(), **labels):
    obj = {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "spec": {"taints": list(taints)},
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": "110"}},
    }
    return NodeInfo(obj, {p["metadata"]["uid"]: p for p in pods})


def pod(name="p", cpu=None, priority=0, labels=None, ports=(), **spec):
    container = {"name": "c", "resources": {"requests": {"cpu": cpu}} if cpu else {}}
    container["ports"] = [{"containerPort": port, "hostPort": port} for port in ports]
    metadata = {"name": name, "namespace": "n", "uid": name, "labels": labels or {}}
    return {"metadata": metadata, "spec": {"containers": [container], "priority": priority, **spec}}


def where(p, *nodes):
    return decide(p, Cluster(nodes, {}))


TAINT = {"key": "own", "value": "x", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("p", "nodes", "expected"),
    [
        (pod(cpu="2"), (node("small", "1"), node("big")), "big"),
        (pod(nodeSelector={"disk": "ssd"}), (node("a"), node("b", disk="ssd")), "b"),
        (pod(), (node("tainted", taints=[TAINT]), node("free")), "free"),
        (
            pod(tolerations=[{"key": "own", "operator": "Exists"}], nodeSelector={"t": "1"}),
            (node("x", taints=[TAINT], t="1"),),
            "x",
        ),
        (pod(ports=[80]), (node("a", pods=[pod("other", ports=[80])]), node("b")), "b"),
        (pod(cpu="1"), (node("busy", pods=[pod("o", cpu="3")]), node("idle")), "idle"),
    ],
    ids=["resources", "selector", "taint", "toleration", "host port", "least allocated"],
)
def test_where(p, nodes, expected):
    assert where(p, *nodes).node == expected


def test_what_is_said_when_nowhere_fits():
    decision = where(
        pod(cpu="2", nodeSelector={"s": "1"}), node("a", "1", s="1"), node("b"), node("t", taints=[TAINT], s="1")
    )
    assert decision.node is None
    assert decision.message == (
        "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector, "
        "1 node(s) had untolerated taint(s). preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )


def term(kind, labels, key="kubernetes.io/hostname"):
    required = [{"topologyKey": key, "labelSelector": {"matchLabels": labels}}]
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


def test_affinity_and_anti_affinity():
    with_db = node("a", pods=[pod("db", labels={"app": "db"})])
    assert where(pod(**term("podAffinity", {"app": "db"})), node("b"), with_db).node == "a"
    assert where(pod(**term("podAntiAffinity", {"app": "db"})), with_db, node("b")).node == "b"
    shy = pod("shy", labels={"app": "db"}, **term("podAntiAffinity", {"app": "web"}))
    assert where(pod(labels={"app": "web"}), node("a", pods=[shy]), node("b")).node == "b"
    first = pod(labels={"app": "new"}, **term("podAffinity", {"app": "new"}))
    assert where(first, node("a")).node == "a"


def test_spread_over_zones():
    constraint = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
                  "labelSelector": {"matchLabels": {"app": "w"}}}  # fmt: skip
    p = pod(labels={"app": "w"}, topologySpreadConstraints=[constraint])
    full = node("a", zone="1", pods=[pod("x", labels={"app": "w"})])
    assert where(p, full, node("b", zone="2")).node == "b"


def test_preemption_takes_the_least_important():
    low, lower = pod("low", cpu="4", priority=5), pod("lower", cpu="4", priority=1)
    decision = where(pod(cpu="3", priority=10), node("a", pods=[low]), node("b", pods=[lower]))
    assert decision.nominated == "b"
    assert [v["metadata"]["name"] for v in decision.victims] == ["lower"]
    never = where(pod(cpu="3", priority=10, preemptionPolicy="Never"), node("a", pods=[low]))
    assert not never.victims


def test_a_native_sidecar_counts_beside_the_containers():
    p = pod(cpu="1")
    p["spec"]["initContainers"] = [
        {"name": "proxy", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}},
        {"name": "setup", "resources": {"requests": {"cpu": "2500m"}}},
    ]
    assert where(p, node("a", "3")).node is None  # 1 (sidecar) + 2.5 (set-up step)
    assert where(p, node("a", "3500m")).node == "a"


def budget(allowed, **labels):
    spec = {"selector": {"matchLabels": labels}}
    return {"metadata": {"name": "b", "namespace": "n"}, "spec": spec, "status": {"disruptionsAllowed": allowed}}


def test_preemption_spares_what_a_budget_protects():
    guarded, free = (
        pod("guarded", cpu="4", labels={"app": "db"}),
        pod("free", cpu="4", priority=5, labels={"app": "web"}),
    )
    nodes = (node("a", pods=[guarded]), node("b", pods=[free]))
    important = pod(cpu="4", priority=10)
    assert decide(important, Cluster(nodes, {}, [budget(0, app="db")])).victims == (free,)
    assert decide(important, Cluster(nodes, {}, [budget(1, app="db")])).victims == (guarded,)


def test_a_pod_waits_for_its_victims_and_does_not_take_more():
    going = pod("going", cpu="4")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    waiting = pod(cpu="4", priority=10)
    waiting["status"] = {"nominatedNodeName": "a"}
    decision = decide(waiting, Cluster((node("a", pods=[going]), node("b", pods=[pod("x", cpu="4")])), {}))
    assert decision.victims == ()
    assert decision.message.endswith("preemption: not eligible due to a terminating pod on the nominated node.")


def test_where_removing_all_would_not_do_the_obstacle_is_told():
    low, high = pod("low", cpu="1"), pod("high", cpu="3", priority=100)
    decision = where(pod(cpu="3", priority=10), node("a", pods=[low, high]))
    assert decision.message.endswith("preemption: 0/1 nodes are available: 1 Insufficient cpu.")


def test_affinity_is_looked_at_before_anti_affinity():
    db = pod("db", labels={"app": "db"}, **term("podAntiAffinity", {"app": "web"}))
    web = pod("w", labels={"app": "web"}, **term("podAntiAffinity", {"app": "db"}))
    assert "1 node(s) didn't match pod anti-affinity rules." in where(web, node("a", pods=[db])).message
