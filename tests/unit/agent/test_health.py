"""When an application's verdict changes, and how it is found."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mizzen.agent.health import HealthReporter
from mizzen.agent.http1 import Request, Response, serve
from mizzen.api.errors import UsageError


async def well() -> str | None:
    return None


def reporter(probe: dict[str, Any], told: list[tuple[bool, str]]) -> HealthReporter:
    async def report(healthy: bool, why: str) -> None:
        told.append((healthy, why))

    return HealthReporter(probe, "127.0.0.1", well, report)


def test_thresholds() -> None:
    made = reporter({"tcpSocket": {"port": 1}, "failureThreshold": 3, "successThreshold": 2}, [])
    results = [made.count(good) for good in (True, True, True, False, False, True, False, False, False, True, True)]
    assert results == [None, True, None, None, None, None, None, None, False, None, True]


def test_one_method_exactly() -> None:
    for probe in ({}, {"httpGet": {"port": 1}, "exec": {"command": ["x"]}}):
        with pytest.raises(UsageError, match="readinessProbe"):
            reporter(probe, [])


async def test_http_and_exec() -> None:
    status = 200

    async def page(request: Request) -> Response:
        return Response(status)

    server = await serve(page, ["127.0.0.1"], 0)
    told: list[tuple[bool, str]] = []
    http = reporter({"httpGet": {"port": server.sockets[0].getsockname()[1]}}, told)
    await http._once()
    status = 500
    await http._once()
    await reporter({"exec": {"command": ["false"]}}, told)._once()
    await reporter({"exec": {"command": ["true"]}}, told)._once()
    server.close()
    assert told == [(True, ""), (False, "status 500"), (False, "the command ended with 1"), (True, "")]
    await asyncio.sleep(0)
