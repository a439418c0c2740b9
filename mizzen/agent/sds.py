"""The secret discovery service on the workload's socket: `default`, `ROOTCA`, and certificates in files.

State of the world and delta. Source: Envoy's SDS; Istio's resource names. Not here: getting certificates.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from mizzen.agent.certificates import Certificates, stamp
from mizzen.agent.channel import Handler, nonce
from mizzen.agent.messages import SECRET, key_secret, read_request, root_secret, write_response
from mizzen.agent.trust import CRL, system_roots
from mizzen.api.errors import MizzenError

log = logging.getLogger("mizzen.agent.sds")

DEFAULT, ROOT = "default", "ROOTCA"
FILE_CERT, FILE_ROOT = "file-cert:", "file-root:"
SERVICE = "envoy.service.secret.v3.SecretDiscoveryService"
FILE_POLL_S = 1.0


class SecretServer:
    """Answers and pushes. One per agent."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._streams: set[asyncio.Queue[bytes | None]] = set()
        certificates.listen(self.push)

    @property
    def services(self) -> dict[str, dict[str, Handler]]:
        return {SERVICE: {"StreamSecrets": self.state_of_the_world, "DeltaSecrets": self.delta}}

    async def push(self) -> None:
        """Wakes every stream: what it watches may have changed."""
        for queue in self._streams:
            queue.put_nowait(b"")

    def state_of_the_world(self, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return self._serve(requests, delta=False)

    def delta(self, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return self._serve(requests, delta=True)

    async def _serve(self, requests: AsyncIterator[bytes], *, delta: bool) -> AsyncIterator[bytes]:
        """One stream. The queue holds requests; an empty item is a push, None the end."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        reader = asyncio.create_task(read_into(requests, queue), name="sds-requests")
        watcher = asyncio.create_task(self._watch_files(queue), name="sds-files")
        self._streams.add(queue)
        names: set[str] = set()
        sent: dict[str, bytes] = {}
        try:
            while (item := await queue.get()) is not None:
                if item:
                    request = read_request(item, delta)
                    if request.error:
                        log.warning("secret %s refused by the proxy: %s", ",".join(sorted(names)), request.error)
                    names = (
                        (names | set(request.names)) - set(request.removed) if delta else set(request.names) or names
                    )
                    sent = {name: data for name, data in sent.items() if name in names}
                answer = {name: data for name, data in self.secrets(names).items() if sent.get(name) != data}
                if answer:
                    sent |= answer
                    whole = answer if delta else {name: sent[name] for name in sorted(names) if name in sent}
                    yield write_response(delta, SECRET, nonce(), nonce(), whole)
        finally:
            self._streams.discard(queue)
            for task in (reader, watcher):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _watch_files(self, queue: asyncio.Queue[bytes | None]) -> None:
        """Certificates in files have no one to tell of their change."""
        before = stamp(CRL)
        while True:
            await asyncio.sleep(FILE_POLL_S)
            if stamp(CRL) != before:
                before = stamp(CRL)
                queue.put_nowait(b"")

    def secrets(self, names: set[str]) -> dict[str, bytes]:
        """The secrets that there are, of those asked for."""
        result = {}
        for name in names:
            data = self.secret(name)
            if data is not None:
                result[name] = data
        return result

    def secret(self, name: str) -> bytes | None:
        """None while there is none yet, or none that can be read."""
        current = self._certificates.current
        try:
            if name.startswith(FILE_CERT):
                chain, _, key = name.removeprefix(FILE_CERT).partition("~")
                return key_secret(name, Path(chain).read_bytes(), Path(key).read_bytes())
            if name.startswith(FILE_ROOT):
                path = name.removeprefix(FILE_ROOT)
                return root_secret(name, (system_roots() if path == "system" else Path(path)).read_bytes())
        except (OSError, MizzenError) as error:
            log.error("secret %s: %s", name, error)
            return None
        if current is None:
            return None
        if name == ROOT:
            return root_secret(name, self._certificates.roots, str(CRL) if CRL.is_file() else "")
        if name == DEFAULT:
            return key_secret(name, current.chain, current.key)
        log.warning("the proxy asks for an unknown secret %s", name)
        return None


async def read_into(requests: AsyncIterator[bytes], queue: asyncio.Queue[bytes | None]) -> None:
    """Moves a stream's requests into a queue, and its end."""
    try:
        async for request in requests:
            queue.put_nowait(request)
    finally:
        queue.put_nowait(None)
