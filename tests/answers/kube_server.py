"""The API server with its controllers and scheduler, as the judge of Kubernetes' answers wants it: `kube_server.py DIR`.

Writes DIR/judge.kubeconfig with the users that the judge names, prints "ready", serves until SIGTERM. No node: the judge plays it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
import sys
from pathlib import Path

from mizzen.kube.client import Client
from mizzen.kube.informer import Informers
from mizzen.kube.kubeconfig import load
from mizzen.runtime.apiserver.server import ApiServer, Config
from mizzen.runtime.controllers.manager import run_controllers
from mizzen.runtime.scheduler.scheduler import Scheduler

USERS = {
    "admin": 'tok-admin,admin,uid-admin,"system:masters"',
    "alice": 'tok-alice,alice,uid-alice,"builders"',
    "bob": 'tok-bob,bob,uid-bob,"builders,auditors"',
    "carol": "tok-carol,carol,uid-carol",
}


def kubeconfig(url: str, ca: bytes) -> str:
    """One context a user, by bearer token."""
    cluster = {"server": url, "certificate-authority-data": base64.b64encode(ca).decode()}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "admin",
            "clusters": [{"name": "mizzen", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": f"tok-{name}"}} for name in USERS],
            "contexts": [{"name": name, "context": {"cluster": "mizzen", "user": name}} for name in USERS],
        }
    )


async def serve(folder: Path) -> None:
    tokens = folder / "tokens.csv"
    tokens.write_text("\n".join(USERS.values()) + "\n")
    server = ApiServer(Config(data_dir=folder / "data", secure_port=0, token_file=tokens, service_cidr="10.96.0.0/12"))
    await server.start()
    (folder / "judge.kubeconfig").write_text(kubeconfig(server.url, server.authority.pem))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Client(load(server.kubeconfig_path)) as client:
        informers = Informers(client)
        controllers = run_controllers(client, server.authority.pem.decode(), informers, server.sign)
        parts = (informers.run(), controllers, Scheduler(client, informers).run())
        tasks = [asyncio.create_task(part) for part in parts]
        print("ready", flush=True)
        await stop.wait()
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    await server.stop()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(Path(sys.argv[1])))
