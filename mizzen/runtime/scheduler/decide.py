"""One scheduling decision: a pod and the cluster in, a node or the reasons out. Pure.

Preemption: where removing pods of lower priority would help, the node where least is lost is nominated.
Source: kube-scheduler's documented order of preemption (fewest budget violations, lowest highest priority, …) and its texts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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


def _preempt(pod: Object, cluster: Cluster, objections: dict[str, Verdict]) -> Decision:
    total = len(cluster.nodes)
    message = unfit_message(total, [reason for o in objections.values() for reason in o.reasons])
    if pod["spec"].get("preemptionPolicy") == "Never":
        return Decision(None, f"{message} preemption: not eligible due to preemptionPolicy=Never.")
    candidates: list[tuple[tuple[Any, ...], str, tuple[Object, ...]]] = []
    notes: list[str] = []
    for info in cluster.nodes:
        if not objections[info.name].resolvable:
            notes.append("Preemption is not helpful for scheduling")
            continue
        victims = victims_on(pod, info, cluster)
        if victims is None:
            notes.append("No preemption victims found for incoming pod")
        else:
            candidates.append((_loss(victims), info.name, victims))
    if candidates:
        _, name, victims = min(candidates, key=lambda c: (c[0], c[1]))
        return Decision(None, message, name, victims)
    return Decision(None, f"{message} preemption: {unfit_message(total, notes)}")


def victims_on(pod: Object, info: NodeInfo, cluster: Cluster) -> tuple[Object, ...] | None:
    """The fewest pods of lower priority whose removal lets the pod run on this node; None when none would."""
    lower = [other for other in info.pods.values() if priority_of(other) < priority_of(pod)]
    if not lower:
        return None

    def fits(removed: list[Object]) -> bool:
        thinner = info.without(removed)
        nodes = [thinner if other.name == info.name else other for other in cluster.nodes]
        return verdict(pod, thinner, Cluster(nodes, cluster.namespaces)) is None

    if not fits(lower):
        return None
    victims = list(lower)
    for other in sorted(lower, key=lambda p: (-priority_of(p), p["metadata"].get("creationTimestamp") or "")):
        without = [victim for victim in victims if victim is not other]
        if fits(without):
            victims = without
    return tuple(victims)


def _loss(victims: tuple[Object, ...]) -> tuple[Any, ...]:
    priorities = [priority_of(victim) for victim in victims]
    return (max(priorities, default=-(2**31)), sum(p + 2**31 for p in priorities), len(victims))
