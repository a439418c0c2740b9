"""An application's own readiness, told to the control plane: for workloads outside Kubernetes.

Takes ProxyConfig.readinessProbe; the proxy's readiness is asked too. A change of the verdict is a health report on the
discovery stream. Source: istio.networking.v1alpha3.ReadinessProbe. Not here: probes that a kubelet makes (app_probes.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mizzen.agent.http1 import fetch, unverified
from mizzen.api.errors import PeerError, UsageError

log = logging.getLogger("mizzen.agent.health")

KINDS = ("httpGet", "tcpSocket", "exec", "grpc")
Check = Callable[[], Awaitable[str | None]]
Report = Callable[[bool, str], Awaitable[None]]


class HealthReporter:
    """pod_ip: where the application listens. `run` is the only task."""

    def __init__(self, probe: Mapping[str, Any], pod_ip: str, proxy_ready: Check, report: Report) -> None:
        kinds = [kind for kind in KINDS if kind in probe]
        if len(kinds) != 1:
            raise UsageError(f"readinessProbe: exactly one of {', '.join(KINDS)} is expected")
        self._kind, self._handler = kinds[0], probe[kinds[0]] or {}
        self._probe, self._ip, self._proxy_ready, self._report = probe, pod_ip, proxy_ready, report
        self._verdict: bool | None = None
        self._row = 0

    def _number(self, name: str, default: float) -> float:
        return float(self._probe.get(name) or default)

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.sleep(self._number("initialDelaySeconds", 0))
        while True:
            await self._once()
            await asyncio.sleep(self._number("periodSeconds", 10))

    async def _once(self) -> None:
        try:
            why = await self._proxy_ready() or await self._ask()
        except (OSError, PeerError) as error:
            why = f"{error or type(error).__name__}"
        verdict = self.count(why is None)
        if verdict is not None:
            log.info("the application is %s", "healthy" if verdict else f"unhealthy: {why}")
            await self._report(verdict, why or "")

    def count(self, good: bool) -> bool | None:
        """The new verdict when enough results in a row say so; None while nothing changes."""
        if good == self._verdict:
            self._row = 0
            return None
        self._row += 1
        needed = self._number("successThreshold" if good else "failureThreshold", 1)
        if self._row < needed:
            return None
        self._verdict, self._row = good, 0
        return good

    async def _ask(self) -> str | None:
        """None when the application is well; else why not. Raises OSError and PeerError."""
        handler, timeout_s = self._handler, self._number("timeoutSeconds", 1)
        host = str(handler.get("host") or self._ip)
        if self._kind == "httpGet":
            tls = unverified() if str(handler.get("scheme", "")).upper() == "HTTPS" else None
            headers = [(entry["name"], entry["value"]) for entry in handler.get("httpHeaders") or ()]
            path = str(handler.get("path") or "/")
            answer = await fetch(host, int(handler["port"]), path, headers=headers, timeout_s=timeout_s, tls=tls)
            return None if 200 <= answer.status < 400 else f"status {answer.status}"
        if self._kind == "tcpSocket":
            async with asyncio.timeout(timeout_s):
                _, writer = await asyncio.open_connection(host, int(handler["port"]))
            writer.close()
            return None
        if self._kind == "grpc":
            from mizzen.agent.grpc_probe import check

            serving = await check(self._ip, int(handler["port"]), str(handler.get("service") or ""), timeout_s)
            return None if serving else "not serving"
        return await self._execute(timeout_s)

    async def _execute(self, timeout_s: float) -> str | None:
        process = await asyncio.create_subprocess_exec(*self._handler["command"], stdout=asyncio.subprocess.DEVNULL)
        try:
            status = await asyncio.wait_for(process.wait(), timeout_s)
        except TimeoutError:
            process.kill()
            await process.wait()
            return "the command took too long"
        return None if status == 0 else f"the command ended with {status}"
