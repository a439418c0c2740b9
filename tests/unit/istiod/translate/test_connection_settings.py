"""ProxyConfig.connectionSettings: the EDGE profile on gateways, single settings anywhere."""

from __future__ import annotations

from typing import Any

import msgspec
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2

from mizzen.api.istio.meta import dec_hook
from mizzen.api.istio.proxy_config import ProxyConfig
from mizzen.istiod import dump
from mizzen.istiod.translate.connection_settings import apply_to_manager, settings_of
from mizzen.wire.newer import newer_json


def manager(kind: str, **settings: Any) -> dict[str, Any]:
    node = dump.node_of({"type": kind, "namespace": "shop", "pod": "a", "ip": "10.0.0.1"})
    found = settings_of(msgspec.convert({"connectionSettings": settings}, ProxyConfig, dec_hook=dec_hook), node)
    assert found is not None
    out = hcm_pb2.HttpConnectionManager()
    apply_to_manager(found, out)
    return newer_json(out)


def test_edge_on_a_gateway() -> None:
    assert manager("router", profile="EDGE", httpRequestTimeout="7s") == {
        "common_http_protocol_options": {"idle_timeout": "3600s", "headers_with_underscores_action": "REJECT_REQUEST"},
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65536,
            "initial_connection_window_size": 1048576,
        },
        "stream_idle_timeout": "300s",
        "request_timeout": "7s",
        "request_headers_timeout": "60s",
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
    }


def test_edge_adds_nothing_to_a_sidecar() -> None:
    assert manager("sidecar", profile="EDGE") == {}


def test_single_settings() -> None:
    assert manager("sidecar", httpMaxStreamDuration="3s", httpDrainTimeout="1s") == {
        "common_http_protocol_options": {"max_stream_duration": "3s"},
        "drain_timeout": "1s",
    }
