"""A running mesh as its user sees it: apply manifests, call services from where a person or a pod stands, wait for conditions.

Used by the demo, the scenario tests and the pytest plugin; talks only to the Kubernetes API.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from string import Template
from typing import Any, NamedTuple, TypeVar

from mizzen.api.manifest import Document, loads
from mizzen.kube.client import Client
from mizzen.kube.errors import ApiError
from mizzen.kube.resource import PODS, Object
from mizzen.kube.streams import Result, run
from mizzen.samples import folder
from mizzen.up.apply import apply, documents

T = TypeVar("T")
POLL_S = 0.05


class Seen(NamedTuple):
    """What a number of requests saw. statuses and by: counts; seconds: p50, p99, max; sample: the last answer."""

    statuses: dict[str, int]
    by: dict[str, int]
    errors: dict[str, int]
    seconds: dict[str, float]
    sample: Any = None
    headers: dict[str, str] = {}

    @property
    def total(self) -> int:
        return sum(self.statuses.values()) + sum(self.errors.values())

    def all_are(self, status: int) -> bool:
        """Every request was answered, with this status."""
        return self.statuses == {str(status): self.total}


class Mesh:
    """One mesh behind one kubeconfig's client."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def apply(self, *paths: Path, **values: str) -> None:
        """Applies files; ${NAME} in them is filled in from values. Raises mizzen.up.apply.Applied for refused objects."""
        items: list[Document] = []
        for path in paths:
            items += loads(Template(path.read_text()).substitute(values), str(path)) if values else documents([path])
        await apply(self.client, items)

    async def pods(self, namespace: str, **labels: str) -> list[Object]:
        """Pods that are not going, by labels."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        listed = await self.client.list(PODS, namespace, label_selector=selector)
        return [pod for pod in listed.items if "deletionTimestamp" not in pod["metadata"]]

    async def pod(self, namespace: str, **labels: str) -> Object:
        """The one pod with these labels."""
        found = await self.pods(namespace, **labels)
        if len(found) != 1:
            raise LookupError(f"{len(found)} pods in {namespace} have {labels}")
        return found[0]

    async def ready(self, *namespaces: str, timeout_s: float = 60.0) -> None:
        """Waits until every Deployment of the namespaces has all its pods ready. Raises TimeoutError that says what is not."""

        async def waiting() -> str:
            lines = []
            for namespace in namespaces:
                for pod in await self.pods(namespace):
                    if not _is_ready(pod):
                        lines.append(f"{namespace}/{pod['metadata']['name']}: {_why(pod)}")
                path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
                for deployment in json.loads(await self.client.raw("GET", path))["items"]:
                    have = deployment.get("status", {}).get("readyReplicas", 0)
                    if have < deployment["spec"].get("replicas", 1):
                        lines.append(f"{namespace}/{deployment['metadata']['name']}: {have} pods ready")
            return "; ".join(lines)

        await until(waiting, lambda text: not text, timeout_s, poll_s=0.3)

    async def exec(self, pod: Object, *command: str, container: str = "", timeout_s: float = 60.0) -> Result:
        """Runs a command in a pod."""
        metadata = pod["metadata"]
        return await run(
            self.client, metadata["name"], metadata["namespace"], command, container=container, timeout_s=timeout_s
        )

    async def call_from(self, pod: Object, url: str, count: int = 1, **options: Any) -> Seen:
        """Requests from inside a pod (which needs Python: any pod of the samples). options: as of `call_command`."""
        result = await self.exec(pod, *call_command(url, count, **options), container=_app(pod))
        if result.code:
            raise RuntimeError(
                f"call {url}: exit {result.code}: {result.stderr.decode(errors='replace').strip()[-500:]}"
            )
        return _seen(result.stdout)

    async def call(self, url: str, count: int = 1, **options: Any) -> Seen:
        """Requests from this machine, outside any pod."""
        process = await asyncio.create_subprocess_exec(
            *call_command(url, count, **options), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"call {url}: {err.decode(errors='replace').strip()[-500:]}")
        return _seen(out)


def call_command(
    url: str,
    count: int = 1,
    *,
    concurrency: int = 1,
    headers: dict[str, str] | None = None,
    by: str = "version",
    timeout: float = 10.0,
) -> list[str]:
    """The command line of the samples' caller."""
    command = [sys.executable, str(folder() / "apps"), "call", url, "-n", str(count), "-c", str(concurrency)]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    return [*command, "--by", by, "--timeout", str(timeout)]


def _seen(text: bytes) -> Seen:
    return Seen(**json.loads(text))


def _app(pod: Object) -> str:
    """The first container that is not the proxy."""
    names: Sequence[str] = [c["name"] for c in pod["spec"]["containers"]]
    return next((name for name in names if name != "istio-proxy"), names[0])


def _is_ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions") or ())


def _why(pod: Object) -> str:
    status = pod.get("status", {})
    parts = [status.get("phase", "Pending")]
    for entry in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        if not entry.get("ready"):
            state = entry.get("state") or {}
            kind = next(iter(state), "waiting")
            parts.append(f"{entry['name']} {kind} {(state.get(kind) or {}).get('reason', '')}".strip())
    return ", ".join(parts)


async def until(
    ask: Callable[[], Awaitable[T]], good: Callable[[T], bool], timeout_s: float, poll_s: float = POLL_S
) -> T:
    """Asks until the answer is good, and gives it. Raises TimeoutError with the last answer."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            answer: Any = await ask()
        except (ApiError, RuntimeError, LookupError) as error:
            answer = error
        else:
            if good(answer):
                return answer  # type: ignore[no-any-return]
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {timeout_s:.0f} s still: {str(answer)[:2000]}")
        await asyncio.sleep(poll_s)
