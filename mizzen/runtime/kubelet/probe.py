"""Probes: the counting (pure) and the asking (HTTP, TCP, gRPC, exec).

`ProbeState` turns outcomes into a verdict; `ask` performs one probe. The schedule is probing.py's.
Source: Kubernetes' Probe: thresholds, HTTP 200–399, grpc.health.v1.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from typing import Any, NamedTuple

import grpc

from mizzen.runtime.kubelet.podspec import named_port
from mizzen.wire import cri
from mizzen.wire.varint import varint

USER_AGENT = "kube-probe/1.37"
MAX_BODY = 10 * 1024
_UNVERIFIED = ssl.create_default_context()
_UNVERIFIED.check_hostname = False
_UNVERIFIED.verify_mode = ssl.CERT_NONE


class Outcome(NamedTuple):
    """How one probe went; text tells why it failed."""

    ok: bool
    text: str = ""


class ProbeState:
    """One probe's verdict. initial: True for liveness, False for readiness and startup."""

    def __init__(self, spec: dict[str, Any], initial: bool) -> None:
        self.passing = initial
        self._successes_needed = int(spec.get("successThreshold") or 1)
        self._failures_needed = int(spec.get("failureThreshold") or 3)
        self._streak, self._last = 0, initial

    def record(self, ok: bool) -> bool:
        """Count an outcome; whether the threshold of its kind is reached (again) by it."""
        self._streak = self._streak + 1 if ok == self._last else 1
        self._last = ok
        if self._streak < (self._successes_needed if ok else self._failures_needed):
            return False
        self.passing = ok
        return True


async def ask(
    spec: dict[str, Any], container: dict[str, Any], container_id: str, ip: str, client: cri.CriClient
) -> Outcome:
    """One probe within its timeout."""
    timeout_s = float(spec.get("timeoutSeconds") or 1)
    try:
        async with asyncio.timeout(timeout_s):
            if "exec" in spec:
                return await _exec(spec["exec"].get("command") or [], container_id, timeout_s, client)
            if "httpGet" in spec:
                return await http_get(spec["httpGet"], container, ip)
            if "tcpSocket" in spec:
                return await _tcp(spec["tcpSocket"], container, ip)
            if "grpc" in spec:
                return await _grpc(spec["grpc"], ip)
            return Outcome(False, "missing probe handler")
    except TimeoutError:
        return Outcome(False, f"timeout: the probe did not answer within {timeout_s:g}s (context deadline exceeded)")
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        return Outcome(False, str(error))


async def _exec(command: list[str], container_id: str, timeout_s: float, client: cri.CriClient) -> Outcome:
    request = cri.ExecSyncRequest(container_id=container_id, cmd=command, timeout=math.ceil(timeout_s))
    try:
        answer = await client.ExecSync(request)
    except grpc.aio.AioRpcError as error:
        return Outcome(False, error.details() or str(error.code()))
    text = (answer.stdout + answer.stderr)[:MAX_BODY].decode(errors="replace")
    return Outcome(answer.exit_code == 0, text)


async def http_get(action: dict[str, Any], container: dict[str, Any], ip: str) -> Outcome:
    """GET; 200 to 399 is success."""
    host = action.get("host") or ip
    port = named_port(container, action["port"])
    path = action.get("path") or "/"
    if not path.startswith("/"):
        path = "/" + path
    tls = _UNVERIFIED if (action.get("scheme") or "HTTP") == "HTTPS" else None
    headers = {"Host": f"{host}:{port}", "User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close"}
    for item in action.get("httpHeaders") or ():
        headers[item["name"].title()] = item["value"]
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        status = (await reader.readline()).split()
        if len(status) < 2 or not status[1].isdigit():
            return Outcome(False, "malformed HTTP response")
        code = int(status[1])
        return Outcome(200 <= code < 400, "" if 200 <= code < 400 else f"HTTP probe failed with statuscode: {code}")
    finally:
        writer.close()


async def _tcp(action: dict[str, Any], container: dict[str, Any], ip: str) -> Outcome:
    _, writer = await asyncio.open_connection(action.get("host") or ip, named_port(container, action["port"]))
    writer.close()
    return Outcome(True)


async def _grpc(action: dict[str, Any], ip: str) -> Outcome:
    service = (action.get("service") or "").encode()
    request = b"\x0a" + varint(len(service)) + service if service else b""  # HealthCheckRequest.service = 1
    async with grpc.aio.insecure_channel(f"{ip}:{action['port']}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            answer = await check(request)
        except grpc.aio.AioRpcError as error:
            return Outcome(False, f"service unhealthy: {error.code().name}: {error.details()}")
    if answer == b"\x08\x01":  # HealthCheckResponse.status = SERVING
        return Outcome(True)
    return Outcome(False, "service unhealthy (responded with a status that is not SERVING)")


async def run_hook(
    hook: dict[str, Any], container: dict[str, Any], container_id: str, ip: str, client: cri.CriClient
) -> Outcome:
    """A lifecycle hook: exec, httpGet, tcpSocket or sleep; no timeout of its own."""
    if "sleep" in hook:
        await asyncio.sleep(float(hook["sleep"]["seconds"]))
        return Outcome(True)
    if "exec" in hook:
        return await _exec(hook["exec"].get("command") or [], container_id, 0, client)
    if "httpGet" in hook:
        try:
            return await http_get(hook["httpGet"], container, ip)
        except (OSError, ValueError) as error:
            return Outcome(False, str(error))
    if "tcpSocket" in hook:
        try:
            return await _tcp(hook["tcpSocket"], container, ip)
        except (OSError, ValueError) as error:
            return Outcome(False, str(error))
    return Outcome(False, "missing hook handler")
