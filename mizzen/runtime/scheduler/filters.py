"""The scheduler's filters: why a pod may not run on a node. One ordered list, each a pure function.

A filter answers None (the node will do) or the reasons; `Unresolvable` reasons cannot be mended by removing pods.
Source: the default plugins of kube-scheduler and their documented order and messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mizzen.api.labels import from_message
from mizzen.runtime.scheduler.affinity import node_matches, required_terms, selects, tolerates, with_label_keys
from mizzen.runtime.scheduler.nodes import NodeInfo
from mizzen.runtime.scheduler.resources import host_ports, pod_requests, ports_clash

Object = dict[str, Any]


class Cluster(NamedTuple):
    """What filters may look at besides the node itself."""

    nodes: Sequence[NodeInfo]
    namespaces: dict[str, Object]
    budgets: Sequence[Object] = ()  # PodDisruptionBudgets, for preemption


class Verdict(NamedTuple):
    """Why not."""

    reasons: tuple[str, ...]
    resolvable: bool


Filter = Callable[[Object, NodeInfo, Cluster], Verdict | None]


def unschedulable(pod: Object, info: NodeInfo, cluster: Cluster) -> Verdict | None:
    """Cordoned nodes."""
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    if info.node["spec"].get("unschedulable") and not tolerates(pod["spec"].get("tolerations") or [], taint):
        return Verdict(("node(s) were unschedulable",), False)
    return None


def node_name(pod: Object, info: NodeInfo, cluster: Cluster) -> Verdict | None:
    """spec.nodeName names another node."""
    if pod["spec"].get("nodeName") not in (None, "", info.name):
        return Verdict(("node(s) didn't match the requested node name",), False)
    return None


def taints(pod: Object, info: NodeInfo, cluster: Cluster) -> Verdict | None:
    """Taints with NoSchedule or NoExecute that are not tolerated."""
    tolerations = pod["spec"].get("tolerations") or []
    for taint in info.node["spec"].get("taints") or ():
        if taint["effect"] in ("NoSchedule", "NoExecute") and not tolerates(tolerations, taint):
            return Verdict(("node(s) had untolerated taint(s)",), False)
    return None


def node_affinity(pod: Object, info: NodeInfo, cluster: Cluster) -> Verdict | None:
    """Node selector and required node affinity."""
    if not node_matches(pod, info.node):
        return Verdict(("node(s) didn't match Pod's node affinity/selector",), False)
    return None


def ports(pod: Object, info: NodeInfo, cluster: Cluster) -> Verdict | None:
    """Host ports that are taken."""
    if ports_clash(host_ports(pod), info.ports):
        return Verdict(("node(s) didn't have free ports for the requested pod ports",), True)
    return None


def fit(pod: Object, info: NodeInfo, cluster: Cluster) -> Verdict | None:
    """Resources: what is left of allocatable, and the number of pods."""
    reasons, resolvable = [], True
    if info.requested.get("pods", 0) + 1 > info.allocatable.get("pods", 110):
        reasons.append("Too many pods")
    for name, amount in pod_requests(pod).items():
        capacity = info.allocatable.get(name, 0)
        if amount and amount > capacity - info.requested.get(name, 0):
            reasons.append(f"Insufficient {name}")
            resolvable = resolvable and amount <= capacity
    return Verdict(tuple(reasons), resolvable) if reasons else None


def spread(pod: Object, info: NodeInfo, cluster: Cluster) -> Verdict | None:
    """Topology spread constraints with DoNotSchedule."""
    for constraint in pod["spec"].get("topologySpreadConstraints") or ():
        if constraint["whenUnsatisfiable"] != "DoNotSchedule":
            continue
        key = constraint["topologyKey"]
        if key not in info.labels:
            return Verdict(("node(s) didn't match pod topology spread constraints (missing required label)",), False)
        matches = from_message(with_label_keys(constraint, pod))
        counts: dict[str, int] = {}
        for other in cluster.nodes:
            if key in other.labels and _counts_for_spread(constraint, pod, other):
                domain = other.labels[key]
                counts[domain] = counts.get(domain, 0) + sum(
                    p["metadata"]["namespace"] == pod["metadata"]["namespace"]
                    and "deletionTimestamp" not in p["metadata"]
                    and matches(p["metadata"].get("labels") or {})
                    for p in other.pods.values()
                )
        least = min(counts.values(), default=0)
        if constraint.get("minDomains") and len(counts) < constraint["minDomains"]:
            least = 0
        itself = 1 if matches(pod["metadata"].get("labels") or {}) else 0
        if counts.get(info.labels[key], 0) + itself - least > constraint["maxSkew"]:
            return Verdict(("node(s) didn't match pod topology spread constraints",), True)
    return None


def _counts_for_spread(constraint: Object, pod: Object, info: NodeInfo) -> bool:
    if constraint.get("nodeAffinityPolicy", "Honor") == "Honor" and not node_matches(pod, info.node):
        return False
    return constraint.get("nodeTaintsPolicy", "Ignore") == "Ignore" or taints(pod, info, Cluster((), {})) is None


def inter_pod_affinity(pod: Object, info: NodeInfo, cluster: Cluster) -> Verdict | None:
    """Required affinity and anti-affinity, of the pod and of the pods that are there."""
    terms = required_terms(pod, "podAffinity")
    if terms and not _affinity_holds(terms, pod, info, cluster):
        return Verdict(("node(s) didn't match pod affinity rules",), False)
    for term in required_terms(pod, "podAntiAffinity"):
        for other_info in cluster.nodes:
            if _same_domain(term, info, other_info) and _any_selected(term, pod, other_info, cluster):
                return Verdict(("node(s) didn't match pod anti-affinity rules",), True)
    for other_info in cluster.nodes:
        for other in other_info.pods.values():
            for term in required_terms(other, "podAntiAffinity"):
                if selects(term, other, pod, cluster.namespaces) and _same_domain(term, info, other_info):
                    return Verdict(("node(s) didn't satisfy existing pods anti-affinity rules",), True)
    return None


def _any_selected(term: Object, pod: Object, info: NodeInfo, cluster: Cluster) -> bool:
    return any(selects(term, pod, other, cluster.namespaces) for other in info.pods.values())


def _affinity_holds(terms: list[Object], pod: Object, info: NodeInfo, cluster: Cluster) -> bool:
    if any(term["topologyKey"] not in info.labels for term in terms):
        return False
    if all(
        any(_same_domain(term, info, other) and _any_selected(term, pod, other, cluster) for other in cluster.nodes)
        for term in terms
    ):
        return True
    # The first pod of a group that wants to be near itself may go anywhere.
    nobody = not any(_any_selected(term, pod, other, cluster) for term in terms for other in cluster.nodes)
    return nobody and all(selects(term, pod, pod, cluster.namespaces) for term in terms)


def _same_domain(term: Object, info: NodeInfo, other: NodeInfo) -> bool:
    key = term["topologyKey"]
    return key in info.labels and info.labels[key] == other.labels.get(key)


FILTERS: tuple[Filter, ...] = (unschedulable, node_name, taints, node_affinity, ports, fit, spread, inter_pod_affinity)


def verdict(pod: Object, info: NodeInfo, cluster: Cluster) -> Verdict | None:
    """The first filter's objection, or None when the node will do."""
    for check in FILTERS:
        objection = check(pod, info, cluster)
        if objection is not None:
            return objection
    return None
