"""`make demo`: start a mesh, run the bookshop in it, show what a mesh does, clean up.

`python -m mizzen.up.demo [--keep] [--data-plane mizzen|envoy]`. Exit status 0 when every line of the table is OK and nothing
is left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mizzen.api.errors import UsageError
from mizzen.kube.client import Client
from mizzen.kube.kubeconfig import load
from mizzen.up.home import Home, default_home
from mizzen.up.leftovers import leftovers
from mizzen.up.mesh import Mesh, until
from mizzen.up.scenario import STEPS, Check, Shop, manifests
from mizzen.up.usage import usage

NODE_PORT = 30080
START_S = 60.0


class Demo:
    """One run. checks: what was found so far."""

    def __init__(self, home: Home, data_plane: str, console: Console) -> None:
        self.home, self.data_plane, self.console = home, data_plane, console
        self.checks: list[Check] = []
        self.url = ""
        self.started = time.monotonic()

    def say(self, text: str) -> None:
        self.console.print(f"[dim]{time.monotonic() - self.started:6.1f} s[/dim]  {text}")

    async def up(self) -> None:
        """Starts the mesh, detached: it is there until `down`, whatever becomes of this process."""
        if await self._mizzen("up", "--data-plane", self.data_plane, "--detach", show="ready"):
            raise UsageError(f"mizzen up did not start the mesh; its logs are in {self.home.logs}")

    async def _mizzen(self, *arguments: str, show: str = "") -> int:
        """Runs a mizzen command on the demo's home; its exit status. show: lines of its output that begin so are told."""
        command = [sys.executable, "-m", "mizzen", arguments[0], "--home", str(self.home.path), *arguments[1:]]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        async with asyncio.timeout(START_S):
            async for line in process.stdout:
                text = line.decode().rstrip()
                if show and text.startswith(show):
                    self.say(text)
            return await process.wait()

    async def run(self) -> None:
        """The bookshop and all its steps."""
        async with Client(load(self.home.kubeconfig), user_agent="mizzen demo") as client:
            mesh = Mesh(client)
            self.say("applying samples/bookinfo: four services, an ingress gateway, mTLS required")
            await until(lambda: _applied(mesh), bool, 10.0)
            await mesh.ready("bookinfo", "istio-ingress", "legacy")
            pods = [pod for ns in ("bookinfo", "istio-ingress", "legacy") for pod in await mesh.pods(ns)]
            self.say(f"{len(pods)} pods are ready, each in a network namespace of its own")
            host = pods[0]["status"]["hostIP"]
            shop = Shop(mesh, f"http://{host}:{NODE_PORT}", host)
            self.url = f"{shop.ingress}/productpage"
            for title, step in STEPS:
                self.say(f"[bold]{title}[/bold]")
                try:
                    async for check in step(shop):
                        self.found(check)
                except (TimeoutError, RuntimeError, LookupError) as error:
                    self.found(Check(title, str(error)[:200], False))

    def found(self, check: Check) -> None:
        mark = "[green]OK[/green]" if check.ok else "[red]NOT OK[/red]"
        self.say(f"    {mark}  {check.asked}: {check.measured}")
        self.checks.append(check)

    async def down(self) -> None:
        """Stops the mesh and looks for what it left."""
        await self._mizzen("down")
        left = await asyncio.to_thread(leftovers, self.home.path)
        text = "no process, namespace, veth, mount or iptables rule" if not left else "; ".join(left[:5])
        self.found(Check("nothing is left behind", text, not left))

    def table(self) -> Table:
        table = Table(title="mizzen demo", title_justify="left")
        table.add_column("asked")
        table.add_column("measured")
        table.add_column("")
        for check in self.checks:
            table.add_row(check.asked, check.measured, "OK" if check.ok else "NOT OK")
        return table


async def _applied(mesh: Mesh) -> bool:
    await mesh.apply(*manifests())
    return True


async def demo(home: Home, data_plane: str, keep: bool) -> int:
    """Runs it all; the exit status."""
    console = Console(soft_wrap=not sys.stdout.isatty())
    run = Demo(home, data_plane, console)
    console.print(f"mizzen demo: home {home.path}, data plane {data_plane}")
    try:
        await run.up()
        await run.run()
    finally:
        if not keep:
            await run.down()
    console.print(run.table())
    console.print(f"{time.monotonic() - run.started:.1f} s in all")
    if keep:
        console.print(f"It runs on. Try:\n{usage(home, [run.url])}\nand end it with: mizzen down --home {home.path}")
    return 0 if run.checks and all(check.ok for check in run.checks) else 1


def main() -> None:
    parser = argparse.ArgumentParser(description="Start a mesh, run the bookshop in it, show what it does.")
    parser.add_argument("--keep", action="store_true", help="leave the mesh running")
    parser.add_argument("--data-plane", choices=("mizzen", "envoy"), default="mizzen")
    parser.add_argument("--home", type=Path, help="by default a temporary folder; with --keep ~/.mizzen")
    options = parser.parse_args()
    temporary = tempfile.mkdtemp(prefix="mizzen-demo-") if options.home is None and not options.keep else ""
    home = options.home or Path(temporary or default_home())
    try:
        code = asyncio.run(demo(Home(home.absolute()), options.data_plane, options.keep))
    except (UsageError, TimeoutError) as error:
        print(error, file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
