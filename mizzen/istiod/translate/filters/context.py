"""What the filters of one proxy's listeners of one class depend on, looked up once.

Made once per proxy and class (`ChainContext(snap, node, ListenerClass.OUTBOUND)`), handed to the builders.
Not here: the filters (hcm.py, http.py, network.py).
"""

from __future__ import annotations

from enum import Enum
from functools import cached_property

import msgspec

from mizzen.api.istio.meta import dec_hook
from mizzen.api.istio.proxy_config import ConnectionSettings, ProxyConfig, ProxyHeaders
from mizzen.api.istio.security import AuthorizationPolicy, RequestAuthentication
from mizzen.api.types import Duration
from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.connection_settings import settings_of
from mizzen.istiod.translate.extension_plugins import Plugin, plugins
from mizzen.istiod.translate.telemetry.effective import Effective, effective


class ListenerClass(Enum):
    """On which side of which proxy a listener is."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
    GATEWAY = "gateway"


class ChainContext:
    """Lazy look-ups, each made at most once."""

    def __init__(self, snap: Snapshot, node: Node, cls: ListenerClass) -> None:
        self.snap = snap
        self.node = node
        self.cls = cls

    @cached_property
    def inbound(self) -> bool:
        return self.cls is ListenerClass.INBOUND

    @cached_property
    def proxy_config(self) -> ProxyConfig:
        return proxy_config(self.snap, self.node)

    @cached_property
    def connection(self) -> ConnectionSettings | None:
        """Limits and time-outs towards clients; None = nothing is said."""
        return settings_of(self.proxy_config, self.node)

    @cached_property
    def headers(self) -> ProxyHeaders:
        return self.proxy_config.proxy_headers or ProxyHeaders()

    @cached_property
    def telemetry(self) -> Effective:
        return effective(self.snap, self.node, server=self.inbound)

    @cached_property
    def plugins(self) -> list[Plugin]:
        """Extensions that choose the workload."""
        return plugins(self.snap, self.node)

    @cached_property
    def authorization(self) -> list[AuthorizationPolicy]:
        """Policies that hold for the workload; none on the way out of a sidecar."""
        return [] if self.cls is ListenerClass.OUTBOUND else self.snap.authorization_policies.for_node(self.node)

    @cached_property
    def authentication(self) -> list[RequestAuthentication]:
        """RequestAuthentications that hold for the workload; none on the way out of a sidecar."""
        return [] if self.cls is ListenerClass.OUTBOUND else self.snap.request_authentications.for_node(self.node)


def proxy_config(snap: Snapshot, node: Node) -> ProxyConfig:
    """The ProxyConfig that a proxy runs with: the one it tells, else the mesh's default."""
    told = node.proxy_config
    if told:
        return msgspec.convert(told, ProxyConfig, dec_hook=dec_hook)
    return snap.mesh.default_config or ProxyConfig()


def idle_timeout(ctx: ChainContext) -> Duration | None:
    """The IDLE_TIMEOUT that the proxy asks for; None when it is none or no duration."""
    text = ctx.node.text("IDLE_TIMEOUT")
    if not text:
        return None
    try:
        return Duration.parse(text)
    except ValueError:
        return None
