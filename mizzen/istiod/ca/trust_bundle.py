"""Which certificates the mesh trusts: its CA's roots, those that MeshConfig names, and those of SPIFFE bundle endpoints.

Takes the authority and the current MeshConfig; puts a TrustAnchors object into the store, from where it is pushed to
proxies that ask. A bundle that cannot be fetched any more stays in force. Not here: what an anchor is used for.
Source: MeshConfig `caCertificates`; SPIFFE Trust Domain and Bundle, section 4.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mizzen.api.errors import PeerError
from mizzen.api.istio.mesh import MeshConfig
from mizzen.istiod.ca.authority import Authority
from mizzen.istiod.config.store import ConfigStore
from mizzen.istiod.trust import KEY, TrustAnchors

log = logging.getLogger(__name__)

LOOK_EVERY_S, REFRESH_S, RETRY_S, TIMEOUT_S = 1.0, 30 * 60.0, 10.0, 10.0
MAX_BYTES = 1 << 20
USE = "x509-svid"
Fetch = Callable[[str], Awaitable[str]]
"""URL → the bundle's text. Raises PeerError."""


class TrustBundle:
    """`run` until cancelled. mesh: gives the MeshConfig in force; fetch: for tests."""

    def __init__(
        self, authority: Authority, mesh: Callable[[], MeshConfig], store: ConfigStore, fetch: Fetch | None = None
    ) -> None:
        self._authority, self._mesh, self._store = authority, mesh, store
        self._fetch = fetch or fetch_bundle
        self._due: dict[str, float] = {}
        self._fetched: dict[str, tuple[str, ...]] = {}

    async def run(self) -> None:
        while True:
            await self.look(time.monotonic())
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self, now: float) -> None:
        """Fetch what is due, and tell the store. now: monotonic seconds."""
        wanted = {one.spiffe_bundle_url for one in self._mesh().ca_certificates if one.spiffe_bundle_url}
        for url in self._due.keys() - wanted:
            del self._due[url]
            self._fetched.pop(url, None)
        await asyncio.gather(*(self._get(url, now) for url in sorted(wanted) if self._due.get(url, 0.0) <= now))
        pems = [self._authority.roots, *(one.pem for one in self._mesh().ca_certificates if one.pem)]
        found = {certificate for pem in pems for certificate in certificates(pem)}
        found.update(certificate for fetched in self._fetched.values() for certificate in fetched)
        self._store.put_typed(KEY, TrustAnchors(tuple(sorted(found))))

    async def _get(self, url: str, now: float) -> None:
        try:
            self._fetched[url] = bundle_certificates(await self._fetch(url), url)
        except PeerError as error:
            self._due[url] = now + RETRY_S
            log.warning("trust bundle: %s", error)
            return
        self._due[url] = now + REFRESH_S


def certificates(pem: str) -> list[str]:
    """The certificates in a text, each as PEM of its own; none for a text that is none, which is logged."""
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        log.error("caCertificates: %s", error)
        return []
    return [one.public_bytes(Encoding.PEM).decode() for one in found]


def bundle_certificates(text: str, url: str) -> tuple[str, ...]:
    """The X.509 authorities in a SPIFFE bundle. Raises PeerError."""
    try:
        keys = json.loads(text)["keys"]
        return tuple(_certificates(keys))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PeerError(f"{url} gives no SPIFFE bundle: {error}") from error


def _certificates(keys: Iterable[dict[str, object]]) -> Iterable[str]:
    for key in keys:
        chain = key.get("x5c")
        if key.get("use") != USE:
            continue
        if not isinstance(chain, list) or len(chain) != 1:
            raise ValueError("an entry for X.509 must hold exactly one certificate")
        found = x509.load_der_x509_certificate(base64.b64decode(chain[0]))
        yield found.public_bytes(Encoding.PEM).decode()


async def fetch_bundle(url: str) -> str:
    """The text behind a bundle's URL. Raises PeerError."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.get(url) as response,
        ):
            response.raise_for_status()
            return (await response.content.read(MAX_BYTES)).decode()
    except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError) as error:
        raise PeerError(f"GET {url}: {error or type(error).__name__}") from error
