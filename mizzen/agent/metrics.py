"""Merged metrics: the agent's own, the proxy's, the application's, in that order; a part that fails is left out.

Takes ISTIO_PROMETHEUS_ANNOTATIONS. Source: Istio's merged scrape. Not here: the HTTP server.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from mizzen import __version__
from mizzen.agent.http1 import Request, Response, fetch
from mizzen.api.errors import PeerError, UsageError

log = logging.getLogger("mizzen.agent.metrics")

TEXT = "text/plain; version=0.0.4; charset=utf-8"
MAX_APP_BODY = 10 * 1024 * 1024
DEFAULT_TIMEOUT_S = 10.0


class Scrape(msgspec.Struct, frozen=True, kw_only=True):
    """One target of an application."""

    path: str = "/metrics"
    port: str = "80"


class Annotations(msgspec.Struct, frozen=True, kw_only=True):
    """ISTIO_PROMETHEUS_ANNOTATIONS."""

    scrape: str = ""
    path: str = ""
    port: str = ""
    targets: tuple[Scrape, ...] = ()


def read_targets(text: str) -> tuple[Scrape, ...]:
    """What to scrape of the application. Raises UsageError."""
    if not text:
        return ()
    try:
        said = msgspec.json.decode(text, type=Annotations)
    except msgspec.DecodeError as error:
        raise UsageError(f"ISTIO_PROMETHEUS_ANNOTATIONS: {error}") from error
    if said.scrape == "false":
        return ()
    if said.targets:
        return said.targets
    return (Scrape(path=said.path or "/metrics", port=said.port or "80"),)


class Metrics:
    """counters: the agent's own numbers by name."""

    def __init__(
        self,
        targets: Sequence[Scrape],
        envoy_port: int | None,
        pod_ip: str,
        counters: Callable[[], Mapping[str, float]],
    ) -> None:
        self._targets, self._envoy_port, self._ip, self._counters = targets, envoy_port, pod_ip, counters
        self._started = time.time()

    async def answer(self, request: Request) -> Response:
        timeout_s = DEFAULT_TIMEOUT_S
        with suppress(ValueError):
            timeout_s = float(request.header("x-prometheus-scrape-timeout-seconds") or DEFAULT_TIMEOUT_S)
        envoy, *applications = await asyncio.gather(
            self._envoy(request.query, timeout_s),
            *(self._application(target, request, timeout_s) for target in self._targets),
        )
        parts = [self._own(), envoy.body, *(answer.body for answer in applications)]
        open_metrics = len(applications) == 1 and applications[0].content_type.startswith(
            "application/openmetrics-text"
        )
        kind = applications[0].content_type if open_metrics else TEXT
        if not open_metrics:
            parts = [re.sub(rb"(?m)^# EOF\n?", b"", part) for part in parts]
        body = b"".join(part if part.endswith(b"\n") else part + b"\n" for part in parts if part)
        return Response(200, body, kind)

    def _own(self) -> bytes:
        numbers = {
            "istio_agent_process_start_time_seconds": self._started,
            **{f"istio_agent_{name}": value for name, value in self._counters().items()},
        }
        families: dict[str, str] = {}
        for name, value in numbers.items():
            family = name.partition("{")[0]
            families[family] = families.get(family, f"# TYPE {family} gauge\n") + f"{name} {value:g}\n"
        info = f'istio_agent_build_info{{version="{__version__}"}} 1\n'
        return ("".join(families.values()) + f"# TYPE istio_agent_build_info gauge\n{info}").encode()

    async def _envoy(self, query: str, timeout_s: float) -> Response:
        if self._envoy_port is None:
            return Response(200)
        path = "/stats/prometheus" + (f"?{query}" if query else "")
        return await self._part("127.0.0.1", self._envoy_port, path, (), timeout_s)

    async def _application(self, target: Scrape, request: Request, timeout_s: float) -> Response:
        accept = request.header("accept")
        headers = [("Accept", accept)] if accept else []
        return await self._part(self._ip, int(target.port), target.path, headers, timeout_s, MAX_APP_BODY)

    async def _part(
        self, host: str, port: int, path: str, headers: Sequence[tuple[str, str]], timeout_s: float, most: int = 2**31
    ) -> Response:
        try:
            answer = await fetch(host, port, path, headers=headers, timeout_s=timeout_s, most=most)
        except (OSError, PeerError) as error:
            log.warning("metrics of %s:%d%s: %s", host, port, path, error or type(error).__name__)
            return Response(200)
        if answer.status != 200:
            log.warning("metrics of %s:%d%s: status %d", host, port, path, answer.status)
            return Response(200)
        return answer


def dumped_table(table: Mapping[str, object]) -> bytes:
    return json.dumps(table, indent=1).encode()
