"""What `mizzen istiod` can be told, as one value. Addresses are "host:port" or ":port" (all interfaces); "" =
not served.

Not here: the command line's spelling (commands.py).
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from mizzen.api.errors import UsageError
from mizzen.kube import KubeConfig


class ServerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults are istiod's."""

    config_dir: tuple[Path, ...] = ()
    kubeconfig: str | KubeConfig | None = None  # "" = the default places and the pod's service account
    grpc_addr: str = ":15010"
    secure_grpc_addr: str = ":15012"
    http_addr: str = ":8080"
    monitoring_addr: str = ":15014"
    https_addr: str = ":15017"
    ctrlz_addr: str = "127.0.0.1:9876"
    mesh_config: Path | None = None
    injector_config: Path | None = None
    domain: str = "cluster.local"
    cluster_id: str = "Kubernetes"
    network: str = ""
    revision: str = "default"
    system_namespace: str = "istio-system"
    ca_dir: Path | None = None
    token_key: Path | None = None
    token_audiences: tuple[str, ...] = ("istio-ca",)
    serving_names: tuple[str, ...] = ()
    debounce_after_s: float = 0.1
    debounce_max_s: float = 10.0
    identity: str = "istiod"


def split_address(address: str) -> tuple[str, int]:
    """Host and port of an address; the host is 0.0.0.0 when none is given. Raises UsageError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{address!r} is no address; give HOST:PORT or :PORT")
    return host.strip("[]") or "0.0.0.0", int(port)
