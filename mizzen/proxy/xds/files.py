"""Discovery from files: a file holds a DiscoveryResponse's resources; when it is replaced it is read again.

Polled by inode and times (a move into place is what Envoy watches for, too). Source: envoy.config.core.v3.PathConfigSource.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.load import fill, parse_document, read_text

POLL_S = 0.1


class FileSource:
    """Watches one file for one consumer. `deliver(response)` raises ConfigError to refuse."""

    def __init__(self, path: str, deliver: Callable[[Any], None], stats: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.path = path
        self.deliver = deliver
        self.stats = stats
        self.loop = loop
        self.seen: tuple[int, int, int] | None = None
        self.timer: Any = None
        self.failure: str | None = None

    def start(self) -> None:
        if not os.path.exists(self.path):
            raise ConfigError(f"paths must refer to an existing path in the system: '{self.path}' does not exist")
        self._look()

    def _look(self) -> None:
        self.timer = self.loop.call_later(POLL_S, self._look)
        try:
            status = os.stat(self.path)
        except OSError:
            return
        mark = (status.st_ino, status.st_mtime_ns, status.st_size)
        if mark != self.seen:
            self.seen = mark
            self.read()

    def read(self) -> None:
        stats = self.stats
        stats.update_attempt += 1
        try:
            response = discovery_pb2.DiscoveryResponse()
            fill(response, parse_document(read_text(self.path), self.path), self.path)
            self.deliver(response)
        except ConfigError as error:
            self.failure = str(error)
            stats.update_rejected += 1
            self.server_log(str(error))
            return
        self.failure = None
        stats.update_success += 1
        if response.version_info:
            stats.version_text = response.version_info

    def server_log(self, text: str) -> None:
        import logging

        logging.getLogger("envoy.config").warning("Filesystem config update rejected for %s: %s", self.path, text)

    def cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
