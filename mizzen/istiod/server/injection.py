"""/inject over HTTPS: AdmissionReviews answered with the mesh's current injection settings.

Settings come from ConfigMap `istio-sidecar-injector` (keys config, values) of the system namespace and the
current MeshConfig; a broken ConfigMap is logged and the last good settings stay. Not here: what a pod gets
(istiod/inject).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import yaml
from aiohttp import web

from mizzen.api.errors import MizzenError
from mizzen.api.istio.mesh import MeshConfig
from mizzen.istiod.config.store import ConfigStore
from mizzen.istiod.inject import Settings
from mizzen.istiod.inject.config import read_config, read_values
from mizzen.istiod.inject.webhook import BadRequest, admit_json
from mizzen.istiod.server.metrics import Metrics

log = logging.getLogger(__name__)

CONFIG_MAP = "istio-sidecar-injector"


class InjectionSettings:
    """The settings in force; looked up at each request, read anew only when their sources have changed."""

    def __init__(self, store: ConfigStore, mesh: Callable[[], MeshConfig], namespace: str, revision: str) -> None:
        suffix = "" if revision in ("", "default") else f"-{revision}"
        self._key = ("ConfigMap", (namespace, CONFIG_MAP + suffix))
        self._store, self._mesh, self._revision = store, mesh, revision
        self._read: tuple[Any, MeshConfig, bool] | None = None
        self._settings: Settings | None = None

    def current(self) -> Settings:
        sources = (self._store.objects.get(self._key), self._mesh(), self._native())
        if (
            self._settings is None
            or self._read is None
            or any(a is not b for a, b in zip(sources, self._read, strict=True))
        ):
            self._read = sources
            self._settings = self._build(*sources)
        return self._settings

    def _native(self) -> bool:
        """ENABLE_NATIVE_SIDECARS: true, false, or auto: every node's kubelet is 1.33 or newer, where they are stable."""
        asked = os.environ.get("ENABLE_NATIVE_SIDECARS", "auto").lower()
        if asked != "auto":
            return asked == "true"
        nodes = [obj for (kind, _), obj in self._store.objects.items() if kind == "Node"]
        return bool(nodes) and all(_minor(node) >= 33 for node in nodes)

    def _build(self, config_map: Any, mesh: MeshConfig, native: bool) -> Settings:
        data: Mapping[str, str] = (config_map.data or {}) if config_map is not None else {}
        plain = Settings(mesh=mesh, revision=self._revision, native_sidecars=native)
        try:
            changes: dict[str, Any] = {}
            if data.get("values"):
                changes["given"] = _mapping(data["values"])
                changes["values"] = read_values(changes["given"])
            if data.get("config"):
                changes["config"] = read_config(_mapping(data["config"]))
        except (MizzenError, yaml.YAMLError) as error:
            kept = self._settings or plain
            log.error("ConfigMap %s: %s; the last good injection settings stay", "/".join(self._key[1]), error)
            return msgspec.structs.replace(kept, mesh=mesh)
        return msgspec.structs.replace(plain, **changes)


def _minor(node: Any) -> int:
    """The minor version of a Node's kubelet: 33 of "v1.33.2"; 0 when it says none."""
    info = node.status.nodeInfo if node.status is not None else None
    parts = (info.kubeletVersion if info is not None else "").split(".")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


def _mapping(text: str) -> dict[str, Any]:
    value = yaml.safe_load(text)
    return value if isinstance(value, dict) else {}


def inject_routes(settings: InjectionSettings, store: ConfigStore, metrics: Metrics) -> list[web.AbstractRouteDef]:
    """POST /inject and /inject/…"""

    async def inject(request: web.Request) -> web.Response:
        metrics.add("sidecar_injection_requests_total")
        started, body = time.perf_counter(), await request.read()
        try:
            answer = admit_json(body, settings.current(), request.path, request.content_type, _annotations(store, body))
        except BadRequest as error:
            metrics.add("sidecar_injection_failure_total")
            return web.Response(status=error.status, text=f"{error}\n")
        _count(metrics, answer)
        metrics.observe("sidecar_injection_time_seconds", time.perf_counter() - started)
        return web.Response(body=answer, content_type="application/json")

    return [web.post("/inject", inject), web.post("/inject/{tail:.*}", inject)]


def _annotations(store: ConfigStore, body: bytes) -> Mapping[str, str] | None:
    """The annotations of the namespace that the request is about."""
    try:
        namespace = msgspec.json.decode(body)["request"]["namespace"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return None
    found = store.objects.get(("Namespace", ("", str(namespace))))
    return (found.metadata.annotations or {}) if found is not None else None


def _count(metrics: Metrics, answer: bytes) -> None:
    response = msgspec.json.decode(answer)["response"]
    if not response["allowed"]:
        metrics.add("sidecar_injection_failure_total")
    elif "patch" in response:
        metrics.add("sidecar_injection_success_total")
    else:
        metrics.add("sidecar_injection_skip_total")
