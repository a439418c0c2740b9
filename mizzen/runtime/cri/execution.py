"""Commands run inside a container by `runc exec`: to the end with captured output, or with a caller's streams."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from pathlib import Path

from mizzen.runtime.cri.runtime import Runtime, RuntimeFailed
from mizzen.runtime.cri.store import Container

MAX_OUTPUT = 16 << 20  # bytes of one stream that ExecSync answers with


class ExecTimeout(Exception):
    """The command did not end in time; it has been killed."""


def exec_command(runtime: Runtime, container: Container, command: list[str], tty: bool) -> tuple[list[str], Path]:
    """(argv of runc, the file that gets the pid). Raises RuntimeFailed when the container does not run."""
    if container.pidfd < 0:
        raise RuntimeFailed(f"container {container.id} is not running")
    pid_file = container.directory / f"exec-{secrets.token_hex(4)}.pid"
    terminal = ["--tty"] if tty else []
    return [*runtime.runc, "exec", *terminal, "--pid-file", str(pid_file), container.id, *command], pid_file


def kill(pid_file: Path) -> None:
    """Kill what a pid file names; gone is fine."""
    with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


async def _read(stream: asyncio.StreamReader) -> bytes:
    kept = bytearray()
    while data := await stream.read(1 << 16):
        if len(kept) < MAX_OUTPUT:
            kept += data[: MAX_OUTPUT - len(kept)]
    return bytes(kept)


async def exec_sync(
    runtime: Runtime, container: Container, command: list[str], timeout_s: float
) -> tuple[bytes, bytes, int]:
    """(stdout, stderr, exit code). timeout_s: 0 = none. Raises ExecTimeout, RuntimeFailed."""
    argv, pid_file = exec_command(runtime, container, command, tty=False)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    assert process.stdout is not None and process.stderr is not None
    try:
        async with asyncio.timeout(timeout_s or None):
            out, err, code = await asyncio.gather(_read(process.stdout), _read(process.stderr), process.wait())
    except TimeoutError:
        raise ExecTimeout(f"command {command!r} timed out after {timeout_s:g}s") from None
    finally:
        if process.returncode is None:
            kill(pid_file)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        pid_file.unlink(missing_ok=True)
    return out, err, code if code >= 0 else 128 - code
