"""LDS: the listeners of a proxy, one ordered list of producers per type of proxy.

Takes a snapshot and a proxy, gives Listener messages; of two with one name the first stays.
Not here: the producers (listeners_outbound.py, listeners_inbound.py, gateways.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.gateway_listeners import gateway_listeners
from mizzen.istiod.translate.http_proxy_listener import http_proxy_listener
from mizzen.istiod.translate.listeners_inbound import inbound_listeners
from mizzen.istiod.translate.listeners_outbound import outbound_listeners
from mizzen.istiod.translate.virtual_outbound import virtual_outbound

Producer = Callable[[Snapshot, Node], list[Any]]
SIDECAR: tuple[Producer, ...] = (outbound_listeners, http_proxy_listener, virtual_outbound, inbound_listeners)
ROUTER: tuple[Producer, ...] = (gateway_listeners,)


def listeners(snap: Snapshot, node: Node) -> list[Any]:
    """All listeners of a proxy."""
    out: dict[str, Any] = {}
    for produce in ROUTER if node.is_router else SIDECAR:
        for listener in produce(snap, node):
            out.setdefault(listener.name, listener)
    return list(out.values())
