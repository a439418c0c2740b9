"""What objects cost a quota, and what a quota's status says."""

import pytest

from mizzen.runtime.quotas import Amount, in_scope, resource_of, total, usage


def pod(cpu=None, memory=None, limits=None, init=(), phase="Running", **spec):
    requests = {name: text for name, text in (("cpu", cpu), ("memory", memory)) if text}
    container = {"name": "c", "resources": {"requests": requests, "limits": limits or {}}}
    body = {"containers": [container], "initContainers": list(init), **spec}
    return {"metadata": {"name": "p", "namespace": "n"}, "spec": body, "status": {"phase": phase}}


def texts(found):
    return {name: str(amount) for name, amount in found.items()}


def init(cpu, always=False):
    policy = {"restartPolicy": "Always"} if always else {}
    return {"name": "i", "resources": {"requests": {"cpu": cpu}}, **policy}


@pytest.mark.parametrize(
    ("obj", "cpu"),
    [
        (pod("500m"), "500m"),
        (pod("500m", init=[init("2")]), "2"),
        (pod("500m", init=[init("100m", always=True)]), "600m"),
        (pod("500m", init=[init("1", always=True), init("2")]), "3"),
        (pod("500m", overhead={"cpu": "250m"}), "750m"),
        (pod("500m", resources={"requests": {"cpu": "4"}}), "4"),
    ],
    ids=["containers", "init", "sidecar", "init beside a sidecar", "overhead", "pod level"],
)
def test_a_pod_costs_what_it_may_need_at_once(obj, cpu):
    found = texts(usage("pods", obj))
    assert (found["requests.cpu"], found["cpu"], found["pods"], found["count/pods"]) == (cpu, cpu, "1", "1")


def test_a_pod_that_has_ended_costs_its_object_only():
    assert texts(usage("pods", pod("1", phase="Failed"))) == {"count/pods": "1"}


def test_services_and_claims():
    ports = [{"port": 1}, {"port": 2}]
    balanced = {"spec": {"type": "LoadBalancer", "ports": ports}}
    found = texts(usage("services", balanced))
    assert (found["services"], found["services.nodeports"], found["services.loadbalancers"]) == ("1", "2", "1")
    assert "services.nodeports" not in usage(
        "services", {"spec": {**balanced["spec"], "allocateLoadBalancerNodePorts": False}}
    )
    claim = {"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}}
    found = texts(usage("persistentvolumeclaims", claim))
    assert found["requests.storage"] == found["gold.storageclass.storage.k8s.io/requests.storage"] == "1Gi"
    assert found["gold.storageclass.storage.k8s.io/persistentvolumeclaims"] == "1"


def test_sums_keep_the_way_that_sizes_are_written():
    used = total(
        {"spec": {}},
        ["requests.memory", "pods", "count/secrets", "no/such"],
        {"pods": [pod(memory="1536Mi"), pod(memory="512Mi")]},
    )
    assert used == {"count/secrets": "0", "pods": "2", "requests.memory": "2Gi"}
    assert str(Amount.of("100M").plus(Amount.of("1Ki"))) == "100001024"


SCOPES = [
    ("BestEffort", pod(), True),
    ("BestEffort", pod("1"), False),
    ("NotBestEffort", pod("1"), True),
    ("Terminating", pod(activeDeadlineSeconds=5), True),
    ("NotTerminating", pod(activeDeadlineSeconds=5), False),
    ("PriorityClass", pod(priorityClassName="high"), True),
]


@pytest.mark.parametrize(("scope", "obj", "inside"), SCOPES)
def test_scopes(scope, obj, inside):
    assert in_scope({"spec": {"scopes": [scope]}}, "pods", obj) is inside
    assert not in_scope({"spec": {"scopes": [scope]}}, "services", obj)


def test_scope_selectors_name_priorities():
    terms = [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]
    quota = {"spec": {"scopeSelector": {"matchExpressions": terms}}}
    assert in_scope(quota, "pods", pod(priorityClassName="high"))
    assert not in_scope(quota, "pods", pod())


@pytest.mark.parametrize(
    ("name", "resource"),
    [
        ("count/jobs.batch", "jobs.batch"), ("requests.cpu", "pods"), ("memory", "pods"), ("requests.test.io/card", "pods"),
        ("services.nodeports", "services"), ("requests.storage", "persistentvolumeclaims"), ("test.io/card", None),
    ],
)  # fmt: skip
def test_who_uses_a_name(name, resource):
    assert resource_of(name) == resource
