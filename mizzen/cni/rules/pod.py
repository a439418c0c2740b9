"""A pod's interception, read off its annotations and its proxy container, as istio-cni does for an injected pod.

Not here: whether the pod is to be captured at all (the CNI plugin decides), and the rules (tables.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from mizzen.api.booleans import TRUE
from mizzen.cni.rules.config import CaptureConfig, check_ports, check_ranges, words
from mizzen.cni.rules.errors import CaptureError

TRAFFIC = "traffic.sidecar.istio.io/"
MODE = "sidecar.istio.io/interceptionMode"
AGENT_PORTS = ("15020", "15021", "15090")
MODES = ("REDIRECT", "TPROXY", "NONE")


def rules_for_pod(
    annotations: Mapping[str, str],
    proxy_env: Mapping[str, str],
    *,
    uid: int | None = None,
    gid: int | None = None,
    ipv6: bool = False,
) -> CaptureConfig | None:
    """What to capture of a pod; None when its mode is NONE.

    `proxy_env`: plain variables of the container istio-proxy; `uid`, `gid`: its securityContext's, 0 counting as none;
    `ipv6`: whether the pod has an IPv6 address. Raises CaptureError with the annotation's name.
    """
    mode = annotations.get(MODE) or proxy_env.get("ISTIO_META_INTERCEPTION_MODE") or "REDIRECT"
    if mode not in MODES:
        raise CaptureError(MODE, f"{mode!r} is none of {', '.join(MODES)}")
    if mode == "NONE":
        return None
    dns = proxy_env.get("ISTIO_META_DNS_CAPTURE", "") in TRUE
    excluded = _ports(annotations, "excludeInboundPorts", "")
    interfaces = annotations.get(
        "istio.io/reroute-virtual-interfaces", annotations.get(TRAFFIC + "kubevirtInterfaces", "")
    )
    return CaptureConfig(
        mode=mode,
        proxy_uids=(str(uid or 1337),),
        proxy_gids=(str(gid or 1337),),
        inbound_ports=_ports(annotations, "includeInboundPorts", "*", star=True),
        inbound_ports_exclude=tuple(dict.fromkeys((*excluded, *AGENT_PORTS))),
        outbound_ports=_ports(annotations, "includeOutboundPorts", ""),
        outbound_ports_exclude=_ports(annotations, "excludeOutboundPorts", "15020"),
        outbound_ranges=_ranges(annotations, "includeOutboundIPRanges", "*", star=True),
        outbound_ranges_exclude=_ranges(annotations, "excludeOutboundIPRanges", ""),
        exclude_interfaces=words(annotations.get(TRAFFIC + "excludeInterfaces", "")),
        virtual_interfaces=words(interfaces),
        redirect_dns=dns,
        capture_all_dns=dns,
        drop_invalid=proxy_env.get("INVALID_DROP", "") in TRUE,
        dual_stack=proxy_env.get("ISTIO_DUAL_STACK", "") in TRUE,
        ipv6=ipv6,
    )


def _ports(annotations: Mapping[str, str], name: str, default: str, *, star: bool = False) -> tuple[str, ...]:
    ports = words(annotations.get(TRAFFIC + name, default))
    check_ports(TRAFFIC + name, ports, star=star)
    return ports


def _ranges(annotations: Mapping[str, str], name: str, default: str, *, star: bool = False) -> tuple[str, ...]:
    ranges = words(annotations.get(TRAFFIC + name, default))
    check_ranges(TRAFFIC + name, ranges, star=star)
    return ranges
