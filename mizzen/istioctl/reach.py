"""How a command reaches a pod's Envoy admin: a port-forward through the API server, a URL, or a file that was saved.

Takes what the user named, gives an `Admin` to ask. Not here: what is asked.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import aiohttp

from mizzen.api.errors import PeerError, UsageError
from mizzen.kube import ApiError, Client, Key, Resource, kubeconfig
from mizzen.kube.resource import DAEMON_SETS, DEPLOYMENTS, JOBS, PODS, REPLICA_SETS, SERVICES, STATEFUL_SETS
from mizzen.kube.streams import PortForward

OWNERS: dict[str, Resource] = {
    "deployment": DEPLOYMENTS,
    "deploy": DEPLOYMENTS,
    "replicaset": REPLICA_SETS,
    "rs": REPLICA_SETS,
    "statefulset": STATEFUL_SETS,
    "sts": STATEFUL_SETS,
    "daemonset": DAEMON_SETS,
    "ds": DAEMON_SETS,
    "job": JOBS,
    "service": SERVICES,
    "svc": SERVICES,
}


class Admin(Protocol):
    """Envoy's admin. Raises PeerError when it does not answer."""

    async def get(self, path: str) -> str: ...

    async def post(self, path: str) -> str: ...


class HttpAdmin:
    """An admin behind a URL."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url.rstrip("/")

    async def get(self, path: str) -> str:
        return await self._ask("GET", path)

    async def post(self, path: str) -> str:
        return await self._ask("POST", path)

    async def _ask(self, method: str, path: str) -> str:
        try:
            async with self._session.request(method, f"{self._url}/{path}") as answer:
                text = await answer.text()
        except (aiohttp.ClientError, OSError) as error:
            raise PeerError(f"the proxy's admin does not answer: {error}") from error
        if answer.status >= 400:
            raise PeerError(f"the proxy's admin answers {answer.status} to /{path}: {text.strip()[:200]}")
        return text


class FileAdmin:
    """A saved answer stands for every one."""

    def __init__(self, file: str) -> None:
        try:
            self._text = sys.stdin.read() if file == "-" else Path(file).read_text()
        except OSError as error:
            raise UsageError(f"{file}: {error.strerror}") from error

    async def get(self, path: str) -> str:
        return self._text

    async def post(self, path: str) -> str:
        raise UsageError("a file cannot be changed: name a pod")


class Target(NamedTuple):
    """Where the admin is. Exactly one of file, url and pod is given."""

    pod: str | None = None
    file: str | None = None
    url: str | None = None
    namespace: str | None = None
    kubeconfig: str | None = None
    context: str | None = None
    admin_port: int = 15000


@contextlib.asynccontextmanager
async def admin(target: Target) -> AsyncIterator[Admin]:
    """The admin of the target, as long as it is entered."""
    if sum(1 for given in (target.pod, target.file, target.url) if given) != 1:
        raise UsageError("give one of: a pod, --file, --admin")
    if target.file:
        yield FileAdmin(target.file)
        return
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)))
        url = target.url
        if url is None:
            client = await stack.enter_async_context(Client(kubeconfig.load(target.kubeconfig, target.context)))
            key = await find_pod(client, str(target.pod), target.namespace or client.config.namespace)
            port = await stack.enter_async_context(PortForward(client, key.name, key.namespace, target.admin_port))
            url = f"http://127.0.0.1:{port}"
        yield HttpAdmin(session, url)


async def find_pod(client: Client, text: str, namespace: str) -> Key:
    """The pod that `[<type>/]<name>[.<namespace>]` means; of an owner's pods the first that runs. Raises UsageError."""
    kind, _, name = text.rpartition("/")
    wanted = [Key(namespace, name)]
    if "." in name:
        front, _, back = name.rpartition(".")
        wanted.insert(0, Key(back, front))
    for key in wanted:
        try:
            found = await _pods(client, kind, key)
        except ApiError as error:
            if not error.not_found:
                raise
            continue
        if found:
            return found[0]
    raise UsageError(f"no pod {text!r} in namespace {wanted[0].namespace}")


async def _pods(client: Client, kind: str, key: Key) -> Sequence[Key]:
    if kind in ("", "pod", "pods", "po"):
        await client.get(PODS, key.name, key.namespace)
        return [key]
    resource = OWNERS.get(kind.lower())
    if resource is None:
        raise UsageError(f"{kind}/{key.name}: {kind!r} is none of pod, {', '.join(OWNERS)}")
    spec: dict[str, Any] = (await client.get(resource, key.name, key.namespace)).get("spec") or {}
    labels = spec.get("selector") or {}
    labels = labels.get("matchLabels", labels if resource is SERVICES else {})
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    pods = (await client.list(PODS, key.namespace, label_selector=selector)).items if selector else []
    running = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]
    return [Key(key.namespace, pod["metadata"]["name"]) for pod in running]


def as_json(text: str) -> dict[str, Any]:
    """An admin's answer as JSON. Raises UsageError."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"not the JSON of Envoy's admin: {error}") from error
    if not isinstance(value, dict):
        raise UsageError("not the JSON of Envoy's admin: no object")
    return value
