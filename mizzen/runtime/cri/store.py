"""What the runtime knows of its sandboxes and containers, each in a directory that survives the process.

`HOME/cri/sandboxes/ID/{config.pb,state.json}`, `HOME/cri/containers/ID/{config.pb,state.json,exit.json,config.json,rootfs}`.
Files are replaced whole (write, rename). No processes here.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from mizzen.wire import cri

T = TypeVar("T")


class SandboxState(msgspec.Struct, kw_only=True):
    """A sandbox's facts: `ips` first is the pod's, `network` is the CNI result, times in nanoseconds."""

    id: str
    created_at: int
    ready: bool = True
    ips: list[str] = []
    network: dict[str, Any] = {}
    host_network: bool = False
    host_ipc: bool = False


class ContainerState(msgspec.Struct, kw_only=True):
    """A container's facts; times in nanoseconds, zero when it has not come to that."""

    id: str
    sandbox: str
    created_at: int
    image_ref: str
    log_path: str = ""
    pid: int = 0
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    uid: int = 0
    gid: int = 0

    @property
    def state(self) -> int:
        """CRI's ContainerState."""
        if self.finished_at:
            return int(cri.CONTAINER_EXITED)
        return int(cri.CONTAINER_RUNNING if self.started_at else cri.CONTAINER_CREATED)


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file in one step."""
    fresh = path.with_name(path.name + ".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    fresh.rename(path)


class Sandbox:
    """One sandbox: configuration, state, directory."""

    def __init__(self, directory: Path, config: Any, state: SandboxState) -> None:
        self.directory, self.config, self.state = directory, config, state

    @property
    def id(self) -> str:
        """The CRI id."""
        return self.state.id

    def namespace(self, kind: str) -> Path:
        """Where its `net`, `ipc` or `uts` namespace is pinned."""
        return self.directory / f"{kind}.ns"

    def save(self) -> None:
        """Write the state down."""
        write_whole(self.directory / "state.json", msgspec.json.encode(self.state))


class Container:
    """One container: configuration, state, directory; `pidfd` while it runs."""

    def __init__(self, directory: Path, config: Any, state: ContainerState) -> None:
        self.directory, self.config, self.state = directory, config, state
        self.pidfd = -1

    @property
    def id(self) -> str:
        """The CRI id."""
        return self.state.id

    def save(self) -> None:
        """Write the state down."""
        write_whole(self.directory / "state.json", msgspec.json.encode(self.state))


class Store:
    """All sandboxes and containers of a home."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}
        for name in ("sandboxes", "containers"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def load(self) -> None:
        """Read what an earlier process left; half-made entries are removed."""
        for path in (self.root / "sandboxes").iterdir():
            try:
                state = msgspec.json.decode((path / "state.json").read_bytes(), type=SandboxState)
                config = cri.PodSandboxConfig.FromString((path / "config.pb").read_bytes())
            except OSError:
                continue  # left to cleanup: it may hold mounts
            self.sandboxes[state.id] = Sandbox(path, config, state)
        for path in (self.root / "containers").iterdir():
            try:
                found = msgspec.json.decode((path / "state.json").read_bytes(), type=ContainerState)
                config = cri.ContainerConfig.FromString((path / "config.pb").read_bytes())
            except OSError:
                continue
            self.containers[found.id] = Container(path, config, found)

    def new_sandbox(self, config: Any, state: SandboxState) -> Sandbox:
        """Make a sandbox's directory; it counts as made when `save` has been called."""
        directory = self.root / "sandboxes" / state.id
        directory.mkdir()
        write_whole(directory / "config.pb", config.SerializeToString())
        sandbox = self.sandboxes[state.id] = Sandbox(directory, config, state)
        return sandbox

    def new_container(self, config: Any, state: ContainerState) -> Container:
        """Make a container's directory; it counts as made when `save` has been called."""
        directory = self.root / "containers" / state.id
        directory.mkdir()
        write_whole(directory / "config.pb", config.SerializeToString())
        container = self.containers[state.id] = Container(directory, config, state)
        return container

    def forget_sandbox(self, sandbox: Sandbox) -> None:
        """Remove a sandbox's directory; nothing may be mounted below it."""
        shutil.rmtree(sandbox.directory, ignore_errors=True)
        self.sandboxes.pop(sandbox.id, None)

    def forget_container(self, container: Container) -> None:
        """Remove a container's directory; nothing may be mounted below it."""
        shutil.rmtree(container.directory, ignore_errors=True)
        self.containers.pop(container.id, None)

    def of_sandbox(self, sandbox: str) -> list[Container]:
        """A sandbox's containers."""
        return [c for c in self.containers.values() if c.state.sandbox == sandbox]

    def find_sandbox(self, key: str) -> Sandbox | None:
        """By id or unique prefix of one."""
        return self.sandboxes.get(key) or _by_prefix(self.sandboxes, key)

    def find_container(self, key: str) -> Container | None:
        """By id or unique prefix of one."""
        return self.containers.get(key) or _by_prefix(self.containers, key)


def _by_prefix(table: dict[str, T], key: str) -> T | None:
    fits = [value for name, value in table.items() if key and name.startswith(key)]
    return fits[0] if len(fits) == 1 else None
