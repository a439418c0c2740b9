"""A small Kubernetes API over HTTP for tests: any resource, list in pages, watch with resume, 410, bookmarks.

Not here: validation, defaulting, access control, CRDs' own rules.
"""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_right
from typing import Any, NamedTuple

from aiohttp import web

from mizzen.kube import KubeConfig


class LogEntry(NamedTuple):
    revision: int
    type: str
    collection: str
    object: dict[str, Any]


class FakeApi:
    """`objects` by (collection path of all namespaces, namespace, name). `missing` collections answer 404."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.log: list[LogEntry] = []
        self.revision = 10
        self.oldest = 0  # watches from before this revision get 410
        self.missing: set[str] = set()
        self.requests: list[str] = []
        self.changed = asyncio.Condition()
        self.watches: set[asyncio.Task[Any]] = set()
        self.url = ""
        self.token: str | None = None

    async def __aenter__(self) -> FakeApi:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self.handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.drop_watches()
        await self._runner.cleanup()

    @property
    def config(self) -> KubeConfig:
        return KubeConfig(server=self.url, token=self.token)

    def drop_watches(self) -> None:
        for task in self.watches:
            task.cancel()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return status(401, "Unauthorized", "no")
        collection, namespace, name, _ = split(request.path)
        if collection in self.missing:
            return web.Response(status=404, text="404 page not found\n")
        if request.method == "GET" and not name:
            if request.query.get("watch"):
                return await self.watch(request, collection, namespace)
            return self.list(request, collection, namespace)
        if request.method == "POST":
            body = await request.json()
            body["metadata"].setdefault("namespace", namespace)
            name = name or body["metadata"]["name"]
            if (collection, namespace, name) in self.objects:
                return status(409, "AlreadyExists", f"{name} already exists")
            return web.json_response(await self.put(collection, body), status=201)
        found = self.objects.get((collection, namespace, name))
        if found is None and not (request.method == "PATCH" and "apply" in request.content_type):
            return status(404, "NotFound", f'"{name}" not found')
        if request.method == "GET":
            return web.json_response(found)
        if request.method == "DELETE":
            return web.json_response(await self.delete(collection, namespace, name))
        body = await request.json()
        if request.method == "PUT":
            sent = body["metadata"].get("resourceVersion")
            if sent and found and sent != found["metadata"]["resourceVersion"]:
                return status(409, "Conflict", "changed meanwhile")
            return web.json_response(await self.put(collection, body))
        assert request.method == "PATCH" and "json-patch" not in request.content_type
        merged = merge(found or {"metadata": {"namespace": namespace, "name": name}}, body)
        merged["metadata"] = {**merged["metadata"], "namespace": namespace}
        return web.json_response(await self.put(collection, merged))

    def list(self, request: web.Request, collection: str, namespace: str) -> web.Response:
        items = [o for (c, n, _), o in self.objects.items() if c == collection and namespace in ("", n)]
        start, limit = int(request.query.get("continue", 0)), int(request.query.get("limit", 0)) or len(items) + 1
        meta = {"resourceVersion": str(self.revision)}
        if start + limit < len(items):
            meta["continue"] = str(start + limit)
        return web.json_response({"kind": "List", "metadata": meta, "items": items[start : start + limit]})

    async def watch(self, request: web.Request, collection: str, namespace: str) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self.watches.add(task)
        answer = web.StreamResponse()
        await answer.prepare(request)
        seen = int(request.query.get("resourceVersion") or 0)
        try:
            while True:
                if seen < self.oldest:
                    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
                    await answer.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
                    return answer
                for entry in self.log[bisect_right(self.log, seen, key=lambda e: e.revision) :]:
                    in_namespace = namespace in ("", entry.object["metadata"].get("namespace", ""))
                    if entry.collection == collection and in_namespace:
                        line = {"type": entry.type, "object": entry.object}
                        await answer.write(json.dumps(line).encode() + b"\n")
                    seen = entry.revision
                async with self.changed:
                    await self.changed.wait_for(lambda seen=seen: self.revision > seen)
        finally:
            self.watches.discard(task)

    async def put(self, collection: str, obj: dict[str, Any]) -> dict[str, Any]:
        meta = obj["metadata"]
        key = (collection, meta.get("namespace") or "", meta["name"])
        kind = "MODIFIED" if key in self.objects else "ADDED"
        self.revision += 1
        kept = self.objects.get(key, {"metadata": {"uid": f"uid-{self.revision}"}})["metadata"]["uid"]
        obj = {**obj, "metadata": {**meta, "resourceVersion": str(self.revision), "uid": kept}}
        self.objects[key] = obj
        await self._append(LogEntry(self.revision, kind, collection, obj))
        return obj

    async def delete(self, collection: str, namespace: str, name: str) -> dict[str, Any]:
        obj = self.objects.pop((collection, namespace, name))
        self.revision += 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.revision)}}
        await self._append(LogEntry(self.revision, "DELETED", collection, obj))
        return obj

    async def bookmark(self, collection: str) -> None:
        self.revision += 1
        obj = {"metadata": {"resourceVersion": str(self.revision)}}
        await self._append(LogEntry(self.revision, "BOOKMARK", collection, obj))

    async def compact(self) -> None:
        """Forget the past: whoever watches from before now gets 410."""
        self.log.clear()
        self.revision += 1
        self.oldest = self.revision

    async def _append(self, entry: LogEntry) -> None:
        self.log.append(entry)
        async with self.changed:
            self.changed.notify_all()


def split(path: str) -> tuple[str, str, str, str]:
    """A URL path as collection, namespace, name, subresource; "" where there is none."""
    parts = path.strip("/").split("/")
    head = 2 if parts[0] == "api" else 3
    prefix, rest, namespace = parts[:head], parts[head:], ""
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    return "/" + "/".join([*prefix, rest[0]]), namespace, name, "/".join(rest[2:])


def status(code: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
    return web.json_response(body, status=code)


def merge(old: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    new = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            new.pop(name, None)
        else:
            new[name] = merge(new.get(name), value)
    return new
