"""The schedule of one running container's probes: startup first, then readiness and liveness.

Before its first success a startup or readiness probe that costs little (not exec) is also asked in between, so that a
container counts as ready when it is, not at the next period; such extra failures are not counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from mizzen.runtime.kubelet.probe import Outcome, ProbeState, ask
from mizzen.wire import cri

EAGER_FIRST_S, EAGER_FACTOR, EAGER_LIMIT_S = 0.03, 1.4, 0.25
TITLES = {"startup": "Startup", "readiness": "Readiness", "liveness": "Liveness"}

OnChange = Callable[[str, bool, Outcome], None]
"""(kind, passing, outcome): a threshold was reached."""
OnFailure = Callable[[str, Outcome], None]


class ContainerProbes:
    """Runs a container's probes until cancelled. `started`, `ready`: what holds now."""

    def __init__(
        self,
        container: dict[str, Any],
        container_id: str,
        ip: str,
        client: cri.CriClient,
        on_change: OnChange,
        on_failure: OnFailure,
    ) -> None:
        self._container, self._id, self._ip, self._client = container, container_id, ip, client
        self._on_change, self._on_failure = on_change, on_failure
        self.started = "startupProbe" not in container
        self.ready = self.started and "readinessProbe" not in container
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the container runs."""
        if any(f"{kind}Probe" in self._container for kind in TITLES):
            self._task = asyncio.create_task(self._run(), name=f"probes of {self._container['name']}")

    def stop(self) -> None:
        """End; idempotent."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        if not self.started:
            await self._loop("startup", self._container["startupProbe"], until_passing=True)
            self.started = True
            self.ready = "readinessProbe" not in self._container
            self._on_change("startup", True, Outcome(True))
        async with asyncio.TaskGroup() as group:
            for kind in ("readiness", "liveness"):
                if (spec := self._container.get(f"{kind}Probe")) is not None:
                    group.create_task(self._loop(kind, spec), name=f"{kind} of {self._container['name']}")

    async def _loop(self, kind: str, spec: dict[str, Any], *, until_passing: bool = False) -> None:
        loop = asyncio.get_running_loop()
        state = ProbeState(spec, initial=kind == "liveness")
        period_s = float(spec.get("periodSeconds") or 10)
        eager = kind != "liveness" and "exec" not in spec
        pause_s = EAGER_FIRST_S
        await asyncio.sleep(float(spec.get("initialDelaySeconds") or 0))
        due = loop.time()
        while True:
            counted = loop.time() >= due
            outcome = await ask(spec, self._container, self._id, self._ip, self._client)
            if counted:
                due = max(due + period_s, loop.time())
            if counted and not outcome.ok:
                self._on_failure(kind, outcome)
            if (counted or outcome.ok) and state.record(outcome.ok):
                if until_passing and state.passing:
                    return
                self._tell(kind, state.passing, outcome)
            eager = eager and not outcome.ok
            wait_s = max(0.0, due - loop.time())
            await asyncio.sleep(min(wait_s, pause_s) if eager else wait_s)
            pause_s = min(pause_s * EAGER_FACTOR, EAGER_LIMIT_S)

    def _tell(self, kind: str, passing: bool, outcome: Outcome) -> None:
        if kind == "readiness":
            if self.ready == passing:
                return
            self.ready = passing
        self._on_change(kind, passing, outcome)
