"""The command `mizzen cni`: the CNI plugins as an executable, and laying them out for a container runtime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def cni(
    install: Annotated[
        Path | None, typer.Option(help="Write launchers and a network configuration under this home instead.")
    ] = None,
    subnet: Annotated[str, typer.Option(help="The pods' addresses.")] = "10.244.0.0/24",
    kubeconfig: Annotated[str, typer.Option(help="How mizzen-istio finds pods that it knows no checkpoint of.")] = "",
) -> None:
    """Be a CNI plugin: CNI_COMMAND and the other variables from the environment, the configuration from standard input.

    The configuration's type says which: `mizzen` (bridge, veth, addresses) or `mizzen-istio` (sidecar rules, chained).
    """
    from mizzen.cni import install as installer
    from mizzen.cni import plugin

    if install is not None:
        installer.install(install.resolve(), subnet, kubeconfig=kubeconfig)
        typer.echo(f"wrote {install}/cni/net.d/10-mizzen.conflist and {install}/cni/bin")
        return
    if "CNI_COMMAND" not in os.environ:
        raise typer.BadParameter("CNI_COMMAND is not set: this is called by a container runtime (see --help)")
    raise typer.Exit(plugin.main())
