"""Bringing a pod up on the node: its sandbox and volumes, then one container after the other.

Mixed into the worker, which owns the state. Raises `SyncError` for what should be tried again later.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc

from mizzen.kube import CONNECTION_ERRORS, ApiError
from mizzen.kube.resource import RUNTIME_CLASSES, Object
from mizzen.runtime.kubelet import criconfig, environment, podspec, refusals, storage, volumes
from mizzen.runtime.kubelet.context import Context
from mizzen.runtime.kubelet.fields import UnknownField
from mizzen.runtime.kubelet.probe import run_hook
from mizzen.runtime.kubelet.resolver import dns, hosts_file
from mizzen.runtime.kubelet.status import Network, admitted
from mizzen.runtime.kubelet.views import View
from mizzen.wire import cri

TOKEN_REFRESH_SHARE = 0.8
PULL_BACKOFF_S = 10.0
UNSUPPORTED = "UnsupportedField"


class SyncError(Exception):
    """A step failed; the pod is looked at again later. reason, message: as its event has them."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason, self.message = reason, message


class LaunchError(Exception):
    """A container cannot be started now. reason: its waiting reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Launcher:
    """One pod's sandbox, volumes and container starts."""

    def __init__(self, context: Context, pod: Object) -> None:
        self.context, self.pod = context, pod
        self.directory = context.pods / pod["metadata"]["uid"]
        self.volumes = volumes.Volumes(self.directory)
        self.sandbox_id, self.sandbox_config, self.sandbox_attempt = "", None, 0
        self.network = Network()
        self._tokens: dict[volumes.TokenSource, tuple[str, float]] = {}
        self._made = False
        self.views: dict[str, View] = {}

    @property
    def cgroup(self) -> str:
        """The pod's cgroup."""
        return f"{self.context.settings.cgroup_root}/pod{self.pod['metadata']['uid']}"

    async def prepare(self) -> None:
        """Sandbox and volumes, side by side unless a file tells the pod's address; done before is fine. Raises SyncError."""
        if self._made and self.sandbox_id and self.network.ready:
            return
        if refused := refusals.of_pod(self.pod):
            raise SyncError(UNSUPPORTED, "; ".join(refused))
        self.directory.mkdir(parents=True, exist_ok=True)
        checkpoint = self.directory / "pod.json"
        checkpoint.write_text(json.dumps(self.pod))
        if volumes.tell_address(self.pod):
            await self._make_sandbox()
            await self.make_volumes()
        else:
            results = await asyncio.gather(self._make_sandbox(), self.make_volumes(), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        self._made = True
        hosts = hosts_file(self.pod, self.ips, self.context.settings.cluster_domain, _read("/etc/hosts"))
        (self.directory / "etc-hosts").write_text(hosts)
        (self.directory / "etc-hosts").chmod(0o644)

    @property
    def ips(self) -> tuple[str, ...]:
        """The pod's addresses."""
        if self.pod["spec"].get("hostNetwork"):
            return (self.context.settings.node_ip,)
        return self.network.ips

    async def _make_sandbox(self) -> None:
        settings = self.context.settings
        there = bool(self.sandbox_id and self.network.ready)
        attempt = self.sandbox_attempt - 1 if there else self.sandbox_attempt
        try:
            resolver = dns(self.pod, self.context.host_dns, settings.cluster_dns, settings.cluster_domain)
            config = criconfig.sandbox_config(
                self.pod, attempt, self.context.logs, resolver, self.cgroup, settings.cluster_domain
            )
            if there:  # an earlier kubelet made it
                self.sandbox_config = config
                return
            request = cri.RunPodSandboxRequest(config=config, runtime_handler=await self._handler())
            answer = await self.context.runtime.RunPodSandbox(request)
            self.sandbox_attempt += 1
            status = await self.context.runtime.PodSandboxStatus(
                cri.PodSandboxStatusRequest(pod_sandbox_id=answer.pod_sandbox_id)
            )
        except grpc.aio.AioRpcError as error:
            text = (
                f"Failed to create pod sandbox: rpc error: code = {error.code().name.title()} desc = {error.details()}"
            )
            raise SyncError("FailedCreatePodSandBox", text) from error
        except criconfig.ConfigError as error:
            raise SyncError("FailedCreatePodSandBox", str(error)) from error
        self.sandbox_id, self.sandbox_config = answer.pod_sandbox_id, config
        self.take_sandbox(status.status)

    async def _handler(self) -> str:
        """The runtime's handler that the pod's class names; empty: the usual one. Raises ConfigError."""
        name = self.pod["spec"].get("runtimeClassName")
        if not name:
            return ""
        try:
            found = await self.context.client.find(RUNTIME_CLASSES, name)
        except (ApiError, *CONNECTION_ERRORS) as error:
            raise criconfig.ConfigError(f"RuntimeClass {name!r}: {error}") from error
        if found is None:
            raise criconfig.ConfigError(f"RuntimeClass {name!r} not found")
        return str(found.get("handler") or "")

    def take_sandbox(self, status: Any) -> None:
        """Note what CRI says of the sandbox."""
        self.sandbox_id = status.id
        self.sandbox_attempt = max(self.sandbox_attempt, status.metadata.attempt + 1)
        network = status.network
        ips = tuple(ip for ip in (network.ip, *(item.ip for item in network.additional_ips)) if ip)
        self.network = Network(status.state == cri.SANDBOX_READY, ips)

    async def make_volumes(self, *, refresh: bool = False) -> None:
        """Make the pod's volumes, or write their files anew. Raises SyncError."""
        try:
            tokens = await self._fresh_tokens()
            lookup = await self.context.lookup(self.pod["metadata"]["namespace"], volumes.references(self.pod))
            make = self.volumes.refresh if refresh else self.volumes.make
            make(self.pod, lookup, self.context.facts(self.ips), tokens)
        except (volumes.VolumeError, environment.Missing, UnknownField) as error:
            raise SyncError("FailedMount", f"MountVolume.SetUp failed: {error}") from error
        except (ApiError, *CONNECTION_ERRORS) as error:
            raise SyncError("FailedMount", f"MountVolume.SetUp failed: {error}") from error

    async def _fresh_tokens(self) -> dict[volumes.TokenSource, str]:
        async def fetch(source: volumes.TokenSource) -> None:
            if source not in self._tokens or self._tokens[source][1] < time.time():
                token, expires = await self.context.token(self.pod, source)
                until = datetime.fromisoformat(expires).timestamp()
                self._tokens[source] = (token, time.time() + (until - time.time()) * TOKEN_REFRESH_SHARE)

        await asyncio.gather(*(fetch(source) for source in volumes.token_sources(self.pod)))
        return {source: token for source, (token, _) in self._tokens.items()}

    async def _image(self, container: dict[str, Any]) -> None:
        """Have the image on the node. Raises LaunchError."""
        name = container.get("image") or ""
        spec = cri.ImageSpec(image=name, user_specified_image=name)
        policy = container.get("imagePullPolicy") or "IfNotPresent"
        record = self.recorder(container)
        if policy != "Always":
            status = await self.context.runtime.ImageStatus(cri.ImageStatusRequest(image=spec))
            if status.HasField("image") and status.image.id:
                record("Pulled", f'Container image "{name}" already present on machine')
                return
            if policy == "Never":
                raise LaunchError(
                    "ErrImageNeverPull", f'Container image "{name}" is not present with pull policy of Never'
                )
        if self.pod["spec"].get("imagePullSecrets") and self.context.runtime_name != "mizzen":
            text = f'image "{name}" is not on this node, and spec.imagePullSecrets are not supported with this runtime'
            raise LaunchError("ErrImagePull", text)
        record("Pulling", f'Pulling image "{name}"')
        begun = time.monotonic()
        try:
            await self.context.runtime.PullImage(cri.PullImageRequest(image=spec))
        except grpc.aio.AioRpcError as error:
            raise LaunchError("ErrImagePull", f'failed to pull image "{name}": {error.details()}') from error
        record("Pulled", f'Successfully pulled image "{name}" in {(time.monotonic() - begun) * 1000:.0f}ms')

    def recorder(self, container: dict[str, Any]) -> Any:
        """A function (reason, message, warning=False) that records an event about a container."""
        init = any(container is item for item in podspec.init_containers(self.pod))

        def record(reason: str, message: str, warning: bool = False) -> None:
            recorder = self.context.recorder
            recorder.event(self.pod, reason, message, warning=warning, container=container["name"], init=init)

        return record

    async def _config(self, container: dict[str, Any], attempt: int) -> Any:
        """The CRI configuration of a container. Raises LaunchError."""
        pod, context = self.pod, self.context
        if refused := refusals.of_container(container, container["name"]):
            raise LaunchError("CreateContainerConfigError", "; ".join(refused))
        try:
            lookup = await context.lookup(pod["metadata"]["namespace"], environment.references(pod))
            facts = context.facts(self.ips)
            env = environment.environment(pod, container, facts, lookup, context.service_objects())
            message = self.directory / "containers" / container["name"] / str(attempt)
            message.parent.mkdir(parents=True, exist_ok=True)
            message.touch()
            message.chmod(0o666)
            path = container.get("terminationMessagePath") or "/dev/termination-log"
            extra = {"/etc/hosts": self.directory / "etc-hosts", path: message}
            mounts = criconfig.mounts(pod, container, self.volumes, env, extra)
            given = {**container, "resources": admitted(pod, container["name"], container.get("resources")) or {}}
            config = criconfig.container_config(pod, given, attempt, env, mounts, context.memory_bytes)
            await self._check_root(container)
            if target := container.get("targetContainerName"):
                options = config.linux.security_context.namespace_options
                options.pid, options.target_id = cri.TARGET, self._running_id(target)
        except (environment.Missing, UnknownField, volumes.VolumeError, criconfig.ConfigError, ApiError) as error:
            raise LaunchError("CreateContainerConfigError", str(error)) from error
        return config

    def _running_id(self, name: str) -> str:
        """The id of a container of this pod that runs. Raises ConfigError."""
        view = self.views.get(name)
        if view is None or not view.running:
            raise criconfig.ConfigError(f"the target container {name} does not run")
        return str(view.current.id)

    async def _check_root(self, container: dict[str, Any]) -> None:
        """runAsNonRoot. Raises ConfigError."""
        if not podspec.security(self.pod, container, "runAsNonRoot"):
            return
        user = podspec.security(self.pod, container, "runAsUser")
        where = f'(pod: "{podspec.full_name(self.pod)}", container: {container["name"]})'
        if user is None:
            spec = cri.ImageSpec(image=container.get("image") or "")
            image = (await self.context.runtime.ImageStatus(cri.ImageStatusRequest(image=spec))).image
            if image.username:
                text = f"container has runAsNonRoot and image has non-numeric user ({image.username}), cannot verify user is non-root"
                raise criconfig.ConfigError(f"{text} {where}")
            if image.uid.value == 0:
                raise criconfig.ConfigError(f"container has runAsNonRoot and image will run as root {where}")
        elif int(user) == 0:
            raise criconfig.ConfigError(f"container's runAsUser breaks non-root policy {where}")

    async def launch(self, container: dict[str, Any], attempt: int) -> str:
        """Create and start a container; its id. Raises LaunchError."""
        runtime, record = self.context.runtime, self.recorder(container)
        try:
            await self._image(container)
            config = await self._config(container, attempt)
        except grpc.aio.AioRpcError as error:
            raise LaunchError("CreateContainerError", error.details() or str(error.code())) from error
        request = cri.CreateContainerRequest(
            pod_sandbox_id=self.sandbox_id, config=config, sandbox_config=self.sandbox_config
        )
        try:
            container_id: str = (await runtime.CreateContainer(request)).container_id
        except grpc.aio.AioRpcError as error:
            raise LaunchError("CreateContainerError", error.details() or str(error.code())) from error
        record("Created", f"Created container: {container['name']}")
        try:
            await runtime.StartContainer(cri.StartContainerRequest(container_id=container_id))
        except grpc.aio.AioRpcError as error:
            raise LaunchError("RunContainerError", error.details() or str(error.code())) from error
        record("Started", f"Started container {container['name']}")
        return container_id

    async def post_start(self, container: dict[str, Any], container_id: str) -> str:
        """Run the postStart hook; why it failed, or empty."""
        hook = (container.get("lifecycle") or {}).get("postStart")
        if hook is None:
            return ""
        outcome = await run_hook(hook, container, container_id, (self.ips or ("",))[0], self.context.runtime)
        return "" if outcome.ok else (outcome.text or "PostStartHook failed")

    def termination_message(self, container: dict[str, Any], view: View) -> str:
        """What an ended container left as its message (4 KiB; with FallbackToLogsOnError the end of its log)."""
        path = self.directory / "containers" / view.name / str(view.attempt)
        text = _read(str(path))[:4096]
        if not text and container.get("terminationMessagePolicy") == "FallbackToLogsOnError" and view.exit_code:
            from mizzen.runtime.kubelet.logs import tail_text

            text = tail_text(Path(view.current.log_path), lines=80, limit=2048)
        return text

    async def storage_excess(self) -> str:
        """Which limit of local storage the pod has passed, in words; empty when none."""
        layers: dict[str, int] = {}
        for view in self.views.values():
            if view.running:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    request = cri.ContainerStatsRequest(container_id=view.current.id)
                    answer = await self.context.runtime.ContainerStats(request)
                    layers[view.name] = answer.stats.writable_layer.used_bytes.value
        return await asyncio.to_thread(self._excess, layers)

    def _excess(self, layers: dict[str, int]) -> str:
        logs = criconfig.log_directory(self.context.logs, self.pod)
        containers = {name: size + storage.disk_bytes(logs / name) for name, size in layers.items()}
        folder = self.volumes.directory / "emptyDir"
        volume_sizes = {name: storage.disk_bytes(folder / name) for name in storage.disk_volumes(self.pod)}
        return storage.excess(self.pod, storage.Used(volume_sizes, containers))

    async def remove_attempts(self, before: View) -> None:
        """Remove a container's older attempt from the runtime."""
        if before.last is not None:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await self.context.runtime.RemoveContainer(cri.RemoveContainerRequest(container_id=before.last.id))


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
