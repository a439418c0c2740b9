"""What istiod has sent a proxy beside what the proxy says it has: one unified diff a kind of resource.

Takes two config dumps as JSON, gives text. Not here: fetching them.
Source: `istioctl proxy-status POD`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from mizzen.istioctl import envoy_dump
from mizzen.istioctl.envoy_dump import Json

CONTEXT = 7
Resources = Callable[[Mapping[str, Any]], list[Json]]


def dynamic_clusters(dump: Mapping[str, Any]) -> list[Json]:
    part = envoy_dump.section(dump, "ClustersConfigDump")
    return [entry["cluster"] for entry in part.get("dynamic_active_clusters", ())]


def dynamic_listeners(dump: Mapping[str, Any]) -> list[Json]:
    part = envoy_dump.section(dump, "ListenersConfigDump")
    return [e["active_state"]["listener"] for e in part.get("dynamic_listeners", ()) if "active_state" in e]


def dynamic_routes(dump: Mapping[str, Any]) -> list[Json]:
    part = envoy_dump.section(dump, "RoutesConfigDump")
    return [entry["route_config"] for entry in part.get("dynamic_route_configs", ()) if "route_config" in entry]


KINDS: tuple[tuple[str, Resources], ...] = (
    ("Clusters", dynamic_clusters),
    ("Listeners", dynamic_listeners),
    ("Routes", dynamic_routes),
)


def comparison(istiod: Mapping[str, Any], envoy: Mapping[str, Any]) -> str:
    """All three kinds: a headline each, and the differences below it."""
    return "".join(compare(kind, of, istiod, envoy) for kind, of in KINDS)


def compare(kind: str, of: Resources, istiod: Mapping[str, Any], envoy: Mapping[str, Any]) -> str:
    sent, held = _lines(of(istiod)), _lines(of(envoy))
    note = _loaded(envoy) if kind == "Routes" else ""
    if sent == held:
        return f"{kind} Match{note}\n"
    diff = difflib.unified_diff(sent, held, f"Istiod {kind}", f"Envoy {kind}", n=CONTEXT)
    return f"{kind} Don't Match{note}\n" + "".join(diff)


def _lines(resources: list[Json]) -> list[str]:
    ordered = [_plain(resource) for resource in sorted(resources, key=lambda resource: str(resource.get("name", "")))]
    return [line + "\n" for line in json.dumps(ordered, indent=3, sort_keys=True).splitlines()]


def _plain(value: Any) -> Any:
    """The value with whole numbers written as such: 100 and 100.0 are the same message."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _loaded(envoy: Mapping[str, Any]) -> str:
    """When the proxy took its newest route configuration."""
    part = envoy_dump.section(envoy, "RoutesConfigDump")
    times = [entry["last_updated"] for entry in part.get("dynamic_route_configs", ()) if entry.get("last_updated")]
    if not times:
        return ""
    newest = max(datetime.fromisoformat(text.replace("Z", "+00:00")) for text in times)
    return f" (RDS last loaded at {format_datetime(newest)})"
