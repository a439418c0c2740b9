"""Settings of a proxy's ProxyConfig that decide which headers it adds.

Takes the configuration that the proxy says it was started with, else the mesh's default. Not here: the HTTP connection
manager that applies most of them.
"""

from __future__ import annotations

from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot


def attempt_count(snap: Snapshot, node: Node) -> bool:
    """Whether requests upstream carry x-envoy-attempt-count."""
    if node.proxy_config:
        headers = node.proxy_config.get("proxyHeaders") or {}
        return not (headers.get("attemptCount") or {}).get("disabled")
    default = snap.mesh.default_config
    headers_of_mesh = default.proxy_headers if default is not None else None
    return not (headers_of_mesh and headers_of_mesh.attempt_count and headers_of_mesh.attempt_count.disabled)
