"""Names of statistics after a pattern of the mesh: inboundClusterStatName, outboundClusterStatName.

Takes a pattern and a service port, gives the name. Not here: the default names, which are the clusters' own.
"""

from __future__ import annotations

from mizzen.istiod.registry.model import Service, ServicePort


def stat_name(pattern: str, svc: Service, port: ServicePort | None, number: int, subset: str = "") -> str:
    """The pattern with its `%…%` filled in. number: the port; port: its name and target, None when it has none."""
    short = f"{svc.name}.{svc.namespace}" if svc.is_kubernetes else svc.host
    values = {
        "%SERVICE%": short,
        "%SERVICE_NAME%": svc.name,
        "%SERVICE_FQDN%": svc.host,
        "%SUBSET_NAME%": subset,
        "%TARGET_PORT%": str(port.target_port) if port is not None and port.target_port else "",
        "%SERVICE_PORT%": str(number),
        "%SERVICE_PORT_NAME%": port.name if port is not None else "",
    }
    for key, value in values.items():
        pattern = pattern.replace(key, value)
    return pattern
