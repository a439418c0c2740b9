"""Where a self-signed CA survives a restart: Secret `istio-ca-secret`, a folder, or nowhere; and plug-in CAs are found.

Takes a client or a folder, gives a bundle; the first istiod to write wins and the others use what it wrote.
Not here: the material itself (bundle.py).
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from mizzen.istiod.ca import bundle as bundles
from mizzen.istiod.ca.bundle import Bundle
from mizzen.kube import ApiError, Client, Object
from mizzen.kube.resource import NAMESPACES, SECRETS

log = logging.getLogger(__name__)

SELF_SIGNED, PLUG_IN = "istio-ca-secret", "cacerts"
SECRET_TYPE = "istio.io/ca-root"


class Keeper(Protocol):
    """A place for the CA's bundle."""

    async def load(self, trust_domain: str) -> Bundle:
        """The bundle that is there; a new self-signed one, kept, when there is none."""
        ...

    async def current(self) -> Bundle | None:
        """The bundle that is there now; None when there is none. Raises UsageError for half of one."""
        ...

    async def save(self, bundle: Bundle) -> None: ...


class NowhereKeeper:
    """Nothing is kept: with each start all workloads need new certificates."""

    async def load(self, trust_domain: str) -> Bundle:
        log.warning("the CA's key is kept in memory only; give --ca-dir to keep it over a restart")
        return bundles.self_signed(trust_domain, datetime.now(UTC))

    async def current(self) -> Bundle | None:
        return None

    async def save(self, bundle: Bundle) -> None:
        return None


class FolderKeeper:
    """A folder: what is there is used, be it ours or a plugged-in CA's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def load(self, trust_domain: str) -> Bundle:
        found = await self.current()
        if found is None:
            found = bundles.self_signed(trust_domain, datetime.now(UTC))
            bundles.write_folder(self._folder, found)
        return found

    async def current(self) -> Bundle | None:
        return bundles.read_folder(self._folder)

    async def save(self, bundle: Bundle) -> None:
        bundles.write_folder(self._folder, bundle)


class SecretKeeper:
    """A cluster: Secret `cacerts` when an operator plugged one in, else our own `istio-ca-secret`."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self._namespace = client, namespace

    async def load(self, trust_domain: str) -> Bundle:
        found = await self.current()
        if found is not None:
            return found
        made = bundles.self_signed(trust_domain, datetime.now(UTC))
        await self._ensure_namespace()
        try:
            await self._client.create(SECRETS, self._secret(made))
        except ApiError as error:
            if not error.already_exists:
                raise
            return await self.load(trust_domain)  # another istiod was faster
        return made

    async def current(self) -> Bundle | None:
        for name in (PLUG_IN, SELF_SIGNED):
            secret = await self._client.find(SECRETS, name, self._namespace)
            if secret is not None:
                return bundles.from_data(_decoded(secret.get("data") or {}), f"Secret {self._namespace}/{name}")
        return None

    async def _ensure_namespace(self) -> None:
        if await self._client.find(NAMESPACES, self._namespace) is None:
            log.info("creating namespace %s", self._namespace)
            meta = {"name": self._namespace}
            try:
                await self._client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
            except ApiError as error:
                if not error.already_exists:
                    raise

    async def save(self, bundle: Bundle) -> None:
        await self._client.update(SECRETS, self._secret(bundle))

    def _secret(self, bundle: Bundle) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": SECRET_TYPE,
            "metadata": {"name": SELF_SIGNED, "namespace": self._namespace},
            "data": {name: base64.b64encode(text.encode()).decode() for name, text in bundle.data().items()},
        }


def _decoded(data: Mapping[str, str]) -> dict[str, str]:
    return {name: base64.b64decode(value).decode() for name, value in data.items()}
