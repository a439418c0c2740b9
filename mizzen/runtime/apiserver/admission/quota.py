"""ResourceQuotas: what a new object would use, what is used, and whether that is still within the quota.

Takes usage from the quota's status and from what was admitted since; writes the status on. Recounting from scratch is the quota
controller's. Source: kube-apiserver's ResourceQuota plug-in.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import msgspec

from ...store.base import Conflict
from ..kinds.poddefaults import qos_class
from ..schema.scalars import canonical_quantity, quantity
from .base import Base, Write

if TYPE_CHECKING:
    from ..cache import Item
    from ..parts import Parts

Object = dict[str, Any]
COMPUTE = ("cpu", "memory", "ephemeral-storage")
COUNTED = {
    "pods": "pods", "services": "services", "secrets": "secrets", "configmaps": "configmaps", "replicationcontrollers": "replicationcontrollers",
    "persistentvolumeclaims": "persistentvolumeclaims", "resourcequotas": "resourcequotas",
}  # fmt: skip


def usage(resource: Any, obj: Object) -> dict[str, Fraction]:
    """What one object uses, by quota name."""
    qualified = resource.qualified
    found = {f"count/{qualified}": Fraction(1)}
    spec = obj.get("spec") or {}
    if qualified == "pods":
        if (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return {f"count/{qualified}": Fraction(1)}
        found |= {"pods": Fraction(1), **_pod(spec)}
    elif qualified in COUNTED:
        found[COUNTED[qualified]] = Fraction(1)
    if qualified == "services":
        kind = spec.get("type", "ClusterIP")
        ports = len(spec.get("ports") or ())
        if kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False):
            found["services.nodeports"] = Fraction(ports)
        if kind == "LoadBalancer":
            found["services.loadbalancers"] = Fraction(1)
    if qualified == "persistentvolumeclaims":
        asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
        if asked is not None:
            found["requests.storage"] = quantity(asked)
            name = spec.get("storageClassName")
            if name:
                found[f"{name}.storageclass.storage.k8s.io/requests.storage"] = quantity(asked)
                found[f"{name}.storageclass.storage.k8s.io/persistentvolumeclaims"] = Fraction(1)
    return found


def _pod(spec: Object) -> dict[str, Fraction]:
    found: dict[str, Fraction] = {}
    for part in ("requests", "limits"):
        total: dict[str, Fraction] = {}
        for container in spec.get("containers") or ():
            for name, value in ((container.get("resources") or {}).get(part) or {}).items():
                total[name] = total.get(name, Fraction(0)) + quantity(value)
        for container in spec.get("initContainers") or ():
            for name, value in ((container.get("resources") or {}).get(part) or {}).items():
                total[name] = max(total.get(name, Fraction(0)), quantity(value))
        for name, value in total.items():
            found[f"{part}.{name}"] = value
            if part == "requests" and name in COMPUTE:
                found[name] = value
    return found


def in_scope(quota: Object, resource: Any, obj: Object) -> bool:
    """Whether the quota's scopes take the object in."""
    spec = quota.get("spec") or {}
    terms = [{"scopeName": one, "operator": "Exists"} for one in spec.get("scopes") or ()]
    terms += (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    if not terms:
        return True
    if resource.qualified != "pods":
        return False
    return all(_scope(one, obj.get("spec") or {}) for one in terms)


def _scope(term: Object, spec: Object) -> bool:
    name, operator, values = term.get("scopeName"), term.get("operator"), term.get("values") or ()
    best = qos_class(spec) == "BestEffort"
    match name:
        case "BestEffort":
            return best
        case "NotBestEffort":
            return not best
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "PriorityClass":
            mine = spec.get("priorityClassName", "")
            return {
                "In": mine in values,
                "NotIn": mine not in values,
                "Exists": bool(mine),
                "DoesNotExist": not mine,
            }.get(operator or "", False)
    return False


class ResourceQuota(Base):
    async def validate(self, write: Write, parts: Parts) -> None:
        if (
            write.new is None
            or write.subresource
            or not write.resource.namespaced
            or write.operation not in ("CREATE", "UPDATE")
        ):
            return
        quotas = parts.registry.get("resourcequotas").collection
        if not quotas.items or write.resource.qualified == "resourcequotas":
            return
        delta = usage(write.resource, write.new)
        if write.operation == "UPDATE":
            before = usage(write.resource, write.old or {})
            delta = {name: value - before.get(name, Fraction(0)) for name, value in delta.items()}
            delta = {name: value for name, value in delta.items() if value > 0}
        for item in quotas.select(write.namespace):
            await self._charge(item, delta, write, parts)

    async def _charge(self, item: Item, delta: dict[str, Fraction], write: Write, parts: Parts) -> None:
        quotas = parts.registry.get("resourcequotas").collection
        assert write.new is not None
        for _ in range(5):
            quota = item.object()
            hard = (quota.get("status") or {}).get("hard") or {}
            if not in_scope(quota, write.resource, write.new):
                return
            self._specified(quota, hard, write)
            asked = {name: value for name, value in delta.items() if name in hard}
            if not asked:
                return
            used = (quota.get("status") or {}).get("used") or {}
            self._within(quota, asked, hard, used, write)
            if write.ask.dry_run:
                return
            fresh = {**used, **{name: _text(quantity(used.get(name, "0")) + value) for name, value in asked.items()}}
            quota["status"]["used"] = {name: fresh[name] for name in sorted(fresh)}
            quota["metadata"].pop("resourceVersion")
            try:
                await parts.store.write(quotas.prefix + item.key, msgspec.json.encode(quota), item.revision)
                return
            except Conflict:
                from ..writing import settled

                await settled(parts, parts.registry.get("resourcequotas"), item.key, item.revision + 1)
                again = quotas.items.get(item.key)
                if again is None:
                    return
                item = again

    def _specified(self, quota: Object, hard: Object, write: Write) -> None:
        """Where a quota limits cpu or memory, every container must say what it wants of it."""
        if write.resource.qualified != "pods" or write.operation != "CREATE":
            return
        assert write.new is not None
        missing: dict[str, list[str]] = {}
        for name in hard:
            part, _, plain = name.rpartition(".")
            part = part or "requests"
            if plain not in ("cpu", "memory") or part not in ("requests", "limits"):
                continue
            for container in [
                *(write.new["spec"].get("initContainers") or ()),
                *(write.new["spec"].get("containers") or ()),
            ]:
                if plain not in ((container.get("resources") or {}).get(part) or {}):
                    missing.setdefault(name, []).append(container["name"])
        if missing:
            shown = "; ".join(f"{name} for: {','.join(names)}" for name, names in sorted(missing.items()))
            raise write.refuse(f"failed quota: {quota['metadata']['name']}: must specify {shown}")

    def _within(self, quota: Object, asked: dict[str, Fraction], hard: Object, used: Object, write: Write) -> None:
        over = sorted(
            name for name, value in asked.items() if quantity(used.get(name, "0")) + value > quantity(hard[name])
        )
        if not over:
            return
        parts = (
            ",".join(f"{name}={_text(asked[name])}" for name in over), ",".join(f"{name}={used.get(name, '0')}" for name in over),
            ",".join(f"{name}={hard[name]}" for name in over),
        )  # fmt: skip
        raise write.refuse(
            f"exceeded quota: {quota['metadata']['name']}, requested: {parts[0]}, used: {parts[1]}, limited: {parts[2]}"
        )


def _text(value: Fraction) -> str:
    return canonical_quantity(str(value.numerator) if value.denominator == 1 else f"{float(value):.9f}")
