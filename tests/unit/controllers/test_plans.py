"""ReplicaSets, EndpointSlices and the garbage graph: rules without a server."""

from mizzen.kube.resource import CONFIG_MAPS, PODS
from mizzen.runtime.controllers import endpointslice_plan, replicaset_plan
from mizzen.runtime.controllers.garbage import Graph, Verdict
from mizzen.runtime.controllers.owners import claim


def pod(name, ready=True, ip="10.0.0.1", node="n1", owner=None, **metadata):
    status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}
    status["conditions"] = [{"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    references = [{"uid": owner, "controller": True, "name": "o", "kind": "ReplicaSet"}] if owner else []
    return {
        "metadata": {"name": name, "namespace": "n", "uid": name, "ownerReferences": references, **metadata},
        "spec": {"nodeName": node, "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": status,
    }


def test_replica_sets_fill_up_and_shrink_by_what_is_least_missed():
    assert replicaset_plan.plan(3, [pod("a")], []).create == 2
    pods = [pod("ready"), pod("waiting", ready=False), pod("unassigned", node="")]
    gone = replicaset_plan.plan(1, pods, pods).delete
    assert [p["metadata"]["name"] for p in gone] == ["unassigned", "waiting"]
    finished = pod("done")
    finished["status"]["phase"] = "Failed"
    assert replicaset_plan.plan(1, [finished], []).create == 1


def test_availability_waits_for_min_ready_seconds():
    rs = {"metadata": {"generation": 2}, "spec": {"minReadySeconds": 30, "template": {}}}
    ready_at = 1767225600.0  # 2026-01-01T00:00:00Z
    early = replicaset_plan.status(rs, [pod("a")], None, ready_at + 10)
    assert early.status.get("availableReplicas", 0) == 0
    assert early.again_s == 20
    assert replicaset_plan.status(rs, [pod("a")], None, ready_at + 31).status["availableReplicas"] == 1


def test_claims_adopt_release_and_keep():
    owner = {"metadata": {"uid": "me"}}
    mine, stray = pod("mine", owner="me", labels={"app": "x"}), pod("stray", labels={"app": "x"})
    changed, other = pod("changed", owner="me", labels={}), pod("other", owner="you", labels={"app": "x"})
    claims = claim(owner, [mine, stray, changed, other], lambda labels: labels.get("app") == "x")
    assert ([mine], [stray], [changed]) == (claims.owned, claims.adopt, claims.release)


SERVICE = {
    "metadata": {"name": "web", "namespace": "n", "uid": "s", "labels": {"l": "m"}},
    "spec": {"clusterIP": "10.96.0.5", "ports": [{"name": "h", "port": 80, "targetPort": "http"}]},
}


def test_a_service_without_pods_has_one_empty_slice():
    changes = endpointslice_plan.plan(SERVICE, [], {}, [])
    (entry,) = changes.create
    assert (entry["endpoints"], entry["ports"], entry["addressType"]) == (None, None, "IPv4")


def test_slices_hold_a_hundred_endpoints_and_are_kept():
    pods = [pod(f"p{n}", ip=f"10.0.{n // 250}.{n % 250 + 1}") for n in range(150)]
    nodes = {"n1": {"metadata": {"labels": {"topology.kubernetes.io/zone": "z"}}}}
    created = endpointslice_plan.plan(SERVICE, pods, nodes, []).create
    assert sorted(len(entry["endpoints"]) for entry in created) == [50, 100]
    assert created[0]["endpoints"][0]["zone"] == "z"
    existing = [{**entry, "metadata": {**entry["metadata"], "name": f"web-{n}"}} for n, entry in enumerate(created)]
    assert endpointslice_plan.plan(SERVICE, pods, nodes, existing) == ([], [], [])
    fewer = endpointslice_plan.plan(SERVICE, pods[:-1], nodes, existing)
    assert (len(fewer.create), len(fewer.update), len(fewer.delete)) == (0, 1, 0)


def test_pods_of_unknown_nodes_do_not_count():
    (entry,) = endpointslice_plan.plan(SERVICE, [pod("p")], {}, []).create
    assert entry["endpoints"] is None


def test_terminating_pods_stay_and_say_so():
    going = pod("p", deletionTimestamp="2026-01-01T00:00:00Z")
    (entry,) = endpointslice_plan.plan(SERVICE, [going], {"n1": {"metadata": {}}}, []).create
    assert entry["endpoints"][0]["conditions"] == {"ready": False, "serving": True, "terminating": True}


def thing(uid, *owners, finalizers=(), deleting=False, block=True):
    metadata = {"uid": uid, "name": uid, "namespace": "n", "finalizers": list(finalizers)}
    metadata["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": o, "uid": o, "blockOwnerDeletion": block} for o in owners
    ]
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata}


def test_dependents_of_a_gone_owner_go():
    graph = Graph()
    graph.changed(CONFIG_MAPS, thing("root"))
    graph.changed(PODS, thing("leaf", "root"))
    assert graph.judge("leaf") == Verdict()
    assert graph.gone("root") == {"leaf"}
    assert graph.judge("leaf") == Verdict(delete="Background")


def test_a_second_owner_keeps_the_dependent():
    graph = Graph()
    for uid in ("a", "b"):
        graph.changed(CONFIG_MAPS, thing(uid))
    graph.changed(PODS, thing("leaf", "a", "b"))
    graph.gone("a")
    assert graph.judge("leaf") == Verdict(drop=("a",))


def test_foreground_waits_for_blocking_dependents():
    graph = Graph()
    graph.changed(PODS, thing("leaf", "root"))
    graph.changed(CONFIG_MAPS, thing("root", finalizers=["foregroundDeletion"], deleting=True))
    assert graph.judge("root") == Verdict()
    assert graph.judge("leaf") == Verdict(delete="Background")
    assert graph.gone("leaf") == {"root"}
    assert graph.judge("root") == Verdict(release=True)


def test_orphaning_lets_dependents_be():
    graph = Graph()
    graph.changed(PODS, thing("leaf", "root"))
    graph.changed(CONFIG_MAPS, thing("root", finalizers=["orphan"], deleting=True))
    assert graph.judge("root") == Verdict(orphan_dependents=True)


def test_an_owner_nobody_has_seen_counts_as_there_until_asked():
    graph = Graph()
    graph.changed(PODS, thing("leaf", "never"))
    assert graph.judge("leaf") == Verdict()
    assert [o["uid"] for o in graph.unknown_owners("leaf")] == ["never"]
    graph.absent.add("never")
    assert graph.judge("leaf") == Verdict(delete="Background")
