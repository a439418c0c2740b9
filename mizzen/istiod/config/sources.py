"""MeshConfig.configSources: where objects of Istio and the Gateway API come from instead of the API server.

Takes a MeshConfig, gives folders and whether the API server counts. Kubernetes' own objects (Services, Pods, Ingresses …)
come from the API server in any case, and from --config-dir what stands there. Read once, at start, as in Istio. Not here:
reading any of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from mizzen.api.errors import UsageError
from mizzen.api.istio.mesh import ConfigSource, MeshConfig


class ConfigSources(NamedTuple):
    """folders: of manifests; api_server: whether its objects of Istio and the Gateway API count."""

    folders: tuple[Path, ...]
    api_server: bool

    @classmethod
    def of(cls, mesh: MeshConfig) -> ConfigSources:
        """What a mesh says; without a word, the API server. Raises UsageError for a source that cannot be."""
        if not mesh.config_sources:
            return cls((), True)
        folders, api_server = [], False
        for number, source in enumerate(mesh.config_sources):
            folder = _folder(source, f"configSources[{number}]")
            if folder is None:
                api_server = True
            else:
                folders.append(folder)
        return cls(tuple(folders), api_server)


def _folder(source: ConfigSource, where: str) -> Path | None:
    """The folder that a source names, None for the API server."""
    url = urlsplit(source.address)
    if source.tls_settings is not None:
        raise UsageError(f"{where}.tlsSettings: is of xds:// sources, which are not supported")
    if source.subscribed_resources:
        raise UsageError(f"{where}.subscribedResources: is not supported")
    if url.scheme == "fs":
        if not url.path or url.netloc:
            raise UsageError(f"{where}.address: {source.address!r} is no fs:///PATH")
        return Path(url.path)
    if url.scheme == "k8s":
        if url.netloc or url.path.strip("/"):
            raise UsageError(f"{where}.address: {source.address!r} names a cluster; only k8s://, our own, is supported")
        return None
    raise UsageError(f"{where}.address: {source.address!r} is not supported; fs:///PATH and k8s:// are")
