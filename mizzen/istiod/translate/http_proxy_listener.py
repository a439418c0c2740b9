"""The listener that applications use as an explicit HTTP proxy, when the mesh or the proxy asks for one.

Not here: its routes (routes.py, name `http_proxy`).
"""

from __future__ import annotations

from envoy.config.listener.v3 import listener_pb2

from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.addresses import localhosts
from mizzen.istiod.translate.chains import Chain
from mizzen.istiod.translate.filters import ChainContext, HttpOptions, ListenerClass, http_filter_chain
from mizzen.istiod.translate.listeners_outbound import outbound_listener
from mizzen.istiod.translate.routes import HTTP_PROXY


def http_proxy_listener(snap: Snapshot, node: Node) -> list[listener_pb2.Listener]:
    """The listener on the loopback address; none without proxyHttpPort or HTTP_PROXY_PORT."""
    own = node.text("HTTP_PROXY_PORT")
    port = int(own) if own.isdigit() else snap.mesh.proxy_http_port
    if port <= 0:
        return []
    binds = localhosts(node)
    ctx = ChainContext(snap, node, ListenerClass.OUTBOUND)
    options = HttpOptions(stat_prefix=f"outbound_{binds[0]}_{port};", rds=HTTP_PROXY, port=port, absolute_url=True)
    return [outbound_listener(snap, node, binds, port, [Chain(http_filter_chain(ctx, options))], bound=True)]
