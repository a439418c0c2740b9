"""A proxy as the control plane sees it: what its xDS node says, completed with what the registry knows of its workload.

Takes an envoy.config.core.v3.Node (or its parts), gives a frozen Node. Not here: who may connect (xds/), which
services the workload implements (registry/).
Source: the node id `<type>~<ip>~<name>.<namespace>~<namespace>.svc.<domain>`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from google.protobuf import json_format

from mizzen.api.errors import PeerError

NODE_TYPES = ("sidecar", "router", "waypoint", "ztunnel", "agentgateway")
NEWEST = (65535, 65535, 65535)
"""The version of a proxy that tells none."""


class Locality(msgspec.Struct, frozen=True):
    """Region, zone and subzone; each may be empty."""

    region: str = ""
    zone: str = ""
    subzone: str = ""

    @classmethod
    def parse(cls, text: str) -> Locality:
        """`region/zone/subzone` with any tail missing."""
        return cls(*text.split("/", 2)) if text else cls()

    @property
    def label(self) -> str:
        """`region/zone/subzone` without trailing empty parts."""
        if not (self.region or self.zone or self.subzone):
            return ""
        parts = [self.region]
        if self.zone or self.subzone:
            parts.append(self.zone)
        if self.subzone:
            parts.append(self.subzone)
        return "/".join(parts)


class Node(msgspec.Struct, frozen=True):
    """One proxy.

    name: `<pod>.<namespace>`; labels and locality: the workload's where the registry knows it, else the proxy's own;
    metadata: the JSON object as sent; extensions: names of the extensions that the proxy can run, None = it lists none;
    cluster: what the proxy's own traffic is known as, for tracers.
    """

    id: str
    type: str
    ips: tuple[str, ...]
    name: str
    namespace: str
    dns_domain: str
    metadata: dict[str, Any] = {}
    labels: dict[str, str] = {}
    locality: Locality = Locality()
    extensions: frozenset[str] | None = None
    cluster: str = ""

    @property
    def is_router(self) -> bool:
        return self.type == "router"

    @property
    def is_sidecar(self) -> bool:
        return self.type == "sidecar"

    @property
    def cluster_id(self) -> str:
        return self.text("CLUSTER_ID")

    @property
    def network(self) -> str:
        return self.text("NETWORK")

    @property
    def service_account(self) -> str:
        return self.text("SERVICE_ACCOUNT")

    @property
    def interception_mode(self) -> str:
        """REDIRECT, TPROXY or NONE."""
        mode = self.text("INTERCEPTION_MODE").upper()
        return mode if mode in ("TPROXY", "NONE") else "REDIRECT"

    @property
    def version(self) -> tuple[int, int, int]:
        """ISTIO_VERSION as numbers; NEWEST when it is missing or no version."""
        found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", self.text("ISTIO_VERSION"))
        if not found:
            return NEWEST
        return int(found[1]), int(found[2]), int(found[3] or 65535)

    @property
    def proxy_config(self) -> dict[str, Any]:
        """The effective ProxyConfig that the proxy was started with, as JSON; empty when it tells none."""
        config = self.metadata.get("PROXY_CONFIG")
        return config if isinstance(config, dict) else {}

    @property
    def dns_capture(self) -> bool:
        return self.flag("DNS_CAPTURE")

    @property
    def supports_ipv4(self) -> bool:
        return any(":" not in ip for ip in self.ips) or not self.ips

    @property
    def supports_ipv6(self) -> bool:
        return any(":" in ip for ip in self.ips)

    def text(self, key: str) -> str:
        """A metadata value as text; "" when missing."""
        value = self.metadata.get(key)
        return "" if value is None else str(value)

    def flag(self, key: str) -> bool:
        """A metadata value as a boolean: "true", "1" or true."""
        return str(self.metadata.get(key, "")).lower() in ("true", "1")

    def can_run(self, extension: str) -> bool:
        """Whether the proxy may be sent this extension: it lists it, or lists nothing at all."""
        return self.extensions is None or extension in self.extensions


def parse_node(
    node_id: str,
    metadata: Mapping[str, Any],
    locality: Locality = Locality(),
    extensions: frozenset[str] | None = None,
    cluster: str = "",
) -> Node:
    """The Node told by an id and metadata.

    Raises PeerError when the id has not four parts, its type is unknown, or no valid IP address is given.
    """
    parts = node_id.split("~")
    if len(parts) != 4:
        raise PeerError(f"node id {node_id!r} has not the form type~ip~id~domain")
    kind, ip, name, domain = parts
    if kind not in NODE_TYPES:
        raise PeerError(f"node id {node_id!r}: {kind!r} is none of {', '.join(NODE_TYPES)}")
    given = [part.strip() for part in str(metadata.get("INSTANCE_IPS") or "").split(",") if part.strip()]
    ips = tuple(given) if given and all(map(is_ip, given)) else tuple(i for i in (ip,) if is_ip(i))
    if not ips:
        raise PeerError(f"node id {node_id!r}: no valid IP address")
    labels = metadata.get("LABELS")
    own = dict(labels) if isinstance(labels, Mapping) else {}
    static = metadata.get("STATIC_LABELS")
    if isinstance(static, Mapping):
        own = {**static, **own}
    return Node(
        id=node_id,
        type=kind,
        ips=ips,
        name=name,
        namespace=str(metadata.get("NAMESPACE") or domain.split(".", 1)[0]),
        dns_domain=domain,
        metadata=dict(metadata),
        labels={str(key): str(value) for key, value in own.items()},
        locality=locality_of(own) or locality,
        extensions=extensions,
        cluster=cluster,
    )


def from_xds(node: Any) -> Node:
    """The Node told by an envoy.config.core.v3.Node. Raises PeerError as parse_node does."""
    if not node.id:
        raise PeerError("missing node information")
    place = Locality(node.locality.region, node.locality.zone, node.locality.sub_zone)
    names = frozenset(extension.name for extension in node.extensions) or None
    return parse_node(node.id, whole_numbers(json_format.MessageToDict(node.metadata)), place, names, node.cluster)


def locality_of(labels: Mapping[str, Any]) -> Locality | None:
    """The place that a workload's labels tell, None when they tell none."""
    region = labels.get("topology.kubernetes.io/region")
    zone = labels.get("topology.kubernetes.io/zone")
    if region or zone:
        return Locality(region or "", zone or "", labels.get("topology.istio.io/subzone") or "")
    text = labels.get("topology.istio.io/locality") or labels.get("istio-locality")
    if text:
        return Locality.parse(str(text) if "/" in text else str(text).replace(".", "/"))
    return None


def is_ip(text: str) -> bool:
    """Whether text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def whole_numbers(value: Any) -> Any:
    """A Struct's value with whole numbers as integers: on the wire all its numbers are floats."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole_numbers(item) for item in value]
    return value
