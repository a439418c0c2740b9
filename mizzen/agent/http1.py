"""HTTP/1.1 as far as the agent needs it: a server for its status port, a client for probes, metrics and the admin port.

One request a connection. Not here: what is served (status.py).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus

import msgspec

from mizzen.api.errors import PeerError

log = logging.getLogger("mizzen.agent.http")

MAX_HEAD, MAX_BODY = 64 * 1024, 64 * 1024 * 1024
Headers = Sequence[tuple[str, str]]


class Request(msgspec.Struct, frozen=True):
    """path: without the query. peer: the caller's IP address."""

    method: str
    path: str
    query: str
    headers: Headers
    peer: str

    @property
    def from_loopback(self) -> bool:
        return self.peer in ("127.0.0.1", "::1", "127.0.0.6") or self.peer.startswith("::ffff:127.")

    def header(self, name: str, default: str = "") -> str:
        return next((value for key, value in self.headers if key.lower() == name), default)


class Response(msgspec.Struct, frozen=True):
    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Headers = ()

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


Answer = Callable[[Request], Awaitable[Response]]


async def serve(answer: Answer, hosts: Sequence[str], port: int) -> asyncio.Server:
    """A server that is listening. `answer` is called for every request."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await one_request(reader, writer, answer)
        except (OSError, PeerError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass
        except Exception:  # the one place where a request's error ends
            log.exception("a request to the status port failed")
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    return await asyncio.start_server(connected, list(hosts), port, limit=MAX_HEAD)


async def one_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    first, headers = read_head(head)
    method, target, _ = first
    path, _, query = target.partition("?")
    peer = (writer.get_extra_info("peername") or ("",))[0]
    response = await answer(Request(method, path, query, headers, peer))
    reason = HTTPStatus(response.status).phrase if response.status in HTTPStatus._value2member_map_ else ""
    lines = [
        f"HTTP/1.1 {response.status} {reason}",
        f"content-type: {response.content_type}",
        f"content-length: {len(response.body)}",
        *(f"{name}: {value}" for name, value in response.headers),
        "connection: close",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else response.body))
    await writer.drain()


def read_head(head: bytes) -> tuple[tuple[str, str, str], list[tuple[str, str]]]:
    """((three words of the first line), headers). Raises PeerError."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if len(words) < 2:
        raise PeerError("no HTTP")
    headers = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:] if line)]
    return (words[0], words[1], words[2] if len(words) > 2 else ""), headers


async def fetch(
    host: str,
    port: int,
    path: str,
    *,
    method: str = "GET",
    headers: Headers = (),
    timeout_s: float = 5.0,
    tls: ssl.SSLContext | None = None,
    source: str = "",
    most: int = MAX_BODY,
) -> Response:
    """One request. most: bytes of the body that are read. Raises PeerError and OSError (TimeoutError too)."""
    async with asyncio.timeout(timeout_s):
        local = (source, 0) if source else None
        reader, writer = await asyncio.open_connection(host, port, ssl=tls, local_addr=local, limit=MAX_HEAD)
        try:
            named = any(name.lower() == "host" for name, _ in headers)
            lines = [f"{method} {path} HTTP/1.1", *([] if named else [f"Host: {bracketed(host)}:{port}"])]
            lines += [f"{name}: {value}" for name, value in headers]
            length = ["Content-Length: 0"] if method == "POST" else []
            writer.write("\r\n".join([*lines, *length, "Connection: close", "", ""]).encode("latin-1"))
            await writer.drain()
            return await read_response(reader, method, most)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            raise PeerError(f"{host}:{port}: {error}") from error
        finally:
            writer.close()


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def read_response(reader: asyncio.StreamReader, method: str, most: int) -> Response:
    while True:
        words, headers = read_head(await reader.readuntil(b"\r\n\r\n"))
        status = int(words[1])
        if status >= 200:
            break
    response = Response(status, b"", next((v for k, v in headers if k.lower() == "content-type"), ""), headers)
    if method == "HEAD" or status in (204, 304):
        return response
    return msgspec.structs.replace(response, body=await read_body(reader, response, most))


async def read_body(reader: asyncio.StreamReader, response: Response, most: int) -> bytes:
    if "chunked" in response.header("transfer-encoding").lower():
        parts, total = [], 0
        while total < most:
            size = int((await reader.readline()).split(b";")[0], 16)
            if not size:
                break
            parts.append(await reader.readexactly(size))
            total += size
            await reader.readline()
        return b"".join(parts)[:most]
    length = response.header("content-length")
    if length:
        return await reader.readexactly(min(int(length), most))
    parts, total = [], 0
    while total < most and (part := await reader.read(65536)):
        parts.append(part)
        total += len(part)
    return b"".join(parts)[:most]


def unverified() -> ssl.SSLContext:
    """TLS that trusts anyone: the kubelet's own probes do not verify either."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def query_fields(request: Request) -> Mapping[str, str]:
    return {key: value for key, _, value in (part.partition("=") for part in request.query.split("&")) if key}
