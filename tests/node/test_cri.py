"""The built-in container runtime over its own socket, by a plain gRPC client: sandboxes, containers, their end, and its own.

Source: Kubernetes' runtime.v1 (CRI).
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from mizzen.runtime.cleanup import cleanup
from mizzen.runtime.cri.server import socket_path
from mizzen.up.leftovers import leftovers
from mizzen.wire import cri

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root"), pytest.mark.timeout(90)]

SERVER = """
import asyncio, sys
from pathlib import Path
from mizzen.runtime.cri.server import serving
async def main():
    async with serving(Path(sys.argv[1])):
        await asyncio.Event().wait()
asyncio.run(main())
"""
STUBBORN = "trap '' TERM; echo begun; echo odd >&2; while :; do sleep 0.05; done"
POLITE = "trap 'exit 3' TERM; echo begun; while :; do sleep 0.05; done"


class Server:
    """The CRI server of one home as a process of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> cri.CriClient:
        socket_path(self.home).unlink(missing_ok=True)
        self.process = subprocess.Popen([sys.executable, "-c", SERVER, str(self.home)])  # noqa: ASYNC220
        await until(lambda: _is(socket_path(self.home).exists()), bool)
        client = cri.CriClient(grpc.aio.insecure_channel(f"unix:{socket_path(self.home)}"))

        async def answers() -> bool:
            try:
                return bool(await client.Version(cri.VersionRequest()))
            except grpc.aio.AioRpcError:
                return False

        await until(answers, bool)
        return client

    def end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None


async def _is(value: bool) -> bool:
    return value


async def until(ask: Any, good: Any, within_s: float = 20.0) -> Any:
    """Asks until the answer is good."""
    deadline = time.monotonic() + within_s
    while True:
        answer = await ask()
        if good(answer):
            return answer
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.02)


@asynccontextmanager
async def runtime(home: Path) -> AsyncIterator[tuple[Server, cri.CriClient]]:
    server = Server(home)
    try:
        yield server, await server.start()
    finally:
        server.end(signal.SIGTERM)
        await asyncio.to_thread(cleanup, home)
        assert leftovers(home) == []


def sandbox_config(home: Path, name: str) -> Any:
    return cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="test"),
        log_directory=str(home / "logs" / name),
        linux=cri.LinuxPodSandboxConfig(
            security_context=cri.LinuxSandboxSecurityContext(
                namespace_options=cri.NamespaceOption(network=cri.NODE, pid=cri.CONTAINER)
            )
        ),
    )


async def started(client: cri.CriClient, home: Path, name: str, script: str) -> tuple[str, str]:
    """A sandbox with one running container; their ids."""
    config = sandbox_config(home, name)
    os.makedirs(config.log_directory)
    sandbox = (await client.RunPodSandbox(cri.RunPodSandboxRequest(config=config))).pod_sandbox_id
    container = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name="c"), image=cri.ImageSpec(image="host"), command=["sh", "-c", script], log_path="c.log",
    )  # fmt: skip
    request = cri.CreateContainerRequest(pod_sandbox_id=sandbox, config=container, sandbox_config=config)
    made = (await client.CreateContainer(request)).container_id
    assert (await status_of(client, made)).state == cri.CONTAINER_CREATED
    await client.StartContainer(cri.StartContainerRequest(container_id=made))
    await until(lambda: _is((home / "logs" / name / "c.log").exists()), bool)
    return sandbox, made


def processes(marker: str) -> list[str]:
    """Shells of containers that run a script with a marker."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                with open(f"/proc/{entry.name}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            found += [entry.name] if words[:2] == [b"sh", b"-c"] and marker.encode() in words[2] else []
    return found


async def status_of(client: cri.CriClient, container: str) -> Any:
    return (await client.ContainerStatus(cri.ContainerStatusRequest(container_id=container))).status


async def run_in(client: cri.CriClient, container: str, script: str) -> tuple[int, bytes, bytes]:
    request = cri.ExecSyncRequest(container_id=container, cmd=["sh", "-c", script], timeout=10)
    answer = await client.ExecSync(request)
    return answer.exit_code, answer.stdout, answer.stderr


async def log_of(home: Path, name: str, lines: int) -> list[str]:
    async def read() -> list[str]:
        return (home / "logs" / name / "c.log").read_text().splitlines()

    return list(await until(read, lambda found: len(found) >= lines))


def test_a_container_from_its_sandbox_to_its_removal(tmp_path: Path) -> None:
    async def play() -> None:
        async with runtime(tmp_path) as (_, client):
            version = await client.Version(cri.VersionRequest())
            assert (version.runtime_api_version, version.runtime_name) == ("v1", "mizzen")
            conditions = (await client.Status(cri.StatusRequest())).status.conditions
            assert {c.type: c.status for c in conditions}["RuntimeReady"]
            sandbox, container = await started(client, tmp_path, "stubborn", STUBBORN)
            status = await status_of(client, container)
            assert status.state == cri.CONTAINER_RUNNING and status.started_at > 0
            found = sorted(line.split(" ", 1)[1] for line in await log_of(tmp_path, "stubborn", 2))
            assert found == ["stderr F odd", "stdout F begun"]
            assert await run_in(client, container, "echo out; echo err >&2; exit 7") == (7, b"out\n", b"err\n")
            stats = (await client.ContainerStats(cri.ContainerStatsRequest(container_id=container))).stats
            assert stats.cpu.usage_core_nano_seconds.value > 0 and stats.memory.working_set_bytes.value > 0
            begun = time.monotonic()
            await client.StopContainer(cri.StopContainerRequest(container_id=container, timeout=1))
            status = await status_of(client, container)
            assert (status.state, status.exit_code) == (
                cri.CONTAINER_EXITED,
                137,
            )  # it heeds no TERM: killed after its grace
            assert 1.0 <= time.monotonic() - begun < 6.0
            await client.RemoveContainer(cri.RemoveContainerRequest(container_id=container))
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await status_of(client, container)
            assert error.value.code() == grpc.StatusCode.NOT_FOUND
            await client.StopPodSandbox(cri.StopPodSandboxRequest(pod_sandbox_id=sandbox))
            await client.StopPodSandbox(cri.StopPodSandboxRequest(pod_sandbox_id=sandbox))  # again is fine
            await client.RemovePodSandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox))
            assert not (await client.ListPodSandbox(cri.ListPodSandboxRequest())).items

    asyncio.run(play())


def test_a_container_that_heeds_term_is_not_killed(tmp_path: Path) -> None:
    async def play() -> None:
        async with runtime(tmp_path) as (_, client):
            _, container = await started(client, tmp_path, "polite", POLITE)
            await log_of(tmp_path, "polite", 1)
            begun = time.monotonic()
            await client.StopContainer(cri.StopContainerRequest(container_id=container, timeout=20))
            assert time.monotonic() - begun < 10.0
            assert (await status_of(client, container)).exit_code == 3

    asyncio.run(play())


def test_containers_outlive_a_killed_server(tmp_path: Path) -> None:
    async def play() -> None:
        async with runtime(tmp_path) as (server, client):
            sandbox, lasting = await started(client, tmp_path, "lasting", STUBBORN)
            _, brief = await started(client, tmp_path, "brief", f": {tmp_path.name}-brief; sleep 1.5; exit 5")
            pid = (await run_in(client, lasting, "cut -d' ' -f4 /proc/self/stat; cat /proc/1/stat"))[1]
            server.end(signal.SIGKILL)
            await until(
                lambda: asyncio.to_thread(processes, f"{tmp_path.name}-brief"), lambda found: not found
            )  # it ends while nobody serves
            client = await server.start()
            listed = (await client.ListContainers(cri.ListContainersRequest())).containers
            assert {one.id for one in listed} == {lasting, brief}
            assert (await status_of(client, lasting)).state == cri.CONTAINER_RUNNING
            again = (await run_in(client, lasting, "cut -d' ' -f4 /proc/self/stat; cat /proc/1/stat"))[1]
            assert again.split()[1:3] == pid.split()[1:3]  # the same process
            ended = await until(lambda: status_of(client, brief), lambda s: s.state == cri.CONTAINER_EXITED)
            assert ended.exit_code == 5
            sandboxes = (await client.ListPodSandbox(cri.ListPodSandboxRequest())).items
            assert sandbox in {one.id for one in sandboxes if one.state == cri.SANDBOX_READY}
            await client.StopContainer(cri.StopContainerRequest(container_id=lasting, timeout=0))
            assert (await status_of(client, lasting)).exit_code == 137

    asyncio.run(play())
