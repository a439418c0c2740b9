"""The command `mizzen node`: one node's runtime, kubelet, Service addresses and DNS in one process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from pathlib import Path
from typing import Annotated

import typer


def node(
    kubeconfig: Annotated[Path, typer.Option("--kubeconfig", help="How to reach the API server.")],
    node_ip: Annotated[
        str, typer.Option("--node-ip", help="This machine's address as pods and the API server reach it.")
    ],
    home: Annotated[Path, typer.Option("--home", help="Folder for the node's files.")] = Path("/var/lib/mizzen"),
    pod_cidr: Annotated[str, typer.Option("--pod-cidr", help="The pods' addresses.")] = "10.244.0.0/24",
    service_cidr: Annotated[str, typer.Option("--service-cidr", help="The Services' addresses.")] = "10.96.0.0/12",
    node_name: Annotated[str, typer.Option("--node-name", help="By default the host's name.")] = "",
    cluster_dns: Annotated[str, typer.Option("--cluster-dns", help="The nameserver in pods' resolv.conf.")] = "",
    cluster_domain: Annotated[
        str, typer.Option("--cluster-domain", help="The cluster's DNS domain.")
    ] = "cluster.local",
    dns_address: Annotated[str, typer.Option("--dns-address", help="Serve cluster DNS at this address.")] = "",
    dns_port: Annotated[int, typer.Option("--dns-port", help="… and this port.")] = 53,
    kubelet_port: Annotated[int, typer.Option("--kubelet-port", help="The kubelet's HTTPS port.")] = 10250,
    cri_socket: Annotated[
        Path | None,
        typer.Option("--cri-socket", help="Another runtime's socket (containerd's) instead of the built-in one."),
    ] = None,
    keep_pods: Annotated[bool, typer.Option("--keep-pods", help="Leave pods running when this ends.")] = False,
    log_level: Annotated[str, typer.Option("--log-level", help="debug, info, warning, error")] = "info",
) -> None:
    """Run a node: container runtime, kubelet, Service addresses, cluster DNS."""
    from mizzen.runtime.node import NodeOptions, run_node

    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    options = NodeOptions(
        home=home, kubeconfig=kubeconfig, node_ip=node_ip, pod_cidr=pod_cidr, service_cidr=service_cidr,
        node_name=node_name, cluster_dns=cluster_dns, cluster_domain=cluster_domain, dns_address=dns_address,
        dns_port=dns_port, kubelet_port=kubelet_port, cri_socket=cri_socket, keep_pods=keep_pods,
    )  # fmt: skip

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await run_node(options)

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
