"""Active health checks of a cluster's hosts. Source: envoy.config.core.v3.HealthCheck."""

from __future__ import annotations

from typing import Any

from mizzen.proxy.config.errors import Unsupported


def checker(cluster: Any, messages: Any) -> Any:
    """The checker of a cluster's health_checks."""
    raise Unsupported(f"Cluster {cluster.name}.health_checks")
