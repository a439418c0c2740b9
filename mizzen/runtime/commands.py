"""The commands `mizzen controller-manager` and `mizzen scheduler`: one part each, against any Kubernetes API server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

Kubeconfig = Annotated[
    Path, typer.Option("--kubeconfig", help="How to reach the API server.", exists=True, dir_okay=False)
]


AccountKey = Annotated[
    Path | None,
    typer.Option(
        "--service-account-private-key-file",
        help="The API server's key of service account tokens (DIR/pki/sa.key); without it Secrets for tokens are left alone.",
        exists=True,
        dir_okay=False,
    ),
]


def controller_manager(kubeconfig: Kubeconfig, service_account_private_key_file: AccountKey = None) -> None:
    """Run the controllers: Deployments, ReplicaSets, EndpointSlices, Namespaces, ServiceAccounts, garbage collection."""
    from mizzen.kube.client import Client
    from mizzen.kube.kubeconfig import load
    from mizzen.runtime.apiserver.certs import signer_of
    from mizzen.runtime.controllers.manager import run_controllers

    key = service_account_private_key_file
    sign = signer_of(key).sign if key is not None else None

    async def run() -> None:
        config = load(kubeconfig)
        async with Client(config, user_agent="mizzen controller-manager") as client:
            await run_controllers(client, (config.ca or b"").decode(), sign=sign)

    asyncio.run(run())


def scheduler(kubeconfig: Kubeconfig) -> None:
    """Run the scheduler: bind pods without a node to the node that suits them best."""
    from mizzen.kube.client import Client
    from mizzen.kube.informer import Informers
    from mizzen.kube.kubeconfig import load
    from mizzen.runtime.scheduler.scheduler import Scheduler

    async def run() -> None:
        async with Client(load(kubeconfig), user_agent="mizzen scheduler") as client, asyncio.TaskGroup() as tasks:
            informers = Informers(client)
            tasks.create_task(informers.run(), name="informers of the scheduler")
            tasks.create_task(Scheduler(client, informers).run(), name="scheduler")

    asyncio.run(run())
