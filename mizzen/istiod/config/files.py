"""Configuration from a directory of manifests: all *.yaml, *.yml and *.json below it, read again when they change.

Takes a folder and a store. Changes are found by looking at every file's time, size and inode each POLL_S: one
rule for editors, mounted volumes and network file systems, where change notifications differ or fail. A document
that cannot be read or is invalid leaves that object as it was and is logged with FILE:LINE; the other documents
of the file count. Not here: YAML (api/manifest.py), what valid means (api/).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from mizzen.api.errors import Invalid, UsageError
from mizzen.api.manifest import Document, load
from mizzen.istiod.config.store import ConfigStore, ObjectKey, rough_key

log = logging.getLogger(__name__)

POLL_S = 0.25
SUFFIXES = (".yaml", ".yml", ".json")
Stamp = tuple[int, int, int]


class DirectorySource:
    """One folder. Of two files with the same object the one later in path order counts."""

    def __init__(self, folder: Path, store: ConfigStore, named_by: str = "--config-dir") -> None:
        if not folder.is_dir():
            raise UsageError(f"{named_by} {folder}: no such directory")
        self._folder, self._store = folder, store
        self._stamps: dict[Path, Stamp] = {}
        self._owned: dict[Path, dict[ObjectKey, None]] = {}
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Read all, then follow changes until cancelled."""
        while True:
            self.scan()
            self.synced.set()
            await asyncio.sleep(POLL_S)

    def scan(self) -> None:
        """Read the files that changed since the last scan."""
        found = dict(sorted(self._files()))
        changed = [path for path, stamp in found.items() if self._stamps.get(path) != stamp]
        gone = [path for path in self._stamps if path not in found]
        self._stamps = found
        if not changed and not gone:
            return
        before = {key for keys in self._owned.values() for key in keys}
        for path in gone:
            self._owned.pop(path, None)
        for path in changed:
            self._read(path)
        for key in before - {key for keys in self._owned.values() for key in keys}:
            self._store.remove(key)

    def _files(self) -> Iterator[tuple[Path, Stamp]]:
        for folder, folders, names in os.walk(self._folder):
            # Kubernetes mounts volumes as symlinks into hidden folders: the links are read, the folders skipped.
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                if name.endswith(SUFFIXES) and not name.startswith("."):
                    path = Path(folder, name)
                    try:
                        info = path.stat()
                    except OSError:
                        continue
                    yield path, (info.st_mtime_ns, info.st_size, info.st_ino)

    def _read(self, path: Path) -> None:
        try:
            documents = load(path)
        except UsageError as error:
            log.error("%s; what was read from it before stays in force", error)
            return
        for key in [k for k, r in self._store.rejected.items() if r.origin.rpartition(":")[0] == str(path)]:
            del self._store.rejected[key]  # what is still wrong is said again
        owned: dict[ObjectKey, None] = {}
        unknown = False
        for document in documents:
            key = rough_key(document.object)
            unknown = unknown or (bool(document.problems) and not key[1][1])
            if self._put(document, key) or key in self._store.objects:
                owned[key] = None
        if unknown:  # it cannot be told which object is broken, so none of this file's goes
            owned = {**self._owned.get(path, {}), **owned}
        self._owned[path] = owned

    def _put(self, document: Document, key: ObjectKey) -> bool:
        """Whether the document's object is in force now."""
        origin = f"{document.file}:{document.line}"
        if document.problems:
            errors = tuple(Invalid(problem.path, problem.reason) for problem in document.problems)
            self._store.reject(key, f"{document.file}:{document.problems[0].line}", errors)
            return False
        errors = self._store.put(document.object, origin)
        for error in errors:
            log.error("%s:%d: %s", document.file, document.line_of(error.path), error)
        return not errors
