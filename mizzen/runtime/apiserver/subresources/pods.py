"""What pods have of their own: binding, eviction, ephemeral containers, resize; and the ways to their kubelet."""

from __future__ import annotations

from typing import Any

import msgspec

from .. import bodies, options, reading
from ..accept import negotiate
from ..cache import Item
from ..context import Ask
from ..deleting import delete_object
from ..errors import OMIT, Problem, StatusError, bad_request, conflict, invalid, not_found, refused
from ..http1 import Response
from ..parts import Parts
from ..patching.handler import patch
from ..reading import rendered
from ..schema.facts import struct_of
from ..schema.scalars import now
from ..writing import update_object
from .kubelet import connect, log, proxy
from .status import put

Object = dict[str, Any]
__all__ = ["bind", "connect", "ephemeral", "evict", "log", "proxy", "resize"]


def ephemeral(ask: Ask, parts: Parts) -> Any:
    return _partly(ask, parts)


def resize(ask: Ask, parts: Parts) -> Any:
    return _partly(ask, parts)


def _partly(ask: Ask, parts: Parts) -> Any:
    if ask.info.verb in ("get", "list", "watch"):
        return reading.get(ask)
    return patch(ask, parts) if ask.info.verb == "patch" else put(ask, parts)


def _success(ask: Ask, status: int = 201) -> Response:
    form = negotiate(ask.request.headers.get("accept", ""))
    return rendered(
        ask, form, status, b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":%d}' % status
    )


async def bind(ask: Ask, parts: Parts) -> Response:
    """Gives a pod to a node."""
    options.write_options(ask, "CreateOptions")
    tree, doubles = bodies.load(ask, "Binding")
    bodies.check_kind(tree, "Binding", "v1")
    shape = struct_of("v1", "Binding")
    assert shape is not None
    binding = bodies.shaped(ask, tree, shape, "Binding", "v1", doubles)
    name = binding["metadata"].get("name", "")
    if ask.info.resource == "bindings":
        ask.info = ask.info._replace(name=name)
    elif name and name != ask.info.name:
        raise bad_request("name in URL does not match name in Binding object")
    target = binding.get("target") or {}
    problem = ""
    if target.get("kind") not in (None, "", "Node"):
        problem = f'target.kind: Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"'
    elif not target.get("name"):
        problem = "target.name: Required value"
    if problem:
        raise StatusError(500, problem, "")
    pods = parts.registry.get("pods")

    def change(old: Object, item: Item) -> Object:
        return _bound(pods, ask, item, binding)

    saved, ask.resource = ask.resource, pods
    await update_object(ask, parts, pods, change, subresource="binding")
    ask.resource = saved
    return _success(ask)


def _bound(pods: Any, ask: Ask, item: Item, binding: Object) -> Object:
    pod: Object = msgspec.json.decode(item.data)
    name, meta = ask.info.name, pod["metadata"]
    meta.pop("resourceVersion")
    uid = binding["metadata"].get("uid")
    if uid and uid != meta["uid"]:
        raise conflict(
            "",
            "pods/binding",
            name,
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: {meta['uid']}",
        )
    if meta.get("deletionTimestamp"):
        raise conflict("", "pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host")
    node = pod["spec"].get("nodeName")
    if node:
        raise conflict("", "pods/binding", name, f'pod {name} is already assigned to node "{node}"')
    if pod["spec"].get("schedulingGates"):
        raise conflict("", "pods/binding", name, f"pod {name} has non-empty .spec.schedulingGates")
    pod["spec"] = _with_node(pod["spec"], binding["target"]["name"])
    if binding["metadata"].get("annotations"):
        meta["annotations"] = {**(meta.get("annotations") or {}), **binding["metadata"]["annotations"]}
    conditions = [one for one in (pod.get("status") or {}).get("conditions") or () if one["type"] != "PodScheduled"]
    scheduled = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": now(),
    }
    pod.setdefault("status", {})["conditions"] = [*conditions, scheduled]
    return pod


def _with_node(spec: Object, node: str) -> Object:
    """nodeName in its place among the fields."""
    out: Object = {}
    for key, value in spec.items():
        if (
            key in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "securityContext")
            and "nodeName" not in out
        ):
            out["nodeName"] = node
        out[key] = value
    out.setdefault("nodeName", node)
    return out


async def evict(ask: Ask, parts: Parts) -> Response:
    """Deletes a pod unless a disruption budget stands against it."""
    options.write_options(ask, "CreateOptions")
    tree, doubles = bodies.load(ask, "Eviction")
    bodies.check_kind(tree, "Eviction", "policy/v1")
    shape = struct_of("policy/v1", "Eviction")
    assert shape is not None
    eviction = bodies.shaped(ask, tree, shape, "Eviction", "policy/v1", doubles)
    name = ask.info.name
    if eviction["metadata"].get("name") not in (None, "", name):
        raise bad_request("name in URL does not match name in Eviction object")
    pods = parts.registry.get("pods")
    key = f"{ask.info.namespace}/{name}"
    item = pods.collection.items.get(key)
    if item is None:
        raise not_found("", "pods", name)
    opts = eviction.get("deleteOptions") or {}
    ask.dry_run = ask.dry_run or bool(opts.get("dryRun"))
    pod = item.shared
    if not _free_to_go(pod):
        await _budgets(ask, parts, pod)
        if not ask.dry_run and pod["spec"].get("nodeName"):
            await _mark(ask, parts)
    await delete_object(ask, parts, pods, key, opts)
    return _success(ask)


def _free_to_go(pod: Object) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return bool(phase in ("Succeeded", "Failed", "Pending") or pod["metadata"].get("deletionTimestamp"))


async def _mark(ask: Ask, parts: Parts) -> None:
    pods = parts.registry.get("pods")

    def change(old: Object, item: Item) -> Object:
        pod: Object = msgspec.json.decode(item.data)
        pod["metadata"].pop("resourceVersion")
        conditions = [one for one in pod["status"].get("conditions") or () if one["type"] != "DisruptionTarget"]
        conditions.append({
            "type": "DisruptionTarget", "observedGeneration": pod["metadata"].get("generation", 1), "status": "True", "lastProbeTime": None,
            "lastTransitionTime": now(), "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
        })  # fmt: skip
        pod["status"]["conditions"] = conditions
        return pod

    await update_object(ask, parts, pods, change, subresource="eviction")


def matching_budgets(parts: Parts, pod: Object) -> list[Object]:
    from ..selectors import from_object

    budgets = parts.registry.get("poddisruptionbudgets", "policy").collection
    found = []
    for item in budgets.select(pod["metadata"]["namespace"]):
        selector = from_object((item.shared.get("spec") or {}).get("selector"))
        if selector is not None and selector.matches(pod["metadata"].get("labels")):
            found.append(item.shared)
    return found


async def _budgets(ask: Ask, parts: Parts, pod: Object) -> None:
    found = matching_budgets(parts, pod)
    if len(found) > 1:
        text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise StatusError(500, text, "")
    if not found:
        return
    ready = any(
        one["type"] == "Ready" and one["status"] == "True" for one in (pod.get("status") or {}).get("conditions") or ()
    )
    budget = found[0]
    spec, status = budget.get("spec") or {}, budget.get("status") or {}
    if not ready:
        always = spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
        if always or (
            status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) and status.get("desiredHealthy", 0) > 0
        ):
            return
    await _spend(ask, parts, budget, pod)


async def _spend(ask: Ask, parts: Parts, budget: Object, pod: Object) -> None:
    """Takes one disruption off the budget, or raises 429."""
    budgets = parts.registry.get("poddisruptionbudgets", "policy")
    name = budget["metadata"]["name"]
    status = budget.get("status") or {}
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise _too_many(name, f"The disruption budget {name} is still being processed by the server.", 10)
    if status.get("disruptionsAllowed", 0) <= 0:
        text = f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods and has {status.get('currentHealthy', 0)} currently"
        raise _too_many(name, text, 0)

    def change(old: Object, item: Item) -> Object:
        tree: Object = msgspec.json.decode(item.data)
        tree["metadata"].pop("resourceVersion")
        tree["status"]["disruptionsAllowed"] -= 1
        tree["status"].setdefault("disruptedPods", {})[pod["metadata"]["name"]] = now()
        return tree

    info, resource = ask.info, ask.resource
    ask.info, ask.resource = info._replace(name=name, subresource="status"), budgets
    try:
        await update_object(ask, parts, budgets, change, subresource="status")
    finally:
        ask.info, ask.resource = info, resource


def _too_many(name: str, text: str, seconds: int) -> StatusError:
    details: Object = {"causes": [{"reason": "DisruptionBudget", "message": text}]}
    if seconds:
        details["retryAfterSeconds"] = seconds
    headers = (("Retry-After", str(seconds)),) if seconds else ()
    return StatusError(
        429, "Cannot evict pod as it would violate the pod's disruption budget.", "TooManyRequests", details, headers
    )


def _unused() -> list[Any]:
    return [OMIT, Problem, invalid, refused]
