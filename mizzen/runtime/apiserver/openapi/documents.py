"""Serves /openapi/v2 and /openapi/v3; the documents themselves are made by definitions.py and operations.py."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from ..context import Ask
from ..http1 import Response
from ..resources import Registry
from .definitions import Definitions
from .operations import paths_of

encode = msgspec.json.encode
Object = dict[str, Any]
INFO = {"title": "Kubernetes", "version": "v1.37.2"}


class Documents:
    """Documents are made when first asked for, and again when the registry has changed."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = -1
        self._made: dict[str, bytes] = {}

    def _get(self, key: str, make: Any) -> bytes:
        if self._generation != self._registry.generation:
            self._generation, self._made = self._registry.generation, {}
        if key not in self._made:
            self._made[key] = encode(make())
        return self._made[key]

    def _gvs(self) -> dict[str, tuple[str, str]]:
        out = {}
        for group, versions in self._registry.groups.items():
            for version in versions:
                out[f"apis/{group}/{version}" if group else f"api/{version}"] = (group, version)
        return out

    def v3_index(self, ask: Ask) -> Response:
        paths = {}
        for path, (group, version) in self._gvs().items():
            digest = hashlib.sha512(f"{path} {self._state(group, version)}".encode()).hexdigest().upper()
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
        return Response(200, encode({"paths": paths}), "text/plain; charset=utf-8")

    def _state(self, group: str, version: str) -> str:
        custom = [one for one in self._registry.of(group, version) if one.custom is not None]
        return " ".join(one.custom.digest for one in custom)

    def v3(self, ask: Ask) -> Response:
        path = ask.info.path.removeprefix("/openapi/v3/")
        found = self._gvs().get(path)
        if found is None:
            return Response(404, b"", "")
        return Response(200, self._get(path, lambda: self._v3(*found)))

    def _v3(self, group: str, version: str) -> Object:
        resources = self._registry.of(group, version)
        definitions = Definitions("#/components/schemas/")
        paths: Object = {}
        for resource in resources:
            paths |= paths_of(resource, definitions, v3=True)
        return {"openapi": "3.0.0", "info": INFO, "paths": paths, "components": {"schemas": definitions.made()}}

    def v2(self, ask: Ask) -> Response:
        return Response(200, self._get("v2", self._v2))

    def _v2(self) -> Object:
        definitions = Definitions("#/definitions/")
        paths: Object = {}
        for resource in self._registry.all():
            paths |= paths_of(resource, definitions, v3=False)
        return {"swagger": "2.0", "info": INFO, "paths": paths, "definitions": definitions.made()}
