"""The sizes a rollout goes through, and the conditions it shows."""

import pytest

from mizzen.runtime.controllers import deployment_plan as rules
from mizzen.runtime.controllers.deployment_status import conditions


def deployment(replicas, surge="25%", unavailable="25%", **spec):
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    return {
        "metadata": {"name": "d", "namespace": "n", "generation": 1},
        "spec": {"replicas": replicas, "strategy": strategy, "template": {}, **spec},
    }


def replica_set(name, size, available=None, created="2026-01-01T00:00:00Z", **annotations):
    available = size if available is None else available
    return {
        "metadata": {
            "name": name,
            "uid": name,
            "creationTimestamp": created,
            "annotations": annotations,
            "generation": 1,
        },
        "spec": {"replicas": size, "template": {}},
        "status": {
            "replicas": size,
            "availableReplicas": available,
            "readyReplicas": available,
            "observedGeneration": 1,
        },
    }


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (4, 1, 1, (1, 1)),
        (1, "25%", "25%", (1, 0)),
        (5, 0, "10%", (0, 1)),  # neither may be zero together
        (0, "25%", "25%", (0, 0)),
        (2, 0, 5, (0, 2)),
    ],
)
def test_limits(replicas, surge, unavailable, expected):
    assert rules.limits(deployment(replicas, surge, unavailable)) == expected


def test_a_rollout_step_by_step():
    """4 replicas, one more and one less allowed: what each side may be while pods become available."""
    d = deployment(4, 1, 1)
    old, new = replica_set("old", 4), replica_set("new", 0)
    assert rules.new_size(d, new, [old, new]) == 1
    new = replica_set("new", 1, available=0)
    assert rules.scale_down_old(d, new, [old]) == {"old": 3}
    old = replica_set("old", 3)
    assert rules.new_size(d, new, [old, new]) == 2
    new = replica_set("new", 2, available=0)
    assert rules.scale_down_old(d, new, [old]) == {}
    new = replica_set("new", 2, available=2)
    assert rules.scale_down_old(d, new, [old]) == {"old": 1}


def test_unhealthy_old_pods_go_first():
    d = deployment(4, 0, 1)
    old, new = replica_set("old", 4, available=1), replica_set("new", 0)
    assert rules.scale_down_old(d, new, [old]) == {"old": 3}


def test_scaling_in_the_middle_of_a_rollout_is_proportional():
    d = deployment(10, 3, 2)
    note = {rules.DESIRED: "5", rules.MAX: "8"}
    sets = [
        replica_set("old", 6, created="2026-01-01T00:00:00Z", **note),
        replica_set("new", 2, created="2026-01-02T00:00:00Z", **note),
    ]
    assert rules.is_scaling(d, sets)
    sizes = rules.proportional(d, sets)
    assert sum(sizes.values()) == 13
    assert sizes["old"] > sizes["new"]


def test_template_comparison_ignores_the_hash_label():
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"x": 1}}
    d = deployment(1, template=template)
    rs = replica_set("r", 1)
    rs["spec"]["template"] = rules.labelled(template, "abc")
    assert rules.find_new(d, [rs]) is rs


def test_clean_up_keeps_the_history_limit():
    d = deployment(1, revisionHistoryLimit=1)
    old = [replica_set(f"r{n}", 0, **{rules.REVISION: str(n)}) for n in (3, 1, 2)]
    assert [rs["metadata"]["name"] for rs in rules.to_clean_up(d, old)] == ["r1", "r2"]


def test_conditions_of_a_fresh_and_a_complete_rollout():
    d = deployment(1)
    new = replica_set("new", 1, available=0)
    status = rules.counts(d, new, [new])
    first = {c["type"]: c for c in conditions(d, status, new, [new], 0.0)}
    assert (first["Available"]["status"], first["Available"]["reason"]) == ("False", "MinimumReplicasUnavailable")
    assert first["Progressing"]["reason"] == "NewReplicaSetCreated"
    new = replica_set("new", 1)
    d["status"] = {**status, "conditions": list(first.values())}
    done = {c["type"]: c["reason"] for c in conditions(d, rules.counts(d, new, [new]), new, [new], 5.0)}
    assert done == {"Available": "MinimumReplicasAvailable", "Progressing": "NewReplicaSetAvailable"}


def test_a_passed_deadline_is_told():
    d = deployment(2, progressDeadlineSeconds=10)
    new = replica_set("new", 2, available=0)
    status = rules.counts(d, new, [new])
    before = conditions(d, status, new, [new], 0.0)
    d["status"] = {**status, "conditions": before}
    late = {c["type"]: c["reason"] for c in conditions(d, status, new, [new], 100.0)}
    assert late["Progressing"] == "ProgressDeadlineExceeded"
