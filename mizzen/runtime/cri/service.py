"""CRI's two gRPC services over the runtime: messages in, messages out, errors as gRPC codes.

Not here: what is done (runtime.py), streams' contents (streaming/).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Any

import grpc

import mizzen
from mizzen.runtime.cri.bundle import Refused
from mizzen.runtime.cri.execution import ExecTimeout, exec_sync
from mizzen.runtime.cri.images import Image, NoImage
from mizzen.runtime.cri.network import NetworkError
from mizzen.runtime.cri.runtime import NotFound, Runtime, RuntimeFailed
from mizzen.runtime.cri.stats import container_stats, filesystem_usage, sandbox_stats
from mizzen.runtime.cri.store import Container, Sandbox
from mizzen.runtime.cri.streaming.server import StreamingServer
from mizzen.wire import cri

CODES: dict[type[Exception], grpc.StatusCode] = {
    NotFound: grpc.StatusCode.NOT_FOUND,
    NoImage: grpc.StatusCode.NOT_FOUND,
    Refused: grpc.StatusCode.INVALID_ARGUMENT,
    RuntimeFailed: grpc.StatusCode.UNKNOWN,
    ExecTimeout: grpc.StatusCode.DEADLINE_EXCEEDED,
}
Method = Callable[[Any, Any, Any], Awaitable[Any]]


def answers(method: Method) -> Method:
    """Turn the runtime's exceptions into gRPC statuses."""

    @wraps(method)
    async def call(self: Any, request: Any, context: Any) -> Any:
        try:
            return await method(self, request, context)
        except tuple(CODES) as error:
            return await context.abort(CODES[type(error)], str(error))

    return call


def _labels_fit(labels: Any, wanted: Any) -> bool:
    return all(labels.get(key) == value for key, value in wanted.items())


class CriService:
    """RuntimeService and ImageService."""

    def __init__(self, runtime: Runtime, streaming: StreamingServer) -> None:
        self.runtime, self.streaming = runtime, streaming

    async def Version(self, request: Any, context: Any) -> Any:
        return cri.VersionResponse(
            version="0.1.0", runtime_name="mizzen", runtime_version=mizzen.__version__, runtime_api_version="v1"
        )

    async def Status(self, request: Any, context: Any) -> Any:
        network = {"type": "NetworkReady", "status": True}
        try:
            self.runtime.network.configuration()
        except NetworkError as error:
            network = {
                "type": "NetworkReady",
                "status": False,
                "reason": "NetworkPluginNotReady",
                "message": str(error),
            }
        conditions = [cri.RuntimeCondition(type="RuntimeReady", status=True), cri.RuntimeCondition(**network)]
        features = cri.RuntimeFeatures(supplemental_groups_policy=True)
        return cri.StatusResponse(status=cri.RuntimeStatus(conditions=conditions), features=features)

    async def RuntimeConfig(self, request: Any, context: Any) -> Any:
        return cri.RuntimeConfigResponse(linux=cri.LinuxRuntimeConfiguration(cgroup_driver=cri.CGROUPFS))

    async def UpdateRuntimeConfig(self, request: Any, context: Any) -> Any:
        return cri.UpdateRuntimeConfigResponse()  # the network configuration lies in files of ours

    # Sandboxes

    @answers
    async def RunPodSandbox(self, request: Any, context: Any) -> Any:
        if request.runtime_handler:
            raise Refused(f"runtimeClassName: no handler {request.runtime_handler!r}")
        sandbox = await self.runtime.run_sandbox(request.config)
        return cri.RunPodSandboxResponse(pod_sandbox_id=sandbox.id)

    @answers
    async def StopPodSandbox(self, request: Any, context: Any) -> Any:
        if (sandbox := self.runtime.store.find_sandbox(request.pod_sandbox_id)) is not None:
            await self.runtime.stop_sandbox(sandbox)
        return cri.StopPodSandboxResponse()

    @answers
    async def RemovePodSandbox(self, request: Any, context: Any) -> Any:
        if (sandbox := self.runtime.store.find_sandbox(request.pod_sandbox_id)) is not None:
            await self.runtime.remove_sandbox(sandbox)
        return cri.RemovePodSandboxResponse()

    @answers
    async def PodSandboxStatus(self, request: Any, context: Any) -> Any:
        sandbox = self.runtime.sandbox(request.pod_sandbox_id)
        return cri.PodSandboxStatusResponse(status=self._sandbox_status(sandbox), timestamp=time.time_ns())

    def _sandbox_status(self, sandbox: Sandbox) -> Any:
        ips = sandbox.state.ips
        network = cri.PodSandboxNetworkStatus(
            ip=ips[0] if ips else "", additional_ips=[cri.PodIP(ip=ip) for ip in ips[1:]]
        )
        options = sandbox.config.linux.security_context.namespace_options
        return cri.PodSandboxStatus(
            id=sandbox.id,
            metadata=sandbox.config.metadata,
            state=cri.SANDBOX_READY if sandbox.state.ready else cri.SANDBOX_NOTREADY,
            created_at=sandbox.state.created_at,
            network=network,
            linux=cri.LinuxPodSandboxStatus(namespaces=cri.Namespace(options=options)),
            labels=sandbox.config.labels,
            annotations=sandbox.config.annotations,
        )

    async def ListPodSandbox(self, request: Any, context: Any) -> Any:
        wanted, items = request.filter, []
        for sandbox in self.runtime.store.sandboxes.values():
            state = cri.SANDBOX_READY if sandbox.state.ready else cri.SANDBOX_NOTREADY
            if wanted.id and not sandbox.id.startswith(wanted.id):
                continue
            if wanted.HasField("state") and wanted.state.state != state:
                continue
            if _labels_fit(sandbox.config.labels, wanted.label_selector):
                config = sandbox.config
                fields = {"metadata": config.metadata, "labels": config.labels, "annotations": config.annotations}
                items.append(cri.PodSandbox(id=sandbox.id, state=state, created_at=sandbox.state.created_at, **fields))
        return cri.ListPodSandboxResponse(items=items)

    # Containers

    @answers
    async def CreateContainer(self, request: Any, context: Any) -> Any:
        sandbox = self.runtime.sandbox(request.pod_sandbox_id)
        container = await self.runtime.create_container(sandbox, request.config)
        return cri.CreateContainerResponse(container_id=container.id)

    @answers
    async def StartContainer(self, request: Any, context: Any) -> Any:
        await self.runtime.start_container(self.runtime.container(request.container_id))
        return cri.StartContainerResponse()

    @answers
    async def StopContainer(self, request: Any, context: Any) -> Any:
        await self.runtime.stop_container(self.runtime.container(request.container_id), request.timeout)
        return cri.StopContainerResponse()

    @answers
    async def RemoveContainer(self, request: Any, context: Any) -> Any:
        if (container := self.runtime.store.find_container(request.container_id)) is not None:
            await self.runtime.remove_container(container)
        return cri.RemoveContainerResponse()

    async def ListContainers(self, request: Any, context: Any) -> Any:
        wanted, found = request.filter, []
        for container in self.runtime.store.containers.values():
            config, state = container.config, container.state
            if wanted.id and not container.id.startswith(wanted.id):
                continue
            if wanted.HasField("state") and wanted.state.state != state.state:
                continue
            if wanted.pod_sandbox_id and not state.sandbox.startswith(wanted.pod_sandbox_id):
                continue
            if not _labels_fit(config.labels, wanted.label_selector):
                continue
            shared = {"metadata": config.metadata, "image": config.image, "labels": config.labels}
            found.append(
                cri.Container(
                    id=container.id,
                    pod_sandbox_id=state.sandbox,
                    image_ref=state.image_ref,
                    state=state.state,
                    created_at=state.created_at,
                    annotations=config.annotations,
                    image_id=state.image_ref,
                    **shared,
                )
            )
        return cri.ListContainersResponse(containers=found)

    @answers
    async def ContainerStatus(self, request: Any, context: Any) -> Any:
        container = self.runtime.container(request.container_id)
        info = {"info": f'{{"pid": {container.state.pid}}}'} if request.verbose else {}
        return cri.ContainerStatusResponse(status=container_status(container), info=info)

    @answers
    async def ReopenContainerLog(self, request: Any, context: Any) -> Any:
        await self.runtime.reopen_log(self.runtime.container(request.container_id))
        return cri.ReopenContainerLogResponse()

    @answers
    async def ExecSync(self, request: Any, context: Any) -> Any:
        container = self.runtime.container(request.container_id)
        out, err, code = await exec_sync(self.runtime, container, list(request.cmd), request.timeout)
        return cri.ExecSyncResponse(stdout=out, stderr=err, exit_code=code)

    @answers
    async def Exec(self, request: Any, context: Any) -> Any:
        self.runtime.container(request.container_id)
        return cri.ExecResponse(url=self.streaming.offer("exec", request))

    @answers
    async def Attach(self, request: Any, context: Any) -> Any:
        self.runtime.container(request.container_id)
        return cri.AttachResponse(url=self.streaming.offer("attach", request))

    @answers
    async def PortForward(self, request: Any, context: Any) -> Any:
        self.runtime.sandbox(request.pod_sandbox_id)
        return cri.PortForwardResponse(url=self.streaming.offer("portforward", request))

    # Statistics and events

    @answers
    async def ContainerStats(self, request: Any, context: Any) -> Any:
        return cri.ContainerStatsResponse(stats=container_stats(self.runtime.container(request.container_id)))

    async def ListContainerStats(self, request: Any, context: Any) -> Any:
        wanted = request.filter
        stats = [
            container_stats(c)
            for c in self.runtime.store.containers.values()
            if c.state.state == cri.CONTAINER_RUNNING
            and (not wanted.id or c.id.startswith(wanted.id))
            and (not wanted.pod_sandbox_id or c.state.sandbox == wanted.pod_sandbox_id)
            and _labels_fit(c.config.labels, wanted.label_selector)
        ]
        return cri.ListContainerStatsResponse(stats=stats)

    @answers
    async def PodSandboxStats(self, request: Any, context: Any) -> Any:
        sandbox = self.runtime.sandbox(request.pod_sandbox_id)
        return cri.PodSandboxStatsResponse(stats=sandbox_stats(sandbox, self.runtime.store.of_sandbox(sandbox.id)))

    async def ListPodSandboxStats(self, request: Any, context: Any) -> Any:
        wanted, store = request.filter, self.runtime.store
        stats = [
            sandbox_stats(s, store.of_sandbox(s.id))
            for s in store.sandboxes.values()
            if (not wanted.id or s.id == wanted.id) and _labels_fit(s.config.labels, wanted.label_selector)
        ]
        return cri.ListPodSandboxStatsResponse(stats=stats)

    async def GetContainerEvents(self, request: Any, context: Any) -> AsyncIterator[Any]:
        queue = self.runtime.listen()
        try:
            while True:
                key, kind = await queue.get()
                fields: dict[str, Any] = {
                    "container_id": key,
                    "container_event_type": kind,
                    "created_at": time.time_ns(),
                }
                container = self.runtime.store.containers.get(key)
                sandbox = self.runtime.store.sandboxes.get(container.state.sandbox if container else key)
                if sandbox is not None:
                    fields["pod_sandbox_status"] = self._sandbox_status(sandbox)
                    of_pod = self.runtime.store.of_sandbox(sandbox.id)
                    fields["containers_statuses"] = [container_status(c) for c in of_pod]
                yield cri.ContainerEventResponse(**fields)
        finally:
            self.runtime.ignore(queue)

    # Images

    async def ListImages(self, request: Any, context: Any) -> Any:
        wanted = request.filter.image.image
        if wanted:
            found = self.runtime.images.find(wanted)
            return cri.ListImagesResponse(images=[_image(found)] if found else [])
        return cri.ListImagesResponse(images=[_image(image) for image in self.runtime.images.list()])

    async def ImageStatus(self, request: Any, context: Any) -> Any:
        found = self.runtime.images.find(request.image.image)
        return cri.ImageStatusResponse(image=_image(found) if found else None)

    @answers
    async def PullImage(self, request: Any, context: Any) -> Any:
        return cri.PullImageResponse(image_ref=self.runtime.images.get(request.image.image).id)

    @answers
    async def RemoveImage(self, request: Any, context: Any) -> Any:
        if self.runtime.images.find(request.image.image) is not None:
            raise Refused(
                f"image {request.image.image}: remove its archive from {self.runtime.images.directory} instead"
            )
        return cri.RemoveImageResponse()

    async def ImageFsInfo(self, request: Any, context: Any) -> Any:
        return cri.ImageFsInfoResponse(image_filesystems=[filesystem_usage(self.runtime.home)])


def container_status(container: Container) -> Any:
    """CRI's ContainerStatus."""
    config, state = container.config, container.state
    user = cri.LinuxContainerUser(uid=state.uid, gid=state.gid)
    return cri.ContainerStatus(
        id=container.id,
        metadata=config.metadata,
        state=state.state,
        created_at=state.created_at,
        started_at=state.started_at,
        finished_at=state.finished_at,
        exit_code=state.exit_code,
        image=config.image,
        image_ref=state.image_ref,
        image_id=state.image_ref,
        reason=state.reason,
        message=state.message,
        labels=config.labels,
        annotations=config.annotations,
        mounts=config.mounts,
        log_path=state.log_path,
        resources=cri.ContainerResources(linux=config.linux.resources),
        user=cri.ContainerUser(linux=user),
    )


def _image(image: Image) -> Any:
    user: dict[str, Any] = {}
    name = image.user.partition(":")[0]
    if name.isdigit():
        user["uid"] = cri.Int64Value(value=int(name))
    elif name:
        user["username"] = name
    elif not image.user:
        user["uid"] = cri.Int64Value(value=0)
    return cri.Image(id=image.id, repo_tags=image.tags, size=image.size, pinned=image.host, **user)
