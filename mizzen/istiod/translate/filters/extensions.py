"""Filters of WasmPlugins and TrafficExtensions in a chain: Wasm by ECDS, Lua in place.

Takes the chain context, a phase and a port, gives filters. Not here: which extensions hold (extension_plugins.py).
"""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3 import base_pb2, config_source_pb2
from envoy.config.listener.v3 import listener_components_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2

from mizzen.istiod.translate.extension_plugins import Plugin
from mizzen.istiod.translate.filters.context import ChainContext
from mizzen.istiod.translate.messages import ADS_CONFIG, TYPE_PREFIX, pack

WASM_HTTP, WASM_NETWORK = "envoy.filters.http.wasm", "envoy.filters.network.wasm"
HTTP_URLS = tuple(f"{TYPE_PREFIX}envoy.extensions.filters.http.{name}" for name in ("wasm.v3.Wasm", "rbac.v3.RBAC"))
NETWORK_URLS = tuple(
    f"{TYPE_PREFIX}envoy.extensions.filters.network.{name}" for name in ("wasm.v3.Wasm", "rbac.v3.RBAC")
)
"""What ECDS may answer: the module, or RBAC that refuses all when it cannot be had and must not be left out."""


def http_extensions(ctx: ChainContext, phase: str, port: int) -> list[Any]:
    """HTTP filters of a phase."""
    return [_http(plugin) for plugin in _chosen(ctx, phase, port, network=False)]


def network_extensions(ctx: ChainContext, phase: str, port: int) -> list[Any]:
    """Network filters of a phase."""
    chosen = _chosen(ctx, phase, port, network=True)
    filter_ = listener_components_pb2.Filter
    return [filter_(name=plugin.resource, config_discovery=_discovery(NETWORK_URLS)) for plugin in chosen]


def _chosen(ctx: ChainContext, phase: str, port: int, network: bool) -> list[Plugin]:
    return [
        plugin
        for plugin in ctx.plugins
        if plugin.phase == phase
        and plugin.network is network
        and plugin.takes(ctx.inbound, port)
        and not (plugin.may_be_left_out and not ctx.node.can_run(WASM_NETWORK if plugin.network else WASM_HTTP))
    ]


def _http(plugin: Plugin) -> Any:
    if plugin.lua is not None:
        source = base_pb2.DataSource(inline_string=plugin.lua.inline_code)
        return hcm_pb2.HttpFilter(name=plugin.resource, typed_config=pack(lua_pb2.Lua(default_source_code=source)))
    return hcm_pb2.HttpFilter(name=plugin.resource, config_discovery=_discovery(HTTP_URLS))


def _discovery(type_urls: tuple[str, ...]) -> Any:
    return config_source_pb2.ExtensionConfigSource(config_source=ADS_CONFIG, type_urls=type_urls)
