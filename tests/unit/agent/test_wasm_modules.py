"""Wasm modules: fetched, checked, kept, purged; and resources that name them, rewritten."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.web
import pytest
from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac_pb2
from envoy.extensions.filters.http.wasm.v3 import wasm_pb2 as http_wasm_pb2
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac_pb2
from envoy.extensions.filters.network.wasm.v3 import wasm_pb2 as network_wasm_pb2
from envoy.extensions.wasm.v3 import wasm_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import json_format
from xds.type.v3 import typed_struct_pb2

from mizzen.agent.environment import read_environment
from mizzen.agent.wasm import http_source, image_source
from mizzen.agent.wasm.cache import ModuleCache, Wanted
from mizzen.agent.wasm.image_source import check_realms, credentials, reference
from mizzen.agent.wasm.rewrite import WasmModules
from mizzen.agent.wasm.settings import Counts, Settings
from mizzen.api.errors import PeerError
from tests.support.wasm_modules import MODULE, ModuleServer, digest, tarred


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_source, "FIRST_PAUSE_S", 0.001)


def kept(folder: Path) -> list[str]:
    """The files of modules."""
    return [str(path) for path in folder.rglob("*.wasm")]


def cache_in(folder: Path, counts: Counts | None = None, **more: Any) -> ModuleCache:
    return ModuleCache(folder, Settings(), counts or Counts(), **more)


@pytest.mark.parametrize(
    "boxed",
    [MODULE, gzip.compress(MODULE), tarred("m.wasm", MODULE), gzip.compress(tarred("m.wasm", MODULE))],
    ids=["bare", "gzip", "tar", "tar in gzip"],
)
async def test_by_http(tmp_path: Path, boxed: bytes) -> None:
    async with ModuleServer() as server:
        server.files["/m.wasm"] = boxed
        path = await cache_in(tmp_path).path(Wanted(url=f"http://{server.host}/m.wasm", checksum=digest(MODULE)))
    assert path.read_bytes() == MODULE


async def test_again_after_failures_of_the_server_and_not_after_ours(tmp_path: Path) -> None:
    counts = Counts()
    async with ModuleServer() as server:
        server.failures = [503, 500]
        await cache_in(tmp_path, counts).path(Wanted(url=f"http://{server.host}/m.wasm"))
        assert len(server.requests) == 3
        for status in (404, 501):
            server.failures = [status]
            with pytest.raises(PeerError, match=f"status {status}"):
                await cache_in(tmp_path, counts).path(Wanted(url=f"http://{server.host}/m.wasm"))
        assert len(server.requests) == 5
    assert counts.by_label['wasm_remote_fetch_count{result="download_failure"}'] == 2
    assert counts.by_label['wasm_remote_fetch_count{result="success"}'] == 1


@pytest.mark.parametrize(
    ("content", "checksum", "result", "says"),
    [
        (MODULE, "0" * 64, "checksum_mismatched", "has the checksum"),
        (b"no module", "", "fetch_failure", "no Wasm module"),
    ],
)
async def test_what_is_not_wanted_is_refused(
    tmp_path: Path, content: bytes, checksum: str, result: str, says: str
) -> None:
    counts = Counts()
    async with ModuleServer() as server:
        server.files["/m.wasm"] = content
        with pytest.raises(PeerError, match=says):
            await cache_in(tmp_path, counts).path(Wanted(url=f"http://{server.host}/m.wasm", checksum=checksum))
    assert counts.by_label[f'wasm_remote_fetch_count{{result="{result}"}}'] == 1
    assert not kept(tmp_path)


async def test_no_more_than_is_allowed(tmp_path: Path) -> None:
    async with ModuleServer() as server:
        small = ModuleCache(tmp_path, Settings(most_bytes=len(MODULE) - 1), Counts())
        with pytest.raises(PeerError, match="more than"):
            await small.path(Wanted(url=f"http://{server.host}/m.wasm"))


@pytest.mark.parametrize("image", ["basic", "artifact", "docker", "index", "basic:1.0"])
async def test_by_image(tmp_path: Path, image: str) -> None:
    async with ModuleServer(private=True) as server:
        wanted = Wanted(url=f"oci://{server.host}/filters/{image}", pull_secret=server.docker_config)
        path = await cache_in(tmp_path).path(wanted)
        manifest = server.manifests["basic" if image == "index" else image.partition(":")[0]]
        by_digest = f"oci://{server.host}/filters/x@sha256:{digest(manifest)}"
        assert (
            await cache_in(tmp_path).path(Wanted(url=by_digest, pull_secret=server.docker_config))
        ).read_bytes() == MODULE
    assert path.read_bytes() == MODULE and path.name == f"{digest(manifest)}.wasm"


@pytest.mark.parametrize(
    ("image", "says"), [("absent", "status 404"), ("empty", "no layers"), ("odd", "neither a last layer")]
)
async def test_images_without_a_module(tmp_path: Path, image: str, says: str) -> None:
    async with ModuleServer() as server:
        with pytest.raises(PeerError, match=says):
            await cache_in(tmp_path).path(Wanted(url=f"oci://{server.host}/filters/{image}"))


async def test_without_credentials_a_private_image_is_not_had(tmp_path: Path) -> None:
    async with ModuleServer(private=True) as server:
        with pytest.raises(PeerError, match="not authorized"):
            await cache_in(tmp_path).path(Wanted(url=f"oci://{server.host}/filters/basic", pull_secret=b""))


async def test_a_token_is_fetched_where_the_registry_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def answer(request: aiohttp.web.Request) -> aiohttp.web.Response:
        asked.append((request.path_qs, request.headers.get("Authorization")))
        if request.path == "/token":
            return aiohttp.web.json_response({"token": "T"})
        if request.headers.get("Authorization") == "Bearer T":
            return aiohttp.web.json_response({"layers": []})
        challenge = f'Bearer realm="http://{request.host}/token",service="registry",scope="repository:a/b:pull"'
        return aiohttp.web.Response(status=401, headers={"WWW-Authenticate": challenge})

    monkeypatch.setattr(image_source, "check_realms", lambda challenge: None)  # the realm is on this machine
    app = aiohttp.web.Application()
    app.router.add_get("/{tail:.*}", answer)
    runner = aiohttp.web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as session:
            host = f"127.0.0.1:{runner.addresses[0][1]}"
            config = f'{{"auths": {{"{host}": {{"username": "u", "password": "p"}}}}}}'.encode()
            registry = image_source.Registry(session, reference(f"{host}/a/b"), Settings(), config, insecure=False)
            assert (await registry.manifest())[0] == {"layers": []}
    finally:
        await runner.cleanup()
    assert asked[1] == ("/token?scope=repository:a/b:pull&service=registry", "Basic dTpw")


@pytest.mark.parametrize(
    "realm",
    ["https://127.0.0.1/t", "http://169.254.169.254/t", "http://10.0.0.1", "http://localhost./t", "file:///etc", "https:///t",
     "http://metadata.google.internal/t", "http://[::1]/t"],
)  # fmt: skip
def test_credentials_are_not_sent_to_places_inside(realm: str) -> None:
    with pytest.raises(PeerError):
        check_realms(f'Bearer realm="https://ok.test/t", Basic realm="{realm}"')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("registry.example/a/b:1", ("registry.example", "a/b", "1")),
        ("localhost/a", ("localhost", "a", "latest")),
        ("h:5000/a@sha256:" + "0" * 64, ("h:5000", "a", "sha256:" + "0" * 64)),
        ("filters", ("index.docker.io", "library/filters", "latest")),
        ("team/filters:2", ("index.docker.io", "team/filters", "2")),
    ],
)
def test_names_of_images(text: str, expected: tuple[str, str, str]) -> None:
    assert reference(text) == expected


@pytest.mark.parametrize("text", ["a@sha256:12", "a@md5:x", "A/B c"])
def test_what_is_no_image(text: str) -> None:
    with pytest.raises(PeerError):
        reference(text)


def test_credentials_of_the_hub() -> None:
    assert credentials(b'{"auths": {"https://index.docker.io/v1/": {"auth": "YTpi"}}}', "index.docker.io") == "YTpi"
    assert credentials(b"", "h") == credentials(b'{"auths": {"other": {"auth": "x"}}}', "h") == ""


async def fetches(folder: Path, server: ModuleServer, *wanted: Wanted) -> int:
    cache = cache_in(folder)
    for one in wanted:
        await cache.path(one)
    return len([path for path in server.requests if "manifests" in path or path.endswith(".wasm")])


@pytest.mark.parametrize(
    ("image", "policy", "expected"),
    [("basic:1", "", 1), ("basic:latest", "", 2), ("basic:1", "Always", 2), ("basic:latest", "IfNotPresent", 1)],
)
async def test_pull_policies(tmp_path: Path, image: str, policy: str, expected: int) -> None:
    """A changed resource fetches anew; an unchanged one never does."""
    async with ModuleServer() as server:
        url = f"oci://{server.host}/filters/{image}"
        versions = [Wanted(url=url, policy=policy, resource="r", version=version) for version in ("1", "1", "2", "2")]
        assert await fetches(tmp_path, server, *versions) == expected


async def test_what_nobody_asks_for_is_purged(tmp_path: Path) -> None:
    now = [0.0]
    cache = cache_in(tmp_path, clock=lambda: now[0])
    async with ModuleServer() as server:
        wanted = Wanted(url=f"http://{server.host}/m.wasm")
        path = await cache.path(wanted)
        now[0] = 24 * 3600.0
        cache.purge_now()
        assert path.exists() and await cache.path(wanted) == path
        now[0] += 24 * 3600.0 + 1
        cache.purge_now()
        assert not path.exists()
        assert (await cache.path(wanted)).exists() and len(server.requests) == 2


def resource(
    name: str, url: str, *, network: bool = False, struct: bool = False, **more: Any
) -> extension_pb2.TypedExtensionConfig:
    code = {"remote": {"http_uri": {"uri": url, "timeout": "5s", "cluster": "_"}, "sha256": "nil"}}
    variables = {"key_values": {"ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION": "7", "A": "b"}}
    machine = {"runtime": "envoy.wasm.runtime.v8", "code": code, "environment_variables": variables}
    message: Any = network_wasm_pb2.Wasm() if network else http_wasm_pb2.Wasm()
    json_format.ParseDict({"config": {"name": "x", "vm_config": machine, **more}}, message)
    config = extension_pb2.TypedExtensionConfig(name=name)
    if struct:
        typed = typed_struct_pb2.TypedStruct(type_url=f"type.googleapis.com/{message.DESCRIPTOR.full_name}")
        typed.value.update(json_format.MessageToDict(message))
        message = typed
    config.typed_config.Pack(message)
    return config


def response_with(*configs: extension_pb2.TypedExtensionConfig, delta: bool) -> bytes:
    response: Any = discovery_pb2.DeltaDiscoveryResponse() if delta else discovery_pb2.DiscoveryResponse()
    for config in configs:
        holder = response.resources.add()
        (holder.resource if delta else holder).Pack(config)
    return bytes(response.SerializeToString())


def configs_of(data: bytes, *, delta: bool) -> dict[str, Any]:
    """The typed configs of a response, by name."""
    response: Any = (discovery_pb2.DeltaDiscoveryResponse if delta else discovery_pb2.DiscoveryResponse).FromString(
        data
    )
    found = {}
    for holder in response.resources:
        config = extension_pb2.TypedExtensionConfig()
        assert (holder.resource if delta else holder).Unpack(config)
        kinds = (http_wasm_pb2.Wasm, network_wasm_pb2.Wasm, http_rbac_pb2.RBAC, network_rbac_pb2.RBAC)
        found[config.name] = next(
            k.FromString(config.typed_config.value) for k in kinds if config.typed_config.Is(k.DESCRIPTOR)
        )
    return found


@pytest.mark.parametrize("delta", [True, False])
async def test_modules_become_files(tmp_path: Path, delta: bool) -> None:
    modules = WasmModules(tmp_path, Settings())
    async with ModuleServer() as server:
        url = f"http://{server.host}/m.wasm"
        given = [resource("a", url), resource("b", url, network=True), resource("c", url, struct=True)]
        found = configs_of(await modules.rewrite(response_with(*given, delta=delta), delta), delta=delta)
        assert len(server.requests) == 1
    modules.close()
    for wasm in found.values():
        machine = wasm.config.vm_config
        assert [machine.code.local.filename] == kept(tmp_path)
        assert dict(machine.environment_variables.key_values) == {"A": "b"}, "what is for the agent does not go on"
    assert modules.counts.all()['wasm_config_conversion_count{result="success"}'] == 3


@pytest.mark.parametrize(
    ("more", "allows"),
    [
        ({}, False),
        ({"failure_policy": "FAIL_OPEN"}, True),
        ({"failure_policy": "FAIL_CLOSED"}, False),
        ({"fail_open": True}, True),
    ],
)
async def test_without_the_module_its_failure_policy_decides(
    tmp_path: Path, more: dict[str, Any], allows: bool
) -> None:
    modules = WasmModules(tmp_path, Settings())
    async with ModuleServer() as server:
        url = f"http://{server.host}/absent"
        given = [resource("a", url, **more), resource("b", url, network=True, **more)]
        found = configs_of(await modules.rewrite(response_with(*given, delta=True), True), delta=True)
    modules.close()
    assert isinstance(found["a"], http_rbac_pb2.RBAC) and isinstance(found["b"], network_rbac_pb2.RBAC)
    assert [one.HasField("rules") for one in found.values()] == [not allows] * 2


async def test_a_missing_secret_is_no_anonymous_pull(tmp_path: Path) -> None:
    config = resource("a", "oci://registry.test/x")
    wasm = http_wasm_pb2.Wasm.FromString(config.typed_config.value)
    wasm.config.vm_config.environment_variables.key_values["ISTIO_META_WASM_IMAGE_PULL_SECRET"] = ""
    config.typed_config.Pack(wasm)
    modules = WasmModules(tmp_path, Settings())
    found = configs_of(await modules.rewrite(response_with(config, delta=True), True), delta=True)
    modules.close()
    assert isinstance(found["a"], http_rbac_pb2.RBAC)


async def test_what_is_no_module_passes_as_it_is(tmp_path: Path) -> None:
    config = extension_pb2.TypedExtensionConfig(name="a")
    config.typed_config.Pack(http_rbac_pb2.RBAC())
    data = response_with(config, delta=True)
    assert await WasmModules(tmp_path, Settings()).rewrite(data, True) is data


async def test_a_resource_that_is_broken_is_refused(tmp_path: Path) -> None:
    config = extension_pb2.TypedExtensionConfig(name="a")
    config.typed_config.Pack(http_wasm_pb2.Wasm(config=wasm_pb2.PluginConfig(name="x")))
    modules = WasmModules(tmp_path, Settings())
    with pytest.raises(PeerError, match="neither local nor remote"):
        await modules.rewrite(response_with(config, delta=True), True)
    modules.close()


def test_settings_by_the_environment() -> None:
    from mizzen.agent.agent import wasm_settings

    raw = {"WASM_INSECURE_REGISTRIES": "a:5000, b", "WASM_MODULE_EXPIRY": "1h", "WASM_HTTP_REQUEST_MAX_RETRIES": "2"}
    settings = wasm_settings(read_environment(raw))
    assert settings.is_insecure("a:5000") and settings.is_insecure("b") and not settings.is_insecure("c")
    assert (settings.expiry_s, settings.attempts, settings.purge_every_s) == (3600.0, 2, 3600.0)
