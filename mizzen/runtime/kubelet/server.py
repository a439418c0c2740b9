"""The kubelet's HTTPS server: logs, exec, attach, port-forward, health, pods, statistics.

Streams are handed on to the runtime's streaming server as they come (WebSocket or SPDY): the bytes are piped.
Source: the kubelet's API: /containerLogs, /exec, /attach, /portForward, /pods, /healthz, /stats/summary, /metrics/resource.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import msgspec

from mizzen.runtime.cri.streaming.http1 import BadRequest, Request, pipe, read_request
from mizzen.runtime.kubelet import criconfig, logs, podspec
from mizzen.runtime.kubelet.auth import Authorizer
from mizzen.runtime.kubelet.kubelet import Kubelet
from mizzen.runtime.kubelet.summary import resource_metrics, summary
from mizzen.runtime.kubelet.worker import PodWorker
from mizzen.wire import cri

log = logging.getLogger("mizzen.kubelet.server")


class NoSuch(Exception):
    """No such pod, container or log; the text says it to the user."""


class Server:
    """Serves one kubelet. context: its TLS, whose client CA makes certificates count; None serves plaintext (tests)."""

    def __init__(self, kubelet: Kubelet, authorizer: Authorizer | None, tls: ssl.SSLContext | None) -> None:
        self._kubelet, self._authorizer, self._tls = kubelet, authorizer, tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; the port."""
        self._server = await asyncio.start_server(self._connected, host, port, ssl=self._tls)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop and end what is under way."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            request = await read_request(reader, writer)
            if request is not None:
                await self._serve(request)
        except BadRequest as error:
            log.info("bad request: %s", error)
        except (ConnectionError, ssl.SSLError):
            pass
        except Exception:
            log.exception("request failed")
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                writer.close()

    async def _serve(self, request: Request) -> None:
        parts = [part for part in request.path.split("/") if part]
        if parts in (["healthz"], ["healthz", "ping"], ["livez"]):
            await request.respond(200, b"ok")
            return
        if self._authorizer is not None and (code := await self._authorizer.allowed(request)) != 200:
            await request.respond(code, b"Unauthorized" if code == 401 else b"Forbidden")
            return
        handlers: dict[str, Callable[[Request, list[str]], Awaitable[None]]] = {
            "containerLogs": self._logs,
            "exec": self._exec,
            "attach": self._attach,
            "portForward": self._port_forward,
            "pods": self._pods,
            "run": self._run,
            "stats": self._stats,
            "metrics": self._metrics,
        }
        handler = handlers.get(parts[0]) if parts else None
        if handler is None:
            await request.respond(404, b"404 page not found\n")
            return
        try:
            await handler(request, parts[1:])
        except NoSuch as error:
            await request.respond(404, str(error).encode())
        except grpc.aio.AioRpcError as error:
            await request.respond(500, (error.details() or str(error.code())).encode())

    # Finding things

    def _worker(self, namespace: str, name: str) -> PodWorker:
        for worker in self._kubelet.workers.values():
            meta = worker.pod["metadata"]
            if (meta["namespace"], meta["name"]) == (namespace, name):
                return worker
        raise NoSuch(f'pod "{name}" not found')

    def _running(self, worker: PodWorker, container: str) -> str:
        """The id of a running container."""
        view = worker.views.get(container)
        if view is None:
            raise NoSuch(f'container "{container}" not found in pod {worker.pod["metadata"]["name"]}')
        if not view.running:
            raise NoSuch(f"container not found ({container!r})".replace("'", '"'))
        return str(view.current.id)

    # Handlers

    async def _pods(self, request: Request, parts: list[str]) -> None:
        items = [{**w.pod, "status": w.status()} for w in self._kubelet.workers.values()]
        body = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}
        await request.respond(200, msgspec.json.encode(body), "application/json")

    async def _stats(self, request: Request, parts: list[str]) -> None:
        body = await summary(self._kubelet)
        await request.respond(200, msgspec.json.encode(body), "application/json")

    async def _metrics(self, request: Request, parts: list[str]) -> None:
        await request.respond(200, (await resource_metrics(self._kubelet)).encode(), "text/plain; version=0.0.4")

    async def _logs(self, request: Request, parts: list[str]) -> None:
        if len(parts) != 3:
            raise NoSuch("expected /containerLogs/NAMESPACE/POD/CONTAINER")
        namespace, name, container = parts
        worker = self._worker(namespace, name)
        view = worker.views.get(container)
        if view is None:
            raise NoSuch(f'container "{container}" in pod "{name}" is not available')
        options = _log_options(request)
        previous = request.flag("previous")
        attempt = view.attempt - 1 if previous else view.attempt
        if attempt < 0:
            word = f'previous terminated container "{container}"' if previous else f'container "{container}"'
            reason = "not found" if previous else f"is waiting to start: {_why(worker, container)}"
            await request.respond(400, f'{word} in pod "{name}" {reason}'.encode())
            return
        folder = criconfig.log_directory(self._kubelet.context.logs, worker.pod)
        path = folder / container / f"{attempt}.log"

        def running() -> bool:
            return view.running and view.attempt == attempt

        blocks = logs.read(path, options, running)
        try:
            first = await anext(blocks, b"")
        except FileNotFoundError:
            raise NoSuch(f'no log of container "{container}" in pod "{name}"') from None
        await request.begin_chunks("text/plain")
        if first:
            await request.chunk(first)
        gone = asyncio.create_task(request.reader.read(1))
        try:
            while not gone.done() or not options.follow:
                following = asyncio.ensure_future(anext(blocks, b""))
                await asyncio.wait(
                    [following, gone] if options.follow else [following], return_when=asyncio.FIRST_COMPLETED
                )
                if not following.done():
                    following.cancel()
                    break
                if not (block := following.result()):
                    break
                await request.chunk(block)
            await request.chunk(b"")
        finally:
            gone.cancel()

    async def _run(self, request: Request, parts: list[str]) -> None:
        """POST /run/NAMESPACE/POD/CONTAINER?cmd=: output of a command."""
        namespace, name, container = parts[0], parts[1], parts[-1]
        container_id = self._running(self._worker(namespace, name), container)
        command = request.query.get("cmd", [""])[0].split(" ")
        answer = await self._kubelet.runtime.ExecSync(cri.ExecSyncRequest(container_id=container_id, cmd=command))
        await request.respond(200 if answer.exit_code == 0 else 500, answer.stdout + answer.stderr)

    async def _exec(self, request: Request, parts: list[str]) -> None:
        worker = self._worker(parts[0], parts[1])
        container_id = self._running(worker, parts[-1])
        tty = request.flag("tty")
        answer = await self._kubelet.runtime.Exec(
            cri.ExecRequest(
                container_id=container_id,
                cmd=request.query.get("command", []),
                tty=tty,
                stdin=request.flag("input"),
                stdout=request.flag("output"),
                stderr=request.flag("error") and not tty,
            )
        )
        await _hand_on(request, answer.url)

    async def _attach(self, request: Request, parts: list[str]) -> None:
        worker = self._worker(parts[0], parts[1])
        container_id = self._running(worker, parts[-1])
        tty = bool(worker.specs[parts[-1]].get("tty"))
        answer = await self._kubelet.runtime.Attach(
            cri.AttachRequest(
                container_id=container_id,
                tty=tty,
                stdin=request.flag("input"),
                stdout=request.flag("output"),
                stderr=request.flag("error") and not tty,
            )
        )
        await _hand_on(request, answer.url)

    async def _port_forward(self, request: Request, parts: list[str]) -> None:
        worker = self._worker(parts[0], parts[1])
        if not worker.sandbox_id:
            raise NoSuch(f'pod "{parts[1]}" is not running')
        asked = request.query.get("port", []) + request.query.get("ports", [])
        ports = [int(item) for text in asked for item in text.split(",") if item.isdigit()]
        answer = await self._kubelet.runtime.PortForward(
            cri.PortForwardRequest(pod_sandbox_id=worker.sandbox_id, port=ports)
        )
        await _hand_on(request, answer.url)


def _why(worker: PodWorker, container: str) -> str:
    for entry in (*worker.status().get("initContainerStatuses", ()), *worker.status()["containerStatuses"]):
        if entry["name"] == container and "waiting" in entry["state"]:
            return str(entry["state"]["waiting"].get("message") or entry["state"]["waiting"]["reason"])
    return podspec.pod_name(worker.pod)


def _log_options(request: Request) -> logs.Options:
    query = {key: values[-1] for key, values in request.query.items()}
    since = 0.0
    if query.get("sinceTime"):
        since = datetime.fromisoformat(query["sinceTime"]).timestamp()
    elif query.get("sinceSeconds"):
        since = time.time() - float(query["sinceSeconds"])
    stream = {"Stdout": "stdout", "Stderr": "stderr"}.get(query.get("stream", ""), "")
    return logs.Options(
        follow=request.flag("follow"),
        tail=int(query["tailLines"]) if query.get("tailLines") else None,
        since=since,
        timestamps=request.flag("timestamps"),
        limit=int(query["limitBytes"]) if query.get("limitBytes") else None,
        stream=stream,
    )


async def _hand_on(request: Request, url: str) -> None:
    """Send the request's head to the runtime's streaming server and pipe from then on."""
    parts = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except OSError as error:
        await request.respond(502, f"the runtime's streaming server: {error}".encode())
        return
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    headers = {**request.headers, "host": parts.netloc}
    headers.pop("authorization", None)
    lines = [f"{request.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    await pipe((request.reader, request.writer), (reader, writer))


def tls_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """A server context; client certificates of client_ca are asked for, not demanded."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
