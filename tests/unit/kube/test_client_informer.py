"""Client, Informer and run_controller against a small HTTP API server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mizzen.kube import (
    After,
    ApiError,
    Client,
    Controller,
    Informer,
    Informers,
    Key,
    KubeConfig,
    itself,
    run_controller,
)
from mizzen.kube.resource import PODS, SERVICES, Resource
from tests.support.fake_api import FakeApi
from tests.support.poll import until

POD_PATH = "/api/v1/pods"


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "a"}, "spec": spec}


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with FakeApi() as server:
        yield server


@pytest.fixture
async def client(api: FakeApi) -> AsyncIterator[Client]:
    async with Client(api.config) as c:
        yield c


@contextlib.asynccontextmanager
async def running(coroutine: Any) -> AsyncIterator[asyncio.Task[Any]]:
    task = asyncio.ensure_future(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_crud_and_errors(api: FakeApi, client: Client) -> None:
    created = await client.create(PODS, pod("x", nodeName="n1"))
    assert created["metadata"]["uid"]
    with pytest.raises(ApiError) as refused:
        await client.create(PODS, pod("x"))
    assert refused.value.already_exists and not refused.value.conflict
    stale = {**created, "spec": {"nodeName": "n2"}}
    changed = await client.update(PODS, stale)
    with pytest.raises(ApiError) as conflict:
        await client.update(PODS, stale)
    assert conflict.value.conflict and conflict.value.reason == "Conflict"
    assert changed["spec"] == {"nodeName": "n2"}
    patched = await client.patch(PODS, "x", {"spec": {"nodeName": None, "hostname": "h"}}, "a")
    assert patched["spec"] == {"hostname": "h"}
    applied = await client.apply(PODS, pod("y", hostname="z"), field_manager="test")
    assert applied["spec"] == {"hostname": "z"}
    await client.delete(PODS, "x", "a", propagation="Foreground", grace_period_s=0)
    assert await client.find(PODS, "x", "a") is None
    with pytest.raises(ApiError) as missing:
        await client.get(PODS, "x", "a")
    assert missing.value.not_found


async def test_list_reads_all_pages_and_fills_in_kinds(api: FakeApi, client: Client) -> None:
    for n in range(7):
        await api.put(POD_PATH, {"metadata": {"name": f"p{n}", "namespace": "a"}})
    listed = await client.list(PODS, limit=3)
    assert [item["metadata"]["name"] for item in listed.items] == [f"p{n}" for n in range(7)]
    assert listed.items[0]["kind"] == "Pod" and listed.items[0]["apiVersion"] == "v1"
    assert listed.resource_version == str(api.revision)
    assert sum("limit=3" in request for request in api.requests) == 3


async def test_token_is_sent(api: FakeApi) -> None:
    api.token = "secret"
    async with Client(api.config) as c:
        assert (await c.list(PODS)).items == []
    async with Client(KubeConfig(server=api.url)) as c:
        with pytest.raises(ApiError) as refused:
            await c.list(PODS)
        assert refused.value.code == 401


async def test_informer_follows_and_resumes(api: FakeApi, client: Client) -> None:
    await api.put(POD_PATH, pod("old"))
    informer = Informer(client, PODS, indexes={"node": lambda p: [p["spec"].get("nodeName", "")]})
    seen: list[tuple[str, str]] = []
    informer.add_handler(lambda change: seen.append((change.type, str(change.key))))
    async with running(informer.run()):
        await asyncio.wait_for(informer.synced.wait(), 5)
        await api.put(POD_PATH, pod("new", nodeName="n1"))
        await until(lambda: informer.get("new", "a"))
        assert [p["metadata"]["name"] for p in informer.by_index("node", "n1")] == ["new"]
        await until(lambda: api.watches)
        api.drop_watches()
        await api.put(POD_PATH, pod("new", nodeName="n2"))
        await until(lambda: informer.by_index("node", "n2"))
        assert informer.by_index("node", "n1") == []
        await api.delete(POD_PATH, "a", "new")
        await until(lambda: informer.get("new", "a") is None)
    assert seen == [("added", "a/old"), ("added", "a/new"), ("updated", "a/new"), ("deleted", "a/new")]
    assert sum("watch" not in request for request in api.requests) == 1, "a broken watch resumes without a new list"


async def test_informer_lists_anew_after_410(api: FakeApi, client: Client) -> None:
    await api.put(POD_PATH, pod("gone"))
    await api.put(POD_PATH, pod("stays"))
    informer = Informer(client, PODS)
    seen: list[tuple[str, str]] = []
    async with running(informer.run()):
        await asyncio.wait_for(informer.synced.wait(), 5)
        await until(lambda: api.watches)
        informer.add_handler(lambda change: seen.append((change.type, change.key.name)))
        del api.objects[(POD_PATH, "a", "gone")]
        api.objects[(POD_PATH, "a", "new")] = {**pod("new"), "metadata": {**pod("new")["metadata"], "uid": "u"}}
        await api.compact()
        api.drop_watches()
        await until(lambda: informer.get("new", "a"))
    assert seen == [("added", "gone"), ("added", "stays"), ("deleted", "gone"), ("added", "new")]


async def test_bookmarks_move_the_resume_point(api: FakeApi, client: Client) -> None:
    informer = Informer(client, PODS)
    async with running(informer.run()):
        await until(lambda: api.watches)
        await api.bookmark(POD_PATH)
        revision = str(api.revision)
        await until(lambda: informer._revision == revision)
        api.drop_watches()
        await until(lambda: any("watch" in r and f"resourceVersion={revision}" in r for r in api.requests))


async def test_a_missing_resource_is_synced_and_tried_again(
    api: FakeApi, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mizzen.kube.informer.MISSING_RETRY_S", 0.02)
    crd = Resource("networking.istio.io", "v1", "virtualservices", True, "VirtualService")
    api.missing.add("/apis/networking.istio.io/v1/virtualservices")
    informer = Informer(client, crd, missing_ok=True)
    async with running(informer.run()):
        await asyncio.wait_for(informer.synced.wait(), 5)
        api.missing.clear()
        await api.put("/apis/networking.istio.io/v1/virtualservices", {"metadata": {"name": "v", "namespace": "a"}})
        await until(lambda: informer.get("v", "a"))


async def test_server_down_at_first(client: Client, api: FakeApi) -> None:
    async with FakeApi() as other:
        config = other.config
    async with Client(config) as c:
        informer = Informer(c, PODS)
        async with running(informer.run()) as task:
            await asyncio.sleep(0)
            assert not informer.synced.is_set() and not task.done()


class Copier:
    """Creates a Service named as each Pod; the first attempt at "bad" fails."""

    watches = {PODS: itself}

    def __init__(self, client: Client) -> None:
        self.client, self.tries = client, {}
        self.tries: dict[Key, int] = {}

    async def reconcile(self, key: Key) -> After | None:
        self.tries[key] = self.tries.get(key, 0) + 1
        if key.name == "bad" and self.tries[key] == 1:
            raise RuntimeError("once")
        if key.name == "again" and self.tries[key] == 1:
            return After(0.01)
        try:
            await self.client.create(SERVICES, {"metadata": {"name": key.name, "namespace": key.namespace}})
        except ApiError as error:
            if not error.already_exists:
                raise
        return None


async def test_run_controller(api: FakeApi, client: Client) -> None:
    for name in ("good", "bad", "again"):
        await api.put(POD_PATH, pod(name))
    informers = Informers(client)
    copier = Copier(client)
    controller: Controller = copier
    async with running(informers.run()), running(run_controller(controller, informers, workers=2)):
        for name in ("good", "bad", "again"):
            await until(lambda name=name: ("/api/v1/services", "a", name) in api.objects)
    assert copier.tries == {Key("a", "good"): 1, Key("a", "bad"): 2, Key("a", "again"): 2}
