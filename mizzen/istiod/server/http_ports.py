"""The HTTP ports: readiness and debugging (8080), metrics (15014), webhooks (15017, TLS), ControlZ (9876).

Takes what answers, starts aiohttp sites, says which ports they got. Not here: the answers (debug/, webhooks.py,
metrics.py).
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterable, Mapping

from aiohttp import web

from mizzen.istiod.server.metrics import Metrics
from mizzen.istiod.server.observer import VERSION
from mizzen.istiod.server.options import bind

log = logging.getLogger(__name__)

Probe = Callable[[], str | None]
"""Why something is not ready; None when it is."""
MAX_REQUEST = 16 << 20
STATUS = "Clean"


class HttpPorts:
    """The ports are taken at once; sites are added one by one and all ended by `stop`. addresses: by name, "" =
    none.
    """

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self.ports: dict[str, int] = {}
        self._sockets = {name: bind(name, address) for name, address in addresses.items() if address}
        self._runners: list[web.AppRunner] = []

    async def start(self, name: str, routes: Iterable[web.AbstractRouteDef], tls: ssl.SSLContext | None = None) -> None:
        """Serve routes at the address of that name, if it has one."""
        listener = self._sockets.get(name)
        if listener is None:
            return
        app = web.Application(client_max_size=MAX_REQUEST)
        app.add_routes(routes)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        await web.SockSite(runner, listener, ssl_context=tls).start()
        self.ports[name] = int(listener.getsockname()[1])

    async def stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
        for listener in self._sockets.values():
            listener.close()


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
