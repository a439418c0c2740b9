"""Rules of the small controllers without a server: token secrets, autoscalers, nodes' TTL, what Jobs have counted."""

import base64

import pytest

from mizzen.runtime.controllers import autoscaler, job_plan
from mizzen.runtime.controllers.nodes import TTLS, ttl_step
from mizzen.runtime.controllers.tokens import ACCOUNT, UID, filled

ACCOUNT_OBJECT = {"metadata": {"name": "robot", "namespace": "n", "uid": "u1"}}


def secret(**data):
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}
    return {"metadata": {"name": "s", "namespace": "n", "annotations": {ACCOUNT: "robot"}}, "data": encoded}


def test_a_token_secret_is_filled_once():
    claims = []
    full = filled(secret(), ACCOUNT_OBJECT, "PEM", lambda one: claims.append(one) or "signed")
    read = {name: base64.b64decode(text).decode() for name, text in full["data"].items()}
    assert read == {"ca.crt": "PEM", "namespace": "n", "token": "signed"}
    assert full["metadata"]["annotations"][UID] == "u1"
    assert claims[0]["kubernetes.io/serviceaccount/secret.name"] == "s"
    assert filled(full, ACCOUNT_OBJECT, "PEM", lambda one: "other") is None
    renewed = filled(full, ACCOUNT_OBJECT, "NEW PEM", lambda one: "other")
    assert base64.b64decode(renewed["data"]["token"]) == b"signed"


def hpa(**spec):
    return {"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, **spec}}


def scale(replicas, selector="app=x"):
    return {"spec": {"replicas": replicas} if replicas else {}, "status": {"selector": selector}}


@pytest.mark.parametrize(
    ("autoscaling", "target", "size", "reasons"),
    [
        (hpa(), scale(5), 3, ["SucceededRescale"]),
        (hpa(minReplicas=2), scale(1), 2, ["SucceededRescale"]),
        (hpa(), scale(0), None, ["SucceededGetScale", "ScalingDisabled"]),
        (hpa(), scale(2, selector=""), None, ["SucceededGetScale", "InvalidSelector"]),
        (
            hpa(metrics=[{"type": "Resource", "resource": {"name": "cpu"}}]),
            scale(2),
            None,
            ["SucceededGetScale", "FailedGetResourceMetric"],
        ),
        (
            hpa(metrics=[{"type": "External", "external": {"metric": {"name": "q"}}}]),
            scale(2),
            None,
            ["SucceededGetScale", "FailedGetExternalMetric"],
        ),
    ],
    ids=["above", "below", "switched off", "no selector", "no metrics", "no external metrics"],
)
def test_what_an_autoscaler_finds(autoscaling, target, size, reasons):
    found = autoscaler.look(autoscaling, target)
    assert found.size == size
    assert [reason for _, _, reason, _ in found.conditions] == reasons


def test_conditions_keep_their_time_while_their_status_stays():
    first = autoscaler.with_conditions(hpa(), [("AbleToScale", "True", "a", "")], 0.0)
    again = autoscaler.with_conditions(
        {**hpa(), "status": {"conditions": first}}, [("AbleToScale", "True", "b", "")], 9.0
    )
    assert again[0]["lastTransitionTime"] == first[0]["lastTransitionTime"]
    assert again[0]["reason"] == "b"
    changed = autoscaler.with_conditions(
        {**hpa(), "status": {"conditions": again}}, [("AbleToScale", "False", "c", "")], 9.0
    )
    assert changed[0]["lastTransitionTime"] != first[0]["lastTransitionTime"]


def test_the_ttl_follows_the_number_of_nodes_with_some_slack():
    step, seen = 0, []
    for nodes in (1, 100, 101, 95, 89, 5000, 1900, 1):
        step = ttl_step(step, nodes)
        seen.append(TTLS[step].seconds)
    assert seen == [0, 0, 15, 15, 0, 300, 300, 0]


def job_pod(uid, phase, finalizer=True):
    finalizers = [job_plan.FINALIZER] if finalizer else []
    return {
        "metadata": {"name": uid, "namespace": "n", "uid": uid, "finalizers": finalizers},
        "status": {"phase": phase},
    }


def job(**status):
    return {"metadata": {"name": "j"}, "spec": {"completions": 5, "template": {"spec": {}}}, "status": status}


def test_a_pod_that_is_named_as_uncounted_counts_once_with_and_without_its_finalizer():
    named = {"uncountedTerminatedPods": {"succeeded": ["a"]}, "succeeded": 2}
    for finalizer in (True, False):
        found = job_plan.tally(job(**named), [job_pod("a", "Succeeded", finalizer)], 0.0)
        assert (found.succeeded, found.uncounted.succeeded) == (3, {"a"})
    counted = job_plan.tally(job(succeeded=3), [job_pod("a", "Succeeded", finalizer=False)], 0.0)
    assert (counted.succeeded, counted.uncounted.succeeded) == (3, frozenset())


def test_fresh_ends_are_noted_before_they_are_counted():
    found = job_plan.tally(job(), [job_pod("a", "Succeeded"), job_pod("b", "Failed")], 0.0)
    assert found.uncounted.told() == {"succeeded": ["a"], "failed": ["b"]}
