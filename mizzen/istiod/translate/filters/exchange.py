"""The network filter that exchanges peers' metadata over TCP (ALPN `istio-peer-exchange`).

The same filter stands in listeners (server side) and in clusters (client side).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from envoy.config.cluster.v3 import filter_pb2
from envoy.config.listener.v3 import listener_components_pb2

from mizzen.istiod.translate.filters import abilities
from mizzen.istiod.translate.filters.context import ChainContext
from mizzen.istiod.translate.messages import typed_struct
from mizzen.wire.istio import METADATA_EXCHANGE

Filter = listener_components_pb2.Filter


def metadata_exchange(ctx: ChainContext) -> list[Any]:
    """The filter that exchanges peers' metadata over TCP, as far as the proxy can run it."""
    return [exchange_filter()] if abilities.can_run(ctx.node, abilities.METADATA_EXCHANGE) else []


@cache
def exchange_filter() -> Any:
    value = {"enable_discovery": True, "protocol": "istio-peer-exchange"}
    return Filter(name="istio.metadata_exchange", typed_config=typed_struct(METADATA_EXCHANGE, value))


@cache
def cluster_exchange_filter() -> Any:
    """The client side, as an upstream network filter of a cluster."""
    value = {"enable_discovery": True, "protocol": "istio-peer-exchange"}
    return filter_pb2.Filter(name="istio.metadata_exchange", typed_config=typed_struct(METADATA_EXCHANGE, value))
