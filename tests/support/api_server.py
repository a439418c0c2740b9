"""Our API server as a process of its own, kubectl on it, and istiods of this process beside it. No root needed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from mizzen.istiod.server.istiod import Istiod
from mizzen.istiod.server.options import ServerOptions
from mizzen.kube.lease import Timing

CRDS = Path(__file__).parents[2] / "mizzen" / "api" / "crd"
KUBECTL = shutil.which("kubectl")
QUICK = Timing(lease_s=2.0, renew_deadline_s=1.0, retry_s=0.1)


@contextlib.contextmanager
def api_server(folder: Path) -> Iterator[Path]:
    """The path of its kubeconfig, while it runs."""
    path = folder / "kubeconfig"
    command = [sys.executable, "-m", "mizzen", "apiserver", "--data-dir", str(folder), "--secure-port", "0"]
    process = subprocess.Popen([*command, "--kubeconfig", str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield path
    finally:
        process.terminate()
        process.wait(10)


class Kubectl:
    """kubectl with a kubeconfig; output as text. `async`, so that an istiod of the same process can answer meanwhile."""

    def __init__(self, kubeconfig: Path) -> None:
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}

    async def __call__(self, *arguments: str, text: str | None = None, fails: bool = False) -> str:
        assert KUBECTL is not None
        process = await asyncio.create_subprocess_exec(
            KUBECTL,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        out, err = await process.communicate(text.encode() if text is not None else None)
        assert (process.returncode != 0) == fails, f"kubectl {' '.join(arguments)}: {err.decode()}{out.decode()}"
        return err.decode() if fails else out.decode()

    async def apply(self, text: str) -> str:
        return await self("apply", "-f", "-", text=text)

    async def get(self, *arguments: str) -> dict[str, Any]:
        return dict(json.loads(await self("get", *arguments, "-o", "json")))

    async def apply_crds(self) -> None:
        """The custom resources of Istio and the Gateway API."""
        await self("apply", "--server-side", "-f", str(CRDS))
        await self("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")


@contextlib.asynccontextmanager
async def istiod_on(kubeconfig: Path, **options: Any) -> AsyncIterator[Istiod]:
    """An istiod on this API server, at ports of its own; quick to elect."""
    here = dict.fromkeys(("grpc_addr", "secure_grpc_addr", "http_addr", "https_addr", "monitoring_addr"), "127.0.0.1:0")
    given = {"kubeconfig": str(kubeconfig), "ctrlz_addr": "", "leases": QUICK, **here, **options}
    server = Istiod(ServerOptions(**given))
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
