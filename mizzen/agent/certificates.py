"""The workload's certificate: made, kept, renewed before it ends, and told to whoever listens.

One `Certificates` per agent. `current` is None until there is a certificate. Not here: serving it (sds.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from mizzen.agent.ca_client import create_certificate
from mizzen.agent.channel import Target
from mizzen.agent.csr import make_in_child
from mizzen.agent.environment import Environment
from mizzen.agent.rotation import renewal_delay
from mizzen.agent.trust import Files
from mizzen.agent.x509 import lifetime
from mizzen.api.errors import MizzenError

log = logging.getLogger("mizzen.agent.certificates")

RETRY_S, FILE_POLL_S = 2.0, 1.0
BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class Identity(msgspec.Struct, frozen=True):
    """Key, chain and roots as PEM; when the chain holds, as Unix times."""

    key: bytes
    chain: bytes
    roots: bytes
    not_before: float
    not_after: float


def identity(key: str, chain: str, roots: str) -> Identity:
    """Raises PeerError for a chain that cannot be read."""
    begins, ends = lifetime(chain)
    return Identity(key.encode(), chain.encode(), merged_roots(roots).encode(), begins, ends)


def merged_roots(*bundles: str) -> str:
    """PEM bundles as one: every certificate once, sorted."""
    blocks = {"".join(block.split("\r")).strip() for bundle in bundles for block in BLOCK.findall(bundle)}
    return "".join(f"{block}\n" for block in sorted(blocks))


def spiffe_id(environment: Environment) -> str:
    place = f"ns/{environment.pod_namespace or 'default'}/sa/{environment.service_account or 'default'}"
    return f"spiffe://{environment.trust_domain.replace('@', '.')}/{place}"


class Certificates:
    """Owns the certificate. `run` is its only task; listeners are called after every change."""

    def __init__(self, environment: Environment, ca: Target | None, files: Files | None) -> None:
        self._environment, self._ca, self._files = environment, ca, files
        self._listeners: list[Callable[[], Awaitable[None]]] = []
        self._due = asyncio.Event()
        self.ready = asyncio.Event()
        self.current: Identity | None = None
        self.failures = 0
        self._anchors: tuple[str, ...] = ()

    def listen(self, callback: Callable[[], Awaitable[None]]) -> None:
        self._listeners.append(callback)

    async def trust(self, anchors: Sequence[str]) -> None:
        """Roots of the mesh's configuration, trusted besides the CA's own."""
        if tuple(anchors) == self._anchors:
            return
        self._anchors = tuple(anchors)
        if self.current is not None:
            for callback in self._listeners:
                await callback()

    @property
    def roots(self) -> bytes:
        """All that is trusted, as PEM; nothing before the first certificate."""
        if self.current is None or not self._anchors:
            return self.current.roots if self.current else b""
        return merged_roots(self.current.roots.decode(), *self._anchors).encode()

    async def run(self) -> None:
        """Until cancelled: a certificate, and the next one in time."""
        while True:
            try:
                made = await (self._from_files() if self._files else self._from_ca())
            except (MizzenError, OSError) as error:
                self.failures += 1
                log.error("no certificate: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            if made != self.current:
                await self._take(made)
            await (self._files_changed(self._files) if self._files else self._until_due(made))

    async def _take(self, made: Identity) -> None:
        self.current = made
        self.ready.set()
        if self._environment.output_certs:
            write_identity(
                made, Path(self._environment.output_certs), in_cluster="KUBERNETES_SERVICE_HOST" in os.environ
            )
        log.info("certificate of %s until %s", spiffe_id(self._environment), time.ctime(made.not_after))
        for callback in self._listeners:
            await callback()

    async def _from_ca(self) -> Identity:
        environment = self._environment
        assert self._ca is not None
        options = {
            "spiffe": spiffe_id(environment),
            "algorithm": environment.signature_algorithm or "RSA",
            "curve": environment.ecc_curve,
            "rsa_bits": environment.rsa_key_size,
            "pkcs8": environment.pkcs8_key,
        }
        key, csr = await make_in_child(options)
        chain = await create_certificate(self._ca, environment, csr)
        return identity(key, "".join(part.rstrip("\n") + "\n" for part in chain[:-1]), chain[-1])

    async def _from_files(self) -> Identity:
        assert self._files is not None
        return identity(self._files.key.read_text(), self._files.chain.read_text(), self._files.root.read_text())

    async def _until_due(self, made: Identity) -> None:
        environment = self._environment
        chance = random.uniform(-1, 1)
        delay = renewal_delay(
            made.not_before, made.not_after, time.time(), environment.grace_ratio, environment.grace_jitter, chance
        )
        await asyncio.sleep(max(delay, 0.5))

    async def _files_changed(self, files: Files) -> None:
        before = stamps(files)
        while stamps(files) == before:
            await asyncio.sleep(FILE_POLL_S)
        await asyncio.sleep(self._environment.file_debounce_s)


def stamps(files: Files) -> tuple[object, ...]:
    return tuple(stamp(path) for path in (files.chain, files.key, files.root))


def stamp(path: Path) -> object:
    """What changes when a file does, also behind a symbolic link."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def write_identity(made: Identity, folder: Path, *, in_cluster: bool) -> None:
    """Writes key.pem, cert-chain.pem and root-cert.pem, each at once and only when it differs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (("key.pem", made.key), ("cert-chain.pem", made.chain), ("root-cert.pem", made.roots)):
        path = folder / name
        if path.is_file() and path.read_bytes() == data:
            continue
        fresh = folder / f".{name}.new"
        with os.fdopen(
            os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644 if in_cluster else 0o600), "wb"
        ) as out:
            out.write(data)
        fresh.replace(path)
