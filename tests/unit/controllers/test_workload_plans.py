"""Jobs, StatefulSets, DaemonSets and node taints: rules without a server."""

import pytest

from mizzen.runtime.controllers import daemonset, job_plan, nodes, statefulset_plan

NOW = 1767225600.0  # 2026-01-01T00:00:00Z


def pod(name, phase="Running", ready=False, index=None, revision=None, going=False, exit_code=1, **extra):
    metadata = {
        "name": name,
        "namespace": "n",
        "uid": name,
        "labels": {},
        "annotations": {},
        "finalizers": [job_plan.FINALIZER],
    }
    metadata["creationTimestamp"] = "2025-12-31T00:00:00Z"
    if index is not None:
        metadata["annotations"][job_plan.INDEX] = str(index)
    if revision:
        metadata["labels"]["controller-revision-hash"] = revision
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    status = {"phase": phase, "conditions": []}
    if ready:
        status["conditions"].append({"type": "Ready", "status": "True", "lastTransitionTime": "2025-12-31T00:00:00Z"})
    if phase == "Failed":
        ended = {"exitCode": exit_code, "finishedAt": "2025-12-31T00:00:00Z"}
        status["containerStatuses"] = [{"name": "c", "state": {"terminated": ended}}]
    return {"metadata": metadata, "spec": {}, "status": {**status, **extra}}


def job(**spec):
    return {"metadata": {"name": "j"}, "spec": {"template": {"spec": {}}, "parallelism": 1, **spec}, "status": {}}


def outcome(j, *pods):
    found = job_plan.tally(j, list(pods), NOW)
    return found.outcome.reason if found.outcome else None, job_plan.wanted(j, found)


@pytest.mark.parametrize(
    ("j", "pods", "expected"),
    [
        (job(completions=3, parallelism=2), [], (None, 2)),
        (job(completions=3, parallelism=2), [pod("a", "Succeeded"), pod("b", "Succeeded")], (None, 1)),
        (job(completions=1), [pod("a", "Succeeded")], ("CompletionsReached", 0)),
        (job(completions=1, backoffLimit=0), [pod("a", "Failed")], ("BackoffLimitExceeded", 0)),
        (job(completions=1, backoffLimit=1), [pod("a", "Failed")], (None, 1)),
        (job(completions=1, suspend=True), [], (None, 0)),
        (job(completions=2, completionMode="Indexed", parallelism=2), [pod("a", "Succeeded", index=0)], (None, 1)),
        (
            job(completions=2, completionMode="Indexed", parallelism=2, backoffLimitPerIndex=0),
            [pod("a", "Failed", index=0), pod("b", "Succeeded", index=1)],
            ("FailedIndexes", 0),
        ),
        (
            job(
                completions=3,
                completionMode="Indexed",
                successPolicy={"rules": [{"succeededIndexes": "1", "succeededCount": 1}]},
            ),
            [pod("a", "Succeeded", index=1)],
            ("SuccessPolicy", 0),
        ),
        (
            job(
                completions=1,
                podFailurePolicy={"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]},
            ),
            [pod("a", "Failed", exit_code=42)],
            ("PodFailurePolicy", 0),
        ),
    ],
    ids=[
        "start",
        "rest",
        "complete",
        "backoff",
        "retry",
        "suspended",
        "indexed",
        "failed index",
        "success policy",
        "failure policy",
    ],
)
def test_jobs(j, pods, expected):
    assert outcome(j, *pods) == expected


def test_counted_pods_are_not_counted_twice():
    j = job(completions=2)
    j["status"] = {"succeeded": 1}
    counted = pod("a", "Succeeded")
    counted["metadata"]["finalizers"] = []
    assert job_plan.tally(j, [counted], NOW).succeeded == 1


@pytest.mark.parametrize(("indexes", "text"), [((), ""), ((1,), "1"), ((0, 1), "0,1"), ((0, 1, 2, 5), "0-2,5")])
def test_intervals(indexes, text):
    assert job_plan.intervals(indexes) == text
    assert job_plan.parse_intervals(text) == frozenset(indexes)


def test_failures_back_off_exponentially():
    failed = pod("a", "Failed")
    failed["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = "2026-01-01T00:00:00Z"
    assert job_plan.backoff_s([failed], NOW) == 10.0
    assert job_plan.backoff_s([failed, pod("b", "Failed")], NOW) == 20.0
    assert job_plan.backoff_s([], NOW) == 0.0


def stateful_set(replicas=3, **spec):
    return {"metadata": {"name": "s", "namespace": "n"}, "spec": {"replicas": replicas, "template": {}, **spec}}


def steps(s, *pods):
    todo = statefulset_plan.plan(s, list(pods), "old", "new", NOW)
    return [number for number, _ in todo.create], [p["metadata"]["name"] for p in todo.delete]


def test_stateful_sets_go_one_by_one():
    s = stateful_set()
    assert steps(s) == ([0], [])
    assert steps(s, pod("s-0", revision="new")) == ([], [])
    assert steps(s, pod("s-0", ready=True, revision="new")) == ([1], [])
    assert steps(stateful_set(podManagementPolicy="Parallel")) == ([0, 1, 2], [])


def test_stateful_sets_update_from_the_end_down_to_the_partition():
    old = [pod(f"s-{n}", ready=True, revision="old") for n in range(3)]
    assert steps(stateful_set(), *old) == ([], ["s-2"])
    updated = [*old[:2], pod("s-2", ready=True, revision="new")]
    assert steps(stateful_set(), *updated) == ([], ["s-1"])
    rolling = {"rollingUpdate": {"partition": 2}}
    assert steps(stateful_set(updateStrategy=rolling), *updated) == ([], [])


def test_stateful_sets_shrink_from_the_end():
    pods = [pod(f"s-{n}", ready=True, revision="new") for n in range(3)]
    assert steps(stateful_set(1), *pods) == ([], ["s-2"])


def node(taints=(), labels=None, **conditions):
    return {
        "metadata": {"name": "n1", "labels": labels or {}},
        "spec": {"taints": list(taints)},
        "status": {"conditions": [{"type": kind, "status": status} for kind, status in conditions.items()]},
    }


def test_daemon_pods_tolerate_what_others_do_not():
    d = {
        "metadata": {"name": "d", "namespace": "n", "uid": "d"},
        "spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}},
    }
    assert daemonset.fit(d, node(labels={"a": "b"})) == (True, True)
    assert daemonset.fit(d, node()) == (False, False)
    pressed = node([{"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}], {"a": "b"})
    assert daemonset.fit(d, pressed) == (True, True)
    assert daemonset.fit(d, node([{"key": "own", "effect": "NoSchedule"}], {"a": "b"})) == (False, True)
    assert daemonset.node_of(daemonset.new_pod(d, "n1", "h")) == "n1"


@pytest.mark.parametrize(
    ("n", "alone", "expected"),
    [
        (node(Ready="True"), False, []),
        (node(Ready="False"), False, [("not-ready", "NoSchedule"), ("not-ready", "NoExecute")]),
        (node(Ready="False"), True, [("not-ready", "NoSchedule")]),
        (node(Ready="Unknown"), False, [("unreachable", "NoSchedule"), ("unreachable", "NoExecute")]),
        (node(Ready="True", MemoryPressure="True"), False, [("memory-pressure", "NoSchedule")]),
    ],
)
def test_taints_follow_conditions(n, alone, expected):
    assert nodes.wanted_taints(n, alone) == [(nodes.PREFIX + key, effect) for key, effect in expected]


def test_foreign_taints_stay():
    own = {"key": "own", "effect": "NoSchedule"}
    assert nodes.retainted(node([own]), [], "now") is None
    assert nodes.retainted(node([own, {"key": nodes.PREFIX + "not-ready", "effect": "NoSchedule"}]), [], "now") == [own]


@pytest.mark.parametrize(
    ("tolerations", "expected"),
    [([], 0.0), ([{"operator": "Exists"}], None), ([{"operator": "Exists", "tolerationSeconds": 30}], 20.0)],
)
def test_no_execute_taints_drive_pods_off(tolerations, expected):
    taint = {"key": "fire", "effect": "NoExecute", "timeAdded": "2025-12-31T23:59:50Z"}
    assert nodes.leaves_in({"spec": {"tolerations": tolerations}}, [taint], NOW) == expected
