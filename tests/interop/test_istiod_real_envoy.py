"""A real Envoy takes everything that our istiod serves it: every resource ACKed, none refused; in both protocols.

The meshes are those of the recorded answers. Envoy lists the extensions it has, so what only Istio's own build
knows is not sent to it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from mizzen.agent.channel import Server, Target
from mizzen.agent.wasm.rewrite import WasmModules
from mizzen.agent.wasm.settings import Settings
from mizzen.agent.xds_proxy import XdsProxy
from mizzen.istiod.server.istiod import Istiod
from mizzen.istiod.server.options import ServerOptions
from mizzen.istiod.xds.connection import Connection
from mizzen.istiod.xds.types import CDS, LDS, SDS, short_name
from tests.support.real_envoy import Envoy
from tests.support.sds_server import SdsServer
from tests.support.wasm_modules import MODULE, ModuleServer, digest

CASES = Path(__file__).parents[1] / "answers" / "xds"
WASM = "wasm-and-extensions"
"""The mesh whose resources an agent between istiod and Envoy rewrites: it fetches their modules."""
CHOSEN = ("bookshop-baseline", "vs-http-match-kinds", "dr-connection-pool", "gw-http-hosts")
# Warnings that no resource of ours can avoid, and why.
EXPLAINED = (
    "Deprecated field",  # Istio itself serves these fields
    "no configured limit to the number of allowed active downstream connections",  # of the bootstrap, which is the agent's
    "v3.Secret rejected",  # certificate files that the objects name, which this machine does not have: by the agent's SDS
    "resource_detectors",  # of traces: this machine's environment says nothing
)

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare"),
]


def cases() -> list[tuple[str, bool]]:
    """(mesh, delta): every mesh as proxies subscribe today, some of them in the older protocol too."""
    every = {path.parent.name for path in CASES.glob("*/proxies.yaml")} - {WASM}
    return [*((case, True) for case in sorted(every)), *((case, False) for case in CHOSEN)]


def warnings(log: str) -> list[str]:
    """What Envoy warned of, but for what is explained."""
    lines = [line for line in log.splitlines() if "[warning]" in line or "[error]" in line or "[critical]" in line]
    return [line for line in lines if not any(words in line for words in EXPLAINED)]


def proxies(case: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load((CASES / case / "proxies.yaml").read_text()))


def node_of(proxy: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    ips = proxy.get("ips") or [proxy["ip"]]
    namespace = proxy["namespace"]
    node_id = f"{proxy['type']}~{ips[0]}~{proxy['pod']}.{namespace}~{namespace}.svc.cluster.local"
    metadata = {
        "CLUSTER_ID": "Kubernetes",
        "NAMESPACE": namespace,
        "LABELS": proxy.get("labels", {}),
        "SERVICE_ACCOUNT": proxy.get("serviceAccount", "default"),
        "ISTIO_VERSION": "1.32.0",
        "INSTANCE_IPS": ",".join(ips),
        "MESH_ID": "cluster.local",
        "NAME": proxy["pod"],
        "PROXY_CONFIG": {},
        **proxy.get("metadata", {}),
    }
    return node_id, metadata


async def settled(istiod: Istiod, envoy: Envoy, limit_s: float = 20.0) -> Connection:
    """Until the proxy has answered everything that it was sent."""
    deadline, calm = time.monotonic() + limit_s, 0
    while time.monotonic() < deadline:
        assert envoy.running, envoy.log
        found = list(istiod.hub.connections.values())
        if found and _answered(found[0]):
            calm += 1
            if calm >= 10:  # subscriptions come one after another: answered, and nothing new for a while
                return found[0]
        else:
            calm = 0
        await asyncio.sleep(0.02)
    raise AssertionError(f"not settled: {[_state(c) for c in istiod.hub.connections.values()]}\n{envoy.log}")


def _answered(connection: Connection) -> bool:
    """Every type is subscribed to and answered: ACK or NACK."""
    watches = connection.watches
    if CDS not in watches or LDS not in watches:
        return False
    return all(w.nonce_sent in (w.nonce_acked, w.nonce_nacked) and w.nonce_sent for u, w in watches.items() if u != SDS)


def _state(connection: Connection) -> dict[str, str]:
    return {short_name(url): f"{w.status} {w.error or ''}" for url, w in connection.watches.items()}


def istiod_on(
    config: Path, socket: Path, mesh: Path | None = None, ca: Path | None = None, grpc_server: str = "mizzen"
) -> Istiod:
    """An istiod that serves a folder on a socket file, and nothing else."""
    none = dict.fromkeys(("secure_grpc_addr", "http_addr", "https_addr", "monitoring_addr", "ctrlz_addr"), "")
    return Istiod(
        ServerOptions(
            config_dir=(config,),
            mesh_config=mesh,
            ca_dir=ca,
            grpc_addr=f"unix:{socket}",
            grpc_server=grpc_server,  # type: ignore[arg-type]
            **none,  # type: ignore[arg-type]
        )
    )


@pytest.mark.parametrize(
    ("case", "delta"), cases(), ids=lambda v: v if isinstance(v, str) else "delta" if v else "whole"
)
async def test_no_nacks(case: str, delta: bool, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    shutil.copy(CASES / case / "input.yaml", config)
    mesh = CASES / case / "mesh.yaml"
    refused = await complaints(config, mesh if mesh.exists() else None, proxies(case), tmp_path, delta=delta)
    assert not refused, "\n".join(f"{where}: {error}" for where, error in refused.items())


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "whole"])
async def test_no_nacks_of_wasm_modules(delta: bool, tmp_path: Path) -> None:
    """Through the agent's discovery proxy, which fetches the modules from a server and from a registry with a password. One
    of them cannot be had, and its place is taken by a filter that lets nothing pass.
    """
    config, kept = tmp_path / "config", tmp_path / "modules"
    config.mkdir()
    raw = tmp_path / "raw.wasm"
    raw.write_bytes(MODULE)
    async with ModuleServer(private=True) as server:
        server.files["/gears.wasm"] = MODULE
        login = base64.b64encode(server.docker_config).decode()
        text = (CASES / WASM / "input.yaml").read_text()
        for theirs, ours in (
            ("oci://registry.example/filters/basic:1.0", f"http://{server.host}/m.wasm"),
            ("https://files.example/gears.wasm", f"http://{server.host}/gears.wasm"),
            ("2f77668a9dfbf8d5848b9eeb4a7145ca94c6ed9236e4a773f6dcafa5132b2f91", digest(MODULE)),
            ("registry.example/filters/second", f"{server.host}/filters/artifact"),
            ("oci://registry.example/filters/ext:2", f"oci://{server.host}/filters/absent"),
            ("/opt/raw.wasm", str(raw)),
        ):
            assert theirs in text
            text = text.replace(theirs, ours)
        secret = {"metadata": {"name": "registry-login", "namespace": "workshop"}, "data": {".dockerconfigjson": login}}
        (config / "secret.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Secret", **secret}))
        (config / "input.yaml").write_text(text)
        modules = WasmModules(kept, Settings())
        refused = await complaints(config, None, proxies(WASM), tmp_path, delta=delta, modules=modules)
    assert not refused, "\n".join(f"{where}: {error}" for where, error in refused.items())
    assert {"/m.wasm", "/gears.wasm", "/v2/filters/artifact/manifests/latest"} <= set(server.requests)
    counted = modules.counts.all()
    assert counted['wasm_config_conversion_count{result="success"}'] >= 3
    assert counted['wasm_config_conversion_count{result="fetch_failure"}'] >= 1


@asynccontextmanager
async def through_an_agent(istiod: Path, folder: Path, modules: WasmModules | None) -> AsyncIterator[Path]:
    """The socket that Envoy asks: istiod's own, or that of an agent's discovery proxy that rewrites modules."""
    if modules is None:
        yield istiod
        return
    target = Target(f"unix:{istiod}", folder, plaintext=True)
    server = Server(XdsProxy(target, lambda: (), {}, modules.rewrite).services, folder / "XDS")
    await server.start()
    try:
        yield folder / "XDS"
    finally:
        await server.stop()
        modules.close()


async def complaints(
    config: Path,
    mesh: Path | None,
    proxies: list[dict[str, Any]],
    folder: Path,
    *,
    delta: bool,
    modules: WasmModules | None = None,
) -> dict[str, str]:
    """What an Envoy for each of these proxies refuses or warns of, by proxy and type of resource."""
    socket = folder / "xds.sock"
    istiod = istiod_on(config, socket, mesh)
    refused = {}
    try:
        await istiod.start()
        for n, proxy in enumerate(proxies):
            if proxy["type"] not in ("sidecar", "router"):
                continue
            node_id, metadata = node_of(proxy)
            own = folder / str(n)
            own.mkdir()
            identity = f"spiffe://cluster.local/ns/{proxy['namespace']}/sa/{metadata['SERVICE_ACCOUNT']}"
            async with (
                SdsServer(own / "sds.sock", istiod.authority, identity),
                through_an_agent(socket, own, modules) as asked,
                Envoy(own, asked, node_id, metadata, delta=delta) as envoy,
            ):
                connection = await settled(istiod, envoy)
                for url, watch in connection.watches.items():
                    if watch.error is not None:
                        refused[f"{proxy['name']} {short_name(url)}"] = watch.error
                said = warnings(envoy.log)
                if said:
                    refused[f"{proxy['name']} warns"] = "\n".join(said[:5])
            while istiod.hub.connections:
                await asyncio.sleep(0.01)
    finally:
        await istiod.stop()
    return refused


@pytest.mark.parametrize("grpc_server", ["mizzen", "grpcio"])
@pytest.mark.parametrize("delta", [True, False], ids=["delta", "whole"])
async def test_a_new_istiod_adopts_the_proxies_of_the_old_one(delta: bool, grpc_server: str, tmp_path: Path) -> None:
    """Traffic's configuration stays while istiod is away; what changed meanwhile is in force when the next one
    is there, whoever serves its gRPC.
    """
    config, socket, folder = tmp_path / "config", tmp_path / "xds.sock", tmp_path / "envoy"
    config.mkdir()
    folder.mkdir()
    shutil.copy(CASES / "services-only" / "input.yaml", config)
    proxy = next(p for p in proxies("services-only") if p["type"] == "sidecar")
    node_id, metadata = node_of(proxy)
    first = istiod_on(config, socket, ca=tmp_path / "ca", grpc_server=grpc_server)
    await first.start()
    identity = f"spiffe://cluster.local/ns/{proxy['namespace']}/sa/{metadata['SERVICE_ACCOUNT']}"
    async with (
        SdsServer(folder / "sds.sock", first.authority, identity),
        Envoy(folder, socket, node_id, metadata, delta=delta) as envoy,
    ):
        await settled(first, envoy)
        before = await envoy.clusters()
        await first.stop()
        assert await envoy.clusters() == before, "without istiod the last configuration stays"
        text = (config / "input.yaml").read_text()
        documents = [d for d in yaml.safe_load_all(text) if d]
        gone = next(d for d in documents if d["kind"] == "Service")
        kept = [d for d in documents if d is not gone]
        (config / "input.yaml").write_text(yaml.safe_dump_all(kept))
        second = istiod_on(config, socket, ca=tmp_path / "ca", grpc_server=grpc_server)
        try:
            await second.start()
            connection = await settled(second, envoy)
            assert not [w.error for w in connection.watches.values() if w.error]
            host = f"{gone['metadata']['name']}.{gone['metadata']['namespace']}.svc.cluster.local"
            after = await envoy.clusters()
            assert any(host in name for name in before)
            assert not any(host in name for name in after), "removed while istiod was away"
            kept_names = {name for name in before if host not in name and not name.startswith("inbound|")}
            assert kept_names <= after
        finally:
            await second.stop()


def _warming(dump: dict[str, Any]) -> list[str]:
    """What Envoy has accepted and does not use yet."""
    out = []
    for part in dump["configs"]:
        out += [entry["cluster"]["name"] for entry in part.get("dynamic_warming_clusters", ())]
        out += [entry["name"] for entry in part.get("dynamic_listeners", ()) if "warming_state" in entry]
    return out


def _cluster(dump: dict[str, Any], name: str) -> dict[str, Any]:
    for part in dump["configs"]:
        for entry in part.get("dynamic_active_clusters", ()):
            if entry["cluster"]["name"] == name:
                return dict(entry["cluster"])
    return {}


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "whole"])
async def test_changes_are_in_force_and_nothing_stays_warming(delta: bool, tmp_path: Path) -> None:
    """A changed cluster waits for endpoints, which are the same: they must come again all the same."""
    config, socket, folder = tmp_path / "config", tmp_path / "xds.sock", tmp_path / "envoy"
    config.mkdir()
    folder.mkdir()
    shutil.copy(CASES / "bookshop-baseline" / "input.yaml", config)
    proxy = next(p for p in proxies("bookshop-baseline") if p["name"] == "storefront")
    node_id, metadata = node_of(proxy)
    istiod = istiod_on(config, socket)
    try:
        await istiod.start()
        identity = f"spiffe://cluster.local/ns/{proxy['namespace']}/sa/{metadata['SERVICE_ACCOUNT']}"
        async with (
            SdsServer(folder / "sds.sock", istiod.authority, identity),
            Envoy(folder, socket, node_id, metadata, delta=delta) as envoy,
        ):
            connection = await settled(istiod, envoy)
            host = "blurbs.bookshop.svc.cluster.local"
            name = f"outbound|9080||{host}"
            assert not _warming(await envoy.config_dump()) and _cluster(await envoy.config_dump(), name)
            (config / "more.yaml").write_text(MORE.format(host=host))

            async def in_force() -> bool:
                dump = await envoy.config_dump()
                thresholds = _cluster(dump, name).get("circuit_breakers", {}).get("thresholds", [{}])
                access_log = "more-access-log" in json.dumps(dump)
                return thresholds[0].get("max_connections") == 77 and access_log and not _warming(dump)

            deadline = time.monotonic() + 15
            while not await in_force():
                assert time.monotonic() < deadline, (_state(connection), _warming(await envoy.config_dump()), envoy.log)
                await asyncio.sleep(0.05)
            connection = await settled(istiod, envoy)
            assert not [watch.error for watch in connection.watches.values() if watch.error]
    finally:
        await istiod.stop()


MORE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: more
  namespace: bookshop
spec:
  host: {host}
  trafficPolicy:
    connectionPool: {{tcp: {{maxConnections: 77}}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: more-access-log
  namespace: bookshop
spec:
  hosts: [more-access-log.example]
  ports: [{{number: 7777, name: tcp, protocol: TCP}}]
  resolution: STATIC
  location: MESH_EXTERNAL
  addresses: [240.7.7.7]
  endpoints: [{{address: 10.7.7.7}}]
"""
