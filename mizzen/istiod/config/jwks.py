"""Fetches the key sets that RequestAuthentications name, and puts them into the store.

Takes a store; looks every second at what is wanted, fetches what is new, again after RETRY_S when it failed, and again
after REFRESH_S. Keys that cannot be fetched any more stay in force. Not here: what keys are for.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable

import aiohttp

from mizzen.api.errors import PeerError
from mizzen.istiod.config.store import ConfigStore
from mizzen.istiod.jwks import DISCOVERY, Jwks, sources

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
RETRY_S = 10.0
REFRESH_S = 20 * 60.0
TIMEOUT_S = 5.0
MAX_BYTES = 1 << 20
Fetch = Callable[[str], Awaitable[str]]
"""source → JWKS text. Raises PeerError."""


class JwksSource:
    """`run` until cancelled. fetch: for tests."""

    def __init__(self, store: ConfigStore, fetch: Fetch | None = None) -> None:
        self._store = store
        self._fetch = fetch or fetch_keys
        self._due: dict[str, float] = {}

    async def run(self) -> None:
        while True:
            await self.look(time.monotonic())
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self, now: float) -> None:
        """Fetch what is due; forget what nobody wants any more. now: monotonic seconds."""
        wanted = sources(obj for key, obj in self._store.objects.items() if key[0] == "RequestAuthentication")
        for source in self._due.keys() - wanted:
            del self._due[source]
            self._store.remove(("Jwks", ("", source)))
        due = [source for source in sorted(wanted) if self._due.get(source, 0.0) <= now]
        await asyncio.gather(*(self._get(source, now) for source in due))

    async def _get(self, source: str, now: float) -> None:
        try:
            text = await self._fetch(source)
        except PeerError as error:
            self._due[source] = now + RETRY_S
            log.warning("keys of %s: %s", source, error)
            return
        self._due[source] = now + REFRESH_S
        self._store.put_typed(("Jwks", ("", source)), Jwks.of(source, text))


async def fetch_keys(source: str) -> str:
    """The JWKS of a URI, or of the URI that an OpenID discovery document names. Raises PeerError."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        text = await _get(session, source)
        if source.endswith(DISCOVERY):
            uri = _object(text, source).get("jwks_uri")
            if not isinstance(uri, str):
                raise PeerError(f"{source} names no jwks_uri")
            text = await _get(session, uri)
    if not isinstance(_object(text, source).get("keys"), list):
        raise PeerError(f"{source} gives no key set")
    return text


async def _get(session: aiohttp.ClientSession, uri: str) -> str:
    try:
        async with session.get(uri) as response:
            response.raise_for_status()
            return (await response.content.read(MAX_BYTES)).decode()
    except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError) as error:
        raise PeerError(f"GET {uri}: {error or type(error).__name__}") from error


def _object(text: str, source: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise PeerError(f"{source} gives no JSON") from error
    if not isinstance(value, dict):
        raise PeerError(f"{source} gives no JSON object")
    return value
