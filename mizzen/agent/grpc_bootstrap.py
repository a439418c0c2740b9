"""The bootstrap of proxyless gRPC applications: the agent's socket, and certificates in files.

Source: gRPC's xDS bootstrap format; Istio's names. Not here: writing it.
"""

from __future__ import annotations

from typing import Any

from mizzen.agent.node import Node

LISTENER_TEMPLATE = "xds.istio.io/grpc/lds/inbound/%s"


def grpc_bootstrap(node: Node, socket: str, certificates: str) -> dict[str, Any]:
    """socket, certificates: absolute paths as the application sees them."""
    region, zone, subzone = node.locality
    locality = {key: value for key, value in (("region", region), ("zone", zone), ("sub_zone", subzone)) if value}
    provider = {
        "plugin_name": "file_watcher",
        "config": {
            "certificate_file": f"{certificates}/cert-chain.pem",
            "private_key_file": f"{certificates}/key.pem",
            "ca_certificate_file": f"{certificates}/root-cert.pem",
            "refresh_interval": "900s",
        },
    }
    return {
        "xds_servers": [
            {"server_uri": f"unix://{socket}", "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}
        ],
        "node": {
            "id": node.id,
            "locality": locality,
            "metadata": {**node.metadata, "GENERATOR": "grpc"},
        },
        "certificate_providers": {"default": provider},
        "server_listener_resource_name_template": LISTENER_TEMPLATE,
    }
