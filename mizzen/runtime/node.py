"""The node agent: container runtime, kubelet, Service addresses and cluster DNS of one node, as tasks of one loop.

Takes `NodeOptions`; `run_node` serves until cancelled, and then leaves pods running (`keep_pods`) or takes everything down.
Not here: any of the parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from pathlib import Path

import msgspec

from mizzen.cni.install import install
from mizzen.cni.names import cgroup_root, chain_prefix, home_tag
from mizzen.kube import Client, Informers
from mizzen.kube.kubeconfig import KubeConfig, load
from mizzen.kube.resource import SERVICES
from mizzen.runtime.apiserver.certs import Authority, write_private
from mizzen.runtime.cleanup import cleanup
from mizzen.runtime.cri.server import serving, socket_path
from mizzen.runtime.kubelet.auth import Authorizer
from mizzen.runtime.kubelet.context import Settings
from mizzen.runtime.kubelet.kubelet import Kubelet
from mizzen.runtime.kubelet.server import Server, tls_context
from mizzen.runtime.net.dns import DnsServer
from mizzen.runtime.net.names import Names, host_resolvers
from mizzen.runtime.net.proxier import Proxier

log = logging.getLogger("mizzen.node")


class NodeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """cri_socket: another runtime's, instead of the built-in one. dns_address: where cluster DNS listens, "" = not here."""

    home: Path
    kubeconfig: Path
    node_ip: str
    pod_cidr: str
    service_cidr: str = "10.96.0.0/12"
    node_name: str = ""
    cluster_dns: str = ""
    cluster_domain: str = "cluster.local"
    dns_address: str = ""
    dns_port: int = 53
    kubelet_port: int = 10250
    cri_socket: Path | None = None
    keep_pods: bool = False

    @property
    def name(self) -> str:
        return self.node_name or socket.gethostname().lower()


async def run_node(options: NodeOptions) -> None:
    """Serve until cancelled."""
    config = load(options.kubeconfig)
    home = options.home.resolve()
    install(home, options.pod_cidr, kubeconfig=str(options.kubeconfig))
    try:
        async with contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(config, user_agent="mizzen node"))
            cri = options.cri_socket
            if cri is None:
                await stack.enter_async_context(serving(home))
                cri = socket_path(home)
            await _serve(options, config, client, cri)
    finally:
        if not options.keep_pods:
            await asyncio.to_thread(cleanup, home)


async def _serve(options: NodeOptions, config: KubeConfig, client: Client, cri: Path) -> None:
    home = options.home.resolve()
    tag = home_tag(home)
    informers = Informers(client)
    settings = Settings(
        node_name=options.name,
        node_ip=options.node_ip,
        root=home / "kubelet",
        cluster_dns=(options.cluster_dns,) if options.cluster_dns else (),
        cluster_domain=options.cluster_domain,
        cgroup_root=cgroup_root(tag),
        port=options.kubelet_port,
        pod_cidr=options.pod_cidr,
    )
    kubelet = Kubelet(settings, client, cri, informers.of(SERVICES))
    server = Server(kubelet, Authorizer(client, options.name), tls_context(*_certificate(options, config)))
    names = Names(informers, options.cluster_domain)
    resolver = DnsServer(names.zone, host_resolvers())
    await server.start(options.node_ip, options.kubelet_port)
    try:
        if options.dns_address:
            await resolver.start(options.dns_address, options.dns_port)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(informers.run(), name="informers of the node")
            tasks.create_task(Proxier(informers, chain_prefix(tag), options.name).run(), name="kube-proxy")
            tasks.create_task(kubelet.run(), name="kubelet")
    finally:
        await resolver.close()
        await server.close()


def _certificate(options: NodeOptions, config: KubeConfig) -> tuple[Path, Path, Path | None]:
    """The kubelet's serving certificate and key, self-issued, and the CA whose client certificates count."""
    folder = options.home.resolve() / "kubelet" / "pki"
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder)
    certificate, key = authority.issue(
        f"system:node:{options.name}", hosts=[options.node_ip, options.name], server=True
    )
    write_private(folder / "kubelet.crt", certificate)
    write_private(folder / "kubelet.key", key)
    if config.ca is None:
        return folder / "kubelet.crt", folder / "kubelet.key", None
    write_private(folder / "client-ca.crt", config.ca)
    return folder / "kubelet.crt", folder / "kubelet.key", folder / "client-ca.crt"
