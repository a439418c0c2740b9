"""Opens the store that a URL names. Takes sqlite:PATH or memory:, gives a Store; etcd:// is refused by name."""

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
    if scheme == "etcd":
        raise UsageError(f"--store {url}: etcd is not supported yet; give sqlite:PATH or memory:")
    raise UsageError(f"--store {url}: expected sqlite:PATH or memory:")
