"""Probes and hooks of applications, sent on by the agent from 127.0.0.6, so that they bypass the proxy.

Takes ISTIO_KUBE_APP_PROBERS; gives responses for /app-health/… and /app-lifecycle/…. Not here: the rewriting at
injection.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mizzen.agent.http1 import Request, Response, fetch, unverified
from mizzen.api.errors import PeerError, UsageError

log = logging.getLogger("mizzen.agent.probes")

Prober = Mapping[str, Any]
MAX_BODY = 10 * 1024
DEFAULT_TIMEOUT_S = 1.0
KINDS = ("httpGet", "tcpSocket", "grpc")
DROPPED = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding"})


def read_probers(text: str) -> dict[str, Prober]:
    """Raises UsageError with the path of what cannot be read."""
    try:
        probers = json.loads(text or "{}")
    except ValueError as error:
        raise UsageError(f"ISTIO_KUBE_APP_PROBERS: is not JSON: {error}") from error
    for path, prober in probers.items():
        kinds = [kind for kind in KINDS if prober.get(kind)]
        if not path.startswith(("/app-health/", "/app-lifecycle/")) or len(kinds) != 1:
            raise UsageError(f"ISTIO_KUBE_APP_PROBERS: {path}: exactly one of {', '.join(KINDS)} is expected")
        if not isinstance(prober[kinds[0]].get("port"), int):
            raise UsageError(f"ISTIO_KUBE_APP_PROBERS: {path}: the port must be a number")
    return dict(probers)


class AppProbes:
    """pod_ip: where the application is ("localhost" in legacy mode); status_port: the agent's own."""

    def __init__(self, probers: Mapping[str, Prober], pod_ip: str, status_port: int) -> None:
        self._probers, self._ip, self._status_port = probers, pod_ip, status_port

    @property
    def source(self) -> str:
        return "::6" if ":" in self._ip else "127.0.0.6"

    async def answer(self, request: Request) -> Response:
        """The application's answer, or 400 for a path that nobody told us of."""
        prober = self._probers.get(request.path)
        if prober is None:
            return Response(400, f"no probe is known for {request.path}".encode())
        timeout_s = float(prober.get("timeoutSeconds") or DEFAULT_TIMEOUT_S)
        try:
            if prober.get("httpGet"):
                return await self._http(prober["httpGet"], request, timeout_s)
            if prober.get("tcpSocket"):
                return await self._tcp(prober["tcpSocket"], timeout_s)
            return await self._grpc(prober["grpc"], timeout_s)
        except (OSError, PeerError) as error:
            log.debug("probe %s failed: %s", request.path, error)
            return Response(500, f"{error or type(error).__name__}".encode())

    def _host(self, handler: Mapping[str, Any]) -> str:
        host = handler.get("host") or self._ip
        return self._ip if host in ("localhost", "127.0.0.1") else str(host)

    async def _http(self, get: Mapping[str, Any], request: Request, timeout_s: float) -> Response:
        host, port = self._host(get), int(get["port"])
        own = [(entry["name"], entry["value"]) for entry in get.get("httpHeaders") or ()]
        names = {name.lower() for name, _ in own}
        passed = [(name, value) for name, value in request.headers if name.lower() not in DROPPED | names]
        if "host" not in names:
            named = request.header("host", f"{host}:{port}")
            own.append(("Host", named.replace(f":{self._status_port}", f":{port}")))
        path = str(get.get("path") or "/")
        answer = await self._follow(
            host, port, path if path.startswith("/") else f"/{path}", [*own, *passed], get, timeout_s
        )
        if 300 <= answer.status < 400:
            return Response(200, answer.body)
        return Response(answer.status, answer.body, answer.content_type or "text/plain")

    async def _follow(
        self, host: str, port: int, path: str, headers: list[tuple[str, str]], get: Mapping[str, Any], timeout_s: float
    ) -> Response:
        """Follows redirects on the same host; one that leads elsewhere is the answer."""
        tls = unverified() if str(get.get("scheme", "")).upper() == "HTTPS" else None
        answer = Response(500)
        for _ in range(10):
            answer = await fetch(
                host,
                port,
                path,
                headers=headers,
                timeout_s=timeout_s,
                tls=tls,
                source=self._source_of(host),
                most=MAX_BODY,
            )
            target = answer.header("location")
            if not (300 <= answer.status < 400 and target.startswith("/") and not target.startswith("//")):
                return answer
            path = target
        return answer

    def _source_of(self, host: str) -> str:
        return "::6" if ":" in host else "127.0.0.6"

    async def _tcp(self, socket: Mapping[str, Any], timeout_s: float) -> Response:
        host = self._host(socket)
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, int(socket["port"]), local_addr=(self._source_of(host), 0))
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return Response(200)

    async def _grpc(self, probe: Mapping[str, Any], timeout_s: float) -> Response:
        from mizzen.agent.grpc_probe import check

        serving = await check(self._ip, int(probe["port"]), str(probe.get("service") or ""), timeout_s)
        return Response(200 if serving else 500)
