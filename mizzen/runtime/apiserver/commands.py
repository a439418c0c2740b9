"""`mizzen apiserver`: the Kubernetes API server on its own."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from mizzen.api.errors import MizzenError


def apiserver(
    data_dir: Annotated[Path, typer.Option(help="Keys, certificates and the store.")] = Path("~/.mizzen/apiserver"),
    store: Annotated[str, typer.Option(help="sqlite:PATH or memory:; DATA_DIR/store.db by default.")] = "",
    bind_address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    secure_port: Annotated[int, typer.Option(help="Port of HTTPS; 0 takes any free one.")] = 6443,
    advertise_address: Annotated[str, typer.Option(help="Host in the kubeconfig's server URL.")] = "",
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Where to write the admin's kubeconfig; DATA_DIR/kubeconfig by default.")
    ] = None,
    token_auth_file: Annotated[
        Path | None, typer.Option(help='Users by token: token,name,uid,"group1,group2" per line.')
    ] = None,
    service_cluster_ip_range: Annotated[str, typer.Option(help="Addresses of Services.")] = "10.96.0.0/12",
    service_node_port_range: Annotated[str, typer.Option(help="Node ports of Services: LOW-HIGH.")] = "30000-32767",
    allow_privileged: Annotated[bool, typer.Option(help="Whether containers may be privileged.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Log requests that fail.")] = False,
) -> None:
    """Run the Kubernetes API server. Prints one line when it answers; ends on SIGINT or SIGTERM."""
    from .server import Config

    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    low, _, high = service_node_port_range.partition("-")
    config = Config(
        data_dir=data_dir.expanduser(),
        store=store,
        bind_address=bind_address,
        secure_port=secure_port,
        kubeconfig=kubeconfig,
        token_file=token_auth_file,
        service_cidr=service_cluster_ip_range,
        node_ports=(int(low), int(high or low)),
        advertise=advertise_address,
        allow_privileged=allow_privileged,
    )
    try:
        import uvloop

        uvloop.run(_run(config))
    except MizzenError as error:
        print(f"mizzen apiserver: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


async def _run(config: object) -> None:
    from .server import ApiServer, Config

    assert isinstance(config, Config)
    server = ApiServer(config)
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, over.set)
    try:
        await server.start()
        print(f"API server ready: {server.url} (kubeconfig: {server.kubeconfig_path})", flush=True)
        await over.wait()
    finally:
        await server.stop()
