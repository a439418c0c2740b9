"""What the kubelet knows of a pod's containers at one moment; the input of plan.py and status.py. Values only."""

from __future__ import annotations

from typing import Any

import msgspec

from mizzen.wire import cri


class View(msgspec.Struct, kw_only=True):
    """One container. `current`, `last`: CRI ContainerStatus of the newest attempt and the one before; `waiting`: why there is
    no attempt (reason, message); `not_before`: from when it may be started again; `messages`: termination messages by id.
    """

    name: str
    current: Any = None
    last: Any = None
    waiting: tuple[str, str] | None = None
    not_before: float = 0.0
    delay_s: float = 0.0
    started: bool = False
    ready: bool = False
    killing: bool = False
    messages: dict[str, str] = {}

    @property
    def running(self) -> bool:
        """Whether the newest attempt runs."""
        return self.current is not None and self.current.state == cri.CONTAINER_RUNNING

    @property
    def exited(self) -> bool:
        """Whether the newest attempt has ended."""
        return self.current is not None and self.current.state in (cri.CONTAINER_EXITED, cri.CONTAINER_UNKNOWN)

    @property
    def attempt(self) -> int:
        """The newest attempt's number, -1 when there was none."""
        return -1 if self.current is None else int(self.current.metadata.attempt)

    @property
    def exit_code(self) -> int:
        """Of an ended attempt."""
        return int(self.current.exit_code) if self.exited else 0


Views = dict[str, View]
