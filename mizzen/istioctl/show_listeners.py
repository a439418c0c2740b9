"""Listeners as `proxy-config listener` shows them: one line a filter chain, with what it matches and where it leads.

Takes Envoy's JSON, gives rows. Not here: fetching it, printing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from mizzen.istioctl.envoy_dump import Json, address_of
from mizzen.istioctl.show_routes import describe_domains, describe_match

HEADER = ("ADDRESSES", "PORT", "MATCH", "DESTINATION")
SHORT_HEADER = ("ADDRESSES", "PORT", "TYPE")

ALPN_NAMES = {
    frozenset({"http/1.0", "http/1.1", "h2c"}): "HTTP",
    frozenset({"istio-http/1.0", "istio-http/1.1", "istio-h2"}): "HTTP TLS",
    frozenset({"istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"}): "HTTP TLS",
    frozenset({"istio-peer-exchange", "istio"}): "TCP TLS",
    frozenset({"istio-peer-exchange", "istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"}): "TCP TLS",
    frozenset({"istio"}): "Istio HTTP Plain",
}


class ListenerFilter(NamedTuple):
    """Empty fields let everything through."""

    address: str = ""
    port: int = 0
    type: str = ""

    def wants(self, listener: Json) -> bool:
        return (
            (not self.address or self.address in addresses(listener))
            and (not self.port or port(listener) == self.port)
            and (not self.type or listener_type(listener).lower() == self.type.lower())
        )


def addresses(listener: Json) -> list[str]:
    """All addresses that the listener is bound to, without ports."""
    every = [listener.get("address", {}), *(a.get("address", {}) for a in listener.get("additional_addresses", ()))]
    return [address_of(address)[0] for address in every]


def port(listener: Json) -> int:
    return address_of(listener.get("address", {}))[1]


def chosen(listeners: Iterable[Json], wanted: ListenerFilter) -> list[Json]:
    """Those wanted, by port, address and type."""
    return sorted(filter(wanted.wants, listeners), key=lambda x: (port(x), addresses(x), listener_type(x)))


def listener_type(listener: Json) -> str:
    """HTTP, TCP, HTTP+TCP or UNKNOWN, by the terminal filters."""
    kinds = {name for chain in chains(listener) for f in chain.get("filters", ()) if (name := _kind(f))}
    return {("HTTP",): "HTTP", ("TCP",): "TCP", ("HTTP", "TCP"): "HTTP+TCP"}.get(tuple(sorted(kinds)), "UNKNOWN")


def rows(listeners: Iterable[Json]) -> list[tuple[str, ...]]:
    """One row a filter chain."""
    out: list[tuple[str, ...]] = []
    for listener in listeners:
        where = (",".join(addresses(listener)), str(port(listener)))
        found = sorted((describe_chain_match(chain), destination(chain)) for chain in chains(listener))
        out += [(*where, match, to) for match, to in found]
    return out


def short_rows(listeners: Iterable[Json]) -> list[tuple[str, ...]]:
    return [(",".join(addresses(x)), str(port(x)), listener_type(x)) for x in listeners]


def chains(listener: Json) -> Iterator[Json]:
    yield from listener.get("filter_chains", ())
    if "default_filter_chain" in listener:
        yield listener["default_filter_chain"]


def describe_chain_match(chain: Json) -> str:
    """`SNI: …; Trans: …; App: …; Addr: …`, ALL for no condition."""
    match = chain.get("filter_chain_match", {})
    parts = []
    if match.get("server_names"):
        parts.append(f"SNI: {','.join(match['server_names'])}")
    if match.get("transport_protocol"):
        parts.append(f"Trans: {match['transport_protocol']}")
    if protocols := match.get("application_protocols"):
        parts.append(f"App: {ALPN_NAMES.get(frozenset(protocols), ','.join(protocols))}")
    suffix = f":{match['destination_port']}" if match.get("destination_port") else ""
    if ranges := match.get("prefix_ranges"):
        shown = ",".join(f"{r.get('address_prefix')}/{r.get('prefix_len', 0)}" for r in ranges)
        parts.append(f"Addr: {shown}{suffix}")
    elif suffix:
        parts.append(f"Addr: *{suffix}")
    return "; ".join(parts) or "ALL"


def destination(chain: Json) -> str:
    """Where a chain's last filter leads."""
    for entry in chain.get("filters", ()):
        config = entry.get("typed_config", {})
        kind = _kind(entry)
        if kind == "HTTP":
            return _http_destination(config)
        if kind == "TCP":
            return _cluster(_tcp_cluster(config))
    return "Non-HTTP/Non-TCP"


def _kind(entry: Json) -> str | None:
    type_url = str(entry.get("typed_config", {}).get("@type", ""))
    if type_url.endswith(".HttpConnectionManager"):
        return "HTTP"
    return "TCP" if type_url.endswith(".TcpProxy") else None


def _http_destination(config: Json) -> str:
    if "rds" in config:
        return f"Route: {config['rds'].get('route_config_name', '')}"
    hosts = config.get("route_config", {}).get("virtual_hosts", [])
    if not hosts:
        return "HTTP"
    only = hosts[0].get("routes", []) if len(hosts) == 1 else []
    if (
        len(only) == 1
        and only[0].get("match", {}).get("prefix") == "/"
        and (c := only[0].get("route", {}).get("cluster"))
    ):
        return _cluster(c)
    shown = []
    for host in hosts:
        matches = ", ".join(describe_match(route.get("match", {})) for route in host.get("routes", ()))
        shown.append(f"Inline Route: {describe_domains(host.get('domains', []))} {matches}".rstrip())
    return "; ".join(shown)


def _tcp_cluster(config: Json) -> str:
    if "cluster" in config:
        return str(config["cluster"])
    weighted: list[dict[str, Any]] = config.get("weighted_clusters", {}).get("clusters", [])
    return ", ".join(str(one.get("name")) for one in weighted)


def _cluster(name: str) -> str:
    """BlackHoleCluster and the like say what they are by themselves."""
    return name if "Cluster" in name else f"Cluster: {name}"
