"""One pod on this node: a task that makes it so, and keeps it so, until it is gone.

Level-triggered: whatever happens (the pod changed, a container ended, a probe spoke, time passed) only wakes the task, which
looks at everything anew. What to start is plan.py's decision, what to show is status.py's, how to start is launch.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from datetime import datetime
from typing import Any

import grpc

from mizzen.kube import CONNECTION_ERRORS, ApiError
from mizzen.kube.resource import PODS, Object
from mizzen.runtime.kubelet import criconfig, podspec, storage
from mizzen.runtime.kubelet.backoff import Backoff
from mizzen.runtime.kubelet.context import Context
from mizzen.runtime.kubelet.launch import UNSUPPORTED, Launcher, LaunchError, SyncError
from mizzen.runtime.kubelet.plan import plan, verdict, will_restart
from mizzen.runtime.kubelet.probe import Outcome, run_hook
from mizzen.runtime.kubelet.probing import TITLES, ContainerProbes
from mizzen.runtime.kubelet.status import Host, moment, pod_status
from mizzen.runtime.kubelet.views import View
from mizzen.wire import cri

log = logging.getLogger("mizzen.kubelet")

RETRY_FIRST_S, RETRY_LIMIT_S = 0.5, 30.0
REFRESH_S = 30.0  # how often file volumes are looked at
DEADLINE_EXCEEDED = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
SIDECAR_GRACE_S = 2  # what a sidecar gets when the others have used the time up


class PodWorker(Launcher):
    """Owns one pod. `run` ends when the pod is gone from the node."""

    def __init__(self, context: Context, pod: Object) -> None:
        super().__init__(context, pod)
        self.specs: dict[str, dict[str, Any]] = {}
        self._take_specs()
        self._probes: dict[str, ContainerProbes] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._wake.set()
        self._retry_s = RETRY_FIRST_S
        self._start_time = (pod.get("status") or {}).get("startTime") or moment(time.time())
        self._sent: dict[str, Any] | None = None
        self._publish = asyncio.Event()
        self._refreshed = time.monotonic()
        self.removed = False  # the object is gone from the API
        self.finished = ""
        self.failed: tuple[str, str] | None = None  # reason and message of a pod that was ended, not by its containers

    # Waking

    def changed(self, pod: Object) -> None:
        """The pod's newest object."""
        self.pod = pod
        self._take_specs()
        self.wake()

    def _take_specs(self) -> None:
        every = (*podspec.all_containers(self.pod), *podspec.ephemeral_containers(self.pod))
        self.specs = {container["name"]: container for container in every}
        for name in self.specs:
            self.views.setdefault(name, View(name=name))

    def gone(self) -> None:
        """The object was removed from the API."""
        self.removed = True
        self.wake()

    def wake(self) -> None:
        """Look again."""
        self._wake.set()

    def observe(self, sandbox: Any | None, statuses: list[Any]) -> None:
        """What the runtime says of the sandbox and all containers of the pod."""
        if sandbox is not None and (not self.sandbox_id or sandbox.id == self.sandbox_id):
            self.take_sandbox(sandbox)
        by_name: dict[str, list[Any]] = {}
        for status in statuses:
            by_name.setdefault(status.metadata.name, []).append(status)
        for name, found in by_name.items():
            if name in self.views:
                found.sort(key=lambda status: status.created_at)
                self._observe(self.views[name], found)
        self.wake()

    def _observe(self, view: View, statuses: list[Any]) -> None:
        newest = statuses[-1]
        if view.current is not None and newest.created_at < view.current.created_at:
            return
        if newest.state == cri.CONTAINER_CREATED:
            return
        if view.current is not None and view.current.id != newest.id:
            view.last = view.current
        elif view.current is None and len(statuses) > 1:
            view.last = statuses[-2]
        ended = newest.state != cri.CONTAINER_RUNNING and (
            view.current is None or view.current.id != newest.id or view.running
        )
        view.current, view.waiting = newest, None
        if ended:
            self._ended(view)
        elif view.running and view.name not in self._probes:
            self._begin_probes(view)

    def _ended(self, view: View) -> None:
        """A container has ended: no more probes, a message, a time for the next start."""
        container = self.specs[view.name]
        if (probes := self._probes.pop(view.name, None)) is not None:
            probes.stop()
        view.started = view.ready = view.killing = False
        if text := self.termination_message(container, view):
            view.messages[view.current.id] = text
        if will_restart(self.pod, container, view):
            backoff = self._backoffs.setdefault(view.name, Backoff())
            finished = view.current.finished_at / 1e9
            view.not_before = backoff.ended(view.current.started_at / 1e9, finished)
            view.delay_s = view.not_before - finished

    # The task

    async def run(self) -> None:
        """Until the pod has ended and its object is gone."""
        publisher = asyncio.create_task(self._publisher(), name=f"status of {podspec.pod_name(self.pod)}")
        try:
            while not self._deleted():
                await self._round()
            await self._terminate()
        finally:
            publisher.cancel()
            for task in tuple(self._tasks):
                task.cancel()
            for probes in self._probes.values():
                probes.stop()

    def _deleted(self) -> bool:
        return self.removed or bool(self.pod["metadata"].get("deletionTimestamp"))

    async def _round(self) -> None:
        """One look, given up at once when the pod is deleted meanwhile; then wait for the next."""
        self._wake.clear()
        sync = asyncio.create_task(self._sync(), name=f"sync of {podspec.pod_name(self.pod)}")
        again = False
        try:
            while not sync.done():
                waker = asyncio.create_task(self._wake.wait())
                await asyncio.wait([sync, waker], return_when=asyncio.FIRST_COMPLETED)
                waker.cancel()
                if self._deleted():
                    return
                if self._wake.is_set():
                    again = True
                    self._wake.clear()
                    self._publish.set()
            wait_s = sync.result()
        finally:
            if not sync.done():
                sync.cancel()
                await asyncio.wait([sync])
        self._publish.set()
        if not again:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait_s)

    async def _sync(self) -> float | None:
        """Bring the pod one step on; seconds until it wants to be looked at again."""
        if self.finished:
            return None
        left_s = self._deadline_s()
        if left_s is not None and left_s <= 0:
            self.failed = DEADLINE_EXCEEDED
            self.context.recorder.event(self.pod, *DEADLINE_EXCEEDED)
            await self._finish("Failed")
            return None
        try:
            if not verdict(self.pod, self.views):
                await self.prepare()
            decision = plan(self.pod, self.views, time.time())
            for container in (*decision.start, *self._new_ephemeral()):
                await self._start(container)
            if decision.over:
                await self._finish(decision.over)
                return None
            self._retry_s = RETRY_FIRST_S
            if storage.limited(self.pod) and (over := await self.storage_excess()):
                self.failed = ("Evicted", over)
                self.context.recorder.event(self.pod, *self.failed, warning=True)
                await self._finish("Failed")
                return None
            if time.monotonic() - self._refreshed > REFRESH_S:
                self._refreshed = time.monotonic()
                await self.make_volumes(refresh=True)
        except SyncError as error:
            self.context.recorder.event(self.pod, error.reason, error.message, warning=True)
            log.info("pod %s: %s", podspec.pod_name(self.pod), error)
            if error.reason == UNSUPPORTED:
                for view in self.views.values():
                    view.waiting = ("CreateContainerConfigError", error.message)
            wait_s, self._retry_s = self._retry_s, min(self._retry_s * 2, RETRY_LIMIT_S)
            return wait_s
        regular_s = storage.STORAGE_S if storage.limited(self.pod) else REFRESH_S
        return min(wait for wait in (regular_s, decision.wake_s, left_s) if wait is not None)

    def _deadline_s(self) -> float | None:
        """Seconds until the pod's activeDeadlineSeconds are over; None when it has no such limit."""
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        if limit is None:
            return None
        return float(datetime.fromisoformat(self._start_time).timestamp() + limit - time.time())

    def _new_ephemeral(self) -> list[dict[str, Any]]:
        """Ephemeral containers that were never tried, once the pod's own containers have been started."""
        if not any(self.views[container["name"]].attempt >= 0 for container in self.pod["spec"]["containers"]):
            return []
        views = ((container, self.views[container["name"]]) for container in podspec.ephemeral_containers(self.pod))
        return [container for container, view in views if view.current is None and view.waiting is None]

    async def _start(self, container: dict[str, Any]) -> None:
        """Start a container; a failure becomes its waiting state."""
        name = container["name"]
        view, attempt = self.views[name], self.views[name].attempt + 1
        await self.remove_attempts(view)
        try:
            container_id = await self.launch(container, attempt)
        except LaunchError as error:
            self._launch_failed(container, view, error)
            return
        status = await self.context.runtime.ContainerStatus(cri.ContainerStatusRequest(container_id=container_id))
        self._observe(view, [status.status])
        view.waiting = None
        self._publish.set()
        if failure := await self.post_start(container, container_id):
            self.recorder(container)("FailedPostStartHook", failure, warning=True)
            self._kill_later(
                view, "FailedPostStartHook", f"Container {name} failed the postStart hook, will be restarted"
            )

    def _launch_failed(self, container: dict[str, Any], view: View, error: LaunchError) -> None:
        backoff = self._backoffs.setdefault(view.name, Backoff())
        now = time.time()
        backoff.ended(now, now)
        reason = error.reason
        if (
            reason == "ErrImagePull"
            and view.waiting is not None
            and view.waiting[0] in ("ErrImagePull", "ImagePullBackOff")
        ):
            reason = "ImagePullBackOff"
        view.waiting, view.not_before = (reason, str(error)), now + (1.0 if "Config" in reason else backoff.delay_s)
        self.recorder(container)("Failed", f"Error: {error}", warning=True)

    # Probes and kills

    def _begin_probes(self, view: View) -> None:
        container, container_id = self.specs[view.name], view.current.id
        record = self.recorder(container)

        def changed(kind: str, passing: bool, outcome: Outcome) -> None:
            view.started, view.ready = probes.started, probes.ready
            if not passing and kind != "readiness":
                text = f"Container {view.name} failed {kind} probe, will be restarted"
                self._kill_later(view, "Killing", text, kind)
            self._publish.set()
            self.wake()

        def failed(kind: str, outcome: Outcome) -> None:
            record("Unhealthy", f"{TITLES[kind]} probe failed: {outcome.text}", warning=True)

        ip = (self.ips or ("",))[0]
        probes = ContainerProbes(container, container_id, ip, self.context.runtime, changed, failed)
        self._probes[view.name] = probes
        view.started, view.ready = probes.started, probes.ready
        probes.start()

    def _kill_later(self, view: View, reason: str, message: str, probe_kind: str = "") -> None:
        """probe_kind: of the probe that failed; its grace counts before the pod's."""
        if view.killing or not view.running:
            return
        view.killing = True
        self.recorder(self.specs[view.name])(reason, message)
        probe = self.specs[view.name].get(f"{probe_kind}Probe") or {}
        grace = probe.get("terminationGracePeriodSeconds") or podspec.grace_seconds(self.pod)
        task = asyncio.create_task(self._kill(view, grace), name=f"kill {view.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _kill(self, view: View, grace_s: float) -> None:
        """preStop within the grace, then stop with what is left of it (at least 2 s)."""
        if not view.running:
            return
        container, begun = self.specs[view.name], time.monotonic()
        hook = (container.get("lifecycle") or {}).get("preStop")
        if hook is not None and grace_s > 0:
            ip = (self.ips or ("",))[0]
            try:
                async with asyncio.timeout(grace_s):
                    outcome = await run_hook(hook, container, view.current.id, ip, self.context.runtime)
                    if not outcome.ok:
                        self.recorder(container)(
                            "FailedPreStopHook", outcome.text or "PreStopHook failed", warning=True
                        )
            except TimeoutError:
                self.recorder(container)(
                    "FailedPreStopHook", "PreStopHook did not end within the grace period", warning=True
                )
            grace_s = max(2.0, grace_s - (time.monotonic() - begun))
        request = cri.StopContainerRequest(container_id=view.current.id, timeout=int(grace_s + 0.999))
        try:
            await self.context.runtime.StopContainer(request)
            status = await self.context.runtime.ContainerStatus(
                cri.ContainerStatusRequest(container_id=view.current.id)
            )
            self._observe(view, [status.status])
        except grpc.aio.AioRpcError as error:
            log.warning("pod %s: stopping %s: %s", podspec.pod_name(self.pod), view.name, error.details())
        finally:
            view.killing = False
            self.wake()

    async def _stop_all(self, grace_s: float) -> None:
        """App containers together, then sidecars, last first."""
        begun = time.monotonic()
        last = {container["name"] for container in podspec.sidecars(self.pod)}
        first = [view for view in self.views.values() if view.name not in last]
        for view in self.views.values():
            if view.running:
                self.recorder(self.specs[view.name])("Killing", f"Stopping container {view.name}")
        await asyncio.gather(*(self._kill(view, grace_s) for view in first))
        for container in reversed(podspec.sidecars(self.pod)):
            left = grace_s - (time.monotonic() - begun)
            await self._kill(self.views[container["name"]], max(min(grace_s, SIDECAR_GRACE_S), left))
            self._publish.set()

    async def _finish(self, over: str) -> None:
        """The pod has run to its end: sidecars stop, the network is given back, logs stay."""
        if any(view.running for view in self.views.values()):
            await self._stop_all(podspec.grace_seconds(self.pod))
        self.finished = over
        await self._stop_sandbox()

    async def _stop_sandbox(self) -> None:
        if not self.sandbox_id:
            return
        try:
            await self.context.runtime.StopPodSandbox(cri.StopPodSandboxRequest(pod_sandbox_id=self.sandbox_id))
        except grpc.aio.AioRpcError as error:
            log.warning("pod %s: stopping its sandbox: %s", podspec.pod_name(self.pod), error.details())
        self.network = self.network._replace(ready=False)

    async def _terminate(self) -> None:
        """Stop everything, remove it from the node, and let the API forget the pod."""
        for task in tuple(self._tasks):
            task.cancel()
        for probes in self._probes.values():
            probes.stop()
        grace = (
            0 if self.removed and not self.pod["metadata"].get("deletionTimestamp") else podspec.grace_seconds(self.pod)
        )
        await self._adopt_strays()
        await self._stop_all(grace)
        await self._stop_sandbox()
        if not self.removed:
            await self._send_status()
        if self.sandbox_id:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await self.context.runtime.RemovePodSandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=self.sandbox_id))
        self.volumes.remove()
        await asyncio.to_thread(shutil.rmtree, self.directory, True)
        await asyncio.to_thread(shutil.rmtree, criconfig.log_directory(self.context.logs, self.pod), True)
        await self._delete_object()

    async def _adopt_strays(self) -> None:
        """A start that was cut short may have left a sandbox or containers that we have not heard of."""
        wanted = {criconfig.POD_UID: self.pod["metadata"]["uid"]}
        listed = await self.context.runtime.ListPodSandbox(
            cri.ListPodSandboxRequest(filter=cri.PodSandboxFilter(label_selector=wanted))
        )
        for item in listed.items:
            if item.state == cri.SANDBOX_READY:
                self.sandbox_id = item.id
        containers = await self.context.runtime.ListContainers(
            cri.ListContainersRequest(filter=cri.ContainerFilter(label_selector=wanted))
        )
        for item in containers.containers:
            status = await self.context.runtime.ContainerStatus(cri.ContainerStatusRequest(container_id=item.id))
            if item.metadata.name in self.views:
                self._observe(self.views[item.metadata.name], [status.status])
        for probes in self._probes.values():
            probes.stop()

    async def _delete_object(self) -> None:
        meta, delay_s = self.pod["metadata"], RETRY_FIRST_S
        while not self.removed:
            try:
                await self.context.client.delete(
                    PODS, meta["name"], meta["namespace"], grace_period_s=0, uid=meta["uid"]
                )
                return
            except ApiError as error:
                if error.not_found or error.conflict:
                    return
                log.warning("pod %s: deleting it: %s", podspec.pod_name(self.pod), error)
            except CONNECTION_ERRORS as error:
                log.warning("pod %s: deleting it: %s", podspec.pod_name(self.pod), error)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, RETRY_LIMIT_S)

    # Status

    async def _publisher(self) -> None:
        """Writes the status whenever it may have changed; one write at a time."""
        delay_s = RETRY_FIRST_S
        while True:
            await self._publish.wait()
            self._publish.clear()
            try:
                await self._send_status()
                delay_s = RETRY_FIRST_S
            except ApiError as error:
                if not error.not_found:
                    log.warning("pod %s: its status: %s", podspec.pod_name(self.pod), error)
                    await asyncio.sleep(delay_s)
                    self._publish.set()
            except CONNECTION_ERRORS as error:
                log.warning("pod %s: its status: %s", podspec.pod_name(self.pod), error)
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, RETRY_LIMIT_S)
                self._publish.set()

    def status(self) -> dict[str, Any]:
        """The pod's status as of now."""
        host = Host(self.context.settings.node_ip, self.context.runtime_name, time.time())
        return pod_status(self.pod, self.views, self.network, host, self._start_time, self.failed)

    async def _send_status(self) -> None:
        status = self.status()
        if status == self._sent:
            return
        meta = self.pod["metadata"]
        patch = {"metadata": {"uid": meta["uid"]}, "status": status}
        with contextlib.suppress(KeyError):
            answer = await self.context.client.patch(PODS, meta["name"], patch, meta["namespace"], subresource="status")
            if (answer["metadata"].get("generation")) == meta.get("generation"):
                self.pod = {**self.pod, "status": answer.get("status") or {}}
        self._sent = status
