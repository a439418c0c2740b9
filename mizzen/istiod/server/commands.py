"""The command `mizzen istiod`.

Options have our spelling and pilot-discovery's (`--grpc-addr`, `--grpcAddr`). Not here: what they do (istiod.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mizzen.api.errors import MizzenError
from mizzen.istiod.server.options import ServerOptions
from mizzen.kube.errors import CONNECTION_ERRORS, ApiError

LEVELS = ("debug", "info", "warning", "error")


def istiod(
    config_dir: Annotated[
        list[Path] | None,
        typer.Option("--config-dir", help="Folder of manifests (Istio's and Kubernetes' kinds), watched. Repeatable."),
    ] = None,
    kubeconfig: Annotated[
        str | None, typer.Option("--kubeconfig", help='API server to read from; "" means the default places.')
    ] = None,
    grpc_addr: Annotated[str, typer.Option("--grpc-addr", "--grpcAddr", help="Plaintext xDS.")] = ":15010",
    secure_grpc_addr: Annotated[
        str, typer.Option("--secure-grpc-addr", "--secureGRPCAddr", help="xDS and CA over TLS.")
    ] = ":15012",
    http_addr: Annotated[str, typer.Option("--http-addr", "--httpAddr", help="Readiness and debugging.")] = ":8080",
    https_addr: Annotated[str, typer.Option("--https-addr", "--httpsAddr", help="Webhooks.")] = ":15017",
    monitoring_addr: Annotated[
        str, typer.Option("--monitoring-addr", "--monitoringAddr", help="Metrics and debugging.")
    ] = ":15014",
    ctrlz_addr: Annotated[str, typer.Option("--ctrlz-addr", help="ControlZ.")] = "127.0.0.1:9876",
    grpc_server: Annotated[
        Literal["mizzen", "grpcio"],
        typer.Option(
            "--grpc-server", help="Who serves the gRPC ports: our own server, or the library grpcio (slower)."
        ),
    ] = "mizzen",
    mesh_config: Annotated[
        Path | None, typer.Option("--mesh-config", "--meshConfig", help="MeshConfig over the defaults.")
    ] = None,
    domain: Annotated[str, typer.Option("--domain", help="Cluster domain.")] = "cluster.local",
    cluster_id: Annotated[str, typer.Option("--cluster-id", "--clusterID", help="Name of the cluster.")] = "Kubernetes",
    network: Annotated[str, typer.Option("--network", help="Network of the cluster.")] = "",
    revision: Annotated[str, typer.Option("--revision", help="Revision of this control plane.")] = "default",
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Namespace of the control plane.")
    ] = "istio-system",
    ca_dir: Annotated[
        Path | None,
        typer.Option("--ca-dir", help="Folder of the CA (ca-cert.pem, ca-key.pem, …); made when there is none in it."),
    ] = None,
    token_key: Annotated[
        Path | None,
        typer.Option(
            "--token-key", help="Public key (PEM) of service-account tokens; without it the API server is asked."
        ),
    ] = None,
    serving_name: Annotated[
        list[str] | None, typer.Option("--serving-name", help="Further name or address in the serving certificate.")
    ] = None,
    log_level: Annotated[str, typer.Option("--log-level", help=", ".join(LEVELS))] = "info",
) -> None:
    """Run the control plane: configuration in, xDS and certificates out."""
    if log_level not in LEVELS:
        raise typer.BadParameter(f"{log_level!r} is none of {', '.join(LEVELS)}", param_hint="--log-level")
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s\t%(levelname)s\t%(name)s\t%(message)s", stream=sys.stderr
    )
    try:
        options = ServerOptions(
            config_dir=tuple(config_dir or ()),
            kubeconfig=kubeconfig,
            grpc_addr=grpc_addr,
            secure_grpc_addr=secure_grpc_addr,
            http_addr=http_addr,
            https_addr=https_addr,
            monitoring_addr=monitoring_addr,
            ctrlz_addr=ctrlz_addr,
            grpc_server=grpc_server,
            mesh_config=mesh_config,
            domain=domain,
            cluster_id=cluster_id,
            network=network,
            revision=revision,
            system_namespace=namespace,
            ca_dir=ca_dir,
            token_key=token_key,
            serving_names=tuple(serving_name or ()),
            debounce_after_s=_seconds("PILOT_DEBOUNCE_AFTER", 0.1),
            debounce_max_s=_seconds("PILOT_DEBOUNCE_MAX", 10.0),
            identity=os.environ.get("POD_NAME", "istiod"),
            own_identity="POD_NAME" in os.environ,
            status=_switch("PILOT_ENABLE_STATUS", True),
            multiroot=_switch("ISTIO_MULTIROOT_MESH", False),
            external_ca=os.environ.get("EXTERNAL_CA", ""),
            k8s_signer=os.environ.get("K8S_SIGNER", ""),
            cert_signer_domain=os.environ.get("CERT_SIGNER_DOMAIN", ""),
            allocate_addresses=_switch("PILOT_ENABLE_IP_AUTOALLOCATE", True),
            analysis=_switch("PILOT_ENABLE_ANALYSIS", False),
        )
        _run(options)
    except (MizzenError, ApiError, *CONNECTION_ERRORS) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def _seconds(variable: str, default: float) -> float:
    from mizzen.api.types import Duration

    text = os.environ.get(variable)
    return Duration.parse(text).seconds if text else default


def _switch(variable: str, default: bool) -> bool:
    text = os.environ.get(variable, "").lower()
    return text in ("1", "t", "true") if text else default


def _run(options: ServerOptions) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options))


async def _serve(options: ServerOptions) -> None:
    from mizzen.istiod.server.istiod import Istiod

    server = Istiod(options)
    me = asyncio.current_task()
    assert me is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, me.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await server.start()
            # What is alive now stays; scanning it for garbage at every collection is most of an idle server's CPU.
            gc.collect()
            gc.freeze()
            gc.set_threshold(20_000, 20, 100)
            await server.run()
    finally:
        await server.stop()
