"""Filters written in Python: what may be loaded, what they see and change in a running proxy, and what their faults do."""

from __future__ import annotations

import asyncio
import json
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from envoy.config.bootstrap.v3 import bootstrap_pb2

from mizzen.api import mesh_config
from mizzen.http_filter import Headers, HttpFilter, Reply
from mizzen.istiod import dump
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.snapshot import Options as SnapshotOptions
from mizzen.proxy.codec.headers import Headers as Fields
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.filters import python
from mizzen.proxy.listener.listener import ListenerConfig
from mizzen.proxy.server import Options as ServerOptions
from mizzen.proxy.server import Server
from mizzen.testing.filters import Answer, exchange
from tests.support.poll import until
from tests.support.proxy_ports import admin_port, listener_ports
from tests.support.xds_corpus import ROOT, nodes
from tests.unit.proxy.test_supported_fields import Discovery

PAGE = (Path(__file__).parents[3] / "docs" / "python-filters.md").read_text()
SAMPLES = Path(__file__).parents[3] / "samples" / "filters"
TYPES = "type.googleapis.com/"
MODULE = """
import asyncio
from mizzen.http_filter import HttpFilter, Reply

class Everything(HttpFilter):
    reads_request_body = reads_response_body = True
    max_body_bytes = 1000
    ended = 0

    def on_request(self, request):
        what = request.headers.get("x-do", "")
        if what == "raise":
            raise RuntimeError("no")
        if what == "wrong":
            return 5
        if what == "reply":
            return Reply(418, "short and stout", {"X-From": "filter"})
        if what == "give a body":
            request.method, request.body = "POST", b"given"
        if what == "rewrite":
            request.path, request.authority = "/rewritten", "other.test"
            request.body = request.body.upper()
        request.headers["x-settings"] = str(request.settings.get("color", "none"))
        request.headers["x-facts"] = f"{request.protocol} {request.peer} {request.route} {request.cluster}"

    def on_response(self, request, response):
        what = request.headers.get("x-do", "")
        if what == "raise later":
            raise RuntimeError("no")
        if what == "reply later":
            return Reply(451, b"not for you")
        if what == "rewrite":
            response.status, response.body = 203, response.body[::-1]
        response.headers["x-length-was"] = str(len(response.body))

    def on_end(self, request, response):
        self.count("ended")
        self.count(f"ended_{response.status if response else 0}")

class Slow(HttpFilter):
    async def on_request(self, request):
        await asyncio.sleep(0)
        if request.headers.get("x-do") == "raise":
            raise RuntimeError("no")
        if request.headers.get("x-do") == "never":
            self.count("waiting")
            try:
                await asyncio.Event().wait()
            finally:
                self.count("cancelled")
        if request.headers.get("x-do") == "reply":
            return Reply(429, "later")
        request.headers["x-slow"] = "1"

    async def on_response(self, request, response):
        await asyncio.sleep(0)
        response.headers["x-slow"] = "1"

class Picky(HttpFilter):
    def __init__(self, config):
        raise ValueError("nothing is good enough")
"""


def typed_struct(kind: str, **value: Any) -> dict[str, Any]:
    return {"@type": TYPES + "xds.type.v3.TypedStruct", "type_url": TYPES + kind, "value": value}


def manager(name: str, **route: Any) -> dict[str, Any]:
    router = {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}
    routes = [
        {
            "match": {"prefix": "/colored"},
            "route": {"cluster": "up"},
            "typed_per_filter_config": {"mine": typed_struct(python.PER_ROUTE, config={"color": "red"})},
        },
        {"name": "all", "match": {"prefix": "/"}, "route": {"cluster": "up"}, **route},
    ]
    return {
        "@type": TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "h",
        "http_filters": [
            {"name": "mine", "typed_config": typed_struct(python.TYPE, filter=f"own:{name}")},
            {"name": "router", "typed_config": router},
        ],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    }


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


class Proxy:
    """A proxy with one listener for each class of MODULE; `call` asks through it."""

    def __init__(self, session: aiohttp.ClientSession, admin: int, ports: dict[str, int]) -> None:
        self.session, self.admin, self.ports = session, admin, ports

    async def call(self, kind: str, path: str = "/", do: str = "", **more: Any) -> tuple[int, str, dict[str, str]]:
        url = f"http://127.0.0.1:{self.ports[kind]}{path}"
        method = more.pop("method", "POST" if "data" in more else "GET")
        async with self.session.request(method, url, headers={"x-do": do} if do else {}, **more) as answer:
            return answer.status, await answer.text(), {name.lower(): value for name, value in answer.headers.items()}

    async def counted(self, name: str) -> int:
        async with self.session.get(f"http://127.0.0.1:{self.admin}/stats?filter=python") as answer:
            lines = dict(line.split(": ") for line in (await answer.text()).splitlines() if ": " in line)
        return int(lines.get(f"http.h.python.{name}", 0))


async def _echo(request: web.Request) -> web.Response:
    body = await request.read()
    said = {name.lower(): value for name, value in request.headers.items()}
    return web.json_response({"method": request.method, "path": request.path, "body": body.decode(), "headers": said})


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxy]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (tmp_path / "own.py").write_text(MODULE)
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(runner.addresses[0][1])}}]}]
    listeners = [
        {
            "name": kind,
            "address": address(0),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager(kind)}]}],
        }
        for kind in ("Everything", "Slow")
    ]
    config = {
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": listeners,
            "clusters": [{"name": "up", "load_assignment": {"cluster_name": "up", "endpoints": endpoints}}],
        },
    }
    file, admin_file = tmp_path / "bootstrap.json", tmp_path / "admin"
    file.write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mizzen", "proxy", "-c", str(file), "--admin-address-path", str(admin_file),
        "--python-filters", str(tmp_path), "-l", "critical",
    )  # fmt: skip
    try:
        await until(lambda: admin_port(admin_file), "the admin's address", 20.0)
        async with aiohttp.ClientSession() as session:
            admin = admin_port(admin_file)
            yield Proxy(session, admin, await listener_ports(session, admin, 2))
    finally:
        process.terminate()
        await process.wait()
        await runner.cleanup()


async def test_what_a_filter_sees_and_changes(proxy: Proxy) -> None:
    status, text, headers = await proxy.call("Everything")
    got = json.loads(text)
    assert status == 200 and headers["x-length-was"] == str(len(text))
    assert got["headers"]["x-settings"] == "none" and got["headers"]["x-facts"] == "HTTP/1.1 127.0.0.1 all up"
    _, text, _ = await proxy.call("Everything", "/colored")
    assert json.loads(text)["headers"]["x-settings"] == "red"

    status, text, headers = await proxy.call("Everything", "/a", "rewrite", data=b"hello")
    got = json.loads(text[::-1])
    assert status == 203 and headers["content-length"] == str(len(text))
    assert (got["path"], got["body"], got["headers"]["host"]) == ("/rewritten", "HELLO", "other.test")

    async def chunks() -> AsyncIterator[bytes]:
        for part in (b"a", b"b", b"c"):
            yield part

    _, text, _ = await proxy.call("Everything", "/", "rewrite", data=chunks())
    assert json.loads(text[::-1])["body"] == "ABC"
    _, text, _ = await proxy.call("Everything", "/", "give a body")
    assert (json.loads(text)["method"], json.loads(text)["body"]) == ("POST", "given")
    status, text, headers = await proxy.call("Everything", "/", method="HEAD")
    assert (status, text) == (200, "")


async def test_a_filter_answers_itself(proxy: Proxy) -> None:
    status, text, headers = await proxy.call("Everything", "/", "reply", data=b"x")
    assert (status, text, headers["x-from"]) == (418, "short and stout", "filter")
    assert "x-length-was" not in headers, "its own answer is not shown to it"
    assert (await proxy.call("Everything", "/", "reply later"))[:2] == (451, "not for you")
    assert (await proxy.call("Slow", "/", "reply"))[:2] == (429, "later")


async def test_coroutines(proxy: Proxy) -> None:
    for _ in range(3):
        status, text, headers = await proxy.call("Slow", "/", data=b"body")
        got = json.loads(text)
        assert (status, got["body"], got["headers"]["x-slow"], headers["x-slow"]) == (200, "body", "1", "1")
    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout(0.3):
            await proxy.call("Slow", "/", "never")
    async with asyncio.timeout(10):
        while await proxy.counted("Slow.cancelled") != 1:
            await asyncio.sleep(0.02)


async def test_its_faults_end_their_request_alone(proxy: Proxy) -> None:
    assert (await proxy.call("Everything", "/", "raise"))[0] == 500
    assert (await proxy.call("Everything", "/", "wrong"))[0] == 500
    assert (await proxy.call("Everything", "/", "raise later"))[0] == 500
    assert (await proxy.call("Slow", "/", "raise"))[0] == 500
    assert (await proxy.call("Everything", "/", data=b"x" * 1001))[0] == 413
    assert (await proxy.call("Everything"))[0] == 200
    assert await proxy.counted("Everything.errors") == 3
    assert await proxy.counted("Slow.errors") == 1
    assert await proxy.counted("Everything.ended") == 5
    assert await proxy.counted("Everything.ended_500") == 3


class Options:
    def __init__(self, *folders: Path) -> None:
        self.options = ModuleType("options")
        self.options.python_filters = tuple(map(str, folders))  # type: ignore[attr-defined]


def refused(config: Any, *folders: Path) -> str:
    with pytest.raises(ConfigError) as error:
        python.http_filter(config, Options(*folders), None)
    return str(error.value)


def test_what_is_loaded_and_what_is_not(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("1 / 0")
    assert "--python-filters" in refused({"filter": "own:Slow"})
    assert "not in" in refused({"filter": "os:PathLike"}, tmp_path), "installed modules are no filters"
    assert "entry point" in refused({"filter": "../own:Slow"}, tmp_path)
    assert "ZeroDivisionError" in refused({"filter": "broken:X"}, tmp_path)
    assert "no class derived" in refused({"filter": "own:asyncio"}, tmp_path)
    assert "nothing is good enough" in refused({"filter": "own:Picky"}, tmp_path)
    assert "is required" in refused({}, tmp_path)
    assert "a mapping" in refused({"filter": "own:Slow", "config": "x"}, tmp_path)
    with pytest.raises(Unsupported, match=r"python\.v1\.Python\.colour"):
        python.http_filter({"filter": "own:Slow", "colour": 1}, Options(tmp_path), None)
    first = python.load("own:Slow", (str(tmp_path),))
    assert python.load("own:Slow", (str(tmp_path),)) is first
    (tmp_path / "own.py").write_text(MODULE + "\n# changed\n")
    assert python.load("own:Slow", (str(tmp_path),)) is not first


def test_headers() -> None:
    headers = Headers(Fields())
    headers["X-A"] = "1"
    headers.add("x-a", "2")
    headers["b"] = "3"
    assert headers["x-A"] == "1" and headers.getall("X-A") == ["1", "2"] and list(headers) == ["x-a", "b"]
    del headers["X-a"]
    assert dict(headers) == {"b": "3"} and len(headers) == 1
    for name, value in (("a\r", "b"), ("a", "b\nc: d"), ("", "x"), ("a:", "x")):
        with pytest.raises(ValueError, match=r"name of a field|line breaks"):
            headers[name] = value


def sample(name: str, kind: str) -> type[HttpFilter]:
    return python.load(f"{name}:{kind}", (str(SAMPLES),))


async def test_stamp() -> None:
    stamp = sample("stamp", "Stamp")
    result = await exchange(stamp({"header": "x-by"}), settings={"value": "edge"})
    assert result.request.headers["x-by"] == "edge" and result.response is not None
    assert float(result.response.headers["x-took-ms"]) >= 0
    with pytest.raises(ValueError, match="texts"):
        stamp({"header": 5})


async def test_redact() -> None:
    redact = sample("redact", "Redact")({"fields": ["card"]})
    body = json.dumps({"card": 1, "list": [{"card": {"a": 1}, "b": 2}]}).encode()
    result = await exchange(redact, answer=Answer(200, body, {"content-type": "application/json"}))
    assert result.response is not None and result.response.body == b'{"card":"***","list":[{"card":"***","b":2}]}'
    assert result.counts == {"masked": 2}
    plain = await exchange(redact, answer=Answer(200, body, {"content-type": "text/plain"}))
    assert plain.response is not None and plain.response.body == body


async def test_quota() -> None:
    async def keys(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        known = line.startswith(b"GET /good ")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n2" if known else b"HTTP/1.0 404 No\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(keys, "127.0.0.1", 0)
    async with server:
        quota = sample("quota", "Quota")({"service": f"127.0.0.1:{server.sockets[0].getsockname()[1]}"})
        replies = [await exchange(quota, headers={"x-api-key": key}) for key in ("", "bad", "good", "good", "good")]
    statuses = [result.reply.status if result.reply is not None else 200 for result in replies]
    assert statuses == [401, 403, 200, 200, 429]
    assert replies[2].request.metadata == {"quota": {"key": "good", "left": 1}}
    assert isinstance(replies[4].reply, Reply) and int(replies[4].reply.headers["retry-after"]) > 0


async def test_the_mesh_of_the_page_serves_what_the_proxy_takes(tmp_path: Path) -> None:
    """The page's EnvoyFilter through istiod's translation: our proxy compiles the sidecar's listeners with the filter."""
    (tmp_path / "greeter.py").write_text(PAGE.split("```python\n")[1].partition("```")[0])
    case = "bookshop-baseline"
    node = next(iter(nodes(case).values()))
    text = next(block for block in PAGE.split("```yaml\n") if "kind: EnvoyFilter" in block).partition("```")[0]
    (tmp_path / "filter.yaml").write_text(text.replace("namespace: shop", f"namespace: {node.namespace}"))
    objects = dump.load_objects([ROOT / case / "input.yaml", tmp_path / "filter.yaml"])
    resources = dump.resources(Snapshot.build(objects, mesh_config.default(), SnapshotOptions()), node)
    server: Any = Server(
        bootstrap_pb2.Bootstrap(), ServerOptions(python_filters=(str(tmp_path),)), asyncio.get_running_loop()
    )
    server.xds = Discovery()
    listeners = [ListenerConfig(each, server) for each in resources["listeners"] if each.name == "virtualInbound"]
    managers = [
        chain.terminal.hcm for each in listeners for chain in each.all_chains() if hasattr(chain.terminal, "hcm")
    ]
    assert managers
    for hcm in managers:
        assert "greeter" in [each.name for each in hcm.filters]


def test_the_page_shows_code_that_runs() -> None:
    page = PAGE
    blocks = [block.partition("```")[0] for block in page.split("```python\n")[1:]]
    assert len(blocks) >= 2
    for block in blocks:
        compile(textwrap.dedent(block), "docs/python-filters.md", "exec")
