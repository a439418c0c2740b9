"""The downward API: what `fieldRef` and `resourceFieldRef` mean for a pod. Pure.

Source: Kubernetes' downward API (fieldpath): names in quotes pick one label or annotation.
"""

from __future__ import annotations

import re
from decimal import ROUND_UP, Decimal
from typing import Any, NamedTuple

from mizzen.api.quantities import parse_quantity
from mizzen.kube.resource import Object

# Source: the Go language's rune literals, as strconv.Quote writes them.
_ESCAPES = {
    "\\": "\\\\", '"': '\\"', "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
}  # fmt: skip
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class UnknownField(ValueError):
    """A field that the downward API does not offer."""


class Facts(NamedTuple):
    """What the pod object does not know yet while it is being started."""

    node_name: str
    host_ip: str
    pod_ips: tuple[str, ...]
    capacity: dict[str, str]  # cpu, memory, ephemeral-storage of the node (allocatable)


def escaped(values: dict[str, str] | None) -> str:
    """Labels or annotations as a downward API file: `key="value"` lines, values quoted as Go does."""
    return "\n".join(f"{key}={quoted(value)}" for key, value in sorted((values or {}).items()))


def quoted(text: str) -> str:
    """A Go string literal."""
    return '"' + "".join(_ESCAPES.get(ch) or (ch if ch.isprintable() else _escape(ord(ch))) for ch in text) + '"'


def _escape(code: int) -> str:
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def field(pod: Object, path: str, facts: Facts) -> str:
    """The value of a fieldRef. Raises UnknownField."""
    meta, spec = pod["metadata"], pod["spec"]
    if (match := _SUBSCRIPT.fullmatch(path)) is not None:
        return str((meta.get(match[1]) or {}).get(match[2], ""))
    simple: dict[str, Any] = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta.get("namespace", ""),
        "metadata.uid": meta.get("uid", ""),
        "spec.nodeName": spec.get("nodeName") or facts.node_name,
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
        "status.podIP": facts.pod_ips[0] if facts.pod_ips else "",
        "status.podIPs": ",".join(facts.pod_ips),
    }
    if path in simple:
        return str(simple[path])
    if path in ("metadata.labels", "metadata.annotations"):
        return escaped(meta.get(path.partition(".")[2]))
    raise UnknownField(f"unsupported fieldPath: {path}")


def resource(pod: Object, reference: dict[str, Any], container: dict[str, Any], facts: Facts) -> str:
    """The value of a resourceFieldRef: the limit (the node's allocatable when there is none) or request, by its divisor."""
    name = reference.get("containerName")
    if name:
        both = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
        found = next((item for item in both if item["name"] == name), None)
        if found is None:
            raise UnknownField(f"container {name} not found")
        container = found
    kind, _, what = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    value: Any = (resources.get(kind) or {}).get(what)
    if kind == "limits":
        value = value if value is not None else facts.capacity.get(what, "0")
    elif kind == "requests":
        value = value if value is not None else (resources.get("limits") or {}).get(what, "0")
    else:
        raise UnknownField(f"unsupported container resource: {reference['resource']}")
    divisor = parse_quantity(reference.get("divisor") or "1") or Decimal(1)
    return str(int((parse_quantity(value) / divisor).to_integral_value(ROUND_UP)))
