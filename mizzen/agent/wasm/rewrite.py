"""The agent's door to its Wasm modules: what it costs is paid when the first resource that is one comes.

Takes responses of extension resources as bytes; those without a Wasm filter pass as they are. Not here: the rest of the room.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from mizzen.agent.wasm.settings import Counts, Settings

if TYPE_CHECKING:
    from mizzen.agent.wasm.cache import ModuleCache

MARK = b"envoy.extensions.filters.http.wasm.v3.Wasm", b"envoy.extensions.filters.network.wasm.v3.Wasm"


class WasmModules:
    """`rewrite` for an XdsProxy. folder: where modules are kept."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder, self._settings, self.counts = folder, settings, Counts()
        self._cache: ModuleCache | None = None
        self._purging: asyncio.Task[None] | None = None

    async def rewrite(self, response: bytes, delta: bool) -> bytes:
        """Raises PeerError for a resource that cannot be read."""
        if not any(mark in response for mark in MARK):
            return response
        from mizzen.agent.wasm.cache import ModuleCache  # aiohttp and Envoy's messages: 25 MB
        from mizzen.agent.wasm.convert import converted

        if self._cache is None:
            self._cache = ModuleCache(self._folder, self._settings, self.counts)
            self._purging = asyncio.create_task(self._cache.purge(), name="wasm-purge")
        return await converted(response, self._cache, self.counts, delta=delta)

    def close(self) -> None:
        """Ends the purging."""
        if self._purging is not None:
            self._purging.cancel()
