"""The store in one SQLite file: a log of revisions in WAL mode, written by one thread in groups.

Writes that arrive while a commit is under way go together into the next one (one fsync for all of them). A write is
answered when its commit is durable (synchronous=FULL). Compaction drops replaced rows and gives pages back to the disk.
One process at a time: an exclusive lock on FILE-lock says so to a second one.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mizzen.api.errors import UsageError

from .base import Change, Compacted, Conflict, Listener, Record

log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
  revision INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB, created INTEGER NOT NULL, previous INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS log_key ON log (key, revision);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
INSERT = "INSERT INTO log (revision, key, value, created, previous) VALUES (?, ?, ?, ?, ?)"
LATEST = (
    "SELECT key, value, created, revision FROM log WHERE revision IN (SELECT max(revision) FROM log GROUP BY key) "
    "AND value IS NOT NULL ORDER BY key"
)


class _Write(NamedTuple):
    change: Change
    created: int
    done: asyncio.Future[int]


class SqliteStore:
    """A Store in `path` (":memory:" for tests). Methods are called on one event loop; the commit runs on a thread."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._revision = 0
        self._compacted = 0
        self._keys: dict[str, tuple[int, int]] = {}  # key → (created, revision), writes under way included
        self._listeners: list[Listener] = []
        self._pending: list[_Write] = []
        self._wake = threading.Condition()
        self._closing = False
        self._failed: Exception | None = None
        self._thread: threading.Thread | None = None
        self._lock: int | None = None
        self._database: sqlite3.Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._compact_to = 0

    async def open(self) -> None:
        if self._path != ":memory:":
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(f"{self._path}-lock", os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(self._lock)
                self._lock = None
                raise UsageError(
                    f"another API server has {self._path} open: stop it, or give this one a --data-dir"
                ) from None
        self._loop = asyncio.get_running_loop()
        database = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        database.execute("PRAGMA auto_vacuum=INCREMENTAL")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("PRAGMA cache_size=-4000")
        database.executescript(SCHEMA)
        self._database = database
        meta = dict(database.execute("SELECT name, value FROM meta").fetchall())
        self._compacted = meta.get("compacted", 0)
        self._revision = max(
            meta.get("revision", 0), database.execute("SELECT coalesce(max(revision), 0) FROM log").fetchone()[0]
        )
        self._thread = threading.Thread(target=self._commit_for_ever, name="store", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread:
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        if self._database:
            self._database.close()
            self._database = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def load(self) -> tuple[int, list[Record]]:
        records = [Record(*row) for row in self._connection.execute(LATEST)]
        self._keys = {record.key: (record.created, record.revision) for record in records}
        return self._revision, records

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            raise UsageError("the store is not open")
        return self._database

    async def write(self, key: str, value: bytes | None, expected: int) -> int:
        created, actual = self._keys.get(key, (0, 0))
        if actual != expected:
            raise Conflict(key, expected, actual)
        if self._failed is not None:
            raise OSError(f"the store cannot write any more: {self._failed}")
        self._revision += 1
        revision = self._revision
        if value is None:
            self._keys.pop(key, None)
        else:
            created = created or revision
            self._keys[key] = (created, revision)
        assert self._loop is not None
        done: asyncio.Future[int] = self._loop.create_future()
        with self._wake:
            self._pending.append(_Write(Change(revision, key, value, actual), created, done))
            self._wake.notify()
        return await asyncio.shield(done)

    async def history(self, since: int) -> list[Change]:
        if since < self._compacted:
            raise Compacted(since, self._compacted)
        rows = self._connection.execute(
            "SELECT revision, key, value, previous FROM log WHERE revision > ? ORDER BY revision", (since,)
        )
        return [Change(*row) for row in rows]

    async def compact(self, revision: int) -> None:
        with self._wake:
            self._compact_to = min(revision, self._revision)
            self._wake.notify()

    # the thread

    def _commit_for_ever(self) -> None:
        while True:
            with self._wake:
                while not self._pending and not self._closing and not self._compact_to:
                    self._wake.wait()
                group, self._pending = self._pending, []
                compact_to, self._compact_to = self._compact_to, 0
                if not group and not compact_to and self._closing:
                    return
            assert self._loop is not None
            try:
                if group:
                    self._commit(group)
                    self._loop.call_soon_threadsafe(self._committed, group)
                if compact_to:
                    self._compact(compact_to)
            except (sqlite3.Error, RuntimeError) as error:  # disk full, file gone; or the loop was closed
                log.error("the store failed: %s", error)
                self._failed = error
                if not self._loop.is_closed():
                    self._loop.call_soon_threadsafe(self._refused, group, error)

    def _commit(self, group: Sequence[_Write]) -> None:
        database = self._connection
        rows = [(w.change.revision, w.change.key, w.change.value, w.created, w.change.previous) for w in group]
        database.execute("BEGIN IMMEDIATE")
        database.executemany(INSERT, rows)
        database.execute("COMMIT")

    def _compact(self, revision: int) -> None:
        database = self._connection
        database.execute("BEGIN IMMEDIATE")
        database.execute(
            "DELETE FROM log WHERE revision <= ?1 AND revision NOT IN "
            "(SELECT max(revision) FROM log WHERE revision <= ?1 GROUP BY key)",
            (revision,),
        )
        database.execute("DELETE FROM log WHERE revision <= ? AND value IS NULL", (revision,))
        database.execute("INSERT OR REPLACE INTO meta VALUES ('compacted', ?)", (revision,))
        database.execute("INSERT OR REPLACE INTO meta VALUES ('revision', ?)", (revision,))
        database.execute("COMMIT")
        self._compacted = revision
        database.executescript("PRAGMA incremental_vacuum")  # execute() would step it once: one page
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    # back on the loop

    def _committed(self, group: Sequence[_Write]) -> None:
        changes = [write.change for write in group]
        for listener in self._listeners:
            listener(changes)
        for write in group:
            if not write.done.done():
                write.done.set_result(write.change.revision)

    def _refused(self, group: Sequence[_Write], error: Exception) -> None:
        for write in group:
            if not write.done.done():
                write.done.set_exception(OSError(f"the store cannot write: {error}"))
