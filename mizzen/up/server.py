"""The server side of `mizzen up` in one process: API server, controllers, scheduler, istiod; and the node agent beside it.

Takes `UpOptions`, brings the parts up in the order in which they need each other, and takes them down again whatever happened.
Not here: the command line (commands.py), what the parts do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import yaml

from mizzen.api import crds
from mizzen.api.errors import UsageError
from mizzen.istiod.server.istiod import Istiod
from mizzen.istiod.server.options import ServerOptions
from mizzen.kube.client import Client
from mizzen.kube.controller import run_controller
from mizzen.kube.errors import CONNECTION_ERRORS, ApiError
from mizzen.kube.informer import Informers
from mizzen.kube.kubeconfig import load
from mizzen.kube.resource import CUSTOM_RESOURCE_DEFINITIONS, NODES, Object
from mizzen.runtime.apiserver.server import ApiServer
from mizzen.runtime.apiserver.server import Config as ApiConfig
from mizzen.runtime.controllers.manager import run_controllers
from mizzen.runtime.scheduler.scheduler import Scheduler
from mizzen.up import install
from mizzen.up.apply import apply, documents, objects
from mizzen.up.home import Home
from mizzen.up.load_balancers import LoadBalancerController
from mizzen.up.network import Addresses
from mizzen.up.node import NodeAgent

log = logging.getLogger(__name__)
READY_S = 45.0


class UpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `mizzen up` was asked for."""

    home: Path
    files: tuple[Path, ...] = ()
    data_plane: str = "mizzen"
    envoy: str = ""
    runtime: str = "builtin"
    store: str = ""
    api_port: int = 6443


class Up:
    """One mesh, at addresses whose bridge exists. `async with Up(…)`: it is up inside; `run` keeps it so until cancelled."""

    def __init__(self, options: UpOptions, home: Home, addresses: Addresses, say: Callable[[str], None]) -> None:
        self.options, self.home, self.addresses, self._say = options, home, addresses, say
        self._stack = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self.node = NodeAgent(home, addresses, options.runtime)
        self.started = time.monotonic()

    @property
    def plan(self) -> install.Plan:
        o, a = self.options, self.addresses
        return install.Plan(host=a.host, dns_ip=a.dns, data_plane=o.data_plane, envoy=o.envoy)

    async def __aenter__(self) -> Up:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run(self) -> None:
        """Until cancelled; raises what ended the first part that ended. A node agent that ends is started again."""
        keeper = asyncio.create_task(self.node.keep(), name="node agent")
        try:
            done, _ = await asyncio.wait([*self._tasks, keeper], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
                raise UsageError(f"{task.get_name()} ended; see the logs in {self.home.logs}")
        finally:
            keeper.cancel()

    async def _start(self) -> None:
        api = await self._api_server()
        root_pem = api.authority.pem.decode()
        # The node agent is a process of its own: its start-up overlaps with everything below.
        await self._stack.enter_async_context(self.node.running())
        self.client = await self._stack.enter_async_context(Client(load(self.home.kubeconfig), user_agent="mizzen up"))
        await self._install_base()
        informers = Informers(self.client)
        self._spawn(informers.run(), "informers")
        self._spawn(run_controllers(self.client, root_pem, informers, api.sign), "controllers")
        balancers = LoadBalancerController(self.client, informers, self.addresses.services)
        self._spawn(run_controller(balancers, informers), "load balancers")
        self._spawn(Scheduler(self.client, informers).run(), "scheduler")
        await self._istiod()
        await asyncio.gather(*(self._put(obj) for obj in install.webhooks(self.plan)))
        await self._webhooks_trusted()
        await self._node_ready()
        if self.options.files:
            await apply(self.client, documents(list(self.options.files)))

    async def _api_server(self) -> ApiServer:
        config = ApiConfig(
            data_dir=self.home.data,
            store=self.options.store,
            bind_address=self.addresses.host,
            secure_port=self.options.api_port,
            kubeconfig=self.home.kubeconfig,
            service_cidr=self.addresses.services,
            allow_privileged=True,  # CNI and proxies of node agents ask for it
        )
        api = ApiServer(config)
        self._stack.push_async_callback(api.stop)
        await api.start()
        self._say(f"API server      {api.url}")
        return api

    async def _install_base(self) -> None:
        """CRDs, namespaces, mesh configuration, Services of istiod and DNS: each only when it is not there yet."""
        definitions = [yaml.load(path.read_text(), yaml.CSafeLoader) for path in sorted(crds.FOLDER.glob("*.yaml"))]
        existing = {d["metadata"]["name"] for d in (await self.client.list(CUSTOM_RESOURCE_DEFINITIONS)).items}
        missing = [d for d in definitions if d["metadata"]["name"] not in existing]
        await asyncio.gather(*(self.client.create(CUSTOM_RESOURCE_DEFINITIONS, d) for d in missing))
        for obj in install.base(self.plan):
            await self._put(obj)

    async def _put(self, obj: Object) -> None:
        await apply(self.client, objects([obj]))

    async def _istiod(self) -> None:
        host = self.addresses.host
        istiod = Istiod(
            ServerOptions(
                kubeconfig=str(self.home.kubeconfig),
                ca_dir=self.home.ca,
                serving_names=(host,),
                grpc_addr=f"{host}:15010",
                secure_grpc_addr=f"{host}:15012",
                http_addr=f"{host}:8080",
                https_addr=f"{host}:15017",
                monitoring_addr=f"{host}:15014",
                ctrlz_addr="",
                identity="istiod",
                own_identity=True,
                analysis=True,
            )
        )
        self._stack.push_async_callback(istiod.stop)
        await istiod.start()
        self._spawn(istiod.run(), "istiod")
        self._say(f"istiod          {host}:15012 (xDS, certificates), :15014 (metrics)")

    async def _webhooks_trusted(self) -> None:
        """Until istiod has put its root into the webhooks: before, they would refuse everything."""
        paths = [
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/istio-sidecar-injector",
            f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/istio-validator-{install.SYSTEM}",
        ]

        async def trusted() -> bool:
            for path in paths:
                obj = msgspec.json.decode(await self.client.raw("GET", path))
                if not all(w["clientConfig"].get("caBundle") for w in obj["webhooks"]):
                    return False
            return True

        await self._until(trusted, "istiod's root in the webhook configurations")

    async def _node_ready(self) -> None:
        async def ready() -> bool:
            if (code := self.node.exit_code) is not None:
                raise UsageError(f"the node agent ended with {code}: {self.node.last_words()}")
            nodes = (await self.client.list(NODES)).items
            return any(
                c["type"] == "Ready" and c["status"] == "True"
                for node in nodes
                for c in node.get("status", {}).get("conditions") or ()
            )

        await self._until(ready, f"the node to be Ready (its log: {self.home.logs / 'node.log'})")
        self._say(f"node            Ready; pods {self.addresses.pods}, Services {self.addresses.services}")

    async def _until(self, condition: Callable[[], Coroutine[Any, Any, bool]], what: str) -> None:
        deadline = time.monotonic() + READY_S
        while True:
            with contextlib.suppress(ApiError, *CONNECTION_ERRORS):
                if await condition():
                    return
            for task in self._tasks:
                if task.done():
                    task.result()
            if time.monotonic() > deadline:
                raise UsageError(f"waited {READY_S:.0f} s in vain for {what}")
            await asyncio.sleep(0.02)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        self._stack.push_async_callback(_cancelled, task)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
