"""Services that telemetry and authorisation providers name, as clusters of the proxy.

Takes `[namespace/]host` and a port, gives host and cluster name. Not here: the clusters themselves.
"""

from __future__ import annotations

from mizzen.api.istio.providers import HttpHeader
from mizzen.istiod.snapshot import Snapshot


def provider_cluster(snap: Snapshot, service: str, port: int) -> tuple[str, str] | None:
    """(host, cluster name) of a provider's service; None when the registry does not know it or its port.

    service: a host, or `namespace/host` to choose among services of one host.
    """
    namespace, _, host = service.rpartition("/")
    found = [svc for svc in snap.registry.by_host.get(host, ()) if not namespace or svc.namespace == namespace]
    if not any(svc.port(port) for svc in found):
        return None
    return host, f"outbound|{port}||{host}"


def header_values(headers: tuple[HttpHeader, ...]) -> list[tuple[str, str]]:
    """Names and values of headers; one from an environment variable is written as Envoy's `%ENVIRONMENT()%`."""
    return [
        (one.name, one.value if one.value is not None else f"%ENVIRONMENT({one.env_name})%")
        for one in headers
        if one.value is not None or one.env_name
    ]
