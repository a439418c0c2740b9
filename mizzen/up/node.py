"""The node agent as a process beside the server side: one `mizzen node` a home. It outlives a server that is killed.

Takes the home and its addresses; starts the agent or takes over one that runs already, ends it, says how it fared.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from mizzen.up.home import Home
from mizzen.up.network import Addresses

POLL_S = 0.1
STOP_S = 30.0
STEADY_S, MOST_QUICK_ENDS = 10.0, 3

log = logging.getLogger("mizzen.up")


class NodeAgent:
    """exit_code: None while it runs (or was taken over)."""

    def __init__(self, home: Home, addresses: Addresses, runtime: str) -> None:
        self._home, self._addresses, self._runtime = home, addresses, runtime
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0

    @property
    def log(self) -> str:
        return str(self._home.logs / "node.log")

    @property
    def exit_code(self) -> int | None:
        return self._process.poll() if self._process is not None else None

    def command(self) -> list[str]:
        """What is run."""
        home, a = self._home, self._addresses
        command = [
            sys.executable,
            "-m",
            "mizzen",
            "node",
            "--home",
            str(home.path),
            "--kubeconfig",
            str(home.kubeconfig),
        ]
        command += ["--pod-cidr", a.pods, "--service-cidr", a.services, "--node-ip", a.host, "--dns-address", a.host]
        command += ["--cluster-dns", a.dns]
        if self._runtime == "containerd":
            command += ["--cri-socket", "/run/containerd/containerd.sock"]
        return command

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[NodeAgent]:
        """The agent runs inside the block and is gone after it, with all its pods."""
        self.pid = running_agent(self._home) or self._start()
        try:
            yield self
        finally:
            await self.stop()

    def _start(self) -> int:
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        (self._home.run / "node.pid").write_text(f"{self._process.pid}\n")
        return self._process.pid

    async def wait(self) -> None:
        """Until the agent has ended."""
        while self._alive():
            await asyncio.sleep(POLL_S)

    async def keep(self) -> None:
        """Starts the agent again whenever it ends, as a machine's service manager would; until it does not stay up."""
        begun, quick = time.monotonic(), 0
        while True:
            await self.wait()
            quick = quick + 1 if time.monotonic() - begun < STEADY_S else 0
            if quick >= MOST_QUICK_ENDS:
                return
            log.warning("the node agent ended (%s): it is started again", self.last_words() or "without a word")
            begun, self.pid = time.monotonic(), self._start()

    async def stop(self) -> None:
        """Ends the agent; it takes its pods and network down first."""
        if not self._alive():
            return
        os.kill(self.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await self.wait()
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            await self.wait()
        (self._home.run / "node.pid").unlink(missing_ok=True)

    def _alive(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return bool(self.pid) and running_agent(self._home) == self.pid

    def last_words(self) -> str:
        """The last line of its log."""
        try:
            lines = (self._home.logs / "node.log").read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""


def running_agent(home: Home) -> int | None:
    """The process id of the home's node agent, if one runs."""
    try:
        pid = int((home.run / "node.pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if b"node" in words and str(home.path).encode() in words else None
