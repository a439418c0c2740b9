"""The limit of client connections of all listeners together (global_downstream_max_connections)."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.listener.v3 import listener_pb2

from mizzen.proxy.config.load import fill
from mizzen.proxy.listener.listener import ListenerConfig
from mizzen.proxy.server import Options, Server

KIND = "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
MONITOR = {
    "name": "envoy.resource_monitors.global_downstream_max_connections",
    "typed_config": {"@type": KIND, "max_active_downstream_connections": 2},
}


def listener(name: str, port: int, server: Any, exempt: bool) -> Any:
    proto = listener_pb2.Listener(name=name, ignore_global_conn_limit=exempt)
    proto.address.socket_address.address, proto.address.socket_address.port_value = "127.0.0.1", port
    proto.filter_chains.add()
    return ListenerConfig(proto, server)


async def test_listeners_that_ignore_the_limit_do_not_count() -> None:
    bootstrap = fill(bootstrap_pb2.Bootstrap(), {"overload_manager": {"resource_monitors": [MONITOR]}}, "bootstrap")
    server: Any = Server(bootstrap, Options(), asyncio.get_running_loop())
    counted, exempt = listener("a", 1, server, False), listener("b", 2, server, True)
    server.listeners.slots = {each.name: SimpleNamespace(listener=each) for each in (counted, exempt)}
    exempt.stats.downstream_cx_active = 5
    counted.stats.downstream_cx_active = 2
    assert not server.too_many()
    counted.stats.downstream_cx_active = 3
    assert server.too_many()
