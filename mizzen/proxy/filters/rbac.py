"""envoy.filters.http.rbac and envoy.filters.network.rbac: who may do what, enforced or only written down (shadow).

What was decided goes into dynamic metadata under the filter's well-known name. Not here: the rules (config/rbac.py).
Source: envoy.extensions.filters.{http,network}.rbac.v3.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.config.rbac import Engine, engine
from mizzen.proxy.filters.base import HttpFilter
from mizzen.proxy.filters.network import NetworkFilter
from mizzen.proxy.http.info import StreamInfo
from mizzen.proxy.net.connection import Downstream

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

HTTP_NAMESPACE, NETWORK_NAMESPACE = "envoy.filters.http.rbac", "envoy.filters.network.rbac"
COUNTERS = ("allowed", "denied")
SHADOW_COUNTERS = ("shadow_allowed", "shadow_denied")


class Policies:
    """The enforced and the shadowed rules of one configuration, with the names under which they report."""

    def __init__(self, message: Any, network: bool = False) -> None:
        self.enforced: Engine | None = engine(message, "rules", "matcher")
        self.shadow: Engine | None = engine(message, "shadow_rules", "shadow_matcher")
        self.shadow_prefix: str = message.shadow_rules_stat_prefix
        self.prefix: str = "" if network else message.rules_stat_prefix
        self.per_rule = not network and message.track_per_rule_stats
        self.namespace = NETWORK_NAMESPACE if network else HTTP_NAMESPACE


class Counters:
    """The statistics of one filter."""

    def __init__(self, server: Any, base: str, policies: Policies) -> None:
        base = base.rstrip(".")
        enforced = f"{base}.{policies.prefix}".rstrip(".")
        shadow = f"{base}.{policies.shadow_prefix}".rstrip(".")
        self.base: Any = server.stats.group(enforced, COUNTERS)
        self.shadow: Any = server.stats.group(shadow, SHADOW_COUNTERS)

    def enforced_result(self, policies: Policies, allowed: bool, name: str) -> None:
        if allowed:
            self.base.allowed += 1
        else:
            self.base.denied += 1
        if policies.per_rule and name:
            self.base.count(f"policy.{name}.{'allowed' if allowed else 'denied'}")

    def shadow_result(self, policies: Policies, allowed: bool, name: str) -> None:
        if allowed:
            self.shadow.shadow_allowed += 1
        else:
            self.shadow.shadow_denied += 1
        if policies.per_rule and name:
            self.shadow.count(f"policy.{name}.{'shadow_allowed' if allowed else 'shadow_denied'}")


def decide(policies: Policies, counters: Counters, info: StreamInfo) -> tuple[bool, str]:
    """Ask both engines, count and note the outcome. Gives whether to go on, and the policy's name."""
    shadow, enforced = policies.shadow, policies.enforced
    if shadow is not None:
        allowed, name = shadow.decide(info)
        counters.shadow_result(policies, allowed, name)
        noted = info.dynamic_metadata(policies.namespace)
        if name:
            noted[policies.shadow_prefix + "shadow_effective_policy_id"] = name
        noted[policies.shadow_prefix + "shadow_engine_result"] = "allowed" if allowed else "denied"
    if enforced is None:
        return True, ""
    allowed, name = enforced.decide(info)
    counters.enforced_result(policies, allowed, name)
    noted = info.dynamic_metadata(policies.namespace)
    if name:
        noted[policies.prefix + "enforced_effective_policy_id"] = name
    noted[policies.prefix + "enforced_engine_result"] = "allowed" if allowed else "denied"
    return allowed, name


class Rbac(HttpFilter):
    decodes = True

    def __init__(self, policies: Policies, counters: Counters) -> None:
        self.policies = policies
        self.counters = counters

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        allowed, name = decide(self.route_config(stream) or self.policies, self.counters, stream)
        if not allowed:
            stream.local_reply(403, "RBAC: access denied", f"rbac_access_denied_matched_policy[{name or 'none'}]")
        return allowed


class NetworkRbac(NetworkFilter):
    """Decides when the first bytes come, so that what they tell (a server name) is known."""

    def __init__(self, policies: Policies, counters: Counters, continuous: bool) -> None:
        self.policies = policies
        self.counters = counters
        self.continuous = continuous

    def wrap(self, conn: Downstream, inner: Any) -> Any:
        return Gate(self, conn, inner)

    def allows(self, conn: Downstream) -> bool:
        info = StreamInfo(conn, time.monotonic())
        info.metadata = conn.metadata
        allowed, name = decide(self.policies, self.counters, info)
        conn.metadata = info.metadata
        if not allowed:
            conn.termination = f"rbac_access_denied_matched_policy[{name or 'none'}]"
        return allowed


class Gate:
    """The protocol of a connection on which the rules have not decided yet; steps aside once they have."""

    def __init__(self, owner: NetworkRbac, conn: Downstream, inner: Any) -> None:
        self.owner = owner
        self.conn = conn
        self.inner = inner
        self.transport: Any = None
        self.refused = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.refused:
            return
        if not self.owner.allows(self.conn):
            self.refused = True
            self.transport.close()
            return
        inner = self.inner
        if not self.owner.continuous:
            self.transport.set_protocol(inner)
        inner.data_received(data)

    def eof_received(self) -> Any:
        return self.inner.eof_received()

    def connection_lost(self, error: BaseException | None) -> None:
        inner, self.inner, self.transport = self.inner, None, None
        inner.connection_lost(error)

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()


def http_filter(config: Any, server: Any, hcm: Any) -> Rbac:
    policies = Policies(config)
    return Rbac(policies, Counters(server, f"http.{hcm.stat_prefix}.rbac", policies))


def route_config(config: Any, server: Any) -> Any:
    from mizzen.proxy.filters.base import DISABLED

    return Policies(config.rbac) if config.HasField("rbac") else DISABLED


def network_filter(config: Any, server: Any, listener: Any) -> NetworkRbac:
    if "delay_deny" in config.DESCRIPTOR.fields_by_name and config.HasField("delay_deny"):
        raise Unsupported("network RBAC.delay_deny")
    policies = Policies(config, network=True)
    counters = Counters(server, f"{config.stat_prefix.rstrip('.')}.rbac", policies)
    return NetworkRbac(policies, counters, config.enforcement_type == 1)
