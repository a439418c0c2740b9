"""The folder that one mesh on this machine lives in: its files, and who runs it now.

Layout: kubeconfig; data/ (the store); ca/ (istiod's root); pki/ (the API server's); node/ (the node agent's); logs/; run/ (pid, lock).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from mizzen.api.errors import UsageError


class Home:
    """Paths of one home. Nothing is created before `prepare`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def kubeconfig(self) -> Path:
        return self.path / "kubeconfig"

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def ca(self) -> Path:
        return self.path / "ca"

    @property
    def node(self) -> Path:
        return self.path / "node"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def pid_file(self) -> Path:
        return self.run / "pid"

    def prepare(self) -> None:
        """Makes the folders, readable by their owner alone."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o711)  # pods under other users reach their mounts through it
        for folder in (self.data, self.ca, self.logs, self.run):
            folder.mkdir(exist_ok=True, mode=0o700)
        self.node.mkdir(exist_ok=True, mode=0o711)

    def lock(self) -> IO[str]:
        """Takes the home for this process; the file must be kept open. Raises UsageError when another has it."""
        handle = open(self.run / "lock", "a+")  # noqa: SIM115 - held for the life of the process
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            raise UsageError(f"a mesh is already running in {self.path} (pid {self.pid()}): mizzen down") from None
        self.pid_file.write_text(f"{os.getpid()}\n")
        return handle

    def pid(self) -> int | None:
        """The process that runs this mesh, None when none does."""
        try:
            pid = int(self.pid_file.read_text())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        return pid if self._is_locked() else None

    def _is_locked(self) -> bool:
        try:
            with open(self.run / "lock", "a+") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


def default_home() -> Path:
    """$MIZZEN_HOME, else ~/.mizzen."""
    return Path(os.environ.get("MIZZEN_HOME") or Path.home() / ".mizzen")
