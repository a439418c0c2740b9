"""Readings of a pod: quality of service, restart policy, grace, ports, whose security context counts."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.runtime.kubelet import podspec
from tests.unit.kubelet.pods import once, pod, sidecar

BOTH = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "0"}}, "BestEffort"),
        ({"requests": {"cpu": "1m"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"limits": BOTH}, "Guaranteed"),
        ({"limits": BOTH, "requests": {"cpu": "1000m", "memory": "1024Mi"}}, "Guaranteed"),
        ({"limits": BOTH, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
def test_quality_of_service(resources: dict[str, Any], expected: str) -> None:
    spec = pod("a")
    spec["spec"]["containers"][0]["resources"] = resources
    assert podspec.qos_class(spec) == expected


def test_one_container_without_limits_is_not_guaranteed() -> None:
    spec = pod("a", "b")
    spec["spec"]["containers"][0]["resources"] = {"limits": BOTH}
    assert podspec.qos_class(spec) == "Burstable"


@pytest.mark.parametrize(
    ("policy", "plain", "side"),
    [("Always", "OnFailure", "Always"), ("OnFailure", "OnFailure", "Always"), ("Never", "Never", "Always")],
)
def test_restart_policies(policy: str, plain: str, side: str) -> None:
    spec = pod("a", init=(once("i"), sidecar("s")), policy=policy)
    init = spec["spec"]["initContainers"]
    assert podspec.restart_policy(spec) == podspec.restart_policy(spec, spec["spec"]["containers"][0]) == policy
    assert (podspec.restart_policy(spec, init[0]), podspec.restart_policy(spec, init[1])) == (plain, side)


def test_grace() -> None:
    assert podspec.grace_seconds(pod("a")) == 30
    spec = pod("a", terminationGracePeriodSeconds=0)
    assert podspec.grace_seconds(spec) == 0
    spec["metadata"]["deletionGracePeriodSeconds"] = 5
    assert podspec.grace_seconds(spec) == 5


def test_ports() -> None:
    container = {"name": "a", "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 1}]}
    assert [podspec.named_port(container, port) for port in (7, "9", "http")] == [7, 9, 8080]
    with pytest.raises(ValueError, match="no port named 'none'"):
        podspec.named_port(container, "none")


def test_the_containers_security_context_counts_before_the_pods() -> None:
    spec = pod("a", securityContext={"runAsUser": 1, "runAsGroup": 2})
    container = {"name": "a", "securityContext": {"runAsUser": 0}}
    assert [podspec.security(spec, container, key) for key in ("runAsUser", "runAsGroup", "fsGroup")] == [0, 2, None]
