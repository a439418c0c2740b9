"""Filters that ECDS configures, beside Envoy's: the same control plane feeds both, and answers, refusals, statistics and dumps agree."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from envoy.config.core.v3 import extension_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.compression.gzip.compressor.v3 import gzip_pb2  # noqa: F401
from envoy.extensions.filters.http.buffer.v3 import buffer_pb2  # noqa: F401 - for ParseDict
from envoy.extensions.filters.http.compressor.v3 import compressor_pb2  # noqa: F401
from envoy.extensions.filters.http.fault.v3 import fault_pb2  # noqa: F401
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2  # noqa: F401
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2  # noqa: F401
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.http.wasm.v3 import wasm_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac_pb2  # noqa: F401
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2  # noqa: F401
from google.protobuf import json_format
from xds.type.v3 import typed_struct_pb2  # noqa: F401

from mizzen.agent.supervisor import find_envoy
from tests.support.ads_server import AdsServer
from tests.support.poll import until
from tests.support.proxy_ports import admin_port
from tests.support.real_envoy import ENVOY

TYPES = "type.googleapis.com/"
HTTP, NETWORK = TYPES + "envoy.extensions.filters.http.", TYPES + "envoy.extensions.filters.network."
LDS, ECDS = TYPES + "envoy.config.listener.v3.Listener", TYPES + "envoy.config.core.v3.TypedExtensionConfig"
FAULT, RBAC, LIMIT = f"{HTTP}fault.v3.HTTPFault", f"{HTTP}rbac.v3.RBAC", f"{HTTP}local_ratelimit.v3.LocalRateLimit"
BUFFER = {"@type": f"{HTTP}buffer.v3.Buffer", "max_request_bytes": 9}
DENY = {"@type": RBAC, "rules": {}}
ALLOW = {"@type": RBAC}
GZIP = TYPES + "envoy.extensions.compression.gzip.compressor.v3.Gzip"
WAIT_S = 20.0


def abort(status: int) -> dict[str, Any]:
    return {"@type": FAULT, "abort": {"http_status": status, "percentage": {"numerator": 100}}}


def limit(tokens: int) -> dict[str, Any]:
    full = {"default_value": {"numerator": 100}, "runtime_key": "none"}
    bucket = {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": "600s"}
    return {"@type": LIMIT, "stat_prefix": "l", "token_bucket": bucket, "filter_enabled": full, "filter_enforced": full}


def network_rbac(deny: bool) -> dict[str, Any]:
    return {"@type": f"{NETWORK}rbac.v3.RBAC", "stat_prefix": "n", **({"rules": {}} if deny else {})}


def extension(name: str, config: dict[str, Any]) -> Any:
    return json_format.ParseDict({"name": name, "typed_config": config}, extension_pb2.TypedExtensionConfig())


def discovered(name: str, urls: list[str], timeout: str = "0s", **more: Any) -> dict[str, Any]:
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": timeout}
    return {"name": name, "config_discovery": {"config_source": source, "type_urls": urls, **more}}


def listener(name: str, chain: list[dict[str, Any]]) -> Any:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    value = {"name": name, "address": address, "filter_chains": [{"filters": chain}]}
    return json_format.ParseDict(value, listener_pb2.Listener())


def http(name: str, *filters: dict[str, Any], before: list[dict[str, Any]] | None = None) -> Any:
    router = {"name": "router", "typed_config": {"@type": f"{HTTP}router.v3.Router"}}
    direct = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "fine"}}}
    manager = {
        "@type": f"{NETWORK}http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "http_filters": [*filters, router],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [direct]}]},
    }
    return listener(name, [*(before or []), {"name": "http", "typed_config": manager}])


class Proxy:
    """A proxy under test, by its admin."""

    def __init__(self, admin: int, session: aiohttp.ClientSession) -> None:
        self.admin, self.session = admin, session

    async def asked(self, path: str) -> Any:
        async with self.session.get(f"http://127.0.0.1:{self.admin}/{path}") as answer:
            return json.loads(await answer.text())

    async def stats(self, pattern: str) -> dict[str, Any]:
        found = (await self.asked(f"stats?format=json&filter={pattern}"))["stats"]
        return {each["name"]: each["value"] for each in found if "name" in each}

    async def open(self) -> dict[str, int]:
        """Ports of the listeners that are there, by name."""
        found = (await self.asked("listeners?format=json")).get("listener_statuses", [])
        return {each["name"]: each["local_address"]["socket_address"]["port_value"] for each in found}

    async def get(self, name: str, **headers: str) -> tuple[int, str]:
        """Status and body; (0, "") when the connection is closed without an answer."""
        port = (await self.open())[name]
        try:
            async with self.session.get(f"http://127.0.0.1:{port}/", headers=headers) as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientError:
            return 0, ""

    async def once(self, name: str) -> tuple[int, str]:
        """The same, over a connection of its own."""
        return await self.get(name, connection="close")

    async def until(self, what: Any, why: str) -> Any:
        deadline = asyncio.get_running_loop().time() + WAIT_S
        while True:
            found = await what()
            if found:
                return found
            assert asyncio.get_running_loop().time() < deadline, f"{self.admin}: {why}"
            await asyncio.sleep(0.02)

    async def reloads(self, name: str, count: int, kind: str = "http_filter", what: str = "config_reload") -> None:
        stat = f"extension_config_discovery.{kind}.{name}.{what}"

        async def there() -> bool:
            return bool((await self.stats(f"^{stat}$")).get(stat) == count)

        await self.until(there, f"{stat} is not {count}")


@asynccontextmanager
async def running(which: str, folder: Path, ads: AdsServer, delta: bool, *more: str) -> AsyncIterator[Proxy]:
    upstream = {"socket_address": {"address": "127.0.0.1", "port_value": ads.port}}
    options = {"explicit_http_config": {"http2_protocol_options": {}}}
    kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    cluster = {
        "name": "ads",
        "load_assignment": {
            "cluster_name": "ads",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": upstream}}]}],
        },
        "typed_extension_protocol_options": {kind: {"@type": TYPES + kind, **options}},
    }
    bootstrap = {
        "node": {"id": which, "cluster": "c"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "dynamic_resources": {
            "lds_config": {"ads": {}, "resource_api_version": "V3"},
            "ads_config": {
                "api_type": "DELTA_GRPC" if delta else "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "ads"}}],
            },
        },
        "static_resources": {"clusters": [cluster]},
    }
    file, admin_file = folder / "bootstrap.json", folder / "admin"
    file.write_text(json.dumps(bootstrap))
    ours = [sys.executable, "-m", "mizzen", "proxy"]
    command = ours if which == "mizzen" else [str(ENVOY), "--concurrency", "1", "--use-dynamic-base-id"]
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, "-c", str(file), "-l", "warning", "--admin-address-path", str(admin_file), *more,
            env=dict(os.environ), stdout=log, stderr=log,
        )  # fmt: skip
    try:
        await until(lambda: admin_port(admin_file), "the admin's address", WAIT_S)
        async with aiohttp.ClientSession() as session:
            yield Proxy(admin_port(admin_file), session)
    finally:
        process.terminate()
        await process.wait()


def refusal(text: str) -> list[str]:
    """Without the resource's name, which ours puts before; Envoy lists what it expects in no order."""
    head, _, expected = text.removeprefix("one: ").partition(" but expect ")
    return [head, *sorted(expected.strip(".").split(", "))]


async def observed(which: str, folder: Path, delta: bool) -> dict[str, Any]:
    """What is seen of a proxy while extensions come, change, are refused and go."""
    seen: dict[str, Any] = {}
    urls = [FAULT, RBAC, LIMIT]
    async with AdsServer() as ads, running(which, folder, ads, delta) as proxy:
        filters = {"first": http("first", discovered("one", urls)), "plain": http("plain")}
        early = {"default_config": abort(419), "apply_default_config_without_warming": True}
        filters["early"] = http("early", discovered("two", urls, **early))
        filters["late"] = http("late", discovered("three", urls, "0.3s"))
        filters["fallback"] = http("fallback", discovered("four", urls, "0.3s", default_config=abort(420)))
        network = discovered("net", [f"{NETWORK}rbac.v3.RBAC"], "0.3s")
        filters["raw"] = http("raw", before=[network])
        ads.serve(LDS, {"plain": filters["plain"]})

        async def live() -> bool:
            found = await proxy.stats("^listener_manager.workers_started$")
            return bool(found.get("listener_manager.workers_started")) and "plain" in await proxy.open()

        await proxy.until(live, "the first listener")
        ads.serve(LDS, filters)

        async def settled() -> bool:
            return set(await proxy.open()) == {"plain", "early", "late", "fallback", "raw"}

        await proxy.until(settled, "listeners that need not wait")
        seen["default at once"] = await proxy.get("early")
        seen["after its time"] = await proxy.get("late")
        seen["default after its time"] = await proxy.get("fallback")
        seen["no network filter"] = await proxy.once("raw")
        held = {"one": abort(418), "two": abort(421), "net": network_rbac(deny=False)}

        def serve(**changed: dict[str, Any]) -> None:
            held.update(changed)
            ads.serve(ECDS, {name: extension(name, config) for name, config in held.items()})

        serve()

        async def warm() -> bool:
            return "first" in await proxy.open()

        await proxy.until(warm, "the listener that waited")
        await proxy.reloads("two", 1)
        await proxy.reloads("net", 1, "network_filter")
        seen["arrived"] = [await proxy.get("first"), await proxy.get("early"), await proxy.once("raw")]
        serve(net=network_rbac(deny=True))
        await proxy.reloads("net", 2, "network_filter")
        seen["network denied"] = await proxy.once("raw")
        serve(one=DENY)
        await proxy.reloads("one", 2)
        seen["denied"] = await proxy.get("first")
        serve(one=BUFFER)
        await proxy.reloads("one", 1, what="config_fail")
        await until(lambda: ads.refused, "the refusal", WAIT_S)
        seen["refused"] = (refusal(ads.refused[-1]), await proxy.get("first"))
        serve(one=limit(1))
        await proxy.reloads("one", 3)
        seen["limited"] = [await proxy.get("first"), await proxy.get("first")]
        serve(three=ALLOW)
        await proxy.reloads("three", 1)
        seen["allowed"] = await proxy.get("late")
        seen["connections"] = await proxy.stats("^http.first.downstream_cx_total$")
        if delta:
            del held["one"]
            serve()
            await proxy.reloads("one", 4)
            seen["gone"] = await proxy.get("first")
        sections = (await proxy.asked("config_dump"))["configs"]
        seen["sections"] = [each["@type"].rpartition(".")[2] for each in sections]
        dumped = [each for each in sections if each["@type"].endswith("EcdsConfigDump")]
        filters_dumped = [one for each in dumped for one in each["ecds_filters"]]
        seen["dump"] = sorted(
            [(set(each), each["ecds_filter"]) for each in filters_dumped], key=lambda each: str(each[1]["name"])
        )
        names = "config_(fail|conflict|reload)|init_fetch_timeout|update_rejected"
        seen["stats"] = await proxy.stats(f"^extension_config_discovery.*({names})$")
        seen["flags"] = await proxy.stats("^http.late.downstream_rq_5xx$")
    return seen


@pytest.mark.skipif(not find_envoy(), reason="no Envoy here")
@pytest.mark.parametrize("delta", [False, True], ids=["whole", "delta"])
async def test_http_filters_beside_envoy(delta: bool, tmp_path: Path) -> None:
    for which in ("mizzen", "envoy"):
        (tmp_path / which).mkdir()
    ours, theirs = await asyncio.gather(
        observed("mizzen", tmp_path / "mizzen", delta), observed("envoy", tmp_path / "envoy", delta)
    )
    assert set(ours) == set(theirs)
    for what, value in theirs.items():
        assert ours[what] == value, what


FILTERS = """
from mizzen.http_filter import HttpFilter, Request, Response


class Stamp(HttpFilter):
    reads_response_body = True

    async def on_response(self, request: Request, response: Response) -> None:
        response.body = response.body + str(self.config["word"]).encode()
"""
PYTHON = "mizzen.filters.http.python.v1.Python"


def stamp(word: str) -> dict[str, Any]:
    value = {"filter": "stamps:Stamp", "config": {"word": word}}
    return {"@type": TYPES + "xds.type.v3.TypedStruct", "type_url": TYPES + PYTHON, "value": value}


COMPRESSOR = {
    "@type": f"{HTTP}compressor.v3.Compressor",
    "compressor_library": {"name": "gzip", "typed_config": {"@type": GZIP}},
    "response_direction_config": {"common_config": {"min_content_length": 1, "content_type": ["text/plain"]}},
}


async def test_python_and_compressing_filters_come_and_change(tmp_path: Path) -> None:
    """Filters that hold bodies, in the place that ECDS fills, and a Wasm filter that is refused by its name."""
    (tmp_path / "mizzen").mkdir()
    (tmp_path / "stamps.py").write_text(FILTERS)
    urls = [TYPES + PYTHON, f"{HTTP}compressor.v3.Compressor", f"{HTTP}wasm.v3.Wasm"]
    wasm = {"@type": f"{HTTP}wasm.v3.Wasm", "config": {"name": "w"}}
    options = ("--python-filters", str(tmp_path))
    async with AdsServer() as ads, running("mizzen", tmp_path / "mizzen", ads, True, *options) as proxy:
        ads.serve(LDS, {"first": http("first", discovered("one", urls))})
        for count, word in enumerate(("a", "b"), 1):
            ads.serve(ECDS, {"one": extension("one", stamp(word))})
            await proxy.reloads("one", count)

            async def there() -> bool:
                return "first" in await proxy.open()

            await proxy.until(there, "the listener")
            assert await proxy.get("first") == (200, f"fine{word}")
        ads.serve(ECDS, {"one": extension("one", wasm)})
        await proxy.reloads("one", 1, what="config_fail")
        await until(lambda: ads.refused, "the refusal", WAIT_S)
        assert ads.refused[-1] == "one: not supported: one (envoy.extensions.filters.http.wasm.v3.Wasm)"
        assert await proxy.get("first") == (200, "fineb")
        ads.serve(ECDS, {"one": extension("one", COMPRESSOR)})
        await proxy.reloads("one", 3)
        assert await proxy.get("first", **{"accept-encoding": "gzip"}) == (200, "fine")
        assert sum((await proxy.stats("^http.first.*response.compressed$")).values()) == 1
        ads.serve(LDS, {})

        async def empty() -> bool:
            return not await proxy.open()

        await proxy.until(empty, "no listener")
