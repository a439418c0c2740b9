"""What `mizzen istiod` can be told, as one value.

Addresses are "host:port" or ":port" (all interfaces); "" = not served. The plaintext xDS address may be a socket file,
too: "unix:PATH". Not here: the command line's spelling (commands.py).
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Literal

import msgspec

from mizzen.api.errors import UsageError
from mizzen.kube import KubeConfig
from mizzen.kube.lease import Timing


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
    grpc_server: Literal["mizzen", "grpcio"] = "mizzen"
    mesh_config: Path | None = None
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
    own_identity: bool = False  # no other istiod can be called so: a pod's name is its own
    status: bool = True  # write the status of Istio's objects and the Gateway API's
    analysis: bool = False  # and what analysis says of them
    allocate_addresses: bool = True  # for ServiceEntries that give none
    leases: Timing = Timing()
    multiroot: bool = False  # tell proxies of every root that the mesh trusts
    external_ca: str = ""
    k8s_signer: str = ""
    cert_signer_domain: str = ""


def flag(name: str) -> str:
    """The option that gives the address of a port."""
    return f"--{name.replace('_', '-')}-addr"


def bind(name: str, address: str) -> socket.socket:
    """A TCP socket bound to an address. name: the port's, for the message. Raises UsageError when it cannot be."""
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(f"{flag(name)} {address}: {error.strerror}") from error
    listener.listen(1024)
    return listener


def split_address(address: str) -> tuple[str, int]:
    """Host and port of an address; the host is 0.0.0.0 when none is given. Raises UsageError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{address!r} is no address; give HOST:PORT or :PORT")
    return host.strip("[]") or "0.0.0.0", int(port)
