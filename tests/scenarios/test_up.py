"""Starting and stopping a mesh: interrupted anywhere, with things in its way, killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import dns.message
import dns.query
import pytest

from mizzen.kube.resource import CONFIG_MAPS, SERVICES
from mizzen.testing.plugin import RunningMesh
from mizzen.up import preflight
from mizzen.up.leftovers import leftovers
from mizzen.up.mesh import Mesh
from mizzen.up.process import DidNotStart, UpProcess

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root"), pytest.mark.timeout(120)]


@pytest.mark.parametrize("said", ["", "API server", "istiod", "node", "ready"])
def test_interrupted_anywhere_it_leaves_nothing(tmp_path: Path, said: str, data_plane: str) -> None:
    """SIGINT once `said` has been printed ("" = at once)."""
    up = UpProcess(tmp_path, data_plane=data_plane)
    code = up.interrupt_after(said, signal.SIGINT)
    assert leftovers(tmp_path) == [], up.output
    assert code in (0, -signal.SIGINT), up.output


def test_a_taken_port_is_one_clear_line(tmp_path: Path, data_plane: str) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("0.0.0.0", 15017))
        holder.listen()
        up = UpProcess(tmp_path, data_plane=data_plane)
        with pytest.raises(DidNotStart, match="port 15017 \\(webhooks\\) is taken"):
            up.start()
    assert leftovers(tmp_path) == []


def test_a_killed_mesh_is_cleared_by_down(tmp_path: Path, data_plane: str) -> None:
    up = UpProcess(tmp_path, data_plane=data_plane)
    up.start()
    os.kill(up.pid, signal.SIGKILL)
    up.stop()
    assert leftovers(tmp_path) != []
    down = [sys.executable, "-m", "mizzen", "down", "--home", str(tmp_path)]
    subprocess.run(down, check=True, capture_output=True, timeout=60)
    assert leftovers(tmp_path) == []


def test_a_mesh_comes_back_with_its_objects(tmp_path: Path, data_plane: str) -> None:
    async def write(mesh: Mesh) -> None:
        obj = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "kept", "namespace": "default"},
            "data": {"a": "b"},
        }
        await mesh.client.create(CONFIG_MAPS, obj)

    async def read(mesh: Mesh) -> object:
        return (await mesh.client.get(CONFIG_MAPS, "kept", "default"))["data"]

    with UpProcess(tmp_path, data_plane=data_plane):
        RunningMesh(tmp_path).run(write)
    with UpProcess(tmp_path, data_plane=data_plane):
        assert RunningMesh(tmp_path).run(read) == {"a": "b"}


def test_cluster_addresses_answer_as_soon_as_it_is_ready(tmp_path: Path, data_plane: str) -> None:
    async def ask(mesh: Mesh) -> str:
        service = await mesh.client.get(SERVICES, "kube-dns", "kube-system")
        query = dns.message.make_query("kubernetes.default.svc.cluster.local", "A")
        address = service["spec"]["clusterIP"]
        answer = await asyncio.to_thread(dns.query.udp, query, address, 5.0)
        return str(answer.answer[0][0])

    with UpProcess(tmp_path, data_plane=data_plane):
        first = RunningMesh(tmp_path).run(ask)
    assert first.endswith(".0.1")


@pytest.mark.no_proxy("nothing is started")
def test_without_root_it_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    command = [sys.executable, "-m", "mizzen", "up", "--home", str(tmp_path / "home")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, user=65534, env={**os.environ, "HOME": "/tmp"}
    )
    assert done.returncode == 1
    assert "not root: pods need network namespaces and mounts; run with sudo" in done.stderr


@pytest.mark.no_proxy("nothing is started")
def test_without_a_program_it_names_the_package() -> None:
    (problem,) = preflight.check([], {"no-such-program": "some-package"})
    assert str(problem) == "no-such-program is not installed: apt-get install some-package"
