"""One scheduling decision: a pod and the cluster in, a node or the reasons out. Pure.

Preemption: where removing pods of lower priority would help, the node where least is lost is nominated.
Source: kube-scheduler's documented order of preemption (fewest budget violations, lowest highest priority, …) and its texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mizzen.api.labels import from_message
from mizzen.runtime.scheduler.filters import Cluster, Verdict, verdict
from mizzen.runtime.scheduler.nodes import NodeInfo
from mizzen.runtime.scheduler.scores import best

Object = dict[str, Any]


class Decision(NamedTuple):
    """node: where the pod goes, or None with a message; victims: pods to remove first, on `nominated`."""

    node: str | None
    message: str = ""
    nominated: str = ""
    victims: tuple[Object, ...] = ()


def decide(pod: Object, cluster: Cluster) -> Decision:
    """Where the pod goes."""
    if not cluster.nodes:
        return Decision(None, "no nodes available to schedule pods")
    fitting: list[NodeInfo] = []
    objections: dict[str, Verdict] = {}
    for info in cluster.nodes:
        objection = verdict(pod, info, cluster)
        if objection is None:
            fitting.append(info)
        else:
            objections[info.name] = objection
    if fitting:
        chosen = fitting[0] if len(fitting) == 1 else best(pod, fitting, cluster)
        return Decision(chosen.name)
    return _preempt(pod, cluster, objections)


def unfit_message(total: int, reasons: list[str]) -> str:
    """ "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s)." """
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    return f"0/{total} nodes are available: {listed}."


def priority_of(pod: Object) -> int:
    return int(pod["spec"].get("priority") or 0)


def start_of(pod: Object) -> str:
    """When a pod began, as text that sorts by time; one that has not begun is the youngest."""
    return str(pod.get("status", {}).get("startTime") or "9999")


def _preempt(pod: Object, cluster: Cluster, objections: dict[str, Verdict]) -> Decision:
    total = len(cluster.nodes)
    message = unfit_message(total, [reason for o in objections.values() for reason in o.reasons])
    if (obstacle := _not_eligible(pod, cluster)) is not None:
        return Decision(None, f"{message} preemption: not eligible due to {obstacle}.")
    candidates: list[tuple[tuple[Any, ...], str, tuple[Object, ...]]] = []
    notes: list[str] = []
    for info in cluster.nodes:
        if not objections[info.name].resolvable:
            notes.append("Preemption is not helpful for scheduling")
            continue
        found = victims_on(pod, info, cluster)
        if isinstance(found, Victims):
            candidates.append((_loss(found), info.name, found.pods))
        else:
            notes += found.reasons if found is not None else ["No preemption victims found for incoming pod"]
    if candidates:
        _, name, victims = min(candidates, key=lambda c: (c[0], c[1]))
        return Decision(None, message, name, victims)
    return Decision(None, f"{message} preemption: {unfit_message(total, notes)}")


def _not_eligible(pod: Object, cluster: Cluster) -> str | None:
    """Why the pod may not preempt (now): it does not want to, or those it preempted are still going."""
    if pod["spec"].get("preemptionPolicy") == "Never":
        return "preemptionPolicy=Never"
    nominated = pod.get("status", {}).get("nominatedNodeName", "")
    for info in cluster.nodes:
        if info.name == nominated and any(
            "deletionTimestamp" in other["metadata"] and priority_of(other) < priority_of(pod)
            for other in info.pods.values()
        ):
            return "a terminating pod on the nominated node"
    return None


class Victims(NamedTuple):
    """Pods to remove; violations: how many of them a PodDisruptionBudget would have kept."""

    pods: tuple[Object, ...]
    violations: int


def victims_on(pod: Object, info: NodeInfo, cluster: Cluster) -> Victims | Verdict | None:
    """The fewest pods of lower priority whose removal lets the pod run on this node.

    None when there are no such pods; the objection that is left when removing all of them would not do. Those that a budget
    protects are spared first, then the more important ones.
    """
    lower = [other for other in info.pods.values() if priority_of(other) < priority_of(pod)]
    if not lower:
        return None

    def objection(removed: list[Object]) -> Verdict | None:
        thinner = info.without(removed)
        nodes = [thinner if other.name == info.name else other for other in cluster.nodes]
        return verdict(pod, thinner, Cluster(nodes, cluster.namespaces))

    if (still := objection(lower)) is not None:
        return still
    lower.sort(key=lambda p: (-priority_of(p), start_of(p)))
    kept_by_budget = _violating(lower, cluster.budgets)
    victims = list(lower)
    for other in sorted(lower, key=lambda p: p["metadata"]["uid"] not in kept_by_budget):
        without = [victim for victim in victims if victim is not other]
        if objection(without) is None:
            victims = without
    return Victims(tuple(victims), sum(v["metadata"]["uid"] in kept_by_budget for v in victims))


def _violating(pods: Sequence[Object], budgets: Sequence[Object]) -> set[str]:
    """The uids of pods whose removal, one after the other, their budgets no longer allow."""
    left = [budget.get("status", {}).get("disruptionsAllowed", 0) for budget in budgets]
    found: set[str] = set()
    for pod in pods:
        metadata = pod["metadata"]
        for at, budget in enumerate(budgets):
            if budget["metadata"]["namespace"] != metadata["namespace"] or not metadata.get("labels"):
                continue
            if metadata["name"] in (budget.get("status", {}).get("disruptedPods") or {}):
                continue
            if from_message(budget["spec"].get("selector"))(metadata["labels"]):
                left[at] -= 1
                if left[at] < 0:
                    found.add(metadata["uid"])
    return found


def _loss(victims: Victims) -> tuple[Any, ...]:
    """What removing them costs, least first: budgets, importance, number; at last the node whose victims began later."""
    priorities = [priority_of(victim) for victim in victims.pods]
    highest = max(priorities, default=-(2**31))
    began = min((start_of(victim) for victim in victims.pods if priority_of(victim) == highest), default="")
    later_first = tuple(-ord(letter) for letter in began)
    return (victims.violations, highest, sum(p + 2**31 for p in priorities), len(victims.pods), later_first)
