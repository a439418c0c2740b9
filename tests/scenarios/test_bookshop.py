"""The whole mesh: the bookshop's scenario, step by step, on both data planes with the same expectations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mizzen.testing.plugin import RunningMesh
from mizzen.up.leftovers import leftovers
from mizzen.up.mesh import Mesh
from mizzen.up.process import UpProcess
from mizzen.up.scenario import STEPS, Check, Shop, Step, manifests

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root"), pytest.mark.timeout(240)]
NAMESPACES = ("bookinfo", "istio-ingress", "legacy")


@pytest.fixture(scope="module")
def shop_mesh(data_plane: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    home = tmp_path_factory.mktemp("shop")
    with UpProcess(home, data_plane=data_plane):
        running = RunningMesh(home)

        async def apply(mesh: Mesh) -> None:
            await mesh.apply(*manifests())
            await mesh.ready(*NAMESPACES, timeout_s=90.0)

        running.run(apply)
        yield running
    assert leftovers(home) == []


@pytest.mark.parametrize("step", [pytest.param(step, id=title) for title, step in STEPS])
def test_step(shop_mesh: RunningMesh, step: Step) -> None:
    async def take(mesh: Mesh) -> list[Check]:
        host = (await mesh.pods("bookinfo"))[0]["status"]["hostIP"]
        return [check async for check in step(Shop(mesh, f"http://{host}:30080", host))]

    checks = shop_mesh.run(take)
    assert checks
    assert [check for check in checks if not check.ok] == []


def test_home_has_a_kubeconfig(shop_mesh: RunningMesh) -> None:
    assert Path(shop_mesh.kubeconfig).stat().st_mode & 0o077 == 0
