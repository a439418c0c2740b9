"""The node agent: registers the node, runs a worker for every pod that is bound to it, and listens to the runtime.

Talks CRI for containers and the Kubernetes API for all else. Not here: one pod's life (worker.py), the HTTPS server (server.py).
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path
from typing import Any

import grpc

from mizzen.kube import Change, Client, Informer
from mizzen.kube.resource import PODS, Object
from mizzen.runtime.kubelet import criconfig
from mizzen.runtime.kubelet.context import Context, Settings
from mizzen.runtime.kubelet.events import Recorder
from mizzen.runtime.kubelet.node import Registration, capacity, machine_facts
from mizzen.runtime.kubelet.resolver import parse
from mizzen.runtime.kubelet.worker import PodWorker
from mizzen.wire import cri

log = logging.getLogger("mizzen.kubelet")

RELIST_S, SLOW_RELIST_S = 1.0, 10.0  # without and with an event stream of the runtime
MAX_MESSAGE = 32 << 20


class Kubelet:
    """One node. services: an informer of all Services (for the containers' environment), run by the caller."""

    def __init__(self, settings: Settings, client: Client, cri_socket: Path, services: Informer | None = None) -> None:
        self.settings, self._client = settings, client
        options = [("grpc.max_receive_message_length", MAX_MESSAGE)]
        self._channel = grpc.aio.insecure_channel(f"unix:{cri_socket}", options=options)
        self.runtime = cri.CriClient(self._channel)
        self._recorder = Recorder(client, settings.node_name)
        resolv = Path("/etc/resolv.conf")
        host_dns = parse(resolv.read_text() if resolv.exists() else "")
        self.context = Context(settings, client, self.runtime, self._recorder, services, host_dns)
        self.pods = Informer(client, PODS, field_selector=f"spec.nodeName={settings.node_name}")
        self.workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._events_work = False
        self._uids_found: dict[str, tuple[Any | None, list[Any]]] = {}
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled. Containers go on when it ends."""
        for path in (self.context.pods, self.context.logs):
            path.mkdir(parents=True, exist_ok=True)
        machine = machine_facts(self.settings.root)
        self.context.capacity, self.context.memory_bytes = capacity(self.settings, machine), machine.memory
        registration = Registration(self.settings, self._client, machine)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                version = await self._wait_for_runtime()
                self.context.runtime_name = version.runtime_name
                registration.runtime = f"{version.runtime_name}://{version.runtime_version}"
                registration.images = await self._images()
                registration.problems = await self._problems()
                self._uids_found = await self._list()
                group.create_task(self._recorder.run(), name="kubelet events")
                await registration.register()
                self.ready.set()
                self.pods.add_handler(self._pod_changed)
                group.create_task(self.pods.run(), name="kubelet pods")
                group.create_task(registration.run(), name="kubelet node")
                group.create_task(self._listen(), name="kubelet runtime events")
                group.create_task(self._relist(), name="kubelet relist")
                await self.pods.synced.wait()
                await self._remove_orphans()
        finally:
            await self._channel.close()

    async def _wait_for_runtime(self) -> Any:
        while True:
            try:
                return await self.runtime.Version(cri.VersionRequest(version="v1"))
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(0.05)

    async def _images(self) -> list[dict[str, Any]]:
        listed = await self.runtime.ListImages(cri.ListImagesRequest())
        return [{"names": list(image.repo_tags), "sizeBytes": image.size} for image in listed.images][:50]

    async def _problems(self) -> list[str]:
        answer = await self.runtime.Status(cri.StatusRequest())
        return [
            f"container runtime: {item.type} is false: {item.message}"
            for item in answer.status.conditions
            if not item.status
        ]

    # Pods

    def _pod_changed(self, change: Change) -> None:
        pod = change.object
        uid = pod["metadata"]["uid"]
        worker = self.workers.get(uid)
        if change.type == "deleted":
            if worker is not None:
                worker.gone()
            return
        old = change.old
        if old is not None and old["metadata"]["uid"] != uid and (before := self.workers.get(old["metadata"]["uid"])):
            before.gone()
        if worker is None:
            self._take(pod)
        else:
            worker.changed(pod)

    def _take(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        phase = (pod.get("status") or {}).get("phase")
        found = self._uids_found.get(uid)
        if phase in ("Succeeded", "Failed") and found is None and not pod["metadata"].get("deletionTimestamp"):
            return  # over, and nothing of it is here
        worker = self.workers[uid] = PodWorker(self.context, pod)
        if found is not None:
            worker.observe(*found)
        self._tasks[uid] = self._group.create_task(self._work(uid, worker), name=f"pod {pod['metadata']['name']}")

    async def _work(self, uid: str, worker: PodWorker) -> None:
        try:
            await worker.run()
        except Exception:
            log.exception("pod %s", worker.pod["metadata"]["name"])
            if not worker.removed:
                await asyncio.sleep(RELIST_S)
                self.workers.pop(uid, None)
                current = self.pods.get(worker.pod["metadata"]["name"], worker.pod["metadata"]["namespace"])
                if current is not None and current["metadata"]["uid"] == uid:
                    self._uids_found = await self._list()
                    self._take(current)
                    return
        self.workers.pop(uid, None)
        self._tasks.pop(uid, None)

    # The runtime

    async def _list(self) -> dict[str, tuple[Any | None, list[Any]]]:
        """All that the runtime has: pod uid to (newest sandbox status, container statuses)."""
        found: dict[str, tuple[Any | None, list[Any]]] = {}
        sandboxes = await self.runtime.ListPodSandbox(cri.ListPodSandboxRequest())
        for item in sorted(sandboxes.items, key=lambda s: s.created_at):
            if uid := item.labels.get(criconfig.POD_UID):
                answer = await self.runtime.PodSandboxStatus(cri.PodSandboxStatusRequest(pod_sandbox_id=item.id))
                found[uid] = (answer.status, [])
        listed = await self.runtime.ListContainers(cri.ListContainersRequest())
        for container in listed.containers:
            uid = container.labels.get(criconfig.POD_UID)
            if uid in found:
                status = await self.runtime.ContainerStatus(cri.ContainerStatusRequest(container_id=container.id))
                found[uid][1].append(status.status)
        return found

    async def _listen(self) -> None:
        """The runtime's event stream, where it has one."""
        while True:
            try:
                async for event in self.runtime.GetContainerEvents(cri.GetEventsRequest()):
                    self._events_work = True
                    uid = event.pod_sandbox_status.labels.get(criconfig.POD_UID, "")
                    if (worker := self.workers.get(uid)) is not None:
                        worker.observe(event.pod_sandbox_status, list(event.containers_statuses))
            except grpc.aio.AioRpcError as error:
                self._events_work = False
                if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                    return
                await asyncio.sleep(RELIST_S)

    async def _relist(self) -> None:
        """Look at everything now and then; often when the runtime has no events."""
        while True:
            await asyncio.sleep(SLOW_RELIST_S if self._events_work else RELIST_S)
            if not self.workers:
                continue
            try:
                found = await self._list()
            except grpc.aio.AioRpcError as error:
                log.info("listing the runtime's containers: %s", error.details())
                continue
            for uid, (sandbox, statuses) in found.items():
                if (worker := self.workers.get(uid)) is not None:
                    worker.observe(sandbox, statuses)

    async def _remove_orphans(self) -> None:
        """Sandboxes of pods that are no more."""
        for uid, (sandbox, _) in self._uids_found.items():
            if uid not in self.workers and sandbox is not None:
                log.info("removing what is left of pod %s", sandbox.metadata.name)
                await self.runtime.RemovePodSandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox.id))
        self._uids_found = {}
        for path in self.context.pods.iterdir():
            if path.name not in self.workers:
                from mizzen.runtime.kubelet.volumes import Volumes

                Volumes(path).remove()
                await asyncio.to_thread(shutil.rmtree, path, True)
