"""Names of clusters in statistics, by the mesh's inboundClusterStatName and outboundClusterStatName."""

from __future__ import annotations

from mizzen.istiod.registry.model import Service, ServicePort


def expand(pattern: str, svc: Service, port: ServicePort, subset: str = "", target_port: int = 0) -> str:
    """The pattern with its %OPERATORS% replaced. %SERVICE% is `name.namespace` of a Kubernetes service, else the host."""
    short = f"{svc.name}.{svc.namespace}" if svc.is_kubernetes else svc.host
    values = {
        "%SERVICE%": short,
        "%SERVICE_NAME%": svc.name if svc.is_kubernetes else svc.host,
        "%SERVICE_FQDN%": svc.host,
        "%SERVICE_PORT%": str(port.number),
        "%SERVICE_PORT_NAME%": port.name,
        "%TARGET_PORT%": str(target_port or port.target_port or port.number),
        "%SUBSET_NAME%": subset,
    }
    for operator, value in values.items():
        pattern = pattern.replace(operator, value)
    return pattern
