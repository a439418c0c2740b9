"""A number of requests for each API key, told by a key service that is asked over the network and remembered for a while.

config: {service: "127.0.0.1:9000", header: x-api-key, remember_s: 30}. The service answers `GET /KEY` with the requests a
minute that the key has, or 404.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from mizzen.http_filter import HttpFilter, Reply, Request

WINDOW_S = 60.0


class Quota(HttpFilter):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        host, _, port = str(config.get("service", "")).partition(":")
        if not host or not port.isdigit():
            raise ValueError('service: "HOST:PORT" is needed')
        self.address = (host, int(port))
        self.header = config.get("header", "x-api-key")
        self.remember_s = float(config.get("remember_s", 30.0))
        self.limits: dict[str, tuple[int, float]] = {}  # by key: requests a window, and until when that is believed
        self.windows: dict[str, tuple[float, int]] = {}  # by key: when the window began, and requests in it

    async def on_request(self, request: Request) -> Reply | None:
        key = request.headers.get(self.header, "")
        if not key.isalnum():
            return Reply(401, "an API key is needed\n")
        limit = await self.limit_of(key)
        if limit is None:
            return Reply(403, "unknown API key\n")
        begun, used = self.windows.get(key, (0.0, 0))
        now = time.monotonic()
        if now - begun >= WINDOW_S:
            begun, used = now, 0
        if used >= limit:
            self.count("limited")
            return Reply(429, "too many requests\n", {"retry-after": str(int(begun + WINDOW_S - now) + 1)})
        self.windows[key] = (begun, used + 1)
        request.metadata["quota"] = {"key": key, "left": limit - used - 1}
        return None

    async def limit_of(self, key: str) -> int | None:
        known = self.limits.get(key)
        if known is None or known[1] < time.monotonic():
            async with asyncio.timeout(2.0):
                answer = await self.ask(key)
            if answer is None:
                return None
            known = self.limits[key] = (answer, time.monotonic() + self.remember_s)
        return known[0]

    async def ask(self, key: str) -> int | None:
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(f"GET /{key} HTTP/1.0\r\n\r\n".encode())
            head, _, body = (await reader.read(4096)).partition(b"\r\n\r\n")
            return int(body) if head.split(b" ")[1:2] == [b"200"] else None
        finally:
            writer.close()
