"""ResourceQuotas: what a new object would use, what is used, and whether that is still within the quota.

Takes usage from the quota's status and from what was admitted since; writes the status on. What an object uses is said in
runtime/quotas.py; recounting from scratch is the quota controller's. Source: kube-apiserver's ResourceQuota plug-in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ...quotas import ZERO, Amount, Usage, in_scope, usage
from ...store.base import Conflict
from .base import Base, Write

if TYPE_CHECKING:
    from ..cache import Item
    from ..parts import Parts

Object = dict[str, Any]


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
        delta = usage(write.resource.qualified, write.new)
        if write.operation == "UPDATE" and write.old is not None:
            before = usage(write.resource.qualified, write.old)
            delta = {name: amount.minus(before.get(name, ZERO)) for name, amount in delta.items()}
        delta = {name: amount for name, amount in delta.items() if amount.value > 0}
        for item in quotas.select(write.namespace):
            await self._charge(item, delta, write, parts)

    async def _charge(self, item: Item, delta: Usage, write: Write, parts: Parts) -> None:
        quotas = parts.registry.get("resourcequotas").collection
        assert write.new is not None
        for _ in range(5):
            quota = item.object()
            hard = (quota.get("status") or {}).get("hard") or {}
            if not in_scope(quota, write.resource.qualified, write.new):
                return
            self._specified(quota, hard, write)
            asked = {name: value for name, value in delta.items() if name in hard}
            if not asked:
                return
            used = (quota.get("status") or {}).get("used") or {}
            self._within(quota, asked, hard, used, write)
            if write.ask.dry_run:
                return
            fresh = {**used, **{name: str(Amount.of(used.get(name, "0")).plus(one)) for name, one in asked.items()}}
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

    def _within(self, quota: Object, asked: Usage, hard: Object, used: Object, write: Write) -> None:
        over = sorted(
            name
            for name, amount in asked.items()
            if Amount.of(used.get(name, "0")).plus(amount).value > Amount.of(hard[name]).value
        )
        if not over:
            return
        parts = (
            ",".join(f"{name}={asked[name]}" for name in over), ",".join(f"{name}={used.get(name, '0')}" for name in over),
            ",".join(f"{name}={hard[name]}" for name in over),
        )  # fmt: skip
        raise write.refuse(
            f"exceeded quota: {quota['metadata']['name']}, requested: {parts[0]}, used: {parts[1]}, limited: {parts[2]}"
        )
