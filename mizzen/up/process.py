"""`mizzen up` as a child process: for tests, benchmarks and the demo. It is ready when it prints a line that starts with "ready"."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

READY_S, STOP_S = 60.0, 60.0


class DidNotStart(RuntimeError):
    """mizzen up ended, or was not ready in time."""


class UpProcess:
    """A context manager: the mesh is ready inside, and gone after."""

    def __init__(self, home: Path, *arguments: str, data_plane: str = "mizzen") -> None:
        self.home = home
        self._command = [
            sys.executable,
            "-m",
            "mizzen",
            "up",
            "--home",
            str(home),
            "--data-plane",
            data_plane,
            *arguments,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.ready_s = 0.0
        self.output = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it and waits until it is ready. Raises DidNotStart with what it said."""
        started = time.monotonic()
        if not self._read_until("ready", started):
            self.stop()
            raise DidNotStart(f"mizzen up: {self.output.strip() or 'said nothing'}")
        self.ready_s = time.monotonic() - started

    def interrupt_after(self, said: str, number: signal.Signals) -> int | None:
        """Starts it, ends it by a signal once it has printed a line that begins with `said`; its exit status."""
        self._read_until(said, time.monotonic())
        return self.stop(number)

    def _read_until(self, said: str, started: float) -> bool:
        """Starts the process and reads until such a line has come; False when it ended or took too long."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while said and not any(line.startswith(said) for line in self.output.splitlines()):
                left = started + READY_S - time.monotonic()
                if left <= 0 or self._process.poll() is not None:
                    return False
                if selector.select(min(left, 0.5)):
                    self.output += (self._process.stdout.read() or b"").decode(errors="replace")
        return True

    def stop(self, number: signal.Signals = signal.SIGINT) -> int | None:
        """Ends it and waits; its exit status. After STOP_S it is killed."""
        process = self._process
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(number)
        try:
            rest, _ = process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            rest, _ = process.communicate()
        self.output += (rest or b"").decode(errors="replace")
        self._process = None
        return process.returncode

    def kill(self) -> None:
        """SIGKILL: what it had started (the node agent, pods) goes on; `start` takes it over."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()
        self._process, self.output = None, ""

    @property
    def pid(self) -> int:
        """The process' id while it runs."""
        assert self._process is not None
        return self._process.pid
