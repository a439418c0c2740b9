"""A walk through generated configuration, as a proxy would take it: which cluster does this request or connection reach?

Takes manifests and a proxy, answers calls with one word: a cluster's name, a status, "no route", "no chain". Knows only what
envoy does with the fields that istiod sets; it is no proxy.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import re2
from envoy.config.route.v3 import route_components_pb2 as routes
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from mizzen.api import kinds, manifest
from mizzen.istiod.mesh_config import load_mesh_config
from mizzen.istiod.node import Node, parse_node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.snapshot import Options
from mizzen.istiod.translate.listeners import listeners
from mizzen.istiod.translate.routes import route_configuration


def snapshot(text: str, mesh: Path | None = None) -> Snapshot:
    """The snapshot of manifests; short names mean services of cluster.local."""
    objects = [kinds.decode(document.object) for document in manifest.load(text)]
    return Snapshot.build(objects, load_mesh_config(mesh), Options())


def node(
    namespace: str = "shop", labels: Mapping[str, str] | None = None, kind: str = "sidecar", **metadata: str
) -> Node:
    """A proxy with one address; its pod is in no snapshot unless the manifests say so."""
    given = {"NAMESPACE": namespace, "CLUSTER_ID": "Kubernetes", "LABELS": dict(labels or {}), **metadata}
    return parse_node(f"{kind}~10.1.1.1~client.{namespace}~{namespace}.svc.cluster.local", given)


@dataclass(frozen=True)
class Call:
    """An HTTP request."""

    authority: str
    path: str = "/"
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)


class Mesh:
    """One proxy's view of the configuration."""

    def __init__(self, snap: Snapshot, proxy: Node) -> None:
        self.snap = snap
        self.node = snap.place(proxy)

    def get(self, route_name: str, call: Call) -> str:
        """The answer to a request that came to the listener with this route configuration."""
        return outcome(self.route(route_name, call))

    def route(self, route_name: str, call: Call) -> routes.Route | None:
        config = route_configuration(self.snap, self.node, route_name)
        host = virtual_host(config.virtual_hosts, call.authority)
        if host is None:
            return None
        if host.require_tls == routes.VirtualHost.ALL:
            return routes.Route(redirect=routes.RedirectAction(https_redirect=True))
        return next((route for route in host.routes if matches(route.match, call)), None)

    def connect(self, ip: str, port: int, sni: str = "", http: bool = False, alpn: str = "") -> str:
        """Where a connection to an original destination leads: a cluster, or `rds:<name>` for HTTP."""
        found = {(a.address, a.port_value): x for x in listeners(self.snap, self.node) for a in _addresses(x)}
        listener = found.get((ip, port)) or found.get(("0.0.0.0", port))
        if listener is None:
            listener = next((x for x in found.values() if x.name == "virtualOutbound"), None)
        if listener is None:
            return "refused"
        chain = filter_chain(listener, ip, port, sni, http, alpn)
        return "no chain" if chain is None else terminal(chain)


def _addresses(listener: Any) -> list[Any]:
    every = [listener.address, *(extra.address for extra in listener.additional_addresses)]
    return [one.socket_address for one in every]


def virtual_host(hosts: Any, authority: str) -> routes.VirtualHost | None:
    """Exact name, then the longest suffix, then the longest prefix, then `*`; the port does not count."""
    name = authority.rpartition(":")[0] if authority.rpartition(":")[2].isdigit() else authority
    by_domain = {domain.lower(): host for host in hosts for domain in host.domains}
    if name.lower() in by_domain:
        return by_domain[name.lower()]
    suffixes = [d for d in by_domain if d.startswith("*") and len(d) > 1 and name.lower().endswith(d[1:])]
    prefixes = [d for d in by_domain if d.endswith("*") and len(d) > 1 and name.lower().startswith(d[:-1])]
    for found in (suffixes, prefixes):
        if found:
            return by_domain[max(found, key=len)]
    return by_domain.get("*")


def matches(match: routes.RouteMatch, call: Call) -> bool:
    """Whether a request has the path, headers and query of a match."""
    path, _, query = call.path.partition("?")
    fold = match.HasField("case_sensitive") and not match.case_sensitive.value
    return (
        _path(match, path, fold)
        and all(_header(header, call) for header in match.headers)
        and all(_query(parameter, query) for parameter in match.query_parameters)
        and not match.dynamic_metadata
    )


def _path(match: routes.RouteMatch, path: str, fold: bool) -> bool:
    kind = match.WhichOneof("path_specifier")
    wanted = getattr(match, kind)
    if kind == "safe_regex":
        return re2.fullmatch(wanted.regex, path) is not None
    path, wanted = (path.lower(), wanted.lower()) if fold else (path, wanted)
    if kind == "path":
        return bool(path == wanted)
    if kind == "path_separated_prefix":
        return bool(path == wanted or path.startswith(wanted + "/"))
    return path.startswith(wanted)


def _header(header: routes.HeaderMatcher, call: Call) -> bool:
    pseudo = {":method": call.method, ":authority": call.authority, ":scheme": "http"}
    value = pseudo.get(header.name, call.headers.get(header.name))
    if header.WhichOneof("header_match_specifier") == "present_match":
        return (value is not None) is not header.invert_match
    if value is None:
        if not header.treat_missing_header_as_empty:
            return False
        value = ""
    return _string(header.string_match, value) is not header.invert_match


def _query(parameter: routes.QueryParameterMatcher, query: str) -> bool:
    values = dict(part.partition("=")[::2] for part in query.split("&"))
    if parameter.name not in values:
        return False
    return parameter.present_match or _string(parameter.string_match, values[parameter.name])


def _string(match: Any, value: str) -> bool:
    kind = match.WhichOneof("match_pattern")
    if kind == "safe_regex":
        return re2.fullmatch(match.safe_regex.regex, value) is not None
    return value == match.exact if kind == "exact" else value.startswith(match.prefix)


def outcome(route: routes.Route | None) -> str:
    """A route's action in one word."""
    if route is None:
        return "no route"
    kind = route.WhichOneof("action")
    if kind == "direct_response":
        return str(route.direct_response.status)
    if kind == "redirect":
        return "redirect"
    if kind != "route":
        return "no action"
    if route.route.cluster:
        return str(route.route.cluster)
    return " ".join(f"{c.name}={c.weight.value}" for c in route.route.weighted_clusters.clusters)


def filter_chain(listener: Any, ip: str, port: int, sni: str, http: bool, alpn: str) -> Any:
    """The most specific chain: port, address, name, transport, application protocol; else the default one."""
    transport = "tls" if sni or alpn else "raw_buffer"
    found = [
        chain
        for chain in listener.filter_chains
        if _chain_matches(
            chain.filter_chain_match, ip, port, sni, transport, {alpn} if alpn else {"http/1.1"} if http else set()
        )
    ]
    if found:
        return max(found, key=_specificity)
    return listener.default_filter_chain if listener.HasField("default_filter_chain") else None


def _chain_matches(match: Any, ip: str, port: int, sni: str, transport: str, protocols: set[str]) -> bool:
    ranges = [
        ipaddress.ip_network(f"{r.address_prefix}/{r.prefix_len.value}", strict=False) for r in match.prefix_ranges
    ]
    return (
        (not match.HasField("destination_port") or match.destination_port.value == port)
        and (not ranges or any(ipaddress.ip_address(ip) in r for r in ranges))
        and (not match.server_names or any(_named(name, sni) for name in match.server_names))
        and match.transport_protocol in ("", transport)
        and (not match.application_protocols or bool(protocols & set(match.application_protocols)))
    )


def _named(pattern: str, sni: str) -> bool:
    return sni.endswith(pattern[1:]) if pattern.startswith("*") else sni == pattern


def _specificity(chain: Any) -> tuple[object, ...]:
    match = chain.filter_chain_match
    longest = max((r.prefix_len.value for r in match.prefix_ranges), default=-1)
    exact = max((not name.startswith("*") for name in match.server_names), default=False)
    return (
        match.HasField("destination_port"),
        longest,
        bool(match.server_names),
        exact,
        match.transport_protocol,
        bool(match.application_protocols),
    )


def terminal(chain: Any) -> str:
    """What the last filter of a chain does."""
    last = chain.filters[-1].typed_config
    manager = hcm.HttpConnectionManager()
    if last.Unpack(manager):
        return f"rds:{manager.rds.route_config_name}"
    proxy = tcp_proxy_pb2.TcpProxy()
    assert last.Unpack(proxy)
    weighted = " ".join(f"{c.name}={c.weight}" for c in proxy.weighted_clusters.clusters)
    return proxy.cluster or weighted
