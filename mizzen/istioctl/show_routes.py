"""Route configurations as `proxy-config route` shows them: one line a route.

Takes Envoy's JSON, gives rows. Not here: fetching it, printing.
"""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.istioctl.envoy_dump import Json, istio_config

HEADER = ("NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE")
SHORT_HEADER = ("NAME", "VIRTUAL HOSTS")
SHOWN_DOMAINS = 2
PASSTHROUGH = "PassthroughCluster"


def chosen(routes: Iterable[Json], name: str = "") -> list[Json]:
    """All, or the one of that name; ports first in numeric order, then names."""

    def order(route: Json) -> tuple[bool, int, str]:
        text = str(route.get("name", ""))
        return not text.isdigit(), int(text) if text.isdigit() else 0, text

    return sorted((route for route in routes if name in ("", route.get("name", ""))), key=order)


def rows(routes: Iterable[Json]) -> list[tuple[str, ...]]:
    out: list[tuple[str, ...]] = []
    for config in routes:
        for host in config.get("virtual_hosts", ()):
            where = (str(config.get("name", "")), str(host.get("name", "")), describe_domains(host.get("domains", [])))
            entries = host.get("routes", [])
            out += [
                (*where, describe_match(route.get("match", {})), istio_config(route))
                for route in entries
                if route.get("route", {}).get("cluster") != PASSTHROUGH
            ]
            if not entries:
                out.append((*where, "/*", "404"))
    return out


def short_rows(routes: Iterable[Json]) -> list[tuple[str, ...]]:
    return [(str(config.get("name", "")), str(len(config.get("virtual_hosts", ())))) for config in routes]


def describe_match(match: Json) -> str:
    """The path that a route matches; header conditions are not shown."""
    if "prefix" in match:
        return f"{match['prefix']}*"
    if "path_separated_prefix" in match:
        return f"PathPrefix:{match['path_separated_prefix']}"
    if "path" in match:
        return str(match["path"])
    if "safe_regex" in match:
        return f"regex {match['safe_regex'].get('regex', '')}"
    return ""


def describe_domains(domains: list[str]) -> str:
    """At most two names without ports; a `.svc` form is left out where the shorter one stands."""
    if len(domains) <= 1:
        return "".join(domains)
    bare = [d for d in domains if ":" not in d or (d.count(":") > 2 and d.endswith("]"))]
    known = set(bare)

    def redundant(domain: str) -> bool:
        forms = (domain.removesuffix(".svc.cluster.local"), domain.removesuffix(".svc"))
        return any(form != domain and form in known for form in forms)

    left = [domain for domain in bare if not redundant(domain)]
    more = f" + {len(left) - SHOWN_DOMAINS} more..." if len(left) > SHOWN_DOMAINS else ""
    return ", ".join(left[:SHOWN_DOMAINS]) + more
