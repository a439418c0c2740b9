"""Modules by HTTP: with retries, out of gzip and tar, never more than a bound.

Source: what Istio's agent takes (pkg/wasm). Not here: checksums, keeping (cache.py).
"""

from __future__ import annotations

import asyncio
import io
import logging
import random
import tarfile
import zlib

import aiohttp

from mizzen.agent.wasm.settings import Settings
from mizzen.api.errors import PeerError

log = logging.getLogger("mizzen.agent.wasm")

MAGIC = b"\0asm"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0
NOT_AGAIN = frozenset({501, 505, 511})
TAR_AT, TAR_MAGIC, GZIP_MAGIC = 257, b"ustar", b"\x1f\x8b"


def is_module(data: bytes) -> bool:
    """Whether it begins as a Wasm binary: magic number and version."""
    return len(data) >= 8 and data.startswith(MAGIC)


async def fetch_module(session: aiohttp.ClientSession, url: str, settings: Settings, *, insecure: bool) -> bytes:
    """The module at a URL. insecure: its certificate is not verified. Raises PeerError; cancelled by the caller's time-out."""
    pause = FIRST_PAUSE_S
    said = "no attempt is allowed"
    for attempt in range(1, settings.attempts + 1):
        try:
            async with session.get(
                url, ssl=not insecure, timeout=aiohttp.ClientTimeout(settings.request_timeout_s)
            ) as answer:
                if answer.status == 200:
                    return unboxed(await bounded(answer, settings.most_bytes), settings.most_bytes)
                said = f"status {answer.status}"
                if answer.status < 500 or answer.status in NOT_AGAIN:
                    break
        except (aiohttp.ClientError, TimeoutError) as error:
            said = str(error) or "timed out"
        log.debug("%s, attempt %d: %s", url, attempt, said)
        if attempt < settings.attempts:
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, LONGEST_PAUSE_S)
    raise PeerError(f"{url}: {said}")


async def bounded(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The body. Raises PeerError when it is longer than most bytes."""
    parts, size = [], 0
    async for part in answer.content.iter_chunked(1 << 16):
        size += len(part)
        if size > most:
            raise PeerError(f"{answer.url}: more than {most} bytes")
        parts.append(part)
    return b"".join(parts)


def unboxed(data: bytes, most: int) -> bytes:
    """What is in gzip and tar, however nested; as it came when there is no module in it."""
    inner = data
    while not is_module(inner):
        if inner.startswith(GZIP_MAGIC):
            found = gunzipped(inner, most)
        elif inner[TAR_AT : TAR_AT + len(TAR_MAGIC)] == TAR_MAGIC:
            found = _first_file(inner)
        else:
            return data
        if found is None:
            return data
        inner = found
    return inner


def gunzipped(data: bytes, most: int) -> bytes | None:
    """At most so many bytes of a gzip stream; None when it is none."""
    try:
        return zlib.decompressobj(wbits=31).decompress(data, most)
    except zlib.error:
        return None


def _first_file(data: bytes) -> bytes | None:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            member = archive.next()
            reader = archive.extractfile(member) if member is not None else None
            return reader.read() if reader is not None else None
    except tarfile.TarError:
        return None
