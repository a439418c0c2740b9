"""The agent's status port (15020): readiness, probes, metrics, and the paths that end or drain the proxy.

Protected paths answer loopback only. Not here: what each does (readiness.py, app_probes.py, metrics.py, supervisor.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from mizzen.agent.app_probes import AppProbes
from mizzen.agent.http1 import Request, Response
from mizzen.agent.metrics import Metrics
from mizzen.agent.readiness import Readiness

Act = Callable[[], Awaitable[None]]


class StatusServer:
    """acts: what POST /quitquitquit and POST /drain do; name_table: JSON for /debug/ndsz, None when there is none."""

    def __init__(
        self,
        readiness: Readiness,
        probes: AppProbes,
        metrics: Metrics,
        acts: Mapping[str, Act],
        name_table: Callable[[], bytes | None],
        *,
        metrics_local_only: bool,
    ) -> None:
        self._readiness, self._probes, self._metrics = readiness, probes, metrics
        self._acts, self._name_table, self._metrics_local_only = acts, name_table, metrics_local_only

    async def answer(self, request: Request) -> Response:
        """One request."""
        path = request.path
        if path == "/healthz/ready":
            why = await self._readiness.check()
            return Response(200) if why is None else Response(503, why.encode())
        if path in ("/stats/prometheus", "/metrics"):
            if self._metrics_local_only and not request.from_loopback:
                return Response(403, b"only loopback may ask for this")
            return await self._metrics.answer(request)
        if path.startswith(("/app-health/", "/app-lifecycle/")):
            return await self._probes.answer(request)
        if path in self._acts:
            return await self._act(request)
        if path == "/debug/ndsz":
            if not request.from_loopback:
                return Response(403, b"only loopback may ask for this")
            table = self._name_table()
            return (
                Response(404, b"{}", "application/json") if table is None else Response(200, table, "application/json")
            )
        return Response(404, b"no such path")

    async def _act(self, request: Request) -> Response:
        if not request.from_loopback:
            return Response(403, b"only loopback may ask for this")
        if request.method != "POST":
            return Response(405, b"POST is expected", headers=[("allow", "POST")])
        await self._acts[request.path]()
        return Response(200, b"OK")
