"""One HTTPS POST to a webhook: body in, status and body out. No pool: webhooks are few, and each call has its own trust.

Raises OSError and TimeoutError as the network gives them.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import lru_cache
from typing import NamedTuple


class Target(NamedTuple):
    """Where to: `host` is what is dialled, `name` what the certificate must say."""

    host: str
    port: int
    path: str
    name: str
    ca: bytes  # PEM; b"" trusts the system's


@lru_cache(maxsize=64)
def _context(ca: bytes) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca.decode() if ca else None)


async def post(target: Target, body: bytes, timeout_s: float) -> tuple[int, bytes]:
    async with asyncio.timeout(timeout_s):
        context = _context(target.ca)
        reader, writer = await asyncio.open_connection(
            target.host, target.port, ssl=context, server_hostname=target.name, limit=1 << 22
        )
        try:
            head = (
                f"POST {target.path} HTTP/1.1\r\nHost: {target.name}:{target.port}\r\nContent-Type: application/json\r\n"
                f"Accept: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + body)
            return await _answer(reader)
        finally:
            writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return status, await _chunks(reader)
        if "content-length" in headers:
            return status, await reader.readexactly(int(headers["content-length"]))
        return status, await reader.read()
    except (asyncio.IncompleteReadError, ValueError, IndexError) as error:
        raise OSError(f"bad answer: {error}") from None


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    found = []
    while size := int((await reader.readline()).split(b";")[0] or b"0", 16):
        found.append(await reader.readexactly(size))
        await reader.readline()
    return b"".join(found)
