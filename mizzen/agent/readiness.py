"""Whether a pod may take traffic: the proxy has its configuration and works, and DNS has its names.

What was once seen is not asked again, as in Istio. Not here: serving the answer (status.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from mizzen.agent.http1 import fetch
from mizzen.api.errors import PeerError

UPDATES = ("cluster_manager.cds.update_success", "listener_manager.lds.update_success")
STATE, WORKERS = "server.state", "listener_manager.workers_started"
FILTER = "^(cluster_manager.cds|listener_manager.lds).(update_success|update_rejected)$"
READY_FILTER = "^(server.state|listener_manager.workers_started)$"
LIVE = 0
TIMEOUT_S = 3.0

Check = Callable[[], Awaitable[str | None]]


class EnvoyProbe:
    """Asks the proxy's admin port."""

    def __init__(self, admin_port: int) -> None:
        self._port = admin_port
        self._updated = self._live = False

    async def check(self) -> str | None:
        """None when ready, else why not."""
        try:
            if not self._updated:
                stats = await self._stats(f"usedonly&filter={quote(FILTER)}")
                missing = [name for name in UPDATES if stats.get(name, 0) < 1]
                if missing:
                    rejected = {name: stats.get(name.replace("success", "rejected"), 0) for name in missing}
                    return f"config not fully received from XDS server: waiting for {rejected}"
                self._updated = True
            if not self._live:
                stats = await self._stats(f"filter={quote(READY_FILTER)}")  # a state of 0 may count as unused
                if stats.get(STATE) != LIVE:
                    return f"server is not live, current state is {stats.get(STATE)}"
                if stats.get(WORKERS) != 1:
                    return "workers have not yet started"
                self._live = True
        except (OSError, PeerError) as error:
            return f"the proxy's admin port does not answer: {error or type(error).__name__}"
        return None

    async def _stats(self, query: str) -> dict[str, int]:
        return read_stats((await fetch("127.0.0.1", self._port, f"/stats?{query}", timeout_s=TIMEOUT_S)).body.decode())


def read_stats(text: str) -> dict[str, int]:
    """Lines `name: number`; histograms and texts are left out."""
    result = {}
    for line in text.splitlines():
        name, colon, value = line.rpartition(": ")
        if colon and value.strip().isdigit():
            result[name] = int(value)
    return result


class Readiness:
    """All checks in order; `stopping` once the agent ends."""

    def __init__(self, checks: list[Check]) -> None:
        self._checks = checks
        self.stopping = False

    async def check(self) -> str | None:
        if self.stopping:
            return "not ready: the agent is stopping"
        for check in self._checks:
            why = await check()
            if why is not None:
                return why
        return None
