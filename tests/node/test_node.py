"""Pods on a node, with real runc, namespaces and iptables: their life, network, names, streams, and what is left of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mizzen.api.manifest import loads
from mizzen.kube import ApiError
from mizzen.kube.resource import PODS, SERVICES
from mizzen.testing.plugin import RunningMesh
from mizzen.up.apply import apply
from mizzen.up.home import Home
from mizzen.up.leftovers import leftovers
from mizzen.up.mesh import Mesh, until
from mizzen.up.node import running_agent
from mizzen.up.process import UpProcess

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root"), pytest.mark.timeout(180)]

ECHO = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: echo
        image: mizzen/samples:0.1.0
        args: [echo]
        env: [{name: SAMPLES_LOG, value: "1"}]
        ports: [{containerPort: 9080, name: http}]
        readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: default}
spec: {selector: {app: echo}, ports: [{name: http, port: 80, targetPort: http}]}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    home = tmp_path_factory.mktemp("node")
    with UpProcess(home):
        running = RunningMesh(home)

        async def start(mesh: Mesh) -> None:
            await apply(mesh.client, loads(ECHO))
            await mesh.ready("default")

        running.run(start)
        yield running
    assert leftovers(home) == []


def test_a_service_is_reached_by_address_and_name(mesh: RunningMesh) -> None:
    async def ask(mesh: Mesh) -> None:
        service = await mesh.client.get(SERVICES, "echo", "default")
        from_here = await mesh.call(f"http://{service['spec']['clusterIP']}/", 20, by="pod")
        assert from_here.all_are(200)
        pods = await mesh.pods("default", app="echo")
        from_pod = await mesh.call_from(pods[0], "http://echo/", 20, by="pod")
        assert from_pod.all_are(200)
        fully = await mesh.call_from(pods[0], "http://echo.default.svc.cluster.local/", 5, by="pod")
        assert fully.all_are(200)

    mesh.run(ask)


def test_commands_run_in_pods_with_their_exit_status(mesh: RunningMesh) -> None:
    async def ask(mesh: Mesh) -> None:
        (pod, *_) = await mesh.pods("default", app="echo")
        result = await mesh.exec(pod, "sh", "-c", "echo out; echo err >&2; exit 7")
        assert (result.code, result.stdout, result.stderr) == (7, b"out\n", b"err\n")
        assert (await mesh.exec(pod, "hostname")).stdout.decode().strip() == pod["metadata"]["name"]

    mesh.run(ask)


def test_logs_are_kept(mesh: RunningMesh) -> None:
    async def ask(mesh: Mesh) -> None:
        (pod, *_) = await mesh.pods("default", app="echo")
        await mesh.call(f"http://{pod['status']['podIP']}:9080/a-path-to-find", 1)
        name = pod["metadata"]["name"]
        text = await until(
            lambda: mesh.client.raw("GET", PODS.path("default", name, "log")), lambda t: b"a-path-to-find" in t, 5.0
        )
        assert b'"GET /a-path-to-find HTTP/1.1" 200' in text

    mesh.run(ask)


def test_a_killed_container_is_started_again(mesh: RunningMesh) -> None:
    async def ask(mesh: Mesh) -> None:
        (pod, *_) = await mesh.pods("default", app="echo")
        name = pod["metadata"]["name"]
        result = await mesh.exec(pod, "python3", "-c", "import os; os.kill(1, 15)")
        assert result.code in (0, 137, 143)

        async def restarts() -> tuple[int, bool]:
            status = (await mesh.client.get(PODS, name, "default"))["status"]["containerStatuses"][0]
            return status["restartCount"], status["ready"]

        count, _ = await until(restarts, lambda r: r[0] >= 1 and r[1], 20.0)
        assert count == 1

    mesh.run(ask)


def test_an_image_that_is_not_here_says_so(mesh: RunningMesh) -> None:
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "nowhere", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "registry.example.com/x:1"}]},
    }  # fmt: skip

    async def ask(mesh: Mesh) -> None:
        await mesh.client.create(PODS, pod)

        async def waiting() -> dict[str, str]:
            statuses = (await mesh.client.get(PODS, "nowhere", "default")).get("status", {}).get(
                "containerStatuses"
            ) or [{}]
            return dict((statuses[0].get("state") or {}).get("waiting") or {})

        state = await until(waiting, lambda s: s.get("reason") in ("ErrImagePull", "ImagePullBackOff"), 10.0)
        assert "is not on this node" in state["message"] or state["reason"] == "ImagePullBackOff"
        await mesh.client.delete(PODS, "nowhere", "default", grace_period_s=0)

    mesh.run(ask)


def test_a_deleted_pod_is_replaced_and_gone(mesh: RunningMesh) -> None:
    async def ask(mesh: Mesh) -> None:
        (pod, *_) = await mesh.pods("default", app="echo")
        name = pod["metadata"]["name"]
        await mesh.client.delete(PODS, name, "default")
        await until(lambda: mesh.client.find(PODS, name, "default"), lambda found: found is None, 15.0)
        await mesh.ready("default")
        assert len(await mesh.pods("default", app="echo")) == 2

    mesh.run(ask)


def test_status_says_whether_it_runs(mesh: RunningMesh, tmp_path: Path) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "mizzen", "status", "--home"]
    running = subprocess.run([*command, str(mesh.home)], capture_output=True, text=True, check=True)
    assert "Ready" in running.stdout
    idle = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert idle.returncode == 1
    assert json.dumps(str(tmp_path))[1:-1] in idle.stdout


def test_a_port_of_the_host_leads_to_a_pod(mesh: RunningMesh) -> None:
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "door", "namespace": "default"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "c", "image": "mizzen/samples:0.1.0", "args": ["echo"],
                "ports": [{"containerPort": 9080, "hostPort": 18473}],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 9080}, "periodSeconds": 1},
            }],
        },
    }  # fmt: skip

    async def ask(mesh: Mesh) -> None:
        await mesh.client.create(PODS, pod, "default")
        door = await until(lambda: mesh.client.get(PODS, "door", "default"), is_ready, 20.0)
        others = await mesh.pods("default", app="echo")
        for address in ("127.0.0.1", door["status"]["hostIP"]):
            assert (await mesh.call(f"http://{address}:18473/", 3)).all_are(200), address
        assert (await mesh.call_from(others[0], f"http://{door['status']['hostIP']}:18473/", 3)).all_are(200)
        await mesh.client.delete(PODS, "door", "default")
        await until(nat_rules, lambda rules: "--dport 18473" not in rules, 20.0)

    mesh.run(ask)


async def nat_rules() -> str:
    process = await asyncio.create_subprocess_exec("iptables-save", "-t", "nat", stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0].decode()


def is_ready(pod: dict[str, object]) -> bool:
    status = pod.get("status")
    conditions = status.get("conditions") or () if isinstance(status, dict) else ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def test_a_pod_that_was_active_too_long_fails(mesh: RunningMesh) -> None:
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "brief", "namespace": "default"},
        "spec": {
            "activeDeadlineSeconds": 2, "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "host", "command": ["sleep", "100"]}],
        },
    }  # fmt: skip

    async def ask(mesh: Mesh) -> None:
        await mesh.client.create(PODS, pod, "default")
        ended = await until(
            lambda: mesh.client.get(PODS, "brief", "default"), lambda p: p["status"]["phase"] == "Failed", 20.0
        )
        status = ended["status"]
        assert (status["reason"], status["message"]) == (
            "DeadlineExceeded", "Pod was active on the node longer than the specified deadline",
        )  # fmt: skip
        assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
        await mesh.client.delete(PODS, "brief", "default")

    mesh.run(ask)


def test_an_ephemeral_container_looks_into_a_pod(mesh: RunningMesh) -> None:
    async def ask(mesh: Mesh) -> None:
        (pod, *_) = await mesh.pods("default", app="echo")
        name = pod["metadata"]["name"]
        added = {
            "name": "look",
            "image": "host",
            "command": ["sh", "-c", "ls /proc/1/cwd >/dev/null; cat /proc/1/cmdline"],
        }
        patch = {"spec": {"ephemeralContainers": [{**added, "targetContainerName": "echo"}]}}
        await mesh.client.patch(PODS, name, patch, "default", subresource="ephemeralcontainers")

        async def state() -> dict[str, object]:
            status = (await mesh.client.get(PODS, name, "default"))["status"]
            found = status.get("ephemeralContainerStatuses") or [{"state": {}}]
            return dict(found[0]["state"])

        ended = await until(state, lambda s: "terminated" in s, 20.0)
        assert ended["terminated"]["exitCode"] == 0, ended  # type: ignore[index]
        log = await mesh.client.raw("GET", PODS.path("default", name, "log") + "?container=look")
        assert b"echo" in log
        after = await mesh.client.get(PODS, name, "default")
        assert is_ready(after) and after["status"]["phase"] == "Running"

    mesh.run(ask)


def test_a_file_tells_the_address_of_its_pod(mesh: RunningMesh) -> None:
    items = [{"path": "ip", "fieldRef": {"fieldPath": "status.podIP"}}]
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "self", "namespace": "default"},
        "spec": {
            "terminationGracePeriodSeconds": 0, "restartPolicy": "Never",
            "containers": [{
                "name": "c", "image": "host", "command": ["cat", "/who/ip"], "volumeMounts": [{"name": "who", "mountPath": "/who"}],
            }],
            "volumes": [{"name": "who", "downwardAPI": {"items": items}}],
        },
    }  # fmt: skip

    async def ask(mesh: Mesh) -> None:
        await mesh.client.create(PODS, pod, "default")
        ended = await until(
            lambda: mesh.client.get(PODS, "self", "default"), lambda p: p["status"].get("phase") == "Succeeded", 20.0
        )
        log = await mesh.client.raw("GET", PODS.path("default", "self", "log"))
        assert log.decode() == ended["status"]["podIP"]
        await mesh.client.delete(PODS, "self", "default")

    mesh.run(ask)


def test_pods_outlive_a_killed_node_agent(mesh: RunningMesh) -> None:
    """Runtime and kubelet are one process here: SIGKILL takes both, and what they ran goes on under the next one."""

    async def containers(mesh: Mesh) -> dict[str, tuple[str, int, bool]]:
        pods = await mesh.pods("default", app="echo")
        states = ((pod["metadata"]["name"], pod["status"]["containerStatuses"][0]) for pod in pods)
        return {name: (one.get("containerID", ""), one["restartCount"], one["ready"]) for name, one in states}

    home = Home(mesh.home)

    async def ask(mesh: Mesh) -> None:
        before = await until(lambda: containers(mesh), lambda found: all(ready for _, _, ready in found.values()), 20.0)
        old = running_agent(home)
        assert old is not None
        os.kill(old, signal.SIGKILL)

        async def agent() -> int | None:
            return running_agent(home)

        await until(agent, lambda pid: pid not in (None, old), 20.0)
        (pod, *_) = await mesh.pods("default", app="echo")

        async def lists() -> bytes:
            try:
                return (await mesh.exec(pod, "echo", "here")).stdout
            except (OSError, RuntimeError, ApiError):  # nobody is there to run it yet
                return b""

        await until(lists, lambda text: text == b"here\n", 20.0)
        assert await until(lambda: containers(mesh), lambda found: found == before, 20.0) == before
        assert (await mesh.call(f"http://{pod['status']['podIP']}:9080/", 3)).all_are(200)

    mesh.run(ask)
