"""Filter chains shared by inbound, outbound and gateway listeners."""

from mizzen.istiod.translate.filters.context import ChainContext, ListenerClass
from mizzen.istiod.translate.filters.hcm import HttpOptions, http_filter_chain
from mizzen.istiod.translate.filters.network import TcpOptions, blackhole_filters, tcp_filter_chain, tcp_proxy

__all__ = [
    "ChainContext",
    "HttpOptions",
    "ListenerClass",
    "TcpOptions",
    "blackhole_filters",
    "http_filter_chain",
    "tcp_filter_chain",
    "tcp_proxy",
]
