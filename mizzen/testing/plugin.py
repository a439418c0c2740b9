"""The pytest plugin that comes with `pip install mizzen`: a mesh as a fixture.

    def test_canary(mizzen_mesh):            # a running mesh (mizzen.up.mesh.Mesh) over a loop of its own
        mizzen_mesh.run(lambda mesh: mesh.apply(Path("canary.yaml")))

Fixtures: `mizzen_home` (the folder of a running mesh, started once a session), `mizzen_mesh`. Options: --mizzen-data-plane,
--mizzen-home (use a mesh that runs already). Needs root; skips nothing silently: without root the fixture fails and says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mizzen")
    group.addoption("--mizzen-data-plane", choices=("mizzen", "envoy"), default="mizzen", help="what sidecars run")
    group.addoption("--mizzen-home", default=None, help="the home of a mesh that runs already")


class RunningMesh:
    """A mesh and a loop to talk to it with, for tests that are not asynchronous themselves."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.kubeconfig = home / "kubeconfig"

    def run(self, work: Callable[..., Awaitable[T]]) -> T:
        """Runs work(mesh) to its end and gives its result. mesh: mizzen.up.mesh.Mesh."""
        from mizzen.kube.client import Client
        from mizzen.kube.kubeconfig import load
        from mizzen.up.mesh import Mesh

        async def main() -> T:
            async with Client(load(self.kubeconfig), user_agent="mizzen pytest") as client:
                return await work(Mesh(client))

        return asyncio.run(main())


@pytest.fixture(scope="session")
def mizzen_home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a running mesh."""
    from mizzen.up.process import UpProcess

    given = request.config.getoption("--mizzen-home")
    if given:
        yield Path(given)
        return
    home = tmp_path_factory.mktemp("mizzen")
    with UpProcess(home, data_plane=request.config.getoption("--mizzen-data-plane")):
        yield home


@pytest.fixture
def mizzen_mesh(mizzen_home: Path) -> RunningMesh:
    """The running mesh."""
    return RunningMesh(mizzen_home)
