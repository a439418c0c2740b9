"""Which resources a server has that can be listed, watched and deleted."""

from __future__ import annotations

import json
from typing import Any

from mizzen.kube.client import Client
from mizzen.kube.errors import ApiError
from mizzen.kube.resource import Resource

NEEDED = {"list", "watch", "delete"}
# Reported by everything that happens; they have no dependents, and expire by themselves.
IGNORED = {("", "events"), ("events.k8s.io", "events")}


async def resources(client: Client) -> list[Resource]:
    """Every top-level resource in its group's preferred version, with the verbs that garbage collection needs."""
    found: dict[tuple[str, str], Resource] = {}
    groups = json.loads(await client.raw("GET", "/apis"))["groups"]
    versions = [("", "v1", "/api/v1")]
    for group in groups:
        preferred = group["preferredVersion"]["version"]
        names = [preferred, *(v["version"] for v in group["versions"] if v["version"] != preferred)]
        versions += [(group["name"], version, f"/apis/{group['name']}/{version}") for version in names]
    for group_name, version, path in versions:
        try:
            listed: dict[str, Any] = json.loads(await client.raw("GET", path))
        except ApiError:
            continue  # a group whose server does not answer hides only its own
        for entry in listed["resources"]:
            key = (group_name, entry["name"])
            if "/" in entry["name"] or key in found or not set(entry["verbs"]) >= NEEDED:
                continue
            found[key] = Resource(group_name, version, entry["name"], entry["namespaced"], entry["kind"])
    return [resource for key, resource in found.items() if key not in IGNORED]


async def deletable(client: Client) -> list[Resource]:
    """The namespaced ones, events included last: what a namespace that goes must lose."""
    events = Resource("", "v1", "events", True, "Event")
    return [resource for resource in await resources(client) if resource.namespaced] + [events]
