"""Commands of the control plane that need no server: `mizzen xds`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mizzen.api.errors import MizzenError

xds = typer.Typer(no_args_is_help=True, add_completion=False, help="What proxies are served.")


class Output(StrEnum):
    """Formats of `xds dump`."""

    json = "json"


@xds.callback()
def _xds() -> None:
    """What proxies are served."""


@xds.command("dump")
def xds_dump(
    filename: Annotated[list[Path], typer.Option("-f", "--filename", help="Manifest or folder of manifests.")],
    proxies: Annotated[Path, typer.Option("--proxies", help="YAML list of proxies.")],
    mesh_config: Annotated[Path | None, typer.Option("--mesh-config", help="MeshConfig over the defaults.")] = None,
    proxy: Annotated[str, typer.Option("--proxy", help="Only the proxy of this name.")] = "",
    config_domain: Annotated[
        str, typer.Option("--config-domain", help="Domain that short names in Istio objects get.")
    ] = "",
    default_target_ports: Annotated[
        bool, typer.Option("--default-target-ports", help="Give Service ports without targetPort their own number.")
    ] = False,
    output: Annotated[Output, typer.Option("-o", "--output", help="Format.")] = Output.json,
) -> None:
    """Print what given proxies would be served, from files alone."""
    from mizzen.istiod import dump
    from mizzen.istiod.mesh_config import load_mesh_config
    from mizzen.istiod.snapshot import Snapshot
    from mizzen.istiod.snapshot.snapshot import Options

    try:
        nodes = dump.load_nodes(proxies)
        if proxy and proxy not in nodes:
            raise typer.BadParameter(f"no proxy {proxy!r} in {proxies}")
        wanted = {proxy: nodes[proxy]} if proxy else nodes
        mesh = load_mesh_config(mesh_config)
        options = Options(config_domain=config_domain, default_target_ports=default_target_ports)
        snap = Snapshot.build(dump.load_objects(filename), mesh, options)
        typer.echo(json.dumps(dump.dump(snap, wanted), indent=1))
    except MizzenError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
