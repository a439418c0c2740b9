"""Modules that have been fetched, as files: by where they came from and what they are, purged when nobody asks any more.

`path` gives the file of a module, fetched at most once for each content. Source: the pull policies of Istio's WasmPlugin.
Not here: fetching (http_source.py, image_source.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from mizzen.agent.wasm.http_source import fetch_module, is_module
from mizzen.agent.wasm.image_source import Registry, reference
from mizzen.agent.wasm.settings import Counts, Settings
from mizzen.api.errors import PeerError

log = logging.getLogger("mizzen.agent.wasm")

OCI = "oci://"
T = TypeVar("T")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A module as a resource names it.

    checksum: hexadecimal SHA-256 of the module, of an image's manifest; "" = any. resource, version: who asks, and in which
    state. policy: IfNotPresent, Always, or neither. pull_secret: a Docker config.
    """

    url: str
    checksum: str = ""
    resource: str = ""
    version: str = ""
    timeout_s: float = 5.0
    policy: str = ""
    pull_secret: bytes | None = None


class Key(NamedTuple):
    """name: the URL without tag or digest."""

    name: str
    checksum: str


class Entry:
    """One file. urls: those that led to it and may lead elsewhere later."""

    def __init__(self, path: Path, now: float) -> None:
        self.path, self.used, self.urls = path, now, set[str]()


class Tag:
    """What a URL last led to. versions: of the resources that asked."""

    def __init__(self) -> None:
        self.checksum, self.versions = "", dict[str, str]()


class ModuleCache:
    """folder: where the files are, made when needed."""

    def __init__(
        self, folder: Path, settings: Settings, counts: Counts, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._settings, self._counts, self._clock = folder, settings, counts, clock
        self._entries: dict[Key, Entry] = {}
        self._tags: dict[str, Tag] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def path(self, wanted: Wanted) -> Path:
        """The file of a module. Raises PeerError when it cannot be had."""
        async with self._locks.setdefault(wanted.url, asyncio.Lock()):
            key, entry = self._find(wanted, ignore_version=_ignores_version(wanted))
            if entry is not None:
                return entry.path
            try:
                async with asyncio.timeout(wanted.timeout_s):
                    return (await self._fetched(wanted, key)).path
            except TimeoutError:
                self._counts.fetch("download_failure")
                raise PeerError(f"{wanted.url}: not there within {wanted.timeout_s:g} s") from None

    async def purge(self) -> None:
        """Until cancelled: deletes what nobody has asked for."""
        while True:
            await asyncio.sleep(self._settings.purge_every_s)
            self.purge_now()

    def purge_now(self) -> None:
        oldest = self._clock() - self._settings.expiry_s
        for key, entry in list(self._entries.items()):
            if entry.used >= oldest:
                continue
            try:
                entry.path.unlink(missing_ok=True)
            except OSError as error:
                log.error("%s cannot be deleted: %s", entry.path, error)
                continue
            del self._entries[key]
            for url in entry.urls:
                self._tags.pop(url, None)
        self._counts.entries = len(self._entries)

    def _find(self, wanted: Wanted, *, ignore_version: bool) -> tuple[Key, Entry | None]:
        """What is already here; with the checksum that is known of it."""
        checksum = wanted.checksum
        if not checksum and wanted.url.startswith(OCI):
            checksum = reference(wanted.url.removeprefix(OCI)).digest
        if not checksum and (tag := self._tags.get(wanted.url)) is not None:
            if ignore_version or tag.versions.get(wanted.resource) == wanted.version:
                checksum = tag.checksum
            tag.versions[wanted.resource] = wanted.version
        key = Key(_name(wanted.url), checksum)
        entry = self._entries.get(key)
        self._counts.lookup(entry is not None)
        if entry is not None:
            entry.used = self._clock()
            self._tagged(wanted, key, entry)
        return key, entry

    async def _fetched(self, wanted: Wanted, key: Key) -> Entry:
        url = urlsplit(wanted.url)
        insecure = self._settings.is_insecure(url.netloc)
        async with aiohttp.ClientSession(trust_env=True) as session:
            if url.scheme in ("http", "https"):
                data = await self._counted(fetch_module(session, wanted.url, self._settings, insecure=insecure))
                checksum = hashlib.sha256(data).hexdigest()
                known = self._known(wanted, key, checksum)
            elif url.scheme == "oci":
                image = reference(wanted.url.removeprefix(OCI))
                registry = Registry(session, image, self._settings, wanted.pull_secret, insecure=insecure)
                manifest, checksum = await self._counted(registry.manifest(), "manifest_failure")
                known = self._known(wanted, key, checksum)
                data = b"" if known else await self._counted(registry.module(manifest))
            else:
                raise PeerError(f"{wanted.url}: modules come by http, https and oci")
        if known is not None:
            return known
        if not is_module(data):
            self._counts.fetch("fetch_failure")
            raise PeerError(f"{wanted.url}: what came is no Wasm module")
        self._counts.fetch("success")
        return self._keep(wanted, Key(key.name, checksum), data)

    async def _counted(self, work: Awaitable[T], failure: str = "download_failure") -> T:
        try:
            return await work
        except PeerError:
            self._counts.fetch(failure)
            raise

    def _known(self, wanted: Wanted, key: Key, checksum: str) -> Entry | None:
        """The file of what has been found, if there is one. Raises PeerError when it is not what is wanted."""
        if key.checksum and key.checksum != checksum:
            self._counts.fetch("checksum_mismatched")
            raise PeerError(f"{wanted.url}: has the checksum {checksum}, not {key.checksum}")
        found = Key(key.name, checksum)
        entry = self._entries.get(found)
        if entry is not None:
            entry.used = self._clock()
            self._tagged(wanted, found, entry)
        return entry

    def _keep(self, wanted: Wanted, key: Key, data: bytes) -> Entry:
        folder = self._folder / hashlib.sha256(key.name.encode()).hexdigest()
        path = folder / f"{key.checksum}.wasm"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(".new")
            fresh.write_bytes(data)
            fresh.replace(path)
        except OSError as error:
            raise PeerError(f"{path}: {error.strerror}") from error
        entry = self._entries[key] = Entry(path.absolute(), self._clock())
        self._tagged(wanted, key, entry)
        self._counts.entries = len(self._entries)
        return entry

    def _tagged(self, wanted: Wanted, key: Key, entry: Entry) -> None:
        """Remembers where a URL led to that may lead elsewhere later."""
        if wanted.url.startswith(OCI) and "@" in wanted.url:
            return
        tag = self._tags.setdefault(wanted.url, Tag())
        tag.checksum = key.checksum
        tag.versions[wanted.resource] = wanted.version
        entry.urls.add(wanted.url)


def _ignores_version(wanted: Wanted) -> bool:
    """Whether what is here will do, though the resource has changed: always, never, or unless it is an image's latest."""
    if wanted.policy in ("IfNotPresent", "Always"):
        return wanted.policy == "IfNotPresent"
    return not wanted.url.startswith(OCI) or not urlsplit(wanted.url).path.endswith(":latest")


def _name(url: str) -> str:
    return OCI + reference(url.removeprefix(OCI)).name if url.startswith(OCI) else url
