"""LimitRanges: what containers get when they ask for nothing, and what they may not ask for.

Source: kube-apiserver's LimitRanger.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..schema.scalars import canonical_quantity, quantity
from .base import Base, Write
from .pods import is_pod

if TYPE_CHECKING:
    from ..parts import Parts

Object = dict[str, Any]
NOTE = "kubernetes.io/limit-ranger"


class LimitRanger(Base):
    def _ranges(self, write: Write, parts: Parts) -> list[Object]:
        collection = parts.registry.get("limitranges").collection
        return [item.shared for item in collection.select(write.namespace)] if collection.items else []

    async def mutate(self, write: Write, parts: Parts) -> None:
        if not is_pod(write) or write.operation != "CREATE":
            return
        pod = write.new
        assert pod is not None
        for one in self._ranges(write, parts):
            _fill(pod, one)

    async def validate(self, write: Write, parts: Parts) -> None:
        if write.new is None or write.operation != "CREATE" or write.subresource:
            return
        if write.resource.qualified not in ("pods", "persistentvolumeclaims"):
            return
        problems: list[str] = []
        for one in self._ranges(write, parts):
            for limit in (one.get("spec") or {}).get("limits") or ():
                problems += _violations(write.new, limit, write.resource.qualified)
        if problems:
            raise write.refuse(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")


def _fill(pod: Object, limit_range: Object) -> None:
    """Gives containers the range's defaults, and notes what was given."""
    limits: Object = {}
    requests: Object = {}
    for one in (limit_range.get("spec") or {}).get("limits") or ():
        if one.get("type") == "Container":
            limits |= one.get("default") or {}
            requests |= one.get("defaultRequest") or {}
    notes: list[str] = []
    for key, word in (("containers", "container"), ("initContainers", "init container")):
        for container in pod["spec"].get(key) or ():
            resources = container.setdefault("resources", {})
            for part, defaults in (("requests", requests), ("limits", limits)):
                given = resources.get(part) or {}
                fresh = {name: value for name, value in defaults.items() if name not in given}
                if fresh:
                    merged = {**given, **fresh}
                    resources[part] = {name: merged[name] for name in sorted(merged)}
                    notes.append(f"{', '.join(sorted(fresh))} {part[:-1]} for {word} {container['name']}")
            container["resources"] = {
                name: resources[name] for name in ("limits", "requests", "claims") if name in resources
            }
    if notes:
        text = f"LimitRanger plugin set: {'; '.join(notes)}"
        pod["metadata"]["annotations"] = {**(pod["metadata"].get("annotations") or {}), NOTE: text}


def _amounts(resources: Object, part: str) -> dict[str, Fraction]:
    return {name: quantity(value) for name, value in (resources.get(part) or {}).items()}


def _violations(obj: Object, limit: Object, qualified: str) -> Iterator[str]:
    kind = limit.get("type")
    if qualified == "persistentvolumeclaims":
        if kind == "PersistentVolumeClaim":
            asked = _amounts(obj["spec"].get("resources") or {}, "requests")
            yield from _bounds(limit, kind, asked, asked, claims=True)
        return
    spec = obj["spec"]
    if kind == "Container":
        for key in ("containers", "initContainers"):
            for container in spec.get(key) or ():
                resources = container.get("resources") or {}
                yield from _bounds(limit, kind, _amounts(resources, "requests"), _amounts(resources, "limits"))
    elif kind == "Pod":
        yield from _bounds(limit, kind, _pod_sum(spec, "requests"), _pod_sum(spec, "limits"))


def _pod_sum(spec: Object, part: str) -> dict[str, Fraction]:
    """What a pod asks for: the sum of its containers, or its greatest init container. Only what every container names."""
    total: dict[str, Fraction] = {}
    for container in spec.get("containers") or ():
        for name, value in _amounts(container.get("resources") or {}, part).items():
            total[name] = total.get(name, Fraction(0)) + value
    for container in spec.get("initContainers") or ():
        for name, value in _amounts(container.get("resources") or {}, part).items():
            total[name] = max(total.get(name, Fraction(0)), value)
    return total


def _text(value: Fraction) -> str:
    return canonical_quantity(str(value.numerator) if value.denominator == 1 else f"{float(value):.9f}")


def _bounds(
    limit: Object, kind: str, requests: dict[str, Fraction], limits: dict[str, Fraction], *, claims: bool = False
) -> Iterator[str]:
    for name, text in (limit.get("min") or {}).items():
        least = quantity(text)
        if name not in requests:
            yield f"minimum {name} usage per {kind} is {text}.  No request is specified"
        elif requests[name] < least:
            shown = _shown(requests[name], name)
            yield f"minimum {name} usage per {kind} is {text}, but request is {shown}"
        elif name in limits and limits[name] < least and not claims:
            yield f"minimum {name} usage per {kind} is {text}, but limit is {_text(limits[name])}"
    for name, text in (limit.get("max") or {}).items():
        most = quantity(text)
        if claims:
            if name in requests and requests[name] > most:
                yield f"maximum {name} usage per {kind} is {text}, but request is {_binary(requests[name])}"
            continue
        if name not in limits:
            yield f"maximum {name} usage per {kind} is {text}.  No limit is specified"
        elif limits[name] > most:
            yield f"maximum {name} usage per {kind} is {text}, but limit is {_text(limits[name])}"
        elif name in requests and requests[name] > most:
            yield f"maximum {name} usage per {kind} is {text}, but request is {_text(requests[name])}"
    for name, text in (limit.get("maxLimitRequestRatio") or {}).items():
        if name not in requests or name not in limits or not requests[name]:
            yield f"{name} max limit to request ratio per {kind} is {text}, but no request is specified or request is 0"
        elif limits[name] / requests[name] > quantity(text):
            yield f"{name} max limit to request ratio per {kind} is {text}, but provided ratio is {float(limits[name] / requests[name]):.6f}"


def _shown(value: Fraction, name: str) -> str:
    return _binary(value) if name in ("storage", "memory") else _text(value)


def _binary(value: Fraction) -> str:
    """Bytes with the largest binary suffix that leaves an integer."""
    number = int(value)
    names = ("", "Ki", "Mi", "Gi", "Ti", "Pi")
    place = 0
    while number and number % 1024 == 0 and place < len(names) - 1:
        number, place = number // 1024, place + 1
    return f"{number}{names[place]}"
