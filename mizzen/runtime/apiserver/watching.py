"""Watches: events of a collection as they come, to one client, until it goes or its time is up.

Takes an `Ask`, opens a stream. A client that does not read fast enough is cut off (it lists again) instead of filling memory.
Source: apiserver's watch protocol; KEP-956 (bookmarks), KEP-3157 (sendInitialEvents).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec

from .accept import Form, negotiate
from .cache import Cache, Event, Item
from .context import Ask
from .errors import StatusError, show
from .http1 import Response, Stream
from .reading import Match, _inclusion, bytes_of, check_list_options, integer, matcher, partial, warning_headers
from .requestinfo import truth
from .resources import Resource
from .tables import table

encode = msgspec.json.encode
MAX_BACKLOG_BYTES = 16 * 1024 * 1024
BOOKMARK_SECONDS = 60.0


def error_line(error: StatusError) -> bytes:
    return b'{"type":"ERROR","object":%b}\n' % encode(error.body())


class Watch:
    """One client's watch: turns cache events into lines."""

    def __init__(self, ask: Ask, stream: Stream, match: Match | None, form: Form) -> None:
        self._ask, self._stream, self._match, self._form = ask, stream, match, form
        self._resource: Resource = ask.resource
        self._namespace = f"{ask.info.namespace}/" if ask.info.namespace else ""
        self._columns = True
        self._inclusion = _inclusion(ask) if form.shape == "Table" else ""
        self.last = 0

    def _has(self, item: Item | None) -> bool:
        if item is None or not item.key.startswith(self._namespace):
            return False
        return self._match is None or self._match(item)

    def event(self, event: Event) -> None:
        before, after = self._has(event.before), self._has(event.after)
        self.last = event.revision
        if after:
            assert event.after is not None
            self.send("MODIFIED" if before else "ADDED", event.after)
        elif before:
            self.send("DELETED", event.gone or self._left(event))

    def _left(self, event: Event) -> Item:
        """An object that left the selection: its last selected state at the new revision."""
        assert event.before is not None
        old = event.before
        data = old.data.replace(b'"resourceVersion":"%d"' % old.revision, b'"resourceVersion":"%d"' % event.revision, 1)
        return Item(old.key, event.revision, old.created, data, old.fields)

    def send(self, kind: str, item: Item) -> None:
        data = self._shaped(item)
        self._stream.write(b'{"type":"%b","object":%b}\n' % (kind.encode(), data))
        if self._stream.backlog_bytes > MAX_BACKLOG_BYTES:
            self._stream.abort()

    def _shaped(self, item: Item) -> bytes:
        if self._form.shape == "Table":
            made = table(
                self._resource, [item], self._inclusion, self._form.version, {"resourceVersion": str(item.revision)}
            )
            if not self._columns:
                made["columnDefinitions"] = None
            self._columns = False
            return encode(made)
        data = bytes_of(item, self._resource)
        if self._form.shape:
            return encode(partial(msgspec.json.decode(data), self._form.version))
        return data

    def bookmark(self, revision: int, initial: bool = False) -> None:
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        kind, version = self._resource.kind, self._resource.api_version
        if self._form.shape == "Table":
            made = table(self._resource, [], self._inclusion, self._form.version, metadata)
            self._stream.write(b'{"type":"BOOKMARK","object":%b}\n' % encode(made))
            return
        if self._form.shape:
            kind, version = "PartialObjectMetadata", f"meta.k8s.io/{self._form.version}"
        made = {"kind": kind, "apiVersion": version, "metadata": metadata}
        if self._resource.struct is not None and not self._form.shape:
            from .schema.decode import Decoder

            made = Decoder().object(self._resource.struct, made)
        self._stream.write(b'{"type":"BOOKMARK","object":%b}\n' % encode(made))


async def watch(ask: Ask, cache: Cache, stopping: asyncio.Event) -> Response | None:
    """Runs the watch until it ends; a Response only when it cannot begin."""
    form = negotiate(ask.request.headers.get("accept", "").replace(";stream=watch", ""))
    check_list_options(ask, watch=True)
    info = ask.info
    match, _ = matcher(ask)
    timeout_s = integer(info.first("timeoutSeconds", "0") or "0") or int(1800 * (1 + random.random()))
    version = info.first("resourceVersion")
    if version and not version.isdigit():
        text = f"resourceVersion: Invalid value: {show(version)}: strconv.ParseUint: parsing {show(version)}: invalid syntax"
        raise StatusError(500, text, "")
    headers = warning_headers(ask.warnings)
    stream = ask.request.stream(200, "application/json", headers)
    one = Watch(ask, stream, match, form)
    collection = ask.resource.collection
    if not _begin(one, ask, cache, version, stream):
        return None
    bookmarks = truth(info.first("allowWatchBookmarks", "false") or "false")
    collection.watchers.add(one.event)
    ended = collection.ended
    try:
        await _until_over(one, stream, cache, timeout_s, bookmarks, stopping, ended)
    finally:
        collection.watchers.discard(one.event)
        stream.end()
    return None


def _begin(one: Watch, ask: Ask, cache: Cache, version: str, stream: Stream) -> bool:
    """Sends what came before: the present objects, or the events since a revision; False when the watch is over already."""
    collection, info = ask.resource.collection, ask.info
    initial = "sendInitialEvents" in info.query and truth(info.first("sendInitialEvents"))
    revision = int(version or "0")
    if initial or (revision == 0 and "sendInitialEvents" not in info.query):
        for item in collection.select(info.namespace):
            if one._has(item):
                one.send("ADDED", item)
        if initial:
            one.bookmark(cache.revision, initial=True)
        return True
    if revision > cache.revision:
        stream.write(
            error_line(
                StatusError(
                    504, f"Timeout: Too large resource version: {revision}, current: {cache.revision}", "Timeout"
                )
            )
        )
        stream.end()
        return False
    events = collection.since(revision) if revision else []
    if events is None:
        text = f"too old resource version: {revision} ({collection.forgotten + 1})"
        stream.write(error_line(StatusError(410, text, "Expired")))
        stream.end()
        return False
    for event in events:
        one.event(event)
    return True


async def _until_over(
    one: Watch,
    stream: Stream,
    cache: Cache,
    timeout_s: float,
    bookmarks: bool,
    stopping: asyncio.Event,
    ended: asyncio.Event,
) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    waits: list[asyncio.Future[Any]] = [
        loop.create_task(stopping.wait()),
        loop.create_task(ended.wait()),
        stream.closed,
    ]
    try:
        while (left := end - loop.time()) > 0:
            done, _ = await asyncio.wait(
                waits, timeout=min(left, BOOKMARK_SECONDS) if bookmarks else left, return_when=asyncio.FIRST_COMPLETED
            )
            if done:
                return
            if bookmarks and not stream.closed.done():
                one.bookmark(cache.revision)
    finally:
        for wait in waits[:2]:
            wait.cancel()


Opener = Callable[[Ask], Any]
