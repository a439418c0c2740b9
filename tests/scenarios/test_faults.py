"""A mesh under fire: a control plane that is killed, a sidecar that is killed, objects that are wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mizzen.api.manifest import loads
from mizzen.kube.errors import ApiError
from mizzen.kube.resource import PODS, Object, Resource
from mizzen.samples import folder
from mizzen.testing.plugin import RunningMesh
from mizzen.up.apply import Applied, apply
from mizzen.up.leftovers import leftovers
from mizzen.up.mesh import Mesh, call_command, until
from mizzen.up.process import UpProcess

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root"), pytest.mark.timeout(180)]
VIRTUAL_SERVICES = Resource("networking.istio.io", "v1", "virtualservices", True, "VirtualService")
SHOP = folder() / "bookinfo"
WANTED = {"bookinfo-details", "bookinfo-client", "details", "client", "details-v1", "client-v1", "bookinfo", "default"}


@pytest.fixture(scope="module")
def up(data_plane: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    """A mesh with two pods of the bookshop in it: details, and the client. Our data plane, then Envoy."""
    home = tmp_path_factory.mktemp("faults")
    process = UpProcess(home, data_plane=data_plane)
    with process:

        async def start(mesh: Mesh) -> None:
            names = ("00-namespaces.yaml", "10-bookinfo.yaml", "20-clients.yaml")
            documents = [d for name in names for d in loads((SHOP / name).read_text(), name)]
            await apply(mesh.client, [d for d in documents if d.object["metadata"]["name"] in WANTED])
            await mesh.ready("bookinfo", timeout_s=60.0)

        RunningMesh(home).run(start)
        yield process
    assert leftovers(home) == []


def running(up: UpProcess) -> RunningMesh:
    return RunningMesh(up.home)


async def works(mesh: Mesh) -> None:
    """details answers the client, through both sidecars."""
    client = await mesh.pod("bookinfo", app="client")
    await until(lambda: mesh.call_from(client, "http://details:9080/details/0", 5), lambda s: s.all_are(200), 20.0)


def processes_of(pod: Object, word: str) -> list[int]:
    """Process ids, on this machine, of a pod's containers whose command line has a word."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                cgroup = (entry / "cgroup").read_text()
            except OSError:
                continue
            if word in line and pod["metadata"]["uid"] in cgroup:
                found.append(int(entry.name))
    return found


def test_a_sidecar_that_is_killed_comes_back(up: UpProcess) -> None:
    async def take(mesh: Mesh) -> None:
        await works(mesh)
        pod = await mesh.pod("bookinfo", app="details")
        for pid in processes_of(pod, "agent"):
            os.kill(pid, signal.SIGKILL)

        async def restarted() -> tuple[int, bool]:
            status = (await mesh.client.get(PODS, pod["metadata"]["name"], "bookinfo"))["status"]
            entry = next(e for e in status["initContainerStatuses"] if e["name"] == "istio-proxy")
            return entry["restartCount"], bool(entry["ready"])

        await until(restarted, lambda r: r[0] >= 1 and r[1], 30.0)
        await works(mesh)

    running(up).run(take)


BAD = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bad, namespace: bookinfo}
spec:
  hosts: [details]
  http:
  - timeout: 0s
    route: [{destination: {host: details}}]
"""


def test_a_bad_manifest_is_refused_with_its_reason(up: UpProcess, tmp_path: Path) -> None:
    async def take(mesh: Mesh) -> None:
        with pytest.raises(Applied, match="timeout"):
            await apply(mesh.client, loads(BAD, "bad.yaml"))
        with pytest.raises(ApiError) as refused:
            await mesh.client.create(VIRTUAL_SERVICES, loads(BAD)[0].object)
        assert refused.value.code in (400, 422)
        assert await mesh.client.find(VIRTUAL_SERVICES, "bad", "bookinfo") is None

    running(up).run(take)
    kubectl = shutil.which("kubectl")
    assert kubectl is not None, "kubectl is needed on PATH"
    manifest = tmp_path / "bad.yaml"
    manifest.write_text(BAD)
    done = subprocess.run(
        [kubectl, "--kubeconfig", str(up.home / "kubeconfig"), "apply", "-f", str(manifest)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "timeout" in done.stderr


def test_a_killed_control_plane_does_not_stop_traffic_and_a_new_one_takes_over(up: UpProcess) -> None:
    """API server, controllers and istiod are one process here: SIGKILL takes them all."""

    async def look(mesh: Mesh) -> tuple[str, str, int]:
        await works(mesh)
        client, details = await mesh.pod("bookinfo", app="client"), await mesh.pod("bookinfo", app="details")
        (pid, *_) = processes_of(client, "samples/apps echo")
        return details["status"]["podIP"], details["metadata"]["uid"], pid

    address, uid, pid = running(up).run(look)
    up.kill()
    # With no API server to ask, the call is made in the client's network namespace: its sidecar catches it all the same.
    command = ["nsenter", "-t", str(pid), "-n", *call_command(f"http://{address}:9080/details/0", 50)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert '"statuses": {"200": 50}' in done.stdout, done.stdout + done.stderr
    up.start()

    async def again(mesh: Mesh) -> None:
        await works(mesh)
        assert (await mesh.pod("bookinfo", app="details"))["metadata"]["uid"] == uid
        route = {
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "details", "namespace": "bookinfo"},
            "spec": {"hosts": ["details"], "http": [{"directResponse": {"status": 418}}]},
        }  # fmt: skip
        await mesh.client.create(VIRTUAL_SERVICES, route)
        client = await mesh.pod("bookinfo", app="client")
        await until(lambda: mesh.call_from(client, "http://details:9080/details/0", 3), lambda s: s.all_are(418), 30.0)
        await mesh.client.delete(VIRTUAL_SERVICES, "details", "bookinfo")
        await works(mesh)

    running(up).run(again)
