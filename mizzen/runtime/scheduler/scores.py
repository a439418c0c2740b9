"""The scheduler's scores: which of the nodes that will do is best. One ordered list of (score, weight).

A score gives every node a number from 0 to 100. Source: the default plugins and weights of kube-scheduler
(NodeResourcesFit LeastAllocated 1, BalancedAllocation 1, TaintToleration 3, NodeAffinity 2, PodTopologySpread 2,
InterPodAffinity 2, ImageLocality 1: images are no matter where none is pulled, so it is left out).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from mizzen.api.labels import from_message
from mizzen.runtime.scheduler.affinity import preferred_terms, required_terms, selects, term_matches, tolerates
from mizzen.runtime.scheduler.filters import Cluster
from mizzen.runtime.scheduler.nodes import NodeInfo
from mizzen.runtime.scheduler.resources import pod_requests

Object = dict[str, Any]
Score = Callable[[Object, Sequence[NodeInfo], Cluster], list[float]]
# What a pod that asks for nothing is taken to use, so that such pods spread too.
UNASKED = {"cpu": 100, "memory": 200 * 1024 * 1024}


def _fractions(pod: Object, info: NodeInfo) -> list[float]:
    asked = {**UNASKED, **pod_requests(pod)}
    result = []
    for name in ("cpu", "memory"):
        capacity = info.allocatable.get(name, 0)
        unasked = UNASKED[name] * sum(name not in pod_requests(other) for other in info.pods.values())
        used = info.requested.get(name, 0) + unasked + asked[name]
        result.append(min(1.0, used / capacity) if capacity else 1.0)
    return result


def least_allocated(pod: Object, nodes: Sequence[NodeInfo], cluster: Cluster) -> list[float]:
    """More free CPU and memory is better."""
    return [100 * sum(1 - part for part in _fractions(pod, info)) / 2 for info in nodes]


def balanced(pod: Object, nodes: Sequence[NodeInfo], cluster: Cluster) -> list[float]:
    """CPU and memory used to the same degree is better."""
    result = []
    for info in nodes:
        cpu, memory = _fractions(pod, info)
        result.append(100 * (1 - abs(cpu - memory) / 2))
    return result


def taint_toleration(pod: Object, nodes: Sequence[NodeInfo], cluster: Cluster) -> list[float]:
    """Fewer untolerated PreferNoSchedule taints is better."""
    tolerations = pod["spec"].get("tolerations") or []
    counts = [
        sum(
            t["effect"] == "PreferNoSchedule" and not tolerates(tolerations, t)
            for t in info.node["spec"].get("taints") or ()
        )
        for info in nodes
    ]
    return _scaled([-float(count) for count in counts])


def node_affinity(pod: Object, nodes: Sequence[NodeInfo], cluster: Cluster) -> list[float]:
    """The weights of preferred node terms that match."""
    terms = preferred_terms(pod, "nodeAffinity")
    return _scaled([float(sum(w for w, term in terms if term_matches(term, info.node))) for info in nodes])


def inter_pod_affinity(pod: Object, nodes: Sequence[NodeInfo], cluster: Cluster) -> list[float]:
    """Preferred terms of the pod and of pods that are there, and the required affinity of those (weight 1)."""
    weights: dict[tuple[str, str], float] = {}

    def count(term: Object, info: NodeInfo, weight: float) -> None:
        key = term["topologyKey"]
        if key in info.labels:
            weights[(key, info.labels[key])] = weights.get((key, info.labels[key]), 0.0) + weight

    for info in cluster.nodes:
        for other in info.pods.values():
            for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
                for weight, term in preferred_terms(pod, kind):
                    if selects(term, pod, other, cluster.namespaces):
                        count(term, info, sign * weight)
                for weight, term in preferred_terms(other, kind):
                    if selects(term, other, pod, cluster.namespaces):
                        count(term, info, sign * weight)
            for term in required_terms(other, "podAffinity"):
                if selects(term, other, pod, cluster.namespaces):
                    count(term, info, 1)
    if not weights:
        return [0.0] * len(nodes)
    return _scaled([sum(weights.get((key, value), 0.0) for key, value in info.labels.items()) for info in nodes])


def spread(pod: Object, nodes: Sequence[NodeInfo], cluster: Cluster) -> list[float]:
    """Topology spread constraints with ScheduleAnyway, and by default pods with equal labels on few hosts and zones."""
    constraints = [
        c for c in pod["spec"].get("topologySpreadConstraints") or () if c["whenUnsatisfiable"] == "ScheduleAnyway"
    ]
    labels = pod["metadata"].get("labels") or {}
    if not pod["spec"].get("topologySpreadConstraints") and labels and pod["metadata"].get("ownerReferences"):
        same = {"matchLabels": labels}
        constraints = [
            {"topologyKey": "kubernetes.io/hostname", "maxSkew": 3, "labelSelector": same},
            {"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 5, "labelSelector": same},
        ]
    totals = [0.0] * len(nodes)
    for constraint in constraints:
        key, matches = constraint["topologyKey"], from_message(constraint.get("labelSelector"))
        counts: dict[str, int] = {}
        for info in cluster.nodes:
            domain = info.name if key == "kubernetes.io/hostname" else info.labels.get(key)
            if domain is not None:
                counts[domain] = counts.get(domain, 0) + sum(
                    other["metadata"]["namespace"] == pod["metadata"]["namespace"]
                    and matches(other["metadata"].get("labels") or {})
                    for other in info.pods.values()
                )
        factor = math.log(len(counts) + 2)
        for at, info in enumerate(nodes):
            domain = info.name if key == "kubernetes.io/hostname" else info.labels.get(key)
            if domain is not None:
                totals[at] -= counts[domain] * factor + constraint["maxSkew"] - 1
    return _scaled(totals)


def _scaled(values: list[float]) -> list[float]:
    least, most = min(values, default=0.0), max(values, default=0.0)
    if most == least:
        return [0.0] * len(values)
    return [100 * (value - least) / (most - least) for value in values]


SCORES: tuple[tuple[Score, int], ...] = (
    (least_allocated, 1),
    (balanced, 1),
    (taint_toleration, 3),
    (node_affinity, 2),
    (spread, 2),
    (inter_pod_affinity, 2),
)


def best(pod: Object, nodes: Sequence[NodeInfo], cluster: Cluster) -> NodeInfo:
    """The node with the highest sum; of equals the one with the fewest pods, then by name. nodes: never empty."""
    totals = [0.0] * len(nodes)
    for score, weight in SCORES:
        for at, value in enumerate(score(pod, nodes, cluster)):
            totals[at] += weight * value
    at = min(range(len(nodes)), key=lambda i: (-round(totals[i], 6), len(nodes[i].pods), nodes[i].name))
    return nodes[at]
