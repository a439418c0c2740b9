"""Requests to a Kubernetes API server: get, list, create, update, patch, delete, watch; objects are JSON dicts.

Takes a `KubeConfig` and `Resource`s, gives objects or raises `ApiError`. Nothing is cached or retried here:
informer.py keeps caches, workqueue.py retries. Every method is one request, but `list` (one per page) and `watch` (one
long one). Not here: exec, attach and port-forward (streams.py).
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import aiohttp
import msgspec
from multidict import CIMultiDict

from mizzen.kube.errors import ApiError, from_status
from mizzen.kube.kubeconfig import KubeConfig
from mizzen.kube.resource import Object, Resource, key_of

PATCH_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
PatchType = Literal["json", "merge", "strategic", "apply"]
EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
PAGE = 500
CONNECT_TIMEOUT_S = 15.0
REQUEST_TIMEOUT_S = 60.0
WATCH_SECONDS = 300  # the server ends a watch after this; the informer resumes


class WatchEvent(NamedTuple):
    """One line of a watch. Errors are raised as ApiError instead (code 410 when the revision is too old)."""

    type: EventType
    object: Object


class ObjectList(NamedTuple):
    """All pages of a list, and the revision that a watch goes on from."""

    items: list[Object]
    resource_version: str


class Client:
    """One server, one pool of connections. An async context manager, or call `close`."""

    def __init__(self, config: KubeConfig, *, user_agent: str = "mizzen") -> None:
        self.config = config
        self._headers = CIMultiDict({"Accept": "application/json", "User-Agent": user_agent})
        self._headers.extend(config.impersonate)
        self._unix, self._base = _endpoint(config.server)
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # Reading

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        return await self._object("GET", resource.path(namespace, name))

    async def find(self, resource: Resource, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None when there is none of that name."""
        try:
            return await self.get(resource, name, namespace)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        limit: int = PAGE,
    ) -> ObjectList:
        """Every object, read page by page (limit: objects a page, 0 = all at once). Items carry apiVersion and kind."""
        query = _query(
            labelSelector=label_selector,
            fieldSelector=field_selector,
            limit=str(limit) if limit else "",
            resourceVersion=resource_version,
        )
        items: list[Object] = []
        while True:
            page = await self._object("GET", resource.path(namespace), query=query)
            for item in page.get("items") or ():
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
                items.append(item)
            meta = page.get("metadata") or {}
            if not meta.get("continue"):
                return ObjectList(items, str(meta.get("resourceVersion") or ""))
            query["continue"] = meta["continue"]
            query.pop("resourceVersion", None)

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout_s: int = WATCH_SECONDS,
        bookmarks: bool = True,
    ) -> AsyncIterator[WatchEvent]:
        """Events after resource_version, until the server ends the watch (then it just stops). Raises ApiError for an
        ERROR event.
        """
        query = _query(
            watch="true",
            labelSelector=label_selector,
            fieldSelector=field_selector,
            resourceVersion=resource_version,
            allowWatchBookmarks="true" if bookmarks else "",
            timeoutSeconds=str(timeout_s),
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=timeout_s + 30)
        async with self._send("GET", resource.path(namespace), query, None, None, timeout) as answer:
            if answer.status >= 400:
                raise await _error(answer)
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n") if b"\n" in chunk else (rest + chunk,)
                for line in lines:
                    if line.strip():
                        yield _event(line)

    # Writing

    async def create(
        self,
        resource: Resource,
        obj: Object,
        namespace: str | None = None,
        *,
        dry_run: bool = False,
        subresource: str = "",
    ) -> Object:
        """POST. namespace: the object's own when None. subresource (eviction, binding, token) is posted under the
        object's name.
        """
        path = resource.path(namespace or _namespace(obj))
        if subresource:
            path = resource.path(namespace or _namespace(obj), key_of(obj).name, subresource)
        body = obj if subresource else _typed(resource, obj)
        return await self._object("POST", path, _query(dryRun="All" if dry_run else ""), body)

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """PUT: the whole object; a resourceVersion in it makes the server refuse (409) if it has changed since."""
        key = key_of(obj)
        path = resource.path(key.namespace, key.name, subresource)
        return await self._object("PUT", path, None, _typed(resource, obj))

    async def update_status(self, resource: Resource, obj: Object) -> Object:
        return await self.update(resource, obj, subresource="status")

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        type: PatchType = "merge",
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
        dry_run: bool = False,
    ) -> Object:
        """PATCH. patch: a list of operations for "json", else a partial object. "apply" needs field_manager; force
        takes conflicts over.
        """
        query = _query(fieldManager=field_manager, force="true" if force else "", dryRun="All" if dry_run else "")
        return await self._object(
            "PATCH", resource.path(namespace, name, subresource), query, patch, content_type=PATCH_TYPES[type]
        )

    async def apply(self, resource: Resource, obj: Object, *, field_manager: str, force: bool = True) -> Object:
        """Server-side apply of an object."""
        key = key_of(obj)
        typed = _typed(resource, obj)
        return await self.patch(
            resource, key.name, typed, key.namespace, type="apply", field_manager=field_manager, force=force
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        propagation: Literal["", "Background", "Foreground", "Orphan"] = "",
        grace_period_s: int | None = None,
        uid: str = "",
    ) -> Object:
        """DELETE. uid: only if the object still is that one (409 otherwise)."""
        options: dict[str, Any] = {}
        if propagation:
            options["propagationPolicy"] = propagation
        if grace_period_s is not None:
            options["gracePeriodSeconds"] = grace_period_s
        if uid:
            options["preconditions"] = {"uid": uid}
        return await self._object("DELETE", resource.path(namespace, name), None, options or None)

    # Any path

    async def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        """One request to any path (/version, /readyz, a proxied one): the body of the answer."""
        async with self._send(method, path, query, body, content_type) as answer:
            if answer.status >= 400:
                raise await _error(answer)
            data: bytes = await answer.read()
            return data

    def websocket(self, path: str, protocols: tuple[str, ...], query: Any = None) -> Any:
        """A WebSocket to a streaming subresource: an async context manager of aiohttp's."""
        return self._open().ws_connect(
            self._base + path, protocols=protocols, params=query, headers=self._auth(), max_msg_size=0
        )

    async def _object(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Object:
        answer: Object = msgspec.json.decode(await self.raw(method, path, body, query=query, content_type=content_type))
        return answer

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        content_type: str | None,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> Any:
        headers = self._auth()
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else msgspec.json.encode(body)
            headers["Content-Type"] = content_type or "application/json"
        return self._open().request(
            method,
            self._base + path,
            params=query,
            data=data,
            headers=headers,
            timeout=timeout or aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S),
        )

    def _auth(self) -> CIMultiDict[str]:
        headers = CIMultiDict[str]()
        if token := self.config.bearer():
            headers["Authorization"] = f"Bearer {token}"
        elif self.config.username is not None:
            headers["Authorization"] = aiohttp.BasicAuth(self.config.username, self.config.password or "").encode()
        return headers

    def _open(self) -> aiohttp.ClientSession:
        """The session, made at the first call, for it belongs to the running loop."""
        if self._session is None:
            # Watches hold a connection each, so there is no limit on them.
            if self._unix is not None:
                connector: aiohttp.BaseConnector = aiohttp.UnixConnector(self._unix, limit=0)
            else:
                connector = aiohttp.TCPConnector(limit=0, ssl=self.config.ssl_context() or True)
            self._session = aiohttp.ClientSession(connector=connector, headers=self._headers)
        return self._session


def _endpoint(server: str) -> tuple[str | None, str]:
    """The unix socket of a unix:// URL (None otherwise), and the URL that paths are appended to."""
    if server.startswith("unix://"):
        return server.removeprefix("unix://"), "http://localhost"
    return None, server.rstrip("/")


def _query(**fields: str) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value}


def _typed(resource: Resource, obj: Object) -> Object:
    """The object with its apiVersion and kind, which a server wants to see in it."""
    return obj if "kind" in obj and "apiVersion" in obj else {**_kind(resource), **obj}


def _kind(resource: Resource) -> Object:
    return {"apiVersion": resource.api_version, "kind": resource.kind}


def _namespace(obj: Object) -> str | None:
    namespace: str | None = obj["metadata"].get("namespace")
    return namespace


def _event(line: bytes) -> WatchEvent:
    event = msgspec.json.decode(line)
    if event["type"] == "ERROR":
        raise from_status(500, event["object"])
    return WatchEvent(event["type"], event["object"])


async def _error(answer: aiohttp.ClientResponse) -> ApiError:
    try:
        body = await answer.read()
    except (TimeoutError, aiohttp.ClientError):
        body = b""
    try:
        status = msgspec.json.decode(body)
    except msgspec.DecodeError:
        status = None
    return from_status(answer.status, status, body.decode("utf-8", "replace"))
