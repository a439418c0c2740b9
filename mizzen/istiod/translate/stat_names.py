"""Names of clusters in statistics, by the mesh's inboundClusterStatName and outboundClusterStatName."""

from __future__ import annotations

from mizzen.istiod.registry.model import Service, ServicePort


def expand(pattern: str, svc: Service, port: ServicePort, subset: str = "", target_port: int = 0) -> str:
    """The pattern with its %OPERATORS% replaced. %SERVICE% is `name.namespace` of a Kubernetes service, else the host."""
    short, name = (f"{svc.name}.{svc.namespace}", svc.name) if svc.is_kubernetes else (svc.host, svc.host)
    return _filled(pattern, (short, name, svc.host), port, target_port or port.target_port or port.number, subset)


def expand_host(pattern: str, host: str, port: ServicePort) -> str:
    """The pattern for a port that a workload has by itself, under a name that is no service's."""
    return _filled(pattern, (host, host, host), port, port.number, "")


def _filled(pattern: str, names: tuple[str, str, str], port: ServicePort, target_port: int, subset: str) -> str:
    values = {
        "%SERVICE%": names[0],
        "%SERVICE_NAME%": names[1],
        "%SERVICE_FQDN%": names[2],
        "%SERVICE_PORT%": str(port.number),
        "%SERVICE_PORT_NAME%": port.name,
        "%TARGET_PORT%": str(target_port),
        "%SUBSET_NAME%": subset,
    }
    for operator, value in values.items():
        pattern = pattern.replace(operator, value)
    return pattern
