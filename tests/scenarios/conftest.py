"""Every test here runs on both data planes, or says why there is no proxy in it (`@pytest.mark.no_proxy("reason")`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mizzen.agent.supervisor import find_envoy

HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=["mizzen", "envoy"])
def data_plane(request: pytest.FixtureRequest) -> str:
    """What the sidecars and gateways of the test are: our proxy, then Envoy."""
    if request.param == "envoy" and not find_envoy():
        pytest.skip("no Envoy here")
    return str(request.param)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE not in item.path.parents or "data_plane" in getattr(item, "fixturenames", ()):
            continue
        mark = item.get_closest_marker("no_proxy")
        if mark is None or not mark.args:
            raise pytest.UsageError(f"{item.nodeid} runs on one data plane only: use `data_plane`, or mark it no_proxy")
