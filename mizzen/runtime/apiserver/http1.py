"""A lean HTTP/1.1 server: one asyncio protocol per connection, requests one after the other, no coroutine where none is needed.

Takes a handler `(Request) -> Response | Awaitable[Response] | None`; None says that the handler answers by itself, through
`request.stream()` (chunked bodies: watches, logs) or `request.hijack()` (upgrades: exec, port-forward).
Not here: what requests mean. HTTP/2 is not served: clients of Kubernetes fall back to 1.1 when TLS offers only that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import httptools

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 3 * 1024 * 1024  # as kube-apiserver's limit of request bodies
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
Handler = Callable[["Request"], "Response | Awaitable[Response | None] | None"]


class Response:
    """A whole answer. `headers` are further ones beside Content-Type and Content-Length."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        status: int,
        body: bytes,
        content_type: str = "application/json",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.status, self.body, self.content_type, self.headers = status, body, content_type, headers


class Request:
    """One request. Header names are lower case; `target` is path and query as sent."""

    __slots__ = ("body", "connection", "context", "headers", "method", "target", "upgrade")

    def __init__(self, method: str, target: str, headers: dict[str, str], body: bytes, connection: Connection) -> None:
        self.method, self.target, self.headers, self.body = method, target, headers, body
        self.connection = connection
        self.upgrade = False
        self.context: Any = None

    def stream(self, status: int, content_type: str, headers: tuple[tuple[str, str], ...] = ()) -> Stream:
        return self.connection.open_stream(status, content_type, headers)

    def hijack(self) -> Hijacked:
        return self.connection.hijack()


class Stream:
    """A chunked answer under way. `closed` becomes done when the peer goes; `write` never blocks, `drained` waits for room."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.closed: asyncio.Future[None] = connection.loop.create_future()

    def write(self, data: bytes) -> None:
        if not self.closed.done():
            self._connection.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def drained(self) -> None:
        await self._connection.writable()

    @property
    def backlog_bytes(self) -> int:
        return self._connection.transport.get_write_buffer_size()

    def end(self) -> None:
        if not self.closed.done():
            self._connection.transport.write(b"0\r\n\r\n")
            self.closed.set_result(None)
            self._connection.finished()

    def abort(self) -> None:
        self._connection.transport.abort()


class Hijacked:
    """A connection's bare bytes after an upgrade: `receive` gets what the peer sends, `closed` is called once."""

    def __init__(self, connection: Connection, rest: bytes) -> None:
        self._connection, self.rest = connection, rest
        self.receive: Callable[[bytes], None] = lambda data: None
        self.closed: Callable[[], None] = lambda: None

    @property
    def transport(self) -> asyncio.Transport:
        return self._connection.transport


class Connection(asyncio.Protocol):
    """Moves bytes between the transport, httptools and the handler."""

    def __init__(self, handler: Handler, loop: asyncio.AbstractEventLoop, open_: set[Connection]) -> None:
        self.loop = loop
        self._handler = handler
        self._open = open_
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._queue: list[Request] = []
        self._busy: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._stream: Stream | None = None
        self._hijacked: Hijacked | None = None
        self._paused: asyncio.Future[None] | None = None
        self._keep_alive = True
        self._upgrading = False
        self.peer_certificate: bytes | None = None
        self.identity: Any = None  # the authenticator's, per connection
        self.transport: asyncio.Transport

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._open.add(self)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self.peer_certificate = tls.getpeercert(binary_form=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        if self._stream and not self._stream.closed.done():
            self._stream.closed.set_result(None)
        if self._hijacked:
            self._hijacked.closed()
        if self._task:
            self._task.cancel()
        if self._paused and not self._paused.done():
            self._paused.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._hijacked:
            self._hijacked.receive(data)
            return
        if self._upgrading:
            self._body.append(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrading = True
            rest = data[upgrade.args[0] :] if upgrade.args else b""
            self._body = [rest] if rest else []
        except httptools.HttpParserError:
            self._plain(400, b"400 Bad Request")

    def eof_received(self) -> bool:
        if self._hijacked:
            self._hijacked.closed()
        return False

    def pause_writing(self) -> None:
        self._paused = self.loop.create_future()

    def resume_writing(self) -> None:
        if self._paused and not self._paused.done():
            self._paused.set_result(None)
        self._paused = None

    async def writable(self) -> None:
        if self._paused:
            await self._paused

    # httptools

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body, self._size = b"", {}, [], 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]},{text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= MAX_BODY_BYTES:
            self._body.append(body)

    def on_message_complete(self) -> None:
        parser = self._parser
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = Request(parser.get_method().decode(), self._url.decode("latin-1"), self._headers, body, self)
        # What follows a request to upgrade is not HTTP: a plain answer to it is the connection's last.
        self._keep_alive = parser.should_keep_alive() and not parser.should_upgrade()
        if self._size > MAX_BODY_BYTES:
            self._plain(413, b"request body too large")
            return
        request.upgrade = parser.should_upgrade()
        if self._busy is not None:
            self._queue.append(request)
            return
        self._serve(request)

    # answering

    def _serve(self, request: Request) -> None:
        self._busy = request
        try:
            answer = self._handler(request)
        except Exception:
            log.exception("%s %s", request.method, request.target)
            self._plain(500, b"internal error")
            return
        if isinstance(answer, Response):
            self._answer(answer)
        elif answer is not None:
            self._task = self.loop.create_task(self._await(request, answer), name=f"{request.method} {request.target}")

    async def _await(self, request: Request, answer: Awaitable[Response | None]) -> None:
        try:
            response = await answer
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("%s %s", request.method, request.target)
            if self._stream or self._hijacked:
                self.transport.abort()
                return
            response = Response(500, b"internal error", "text/plain")
        self._task = None
        if response is not None and not self.transport.is_closing():
            self._answer(response)

    def _answer(self, response: Response) -> None:
        body = response.body
        head = [
            b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nCache-Control: no-cache, private\r\n"
            % (response.status, _PHRASES.get(response.status, b"Unknown"), response.content_type.encode(), len(body))
        ]
        head += [f"{name}: {value}\r\n".encode() for name, value in response.headers]
        head.append(b"\r\n" if self._keep_alive else b"Connection: close\r\n\r\n")
        if self._busy is not None and self._busy.method == "HEAD":
            body = b""
        if len(body) < 65536:
            head.append(body)
            self.transport.write(b"".join(head))
        else:
            self.transport.write(b"".join(head))
            self.transport.write(body)
        self.finished()

    def finished(self) -> None:
        self._busy = None
        self._stream = None
        if not self._keep_alive:
            self.transport.close()
        elif self._queue:
            self._serve(self._queue.pop(0))

    def _plain(self, status: int, text: bytes) -> None:
        self._keep_alive = False
        self._answer(Response(status, text, "text/plain; charset=utf-8"))

    def open_stream(self, status: int, content_type: str, headers: tuple[tuple[str, str], ...]) -> Stream:
        more = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self.transport.write(
            f"HTTP/1.1 {status} {_PHRASES[status].decode()}\r\nContent-Type: {content_type}\r\n"
            f"Cache-Control: no-cache, private\r\nTransfer-Encoding: chunked\r\n{more}\r\n".encode()
        )
        self._stream = Stream(self)
        return self._stream

    def hijack(self) -> Hijacked:
        rest = b"".join(self._body) if self._upgrading else b""
        self._hijacked = Hijacked(self, rest)
        return self._hijacked
