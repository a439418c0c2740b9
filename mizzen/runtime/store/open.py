"""Opens the store that a URL names. Takes sqlite:PATH, memory: or etcd://HOST:PORT[,HOST:PORT], gives a Store."""

from __future__ import annotations

from mizzen.api.errors import UsageError

from .base import Store
from .sqlite import SqliteStore


def open_store(url: str) -> Store:
    """The store behind a URL, not opened yet. Raises UsageError."""
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest:
        return SqliteStore(rest)
    if scheme == "memory":
        return SqliteStore(":memory:")
    raise UsageError(f"--store {url}: expected sqlite:PATH, memory: or etcd://HOST:PORT")
