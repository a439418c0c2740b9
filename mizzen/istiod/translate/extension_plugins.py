"""WasmPlugins and TrafficExtensions: which of them a listener's filter chain has, and where.

Takes a snapshot and a proxy, gives Plugin values by phase, highest priority first. A WasmPlugin is a TrafficExtension of
kind wasm. Not here: the filters (filters/extensions.py), the configs that ECDS serves (extensions.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mizzen.api.istio.extensions import LuaConfig, TrafficSelector, VmConfig, WasmPlugin
from mizzen.istiod.node import Node
from mizzen.istiod.objects import by_age
from mizzen.istiod.snapshot import Snapshot

PREFIX = "extensions.istio.io/trafficextension/"
TRANSLATED = "~istio-translated-wasmplugin"
AUTHN, AUTHZ, STATS, UNSPECIFIED = "AUTHN", "AUTHZ", "STATS", "UNSPECIFIED"


class Wasm(msgspec.Struct, frozen=True):
    """What of a Wasm module its filter's config is made from."""

    url: str
    sha256: str
    pull_policy: str
    pull_secret: str
    config: Mapping[str, Any] | None
    root_id: str
    fail_strategy: str
    vm: VmConfig | None


class Plugin(msgspec.Struct, frozen=True):
    """One extension. name: `<namespace>.<name>`; network: a network filter instead of an HTTP one; wasm or lua is given."""

    name: str
    namespace: str
    phase: str
    priority: int
    match: tuple[TrafficSelector, ...]
    network: bool
    version: str
    wasm: Wasm | None = None
    lua: LuaConfig | None = None

    @property
    def resource(self) -> str:
        """The name of the filter, and of its ECDS resource."""
        return PREFIX + self.name

    @property
    def may_be_left_out(self) -> bool:
        """Whether traffic is to go on where the module cannot run."""
        return self.wasm is not None and self.wasm.fail_strategy == "FAIL_OPEN"

    def takes(self, server: bool, port: int) -> bool:
        """Whether it applies to this side and port; 0 = traffic of no port in particular."""
        if not self.match:
            return True
        return any(
            selector.mode not in ("CLIENT", "SERVER") or (selector.mode == "SERVER") == server
            for selector in self.match
            if not selector.ports or port in [one.number for one in selector.ports]
        )


def plugins(snap: Snapshot, node: Node) -> list[Plugin]:
    """All extensions that choose a proxy, by priority, then age."""
    found = [*snap.wasm_plugins.for_node(node), *snap.traffic_extensions.for_node(node)]
    made = [_of_wasm_plugin(obj) if isinstance(obj, WasmPlugin) else _of_extension(obj) for obj in by_age(found)]
    return sorted(made, key=lambda plugin: -plugin.priority)


def _of_wasm_plugin(obj: WasmPlugin) -> Plugin:
    spec = obj.spec
    return _plugin(
        obj,
        f"{obj.metadata.name}{TRANSLATED}",
        phase=spec.phase.removesuffix("_PHASE"),
        network=spec.type == "NETWORK",
        wasm=_wasm(spec),
    )


def _of_extension(obj: Any) -> Plugin:
    spec = obj.spec
    return _plugin(
        obj,
        obj.metadata.name,
        phase=spec.phase,
        network=spec.wasm is not None and spec.wasm.type == "NETWORK",
        wasm=_wasm(spec.wasm) if spec.wasm is not None else None,
        lua=spec.lua,
    )


def _plugin(obj: Any, name: str, phase: str, network: bool, wasm: Wasm | None, lua: LuaConfig | None = None) -> Plugin:
    namespace = obj.metadata.namespace or "default"
    return Plugin(
        name=f"{namespace}.{name}",
        namespace=namespace,
        phase=phase,
        priority=obj.spec.priority or 0,
        match=obj.spec.match,
        network=network,
        version=obj.metadata.resourceVersion or "",
        wasm=wasm,
        lua=lua,
    )


def _wasm(spec: Any) -> Wasm:
    """spec: of a WasmPlugin, or the wasm part of a TrafficExtension; they share these fields."""
    return Wasm(
        url=spec.url if "://" in spec.url else f"oci://{spec.url}",
        sha256=spec.sha256,
        pull_policy=spec.image_pull_policy,
        pull_secret=spec.image_pull_secret or "",
        config=spec.plugin_config,
        root_id=spec.plugin_name or "",
        fail_strategy=spec.fail_strategy,
        vm=spec.vm_config,
    )
