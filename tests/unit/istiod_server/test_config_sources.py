"""Configuration from files and from an API server: what is in force, and what a bad object does (nothing to the
others).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from mizzen.api import mesh_config
from mizzen.api.errors import UsageError
from mizzen.api.manifest import loads
from mizzen.istiod.config.files import DirectorySource
from mizzen.istiod.config.kubernetes import KubernetesSource, trim
from mizzen.istiod.config.sources import ConfigSources
from mizzen.istiod.config.store import ConfigStore
from mizzen.istiod.server.istiod import Istiod
from mizzen.istiod.server.options import ServerOptions
from mizzen.kube import Client
from tests.support.fake_api import FakeApi
from tests.support.poll import until

VS = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: {name}
  namespace: shop
spec:
  hosts: [{host}]
  {field}: [{{route: [{{destination: {{host: {host}}}}}]}}]
"""
GOOD, OTHER = VS.format(name="one", host="a", field="http"), VS.format(name="two", host="b", field="http")


def hosts(store: ConfigStore) -> dict[str, str]:
    return {key[1][1]: obj.spec.hosts[0] for key, obj in store.objects.items()}


@pytest.fixture
def store() -> ConfigStore:
    return ConfigStore()


def test_files_come_change_and_go(tmp_path: Path, store: ConfigStore) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yaml").write_text(GOOD + "---" + OTHER)
    source = DirectorySource(tmp_path, store)
    source.scan()
    assert hosts(store) == {"one": "a", "two": "b"}
    changes, _ = store.take()
    assert [(c.kind, c.key, c.old) for c in changes] == [
        ("VirtualService", ("shop", "one"), None),
        ("VirtualService", ("shop", "two"), None),
    ]
    (tmp_path / "sub" / "b.yml").write_text(VS.format(name="three", host="c", field="http"))
    (tmp_path / "a.yaml").write_text(GOOD)
    source.scan()
    assert hosts(store) == {"one": "a", "three": "c"}
    assert {(c.key[1], c.obj is None) for c in store.take()[0]} == {("two", True), ("three", False)}
    (tmp_path / "a.yaml").unlink()
    source.scan()
    assert hosts(store) == {"three": "c"}


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (VS.format(name="one", host="z", field="httpp"), "httpp"),
        (GOOD.replace("[a]", "[a"), "not YAML"),
        (GOOD.replace("[a]", "7"), "spec.hosts"),
    ],
    ids=["unknown field", "no YAML", "wrong type"],
)
def test_a_broken_object_keeps_its_last_good_state(
    tmp_path: Path, store: ConfigStore, bad: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.yaml").write_text(GOOD + "---" + OTHER)
    source = DirectorySource(tmp_path, store)
    source.scan()
    store.take()
    (tmp_path / "a.yaml").write_text(bad + "---" + OTHER.replace("[b]", "[new]"))
    with caplog.at_level(logging.ERROR):
        source.scan()
    assert hosts(store) == {"one": "a", "two": "new"}, "the good neighbour changes, the broken one stays"
    assert [c.key[1] for c in store.take()[0]] == ["two"]
    assert says in caplog.text and "a.yaml:" in caplog.text
    assert ("VirtualService", ("shop", "one")) in store.rejected
    (tmp_path / "a.yaml").write_text(GOOD.replace("[a]", "[mended]") + "---" + OTHER)
    source.scan()
    assert hosts(store) == {"one": "mended", "two": "b"} and not store.rejected


def test_equal_content_is_no_change(tmp_path: Path, store: ConfigStore) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    source = DirectorySource(tmp_path, store)
    source.scan()
    store.take()
    (tmp_path / "a.yaml").write_text("# a comment\n" + GOOD)
    source.scan()
    assert store.take()[0] == []


def test_changes_of_one_object_merge(store: ConfigStore) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "shop"}, "spec": {}}
    store.put(service)
    store.put({**service, "spec": {"clusterIP": "10.0.0.1"}})
    (change,), _ = store.take()
    assert change.old is None and change.obj.spec.clusterIP == "10.0.0.1"
    store.remove(("Service", ("shop", "s")))
    store.put(service)
    (change,), _ = store.take()
    assert change.old.spec.clusterIP == "10.0.0.1" and change.obj.spec.clusterIP is None
    store.put({**service, "metadata": {"name": "short-lived", "namespace": "shop"}})
    store.remove(("Service", ("shop", "short-lived")))
    assert store.take()[0] == []


async def test_kubernetes_source(store: ConfigStore) -> None:
    async with FakeApi() as api:
        await api.put(
            "/api/v1/services", {"metadata": {"name": "s", "namespace": "shop"}, "spec": {"clusterIP": "10.0.0.1"}}
        )
        await api.put("/api/v1/secrets", {"metadata": {"name": "h", "namespace": "shop"}, "type": "helm.sh/release.v1"})
        async with Client(api.config) as client:
            source = KubernetesSource(client, store)
            task = asyncio.ensure_future(source.run())
            try:
                await asyncio.wait_for(source.synced.wait(), 5)
                assert list(store.objects) == [("Service", ("shop", "s"))]
                rules = "/apis/networking.istio.io/v1/destinationrules"
                await api.put(rules, {"metadata": {"name": "d", "namespace": "shop"}, "spec": {"host": "s"}})
                await until(lambda: ("DestinationRule", ("shop", "d")) in store.objects)
                await api.put(rules, {"metadata": {"name": "d", "namespace": "shop"}, "spec": {"hostt": "s"}})
                await until(lambda: store.rejected)
                assert store.objects["DestinationRule", ("shop", "d")].spec.host == "s"
                await api.delete(rules, "shop", "d")
                await until(lambda: ("DestinationRule", ("shop", "d")) not in store.objects)
                assert not store.rejected
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


def test_pods_are_kept_without_what_no_one_reads() -> None:
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "n", "managedFields": [{}]},
        "spec": {"nodeName": "x", "volumes": [{}], "containers": [{"name": "c", "env": [{}], "ports": []}]},
        "status": {
            "podIP": "10.0.0.1",
            "containerStatuses": [{}],
            "conditions": [{"type": "Ready", "status": "True", "x": 1}],
        },
    }
    assert trim(pod) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"nodeName": "x", "containers": [{"name": "c", "ports": []}]},
        "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
    }


@pytest.mark.parametrize(
    ("mesh", "folders", "api_server"),
    [
        ("", (), True),
        ("configSources: [{address: 'k8s://'}]", (), True),
        ("configSources: [{address: 'fs:///etc/mesh'}]", ("/etc/mesh",), False),
        ("configSources: [{address: 'fs:///a'}, {address: 'fs:///b'}, {address: 'k8s://'}]", ("/a", "/b"), True),
    ],
)
def test_sources_of_the_mesh_configuration(mesh: str, folders: tuple[str, ...], api_server: bool) -> None:
    assert ConfigSources.of(mesh_config.read(mesh)) == (tuple(map(Path, folders)), api_server)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{address: 'xds://10.0.0.1:15010'}", "configSources[0].address"),
        ("{address: 'fs://host/path'}", "is no fs:///PATH"),
        ("{address: 'k8s://east'}", "names a cluster"),
        ("{address: '/etc/mesh'}", "is not supported"),
        ("{address: 'fs:///a', tlsSettings: {mode: SIMPLE}}", "tlsSettings"),
        ("{address: 'fs:///a', subscribedResources: [SERVICE_REGISTRY]}", "subscribedResources"),
    ],
)
def test_sources_that_cannot_be_are_refused(source: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        ConfigSources.of(mesh_config.read(f"configSources: [{source}]"))


@pytest.mark.parametrize("with_api_server", [False, True])
async def test_a_folder_instead_of_or_beside_the_api_server(tmp_path: Path, with_api_server: bool) -> None:
    """The mesh configuration is the API server's ConfigMap; Kubernetes' own objects come from there in any case."""
    (tmp_path / "a.yaml").write_text(GOOD)
    mesh = f"configSources: [{{address: 'fs://{tmp_path}'}}{', {address: k8s://}' if with_api_server else ''}]"
    other = next(iter(loads(OTHER, "b.yaml"))).object
    addresses = dict.fromkeys(("grpc_addr", "secure_grpc_addr", "http_addr", "https_addr", "monitoring_addr"), "")
    async with FakeApi() as api:
        await api.put(
            "/api/v1/configmaps", {"metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": mesh}}
        )
        await api.put("/api/v1/services", {"metadata": {"name": "s", "namespace": "shop"}, "spec": {}})
        await api.put("/apis/networking.istio.io/v1/virtualservices", other)
        istiod = Istiod(ServerOptions(kubeconfig=api.config, ctrlz_addr="", ca_dir=tmp_path / "ca", **addresses))
        try:
            await istiod.start()
            expected = {"one": "a", "two": "b"} if with_api_server else {"one": "a"}
            services = {key: obj for key, obj in istiod.store.objects.items() if key[0] == "VirtualService"}
            assert {key[1][1]: obj.spec.hosts[0] for key, obj in services.items()} == expected
            assert ("Service", ("shop", "s")) in istiod.store.objects
        finally:
            await istiod.stop()
