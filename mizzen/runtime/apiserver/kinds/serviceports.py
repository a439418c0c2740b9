"""Ports: names, numbers and targets, of services and of whatever names a port like them.

Takes objects, gives problems with their paths. Source: kube-apiserver's validation of core/v1.
"""

from __future__ import annotations

from ..errors import Problem, duplicate, forbidden_field, invalid, required, unsupported
from ..names import dns_label, qualified_name
from .base import Object

OPEN = ("NodePort", "LoadBalancer")
PORT_TEXT = "must be between 1 and 65535, inclusive"


def service_ports(spec: Object, kind: str | None) -> list[Problem]:
    """What is wrong with a Service's ports."""
    ports = spec.get("ports") or []
    problems: list[Problem] = []
    names: set[str] = set()
    seen: set[tuple[str, int]] = set()
    for place, port in enumerate(ports):
        path = f"spec.ports[{place}]"
        problems += _port_name(port, path, len(ports) > 1, names)
        number, target = port.get("port", 0), port.get("targetPort")
        if not 1 <= number <= 65535:
            problems.append(invalid(f"{path}.port", number, PORT_TEXT))
        if port.get("protocol") not in ("TCP", "UDP", "SCTP"):
            problems.append(unsupported(f"{path}.protocol", port.get("protocol"), ["SCTP", "TCP", "UDP"]))
        problems += target_port(target, f"{path}.targetPort")
        if port.get("appProtocol") is not None:
            problems += [
                invalid(f"{path}.appProtocol", port["appProtocol"], text)
                for text in qualified_name(port["appProtocol"])
            ]
        if port.get("nodePort") and kind not in OPEN:
            problems.append(forbidden_field(f"{path}.nodePort", f"may not be used when `type` is '{kind}'"))
        key = (port.get("protocol", ""), number)
        if key in seen:
            shown = {
                "Name": "",
                "Protocol": key[0],
                "AppProtocol": None,
                "Port": number,
                "TargetPort": 0,
                "NodePort": 0,
            }
            problems.append(duplicate(path, shown))
        seen.add(key)
    return problems


def _port_name(port: Object, path: str, needed: bool, names: set[str]) -> list[Problem]:
    name = port.get("name", "")
    if not name:
        return [required(f"{path}.name")] if needed else []
    problems = [invalid(f"{path}.name", name, text) for text in dns_label(name)]
    if not problems and name in names:
        problems.append(duplicate(f"{path}.name", name))
    names.add(name)
    return problems


def port_name(name: str) -> list[str]:
    """Problems of an IANA service name, as named ports are."""
    import re

    found = []
    if len(name) > 15:
        found.append("must be no more than 15 characters")
    if not re.fullmatch(r"[-a-z0-9]*", name):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", name):
        found.append("must contain at least one letter (a-z)")
    if "--" in name:
        found.append("must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        found.append("must not begin or end with a hyphen")
    return found


def target_port(value: object, path: str) -> list[Problem]:
    if isinstance(value, int):
        return [] if 1 <= value <= 65535 else [invalid(path, value, PORT_TEXT)]
    return [invalid(path, value, text) for text in port_name(str(value or ""))]
