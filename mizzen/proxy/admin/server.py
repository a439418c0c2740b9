"""The admin interface: an HTTP/1.1 server for people and scrapers. Off the data path; one request at a time per connection.

The pages are in pages.py, statistics in stats_pages.py, configuration in dump.py: one list, PAGES, says which path is what.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mizzen.proxy.admin.answers import Answer
from mizzen.proxy.admin.pages import PAGES
from mizzen.proxy.codec.errors import CodecError
from mizzen.proxy.codec.h1_head import content_length, parse_request
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.values import socket_address
from mizzen.proxy.filters.registry import typed
from mizzen.proxy.http.clock import date
from mizzen.proxy.http.h1_connection import STATUS_LINES
from mizzen.proxy.upstream.h1_client import chunk

if TYPE_CHECKING:
    from mizzen.proxy.server import Server

MAX_HEAD = 64 * 1024


def parameters(query: str) -> dict[str, str]:
    """The first value of each query parameter; a plus sign is itself."""
    out: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name:
            out.setdefault(unquote(name), unquote(value))
    return out


class Admin:
    """Listens where the bootstrap says."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.address: tuple[str, int] = ("", 0)
        self._listening: asyncio.AbstractServer | None = None
        self.stats: Any = server.stats.group(
            "listener.admin",
            [
                "downstream_cx_total",
                "downstream_cx_destroy",
                "downstream_cx_overflow",
                "downstream_pre_cx_timeout",
                "no_filter_chain_match",
            ],
            ["downstream_cx_active", "downstream_pre_cx_active"],
        )

    async def start(self, config: Any) -> None:
        for each in config.access_log:  # what Istio's bootstrap sets: a log that nobody reads
            kind, log = typed(each.typed_config, each.name)
            if not kind.endswith(".FileAccessLog") or log.path != "/dev/null":
                raise Unsupported(f"Admin.access_log {each.name} (but to /dev/null)")
        host, port = socket_address(config.address, "admin.address")
        try:
            if port < 0:
                self._listening = await asyncio.start_unix_server(self._serve, host)
                self.address = (host, -1)
            else:
                self._listening = await asyncio.start_server(self._serve, host, port, reuse_address=True)
                self.address = self._listening.sockets[0].getsockname()[:2]
        except OSError as error:
            raise ConfigError(f"cannot bind '{host}:{port}': {error.strerror}") from error
        path = self.server.options.admin_address_path
        if path:
            text = f"[{self.address[0]}]" if ":" in self.address[0] else self.address[0]
            with open(path, "w") as file:  # noqa: ASYNC230
                file.write(f"{text}:{self.address[1]}")

    async def stop(self) -> None:
        if self._listening is not None:
            self._listening.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.stats.downstream_cx_total += 1
        self.stats.downstream_cx_active += 1
        try:
            keep = True
            while keep:
                keep = await self._one(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self.stats.downstream_cx_active -= 1
            self.stats.downstream_cx_destroy += 1
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        try:
            request, version = parse_request(head[:-4])
            length = max(0, content_length(request.d, request.more))
        except CodecError:
            writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            return False
        body = await reader.readexactly(length) if length else b""
        keep = request.d.get("connection", "").lower() != "close" and version == "HTTP/1.1"
        path, _, query = request.path.partition("?")
        pool = self.server.pool
        if pool is not None:
            await pool.before(path)
        answer = self.answer(request.method, path, parameters(query), body)
        data = answer.body.encode("utf-8", "surrogateescape") if isinstance(answer.body, str) else answer.body
        fields = [
            f"content-type: {answer.content_type}\r\n",
            "cache-control: no-cache, max-age=0\r\n",
            "x-content-type-options: nosniff\r\n",
            f"date: {date()}\r\nserver: envoy\r\n",
            "" if keep else "connection: close\r\n",
        ]
        if version == "HTTP/1.1":
            fields.append("transfer-encoding: chunked\r\n\r\n")
            payload = (chunk(data) if data else b"") + b"0\r\n\r\n" if request.method != "HEAD" else b""
        else:
            fields.append(f"content-length: {len(data)}\r\n\r\n")
            payload = data
        writer.write((STATUS_LINES[answer.status] + "".join(fields)).encode("latin-1") + payload)
        await writer.drain()
        if answer.then is not None:
            answer.then()
        return keep

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes = b"") -> Answer:
        """What a path answers."""
        page = PAGES.get(path)
        if page is None:
            text = "invalid path. " + PAGES["/help"].make(self.server, query, body).body
            return Answer(text, status=404)
        if page.changes and method != "POST":
            return Answer(f"Method {method} not allowed, POST required.", status=405)
        answer = page.make(self.server, query, body)
        if page.changes and answer.status == 200 and self.server.pool is not None:
            self.server.pool.did(path, query, body)
        return answer
