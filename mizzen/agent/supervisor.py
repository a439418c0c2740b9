"""The proxy's process: its arguments, its life, its drain and its end.

Source: Istio's agent: SIGTERM drains listeners, waits, then ends the proxy; a proxy that ends by itself ends the agent.
Not here: when to stop (agent.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mizzen.agent.environment import Environment
from mizzen.agent.http1 import fetch
from mizzen.agent.proxy_config import duration
from mizzen.agent.readiness import read_stats
from mizzen.api.errors import PeerError, UsageError

log = logging.getLogger("mizzen.agent.proxy")

ACTIVE = re.compile(r"^listener\.(.+)\.downstream_cx_active$")
POLL_S, MAX_ERRORS, KILL_AFTER_S = 1.0, 5, 5.0


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says about the proxy."""

    log_level: str = "warning"
    component_log_level: str = ""
    concurrency: int = 0


def data_plane_command(environment: Environment) -> list[str]:
    """The program: ours, or an Envoy. Raises UsageError when there is none."""
    if environment.data_plane == "mizzen" and not environment.envoy_binary:
        return [sys.executable, "-m", "mizzen.proxy"]
    binary = environment.envoy_binary or find_envoy()
    if not binary:
        raise UsageError("no Envoy: ENVOY_BIN names none, and none is on PATH or beside Python")
    return [binary]


def find_envoy() -> str:
    import shutil

    beside = Path(sys.executable).parent / "envoy"
    return str(beside) if beside.is_file() else shutil.which("envoy") or ""


def proxy_arguments(
    environment: Environment, config: Mapping[str, Any], bootstrap: Path, flags: Flags, *, ipv6_only: bool
) -> list[str]:
    """The whole command of the proxy."""
    levels = flags.log_level.split(",")
    level, components = (
        levels[0],
        ",".join([*levels[1:], *([flags.component_log_level] if flags.component_log_level else [])]),
    )
    concurrency = flags.concurrency or int(config.get("concurrency") or 0)
    common = ["-c", str(bootstrap), "--drain-time-s", str(int(duration(config, "drainDuration"))), "-l", level]
    threads = ["--concurrency", str(concurrency)] if concurrency else []
    program = data_plane_command(environment)
    extra = [
        "--drain-strategy",
        "immediate",
        "--local-address-ip-version",
        "v6" if ipv6_only else "v4",
        "--file-flush-interval-msec",
        str(int(1000 * duration(config, "fileFlushInterval"))) if config.get("fileFlushInterval") else "1000",
        "--disable-hot-restart",
        "--allow-unknown-static-fields",
    ]
    if config.get("fileFlushMinSizeKb"):
        extra += ["--file-flush-min-size-kb", str(config["fileFlushMinSizeKb"])]
    if components:
        extra += ["--component-log-level", components]
    if environment.skip_deprecated_logs:
        extra.append("--skip-deprecated-logs")
    if environment.raw.get("ISTIO_ENVOY_ENABLE_CORE_DUMP") == "true":
        extra.append("--enable-core-dump")
    if environment.bootstrap_override:
        extra += ["--config-yaml", override(environment)]
    if len(program) > 1:  # ours
        folders = environment.raw.get("MIZZEN_PYTHON_FILTERS", "").split(":")
        extra += [word for folder in folders if folder for word in ("--python-filters", folder)]
    return [*program, *common, *extra, *threads]


def override(environment: Environment) -> str:
    """The user's bootstrap, to be laid over ours. Raises UsageError."""
    try:
        text = Path(environment.bootstrap_override).read_text()
    except OSError as error:
        raise UsageError(f"ISTIO_BOOTSTRAP_OVERRIDE: {error}") from error
    return text.replace("$(HOST_IP)", environment.raw.get("HOST_IP", ""))


class Proxy:
    """One run of the proxy."""

    def __init__(self, command: Sequence[str], admin_port: int, *, router: bool) -> None:
        self._command, self._admin_port, self._router = command, admin_port, router
        self._process: asyncio.subprocess.Process | None = None
        self._drained = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def run(self) -> int:
        """Starts the proxy and waits for its end; the exit status, negative for a signal."""
        log.info("starting %s", " ".join(self._command))
        environment = {**os.environ, "MIZZEN_AGENT_PID": str(os.getpid())}
        self._process = await asyncio.create_subprocess_exec(*self._command, env=environment)
        status = await self._process.wait()
        if status == -signal.SIGKILL:
            log.error("the proxy was killed; it may have been out of memory")
        return status

    async def drain(self, *, skip_exit: bool = False) -> None:
        """Tells the proxy to take no new connections. Once only."""
        if self._drained:
            return
        self._drained = True
        words = ["graceful"] if self._router else ["inboundonly", "graceful"]
        path = "/drain_listeners?" + "&".join([*words, *(["skip_exit"] if skip_exit else [])])
        try:
            await fetch("127.0.0.1", self._admin_port, path, method="POST", timeout_s=3)
        except (OSError, PeerError) as error:
            log.warning("the proxy could not be drained: %s", error or type(error).__name__)

    async def terminate(self, environment: Environment, config: Mapping[str, Any]) -> None:
        """Drains, waits and ends the proxy."""
        if self._process is None or self._process.returncode is not None:
            return
        already = self._drained
        await self.drain()
        ended = asyncio.ensure_future(self._process.wait())
        if environment.exit_on_zero_connections:
            waiting = asyncio.ensure_future(self._until_idle(environment))
        elif already:
            waiting = asyncio.ensure_future(asyncio.sleep(0))
        else:
            waiting = asyncio.ensure_future(asyncio.sleep(duration(config, "terminationDrainDuration")))
        await asyncio.wait([ended, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        ended.cancel()
        await self.kill()

    async def kill(self) -> None:
        """SIGTERM, and SIGKILL for one that does not heed it."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), KILL_AFTER_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _until_idle(self, environment: Environment) -> None:
        """Until no client is connected, or the admin port tells no more."""
        await asyncio.sleep(environment.minimum_drain_s)
        errors = 0
        while errors < MAX_ERRORS:
            try:
                path = "/stats?usedonly&filter=downstream_cx_active$"
                stats = read_stats((await fetch("127.0.0.1", self._admin_port, path, timeout_s=3)).body.decode())
            except (OSError, PeerError):
                errors += 1
            else:
                errors = 0
                active = active_connections(stats, environment)
                if not active:
                    return
                log.info("%d connections are still active", active)
            await asyncio.sleep(POLL_S)


def active_connections(stats: Mapping[str, int], environment: Environment) -> int:
    """Clients of the listeners that are not the mesh's own; 0 also when no listener is counted."""
    own = {
        str(port)
        for port in (
            environment.status_port,
            environment.prometheus_port,
            environment.secure_metrics_port,
            environment.secure_merged_metrics_port,
        )
    }
    total = 0
    for name, value in stats.items():
        found = ACTIVE.match(name)
        if found is None or ".worker_" in name or found[1] == "admin" or found[1].startswith("envoy_internal_"):
            continue
        if found[1].rpartition("_")[2] not in own:
            total += value
    return total
