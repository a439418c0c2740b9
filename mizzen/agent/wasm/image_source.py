"""Modules as OCI images: the manifest first, whose digest is the module's checksum, and the layer that holds the module.

Takes registries' HTTP API (OCI distribution spec) with credentials of a Docker config. Three forms of images: Docker's and
OCI's with one file plugin.wasm in the last layer, and the two-layered artifact of the Wasm image spec. Not here: keeping.
"""

from __future__ import annotations

import base64
import hashlib
import io
import ipaddress
import json
import os
import re
import ssl
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import aiohttp

from mizzen.agent.wasm.http_source import bounded, gunzipped
from mizzen.agent.wasm.settings import Settings
from mizzen.api.errors import PeerError

HUB, HUB_CREDENTIALS = "index.docker.io", "https://index.docker.io/v1/"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST, OCI_INDEX = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
WASM_LAYER = "application/vnd.module.wasm.content.layer.v1+wasm"
FILE_NAME = "plugin.wasm"
MOST_JSON = 4 << 20
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
FORBIDDEN_HOSTS = frozenset({"localhost", "metadata.google.internal"})


class Reference(NamedTuple):
    """registry/repository:tag or @digest. identifier: the tag or digest."""

    registry: str
    repository: str
    identifier: str

    @property
    def digest(self) -> str:
        """The hexadecimal digest that the reference itself names, or ""."""
        return self.identifier.partition(":")[2] if DIGEST.fullmatch(self.identifier) else ""

    @property
    def name(self) -> str:
        """Without tag and digest."""
        return f"{self.registry}/{self.repository}"


def reference(text: str) -> Reference:
    """An image's name as Docker reads it: without a registry it is the Hub's, without a tag the latest. Raises PeerError."""
    name, at, digest = text.partition("@")
    if at and not DIGEST.fullmatch(digest):
        raise PeerError(f"{text}: the digest is not sha256:<64 hexadecimal digits>")
    first, slash, rest = name.partition("/")
    has_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    registry, path = (first, rest) if has_registry else (HUB, name)
    path, _, tag = path.partition(":")
    if registry == HUB and "/" not in path:
        path = f"library/{path}"
    if not re.fullmatch(r"[a-z0-9_./-]+", path):
        raise PeerError(f"{text}: is no image's name")
    return Reference(registry, path, digest or tag or "latest")


class Registry:
    """One image's registry. pull_secret: a Docker config, None = the one in $DOCKER_CONFIG or ~/.docker."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        image: Reference,
        settings: Settings,
        pull_secret: bytes | None,
        *,
        insecure: bool,
    ) -> None:
        self._session, self._image, self._settings, self._insecure = session, image, settings, insecure
        config = pull_secret if pull_secret is not None else default_config()
        self._credentials = credentials(config, image.registry)
        self._authorization = f"Basic {self._credentials}" if self._credentials else ""
        self._base = f"https://{image.registry}/v2/{image.repository}"

    async def manifest(self) -> tuple[dict[str, Any], str]:
        """The image's manifest and the hexadecimal digest of its bytes. Of an index that for linux/amd64. Raises PeerError."""
        read, digest = await self._manifest(self._image.identifier)
        if read.get("mediaType") in (OCI_INDEX, DOCKER_LIST) or "manifests" in read:
            wanted = {"os": "linux", "architecture": "amd64"}
            chosen = (
                one for one in read.get("manifests", ()) if wanted.items() <= (one.get("platform") or wanted).items()
            )
            found = next(chosen, None)
            if found is None:
                raise PeerError(f"{self._image.name}: no image for linux/amd64")
            read, digest = await self._manifest(str(found.get("digest")))
        return read, digest

    async def module(self, manifest: Mapping[str, Any]) -> bytes:
        """The module in an image. Raises PeerError."""
        layers = manifest.get("layers") or []
        if not layers:
            raise PeerError(f"{self._image.name}: has no layers")
        last = layers[-1].get("mediaType")
        if manifest.get("mediaType") == DOCKER_MANIFEST and last != DOCKER_LAYER:
            raise PeerError(f"{self._image.name}: a layer of type {last}, {DOCKER_LAYER} is expected")
        if last in (DOCKER_LAYER, OCI_LAYER):
            return plugin_of(await self._blob(layers[-1]), self._settings.most_bytes)
        raw = next((layer for layer in layers if layer.get("mediaType") == WASM_LAYER), None)
        if raw is None or len(layers) != 2:
            raise PeerError(
                f"{self._image.name}: neither a last layer {OCI_LAYER} nor two layers, one of them {WASM_LAYER}"
            )
        return await self._blob(raw)

    async def _manifest(self, identifier: str) -> tuple[dict[str, Any], str]:
        accept = ", ".join((OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST))
        data = await self._get(f"/manifests/{identifier}", MOST_JSON, accept)
        digest = hashlib.sha256(data).hexdigest()
        if DIGEST.fullmatch(identifier) and identifier != f"sha256:{digest}":
            raise PeerError(f"{self._image.name}: the manifest has digest sha256:{digest}, not {identifier}")
        read = _json(data)
        return read, digest

    async def _blob(self, layer: Mapping[str, Any]) -> bytes:
        digest = str(layer.get("digest"))
        data = await self._get(f"/blobs/{digest}", self._settings.most_bytes)
        if digest != f"sha256:{hashlib.sha256(data).hexdigest()}":
            raise PeerError(f"{self._image.name}: a layer is not what its digest says")
        return data

    async def _get(self, path: str, most: int, accept: str = "*/*") -> bytes:
        try:
            return await self._authorized(path, most, accept)
        except aiohttp.ClientConnectorError as error:
            if not self._base.startswith("https:") or not (speaks_plaintext(error) or is_local(self._image.registry)):
                raise PeerError(f"{self._image.registry}: {error}") from error
            self._base = "http" + self._base.removeprefix("https")
            return await self._get(path, most, accept)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PeerError(f"{self._image.registry}: {error or 'timed out'}") from error

    async def _authorized(self, path: str, most: int, accept: str) -> bytes:
        for _ in range(2):
            headers = {"Accept": accept} | ({"Authorization": self._authorization} if self._authorization else {})
            async with self._session.get(self._base + path, headers=headers, ssl=not self._insecure) as answer:
                if answer.status == 200:
                    return await bounded(answer, most)
                challenges = answer.headers.getall("WWW-Authenticate", [])
                if answer.status != 401 or not challenges:
                    raise PeerError(f"{self._base}{path}: status {answer.status}")
            for challenge in challenges:
                check_realms(challenge)
            self._authorization = await self._answer_to(challenges)
        raise PeerError(f"{self._base}{path}: not authorized")

    async def _answer_to(self, challenges: list[str]) -> str:
        bearer = next((one for one in challenges if one.lower().startswith("bearer ")), None)
        if bearer is None:
            return f"Basic {self._credentials}" if self._credentials else ""
        said = dict(re.findall(r'(\w+)="([^"]*)"', bearer))
        query = {"scope": said.get("scope") or f"repository:{self._image.repository}:pull"}
        if "service" in said:
            query["service"] = said["service"]
        headers = {"Authorization": f"Basic {self._credentials}"} if self._credentials else {}
        url = f"{said.get('realm', '')}?{urlencode(query)}"
        async with self._session.get(url, headers=headers, ssl=not self._insecure) as answer:
            if answer.status != 200:
                raise PeerError(f"{said.get('realm')}: status {answer.status}")
            token = _json(await bounded(answer, MOST_JSON))
        return f"Bearer {token.get('token') or token.get('access_token') or ''}"


def plugin_of(layer: bytes, most: int) -> bytes:
    """The file plugin.wasm of a gzipped tar. Raises PeerError."""
    tar = gunzipped(layer, most)
    try:
        with tarfile.open(fileobj=io.BytesIO(tar or b""), mode="r:") as archive:
            for member in archive:
                reader = archive.extractfile(member) if Path(member.name).name == FILE_NAME else None
                if reader is not None:
                    return reader.read()
    except tarfile.TarError as error:
        raise PeerError(f"a layer cannot be read: {error}") from error
    raise PeerError(f"no file {FILE_NAME} in the image")


def check_realms(challenge: str) -> None:
    """Refuses to send credentials to places inside, whoever asks for it. Raises PeerError."""
    for realm in re.findall(r'realm="([^"]*)"', challenge, re.IGNORECASE):
        url = urlsplit(realm)
        host = (url.hostname or "").rstrip(".")
        if url.scheme not in ("http", "https") or not host:
            raise PeerError(f"the realm {realm!r} is no HTTP URL")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            inside = host in FORBIDDEN_HOSTS
        else:
            inside = address.is_private or address.is_loopback or address.is_link_local
        if inside:
            raise PeerError(f"the realm {realm!r} is inside: no credentials are sent there")


def credentials(config: bytes, registry: str) -> str:
    """`auth` (base64 of user:password) for a registry of a Docker config; "" when it has none. Raises PeerError."""
    if not config:
        return ""
    auths = _json(config).get("auths") or {}
    names = [
        registry,
        f"https://{registry}",
        f"http://{registry}",
        f"https://{registry}/v2/",
        f"https://{registry}/v1/",
    ]
    for name in [*names, *((HUB_CREDENTIALS, "docker.io") if registry == HUB else ())]:
        found = auths.get(name)
        if isinstance(found, Mapping):
            if found.get("auth"):
                return str(found["auth"])
            pair = f"{found.get('username', '')}:{found.get('password', '')}"
            return base64.b64encode(pair.encode()).decode() if pair != ":" else ""
    return ""


def default_config() -> bytes:
    """The Docker config of the agent's user; empty when there is none."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        return (folder / "config.json").read_bytes()
    except OSError:
        return b""


def speaks_plaintext(error: aiohttp.ClientConnectorError) -> bool:
    """Whether a TLS client met a server without TLS."""
    cause = error.os_error
    return isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")


def is_local(registry: str) -> bool:
    """Registries that need no TLS: this machine's and private networks'."""
    host = urlsplit(f"//{registry}").hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local"))
    return address.is_private or address.is_loopback


def _json(data: bytes) -> dict[str, Any]:
    try:
        read = json.loads(data)
    except ValueError as error:
        raise PeerError(f"no JSON: {error}") from error
    if not isinstance(read, dict):
        raise PeerError("a JSON object is expected")
    return read
