"""Services whose endpoints only proxies of the endpoints' own cluster get: MeshConfig.serviceSettings and Istio's defaults.

Without a setting these are the services of kube-system, the API server's and istiod's. Not here: the endpoints
(translate/endpoints.py).
"""

from __future__ import annotations

from mizzen.api.istio.mesh import MeshConfig
from mizzen.istiod.hostname import best_match, is_wildcard, subset_of


class ClusterLocalHosts:
    """`host in hosts`: whether the most specific setting that covers it says that it is cluster-local."""

    def __init__(self, mesh: MeshConfig, domain: str) -> None:
        defaults = [f"*.kube-system.svc.{domain}", f"kubernetes.default.svc.{domain}", _discovery_host(mesh, domain)]
        settings = [(host, setting) for setting in mesh.service_settings for host in setting.hosts]
        said: dict[str, bool] = {}
        for host, setting in settings:
            local = setting.settings is not None and setting.settings.cluster_local
            said[host] = local
            if not local:  # a setting for part of a default lifts the default
                defaults = [default for default in defaults if not subset_of(host, default)]
        said.update(dict.fromkeys(defaults, True))
        self._exact = {host: local for host, local in said.items() if not is_wildcard(host)}
        self._wildcards = {host: local for host, local in said.items() if is_wildcard(host)}

    def __contains__(self, host: str) -> bool:
        found = best_match(host, self._exact, self._wildcards)
        return found is not None and found[1]


def _discovery_host(mesh: MeshConfig, domain: str) -> str:
    config = mesh.default_config
    text = (config.discovery_address if config is not None else "") or "istiod.istio-system.svc:15012"
    host = text.rpartition(":")[0] or text
    return host if host.endswith(domain) else f"{host}.{domain}"
