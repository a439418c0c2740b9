"""Compressed answers and unpacked bodies beside Envoy: the same headers, bodies and statistics with gzip, brotli and zstd."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import aiohttp
import brotli
import pytest
import zstandard
from aiohttp import web

from mizzen.agent.supervisor import find_envoy
from tests.support.either_proxy import TYPES, address, cluster, proxy, with_admin

pytestmark = pytest.mark.skipif(not find_envoy(), reason="no Envoy here")
TEXT = b"all that is long enough is packed " * 200
CODERS = {"gzip": "gzip", "brotli": "br", "zstd": "zstd"}
UNPACK = {
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}
PACK = {"gzip": lambda data: gzip.compress(data, mtime=0), "br": brotli.compress, "zstd": zstandard.compress}
ACCEPTED = [
    None, "gzip", "br", "zstd", "gzip, br, zstd", "br;q=0.5, gzip;q=0.4", "*", "identity", "br;q=0", "deflate",
    "br;q=x", "zstd, *;q=0.1", "identity;q=1, br;q=0.5", "gzip;q=0.9,zstd;q=0.9", "", "*;q=0", "identity;q=0",
    "GZIP", "gzip;q=0, *", ",", "gzip;level=1", "*;q=0.1, zstd;q=0.05", "gzip;q=0, br;q=0, zstd;q=0", "gzip;q=0, identity",
]  # fmt: skip


def compressor(name: str, **more: Any) -> dict[str, Any]:
    message = name.capitalize()
    coder = {"@type": f"{TYPES}envoy.extensions.compression.{name}.compressor.v3.{message}"}
    typed = {
        "@type": TYPES + "envoy.extensions.filters.http.compressor.v3.Compressor",
        "compressor_library": {"name": "text", "typed_config": coder},
        "response_direction_config": {"common_config": {"min_content_length": 100}},
        **more,
    }
    return {"name": f"compressor.{name}", "typed_config": typed}


def decompressor(name: str) -> dict[str, Any]:
    coder = {"@type": f"{TYPES}envoy.extensions.compression.{name}.decompressor.v3.{name.capitalize()}"}
    typed = {
        "@type": TYPES + "envoy.extensions.filters.http.decompressor.v3.Decompressor",
        "decompressor_library": {"name": "text", "typed_config": coder},
    }
    return {"name": f"decompressor.{name}", "typed_config": typed}


def listener(name: str, filters: list[dict[str, Any]]) -> dict[str, Any]:
    router = {"name": "router", "typed_config": {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "up"}}
    manager = {
        "@type": TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "http_filters": [*filters, router],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    chain = {"filters": [{"name": "h", "typed_config": manager}]}
    return {"name": name, "address": address(0), "filter_chains": [chain]}


LISTENERS = {
    "all": [compressor("gzip"), compressor("brotli"), compressor("zstd")],
    "first": [compressor("zstd", choose_first=True), compressor("gzip"), compressor("brotli")],
    **{name: [compressor(name)] for name in CODERS},
    **{f"un{name}": [decompressor(name)] for name in CODERS},
}


async def answer(request: web.Request) -> web.Response:
    """The body that came, and how it was labelled; else a text of the size and type asked for, packed if asked."""
    if body := await request.read():
        labels = {name: request.headers.get(name) for name in ("content-encoding", "accept-encoding")}
        return web.json_response({**labels, "body": body.decode("latin-1")})
    coding = request.query.get("packed")
    data = TEXT[: int(request.query.get("size", len(TEXT)))]
    headers = {"content-type": request.query.get("type", "text/plain")}
    if coding:
        headers["content-encoding"] = coding
        data = PACK[coding](data)
    return web.Response(body=data, headers=headers)


SHOWN = ("content-encoding", "vary", "content-length", "transfer-encoding", "content-type")


async def asked(session: aiohttp.ClientSession, url: str, accept: str | None, **more: Any) -> list[Any]:
    headers = {} if accept is None else {"accept-encoding": accept}
    async with session.request(
        more.pop("method", "GET"), url, headers={**headers, **more.pop("headers", {})}, **more
    ) as got:
        body = await got.read()
        coding = got.headers.get("content-encoding", "")
        if coding in UNPACK:
            body = UNPACK[coding](body)
        return [got.status, {name: got.headers.get(name) for name in SHOWN}, body]


async def observed(which: str, folder: Path) -> dict[str, Any]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    static = {
        "listeners": [listener(name, filters) for name, filters in LISTENERS.items()],
        "clusters": [cluster("up", runner.addresses[0][1])],
    }
    out: dict[str, Any] = {}
    skipped = ("accept-encoding",)
    try:
        async with (
            proxy(which, folder / which, with_admin(static), level="warning") as (admin, ports),
            aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=skipped) as session,
        ):
            for name in ("all", "first", *CODERS):
                url = f"http://127.0.0.1:{ports[name]}/"
                for accept in ACCEPTED:
                    out[f"{name}, {accept}"] = await asked(session, url, accept)
                for query in ("size=50", "type=image/png", "packed=br"):
                    out[f"{name}, {query}"] = await asked(session, f"{url}?{query}", CODERS.get(name, "br"))
            for name, coding in CODERS.items():
                url = f"http://127.0.0.1:{ports[f'un{name}']}/"
                for sent in (coding, "other"):
                    body, headers = PACK[coding](TEXT), {"content-encoding": sent}
                    out[f"un{name}, sent {sent}"] = await asked(
                        session, url, "x", method="POST", data=body, headers=headers
                    )
                for packed in ("", *PACK):
                    out[f"un{name}, got {packed}"] = await asked(session, f"{url}?packed={packed}", None)
            async with session.get(f"http://127.0.0.1:{admin}/stats?filter=compressor") as got:
                lines = (await got.text()).split("\n")
            # how well a library packs is its version's affair
            out["statistics"] = [line for line in lines if "total_compressed" not in line and "library" not in line]
    finally:
        await runner.cleanup()
    return out


async def test_as_envoy(tmp_path: Path) -> None:
    ours, theirs = await asyncio.gather(observed("mizzen", tmp_path), observed("envoy", tmp_path))
    differ = {name: (ours.get(name), theirs.get(name)) for name in theirs if ours.get(name) != theirs.get(name)}
    assert not differ
