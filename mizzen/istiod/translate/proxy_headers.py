"""Settings of a proxy's ProxyConfig that decide which headers it adds.

Takes the configuration that the proxy says it was started with, else the mesh's default. Not here: the HTTP connection
manager that applies most of them.
"""

from __future__ import annotations

from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.filters.context import proxy_config


def attempt_count(snap: Snapshot, node: Node) -> bool:
    """Whether requests upstream carry x-envoy-attempt-count."""
    headers = proxy_config(snap, node).proxy_headers
    return not (headers is not None and headers.attempt_count is not None and headers.attempt_count.disabled)


def appends_forwarded_host(snap: Snapshot, node: Node) -> bool:
    """Whether the host as the client wrote it is kept in x-forwarded-host when it is rewritten."""
    headers = proxy_config(snap, node).proxy_headers
    return bool(headers is not None and headers.x_forwarded_host is not None and headers.x_forwarded_host.enabled)
