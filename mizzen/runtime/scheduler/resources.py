"""What pods ask of nodes and what nodes have: CPU in thousandths, the rest in whole units.

Source: KEP-753 (native sidecars in a pod's effective request), PodSpec.overhead, Node.status.allocatable.
"""

from __future__ import annotations

from typing import Any

from mizzen.api.quantities import milli, whole

Object = dict[str, Any]
Amounts = dict[str, int]


def amounts(resources: dict[str, str] | None) -> Amounts:
    """A resource list in numbers."""
    return {name: (milli if name == "cpu" else whole)(text) for name, text in (resources or {}).items()}


def add(total: Amounts, more: Amounts) -> Amounts:
    """total + more, in place."""
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount
    return total


def peak(total: Amounts, other: Amounts) -> Amounts:
    """The larger of each, in place."""
    for name, amount in other.items():
        total[name] = max(total.get(name, 0), amount)
    return total


def _requests(container: Object) -> Amounts:
    resources = container.get("resources") or {}
    return amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def pod_requests(pod: Object) -> Amounts:
    """Its effective request: containers with native sidecars together, or the largest init step; plus overhead."""
    spec = pod["spec"]
    running: Amounts = {}
    for container in spec.get("containers") or ():
        add(running, _requests(container))
    sidecars: Amounts = {}
    steps: Amounts = {}
    for container in spec.get("initContainers") or ():
        request = _requests(container)
        if container.get("restartPolicy") == "Always":
            add(sidecars, request)
            peak(steps, sidecars)
        else:
            peak(steps, add(dict(sidecars), request))
    result = peak(add(running, sidecars), steps)
    return add(result, amounts(spec.get("overhead")))


def host_ports(pod: Object) -> set[tuple[str, str, int]]:
    """(protocol, host IP, port) that the pod takes on its node."""
    found = set()
    spec = pod["spec"]
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                found.add((port.get("protocol", "TCP"), port.get("hostIP") or "0.0.0.0", int(port["hostPort"])))
    return found


def ports_clash(wanted: set[tuple[str, str, int]], taken: set[tuple[str, str, int]]) -> bool:
    """Two ports clash when protocol and number are equal and the addresses overlap."""
    return any(
        protocol == other_protocol and port == other_port and (ip == other_ip or "0.0.0.0" in (ip, other_ip))
        for protocol, ip, port in wanted
        for other_protocol, other_ip, other_port in taken
    )
