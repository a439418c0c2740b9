"""The HTTP ports: readiness and debugging (8080), metrics (15014), webhooks (15017, TLS), ControlZ (9876).

Takes what answers, starts aiohttp sites, says which ports they got. Not here: the answers (debug/, webhooks.py,
metrics.py).
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterable

from aiohttp import web

from mizzen.api.errors import UsageError
from mizzen.istiod.server.metrics import Metrics
from mizzen.istiod.server.observer import VERSION
from mizzen.istiod.server.options import split_address

log = logging.getLogger(__name__)

Probe = Callable[[], str | None]
"""Why something is not ready; None when it is."""
MAX_REQUEST = 16 << 20
STATUS = "Clean"


class HttpPorts:
    """Sites are added one by one and all ended by `stop`."""

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self._runners: list[web.AppRunner] = []

    async def start(
        self, name: str, address: str, routes: Iterable[web.AbstractRouteDef], tls: ssl.SSLContext | None = None
    ) -> None:
        """Serve routes at an address; nothing when it is ""."""
        if not address:
            return
        app = web.Application(client_max_size=MAX_REQUEST)
        app.add_routes(routes)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        host, port = split_address(address)
        try:
            await web.TCPSite(runner, host, port, ssl_context=tls).start()
        except OSError as error:
            raise UsageError(f"--{name.replace('_', '-')}-addr {address}: {error.strerror}") from error
        self.ports[name] = int(runner.addresses[0][1])

    async def stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()


def ready_routes(probe: Probe) -> list[web.AbstractRouteDef]:
    """GET /ready: 200 or 503 with the reason."""

    async def ready(_: web.Request) -> web.Response:
        reason = probe()
        return web.Response(status=200) if reason is None else web.Response(status=503, text=reason + "\n")

    return [web.get("/ready", ready)]


def monitoring_routes(metrics: Metrics) -> list[web.AbstractRouteDef]:
    """GET /metrics and /version."""

    async def render(_: web.Request) -> web.Response:
        return web.Response(text=metrics.render(), content_type="text/plain", charset="utf-8")

    async def version(_: web.Request) -> web.Response:
        return web.Response(text=f"{VERSION}-mizzen-{STATUS}")

    return [web.get("/metrics", render), web.get("/version", version)]
