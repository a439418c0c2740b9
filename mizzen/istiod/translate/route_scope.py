"""What one proxy's listener brings to the translation of a VirtualService.

These are the only inputs beside the VirtualService itself: proxies and ports with equal scopes share their routes.
Not here: how services and rules are found (the snapshot).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from mizzen.api.istio.destination_rule import ConsistentHashLB
from mizzen.api.istio.virtual_service import Destination, HTTPRetry
from mizzen.istiod.registry.model import Service


class RouteScope(msgspec.Struct, frozen=True):
    """port: the port that clients address; gateways: `mesh`, or the one gateway as `namespace/name`.

    service: the visible service of a host name, None when there is none; hash_of: the consistent hash that a
    destination's rule asks for; is_tls: TLS is terminated before these routes; retries: the mesh's default;
    forwarded_host: the original host is kept in x-forwarded-host.
    """

    port: int
    gateways: frozenset[str]
    labels: Mapping[str, str]
    namespace: str
    service: Callable[[str], Service | None]
    hash_of: Callable[[Destination], ConsistentHashLB | None]
    is_tls: bool = False
    retries: HTTPRetry | None = None
    forwarded_host: bool = False


def cluster_name(port: int, subset: str, host: str) -> str:
    """The name of an outbound cluster."""
    return f"outbound|{port}|{subset}|{host}"


def destination_cluster(destination: Destination, service: Service | None, listener_port: int) -> str:
    """The cluster that a destination means.

    Without a port: the service's only port, else the port that was listened on. An alias means what it stands for.
    """
    host = service.external_name if service is not None and service.external_name else destination.host
    if destination.port is not None:
        port = destination.port.number
    elif service is not None and len(service.ports) == 1:
        port = service.ports[0].number
    else:
        port = listener_port
    return cluster_name(port, destination.subset, host)
