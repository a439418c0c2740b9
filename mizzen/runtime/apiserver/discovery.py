"""Discovery: which groups, versions and resources there are, in both forms that clients ask for.

Takes the registry, gives trees. Documents are cached per generation of the registry.
Source: meta/v1 APIGroupList, APIResourceList; apidiscovery.k8s.io/v2 (KEP-3352).
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from .accept import _clauses
from .errors import StatusError, no_such_path
from .http1 import Response
from .resources import Registry, Resource, Sub

Object = dict[str, Any]
encode = msgspec.json.encode


class Discovery:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = -1
        self._cached: dict[str, bytes] = {}

    def _bytes(self, key: str, make: Any) -> bytes:
        if self._generation != self._registry.generation:
            self._generation = self._registry.generation
            self._cached.clear()
        if key not in self._cached:
            self._cached[key] = encode(make())
        return self._cached[key]

    def answer(self, parts: list[str], accept: str) -> Response:
        """For the path parts below the root: ["api"], ["apis", group], ["apis", group, version] …"""
        if parts == ["api"] or parts == ["apis"]:
            form = _aggregated(accept)
            if form:
                body = self._bytes(f"{parts[0]} {form}", lambda: self._aggregate(parts[0], form))
                media = f"application/json;g=apidiscovery.k8s.io;v={form};as=APIGroupDiscoveryList"
                etag = hashlib.sha256(body).hexdigest().upper()
                return Response(200, body, media, (("Vary", "Accept"), ("ETag", f'"{etag}"')))
            make = self._legacy if parts[0] == "api" else self._groups
            return Response(200, self._bytes(parts[0], make), "application/json", (("Vary", "Accept"),))
        if len(parts) == 2 and parts[0] == "apis" and parts[1] in self._registry.groups:
            return Response(
                200,
                self._bytes("/".join(parts), lambda: {"kind": "APIGroup", "apiVersion": "v1", **self._group(parts[1])}),
            )
        group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2] if len(parts) > 2 else "")
        if version in self._registry.groups.get(group, ()):
            return Response(200, self._bytes("/".join(parts), lambda: self._resources(group, version)))
        if (parts[0] == "apis" and group in self._registry.groups) or parts[0] == "api":
            raise no_such_path()
        return Response(404, b"404 page not found\n", "text/plain; charset=utf-8")

    def _legacy(self) -> Object:
        return {
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"}],
        }  # fmt: skip

    def _groups(self) -> Object:
        groups = [self._group(name) for name in self._registry.groups if name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def _group(self, name: str) -> Object:
        versions = [{"groupVersion": f"{name}/{one}", "version": one} for one in self._registry.groups[name]]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

    def _resources(self, group: str, version: str) -> Object:
        found: list[Object] = []
        for resource in self._registry.of(group, version):
            found += _entries(resource)
        if group not in self._registry.custom_groups():
            found.sort(key=lambda one: str(one["name"]))
        gv = f"{group}/{version}" if group else version
        head = {"kind": "APIResourceList", **({"apiVersion": "v1"} if group else {}), "groupVersion": gv}
        return {**head, "resources": found}

    def _aggregate(self, root: str, form: str) -> Object:
        names = [""] if root == "api" else [name for name in self._registry.groups if name]
        items = []
        for name in names:
            versions = []
            for version in self._registry.groups.get(name, ()):
                resources = [_aggregated_entry(one) for one in self._registry.of(name, version)]
                versions.append({"version": version, "resources": resources, "freshness": "Current"})
            items.append({"metadata": {"name": name} if name else {}, "versions": versions})
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{form}",
            "metadata": {},
            "items": items,
        }


def _aggregated(accept: str) -> str:
    """The version of aggregated discovery that is asked for first, "" for the plain form. Raises 406."""
    if "apidiscovery" not in accept:
        return ""
    for clause in _clauses(accept):
        if clause.params.get("as") == "APIGroupDiscoveryList":
            if clause.params.get("g") == "apidiscovery.k8s.io" and clause.params.get("v") in ("v2", "v2beta1"):
                return clause.params["v"]
        elif clause.media in ("application/json", "*/*"):
            return ""
    raise StatusError(
        406,
        "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf",
    )


def sub_order(resource: Resource) -> list[tuple[str, Sub]]:
    return list(resource.subs.items())


def _entries(resource: Resource) -> list[Object]:
    entry: Object = {
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced, "kind": resource.kind,
        "verbs": list(resource.verbs),
    }  # fmt: skip
    if resource.short:
        entry["shortNames"] = list(resource.short)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if "watch" in resource.verbs:
        entry["storageVersionHash"] = resource.storage_hash
    found = [entry]
    for name, sub in sub_order(resource):
        own = {"group": sub.group, "version": sub.version} if sub.group is not None else {}
        found.append({
            "name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced, **own, "kind": sub.kind,
            "verbs": list(sub.verbs),
        })  # fmt: skip
    return found


def _aggregated_entry(resource: Resource) -> Object:
    custom = resource.custom is not None
    entry: Object = {
        "resource": resource.plural,
        "responseKind": {
            "group": resource.group if custom else "",
            "version": resource.version if custom else "",
            "kind": resource.kind,
        },
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short:
        entry["shortNames"] = list(resource.short)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subs:
        entry["subresources"] = [
            {
                "subresource": name,
                "responseKind": {
                    "group": sub.group or (resource.group if custom else ""),
                    "version": sub.version or (resource.version if custom else ""),
                    "kind": sub.kind,
                },
                "verbs": list(sub.verbs),
            }
            for name, sub in resource.subs.items()
        ]
    return entry
