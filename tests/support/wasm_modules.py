"""A least Wasm module that Envoy runs, and a server that has it: as a file, boxed, and as images of a registry."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from mizzen.agent.wasm.image_source import DOCKER_LAYER, DOCKER_MANIFEST, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, WASM_LAYER

USER, PASSWORD = "reader", "secret"
_I32, _MEMORY, _CODE = b"\x7f", 5, 10


def _vector(items: Iterable[bytes]) -> bytes:
    listed = list(items)
    return bytes([len(listed)]) + b"".join(listed)


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _section(number: int, content: bytes) -> bytes:
    return (
        bytes([number])
        + (bytes([len(content)]) if len(content) < 128 else bytes([len(content) & 127 | 128, len(content) >> 7]))
        + content
    )


def least_module() -> bytes:
    """A module of the proxy-wasm ABI 0.2.1 whose callbacks let everything pass."""
    kinds = [([_I32], [_I32]), ([], []), ([_I32] * 2, []), ([_I32] * 2, [_I32])]
    bodies = [b"\x41\x80\x08\x0b", b"\x0b", b"\x0b", b"\x41\x01\x0b"]  # malloc → 1024; nothing; nothing; true
    exported = {
        "malloc": 0, "proxy_abi_version_0_2_1": 1, "_initialize": 1,
        "proxy_on_context_create": 2, "proxy_on_vm_start": 3, "proxy_on_configure": 3,
    }  # fmt: skip
    exports = [_text("memory") + b"\x02\x00"]
    exports += [_text(name) + bytes([0, at]) for at, name in enumerate(exported)]
    parts = [
        _section(1, _vector(b"\x60" + _vector(given) + _vector(found) for given, found in kinds)),
        _section(3, _vector(bytes([kind]) for kind in exported.values())),
        _section(_MEMORY, _vector([b"\x00\x02"])),
        _section(7, _vector(exports)),
        _section(_CODE, _vector(bytes([len(bodies[kind]) + 1, 0]) + bodies[kind] for kind in exported.values())),
    ]
    return b"\0asm\x01\0\0\0" + b"".join(parts)


MODULE = least_module()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tarred(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


class ModuleServer:
    """`files` by path; `failures`: statuses that come before the file does. Images: basic (compat), artifact, docker, index."""

    def __init__(self, *, private: bool = False) -> None:
        self.files: dict[str, bytes] = {"/m.wasm": MODULE}
        self.failures: list[int] = []
        self.requests: list[str] = []
        self._private = private
        layer = gzip.compress(tarred("./plugin.wasm", MODULE))
        self.blobs = {f"sha256:{digest(data)}": data for data in (layer, MODULE)}
        compat, artifact = (
            _manifest(OCI_MANIFEST, (OCI_LAYER, layer)),
            _manifest(OCI_MANIFEST, (WASM_LAYER, MODULE), ("x/y", MODULE)),
        )
        child = {
            "mediaType": OCI_MANIFEST,
            "digest": f"sha256:{digest(compat)}",
            "platform": {"os": "linux", "architecture": "amd64"},
        }
        other = {**child, "digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "arm64"}}
        self.manifests = {
            "basic": compat,
            "artifact": artifact,
            "docker": _manifest(DOCKER_MANIFEST, (DOCKER_LAYER, layer)),
            "index": json.dumps({"mediaType": OCI_INDEX, "manifests": [other, child]}).encode(),
            "empty": _manifest(OCI_MANIFEST),
            "odd": _manifest(OCI_MANIFEST, ("x/y", MODULE)),
        }
        self.by_digest = {f"sha256:{digest(data)}": data for data in self.manifests.values()}

    async def __aenter__(self) -> ModuleServer:
        app = web.Application()
        app.router.add_get("/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.host = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def docker_config(self) -> bytes:
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return json.dumps({"auths": {self.host: {"auth": auth}}}).encode()

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests.append(request.path)
        if self.failures:
            return web.Response(status=self.failures.pop(0))
        if not request.path.startswith("/v2/"):
            found = self.files.get(request.path)
            return web.Response(body=found) if found is not None else web.Response(status=404)
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self._private and request.headers.get("Authorization") != expected:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="https://registry.test"'})
        *_, repository, what, which = request.path.split("/")
        known: dict[str, bytes] = self.blobs if what == "blobs" else self.by_digest
        data = known.get(which) or (self.manifests.get(repository) if what == "manifests" else None)
        return web.Response(body=data) if data is not None else web.Response(status=404)


def _manifest(kind: str, *layers: tuple[str, bytes]) -> bytes:
    listed: list[dict[str, Any]] = [
        {"mediaType": layer, "digest": f"sha256:{digest(data)}", "size": len(data)} for layer, data in layers
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": kind, "layers": listed}).encode()
