"""Annotations that injection checks before it uses any: a bad word is refused with the annotation's name.

Source: Istio's resource annotations. Annotations without a check here are free text. Not here: what they do.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping

from mizzen.api.errors import Invalid
from mizzen.api.quantities import parse_quantity
from mizzen.istiod.inject.names import (
    INTERCEPTION_MODE,
    MERGE_METRICS,
    READINESS,
    REROUTE_INTERFACES,
    STATUS_PORT,
    TRAFFIC,
    parse_bool,
)

UINT32, PORT_MAX, INTERFACE_MAX = 2**32 - 1, 65535, 15


def mode(text: str) -> None:
    if text not in ("REDIRECT", "TPROXY", "NONE"):
        raise ValueError(f"{text!r} is none of REDIRECT, TPROXY, NONE")


def number(text: str, most: int) -> None:
    if not (text.isascii() and text.isdigit() and int(text) <= most):
        raise ValueError(f"{text!r} is no number from 0 to {most}")


def status_port(text: str) -> None:
    number(text, PORT_MAX)


def uint32(text: str) -> None:
    number(text, UINT32)


def boolean(text: str) -> None:
    if parse_bool(text) is None:
        raise ValueError(f"{text!r} is neither true nor false")


def quantity(text: str) -> None:
    try:
        parse_quantity(text)
    except Invalid as error:
        raise ValueError(f"{text!r} is no quantity") from error


def ports(text: str) -> None:
    for port in text.split(",") if text else ():
        number(port.strip(), PORT_MAX)


def ports_or_all(text: str) -> None:
    if text != "*":
        ports(text)


def ranges(text: str) -> None:
    for cidr in text.split(",") if text else ():
        if "/" not in cidr:
            raise ValueError(f"{cidr!r} is no address range (ADDRESS/LENGTH)")
        ipaddress.ip_network(cidr, strict=False)


def ranges_or_all(text: str) -> None:
    if text != "*":
        ranges(text)


def interfaces(text: str) -> None:
    for name in text.split(",") if text else ():
        if not re.fullmatch(r"[^\s/]+", name.strip()) or len(name.strip()) > INTERFACE_MAX:
            raise ValueError(f"{name!r} is no interface's name (1 to {INTERFACE_MAX} characters)")


CHECKS: dict[str, Callable[[str], None]] = {
    INTERCEPTION_MODE: mode,
    STATUS_PORT: status_port,
    f"{READINESS}initialDelaySeconds": uint32,
    f"{READINESS}periodSeconds": uint32,
    f"{READINESS}failureThreshold": uint32,
    f"{TRAFFIC}includeOutboundIPRanges": ranges_or_all,
    f"{TRAFFIC}excludeOutboundIPRanges": ranges,
    f"{TRAFFIC}includeInboundPorts": ports_or_all,
    f"{TRAFFIC}excludeInboundPorts": ports,
    f"{TRAFFIC}excludeOutboundPorts": ports,
    f"{TRAFFIC}excludeInterfaces": interfaces,
    f"{TRAFFIC}kubevirtInterfaces": interfaces,
    REROUTE_INTERFACES: interfaces,
    MERGE_METRICS: boolean,
    "sidecar.istio.io/proxyCPU": quantity,
    "sidecar.istio.io/proxyCPULimit": quantity,
    "sidecar.istio.io/proxyMemory": quantity,
    "sidecar.istio.io/proxyMemoryLimit": quantity,
}


def check_annotations(annotations: Mapping[str, str]) -> None:
    """Raises Invalid for the first annotation that cannot be obeyed; its path is the annotation's name."""
    for name, text in sorted(annotations.items()):
        check = CHECKS.get(name)
        if check is None:
            continue
        try:
            check(str(text))
        except ValueError as error:
            raise Invalid(name, str(error), by="semantic") from error
