"""Objects over HTTP: create, read, replace, delete, names, finalizers, selectors, lists and watches."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from mizzen.kube import ApiError, Client
from mizzen.kube.resource import CONFIG_MAPS, DEPLOYMENTS, PODS, SERVICE_ACCOUNTS, SERVICES
from mizzen.runtime.apiserver.server import ApiServer

MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, data: dict[str, str] | None = None, **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", **meta}, "data": data or {}}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "app", "image": "mizzen/samples"}]
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": containers, **spec}}


async def test_an_object_s_life(api: Client) -> None:
    made = await api.create(CONFIG_MAPS, config_map("a", {"k": "1"}))
    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"]
    assert await api.get(CONFIG_MAPS, "a", "default") == made
    with pytest.raises(ApiError) as again:
        await api.create(CONFIG_MAPS, config_map("a"))
    assert again.value.already_exists
    changed = await api.update(CONFIG_MAPS, {**made, "data": {"k": "2"}})
    assert int(changed["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    same = await api.update(CONFIG_MAPS, changed)
    assert same["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]
    with pytest.raises(ApiError) as stale:
        await api.update(CONFIG_MAPS, {**made, "data": {"k": "3"}})
    assert stale.value.conflict
    assert "the object has been modified; please apply your changes to the latest version" in stale.value.message
    with pytest.raises(ApiError) as another:
        await api.delete(CONFIG_MAPS, "a", "default", uid="no-such-uid")
    assert another.value.code == 409
    await api.delete(CONFIG_MAPS, "a", "default")
    assert await api.find(CONFIG_MAPS, "a", "default") is None


async def test_a_dry_run_changes_nothing(api: Client) -> None:
    assert (await api.create(CONFIG_MAPS, config_map("a"), dry_run=True))["metadata"]["uid"]
    assert await api.find(CONFIG_MAPS, "a", "default") is None


async def test_generated_names_differ(api: Client) -> None:
    nameless = {"metadata": {"generateName": "x-", "namespace": "default"}}
    names = {(await api.create(CONFIG_MAPS, nameless))["metadata"]["name"] for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("x-") and len(name) == 7 for name in names)


async def test_finalizers_hold_an_object(api: Client) -> None:
    await api.create(CONFIG_MAPS, config_map("a", finalizers=["example.com/hold"]))
    held = await api.delete(CONFIG_MAPS, "a", "default")
    assert held["metadata"]["deletionTimestamp"]
    with pytest.raises(ApiError) as added:
        await api.patch(
            CONFIG_MAPS, "a", {"metadata": {"finalizers": ["example.com/hold", "example.com/b"]}}, "default"
        )
    assert "no new finalizers can be added if the object is being deleted" in added.value.message
    await api.patch(CONFIG_MAPS, "a", {"metadata": {"finalizers": None}}, "default")
    assert await api.find(CONFIG_MAPS, "a", "default") is None


@pytest.mark.parametrize(
    ("name", "code"), [("UPPER", 422), ("a.b", 201), ("-a", 422), ("a" * 254, 422), ("a" * 253, 201)]
)
async def test_names_of_objects(api: Client, name: str, code: int) -> None:
    try:
        await api.create(CONFIG_MAPS, config_map(name))
    except ApiError as error:
        assert error.code == code
    else:
        assert code == 201


@pytest.mark.parametrize(
    ("labels", "fields", "names"),
    [
        ("tier=web", "", ["a", "b"]),
        ("tier!=web", "", ["c"]),
        ("tier in (web,db),!canary", "", ["a", "c"]),
        ("canary", "", ["b"]),
        ("", "spec.nodeName=n1", ["a"]),
        ("", "metadata.name!=a,spec.nodeName=", ["b", "c"]),
        ("tier=web", "metadata.name=b", ["b"]),
    ],
)
async def test_selectors_of_a_list(api: Client, labels: str, fields: str, names: list[str]) -> None:
    await api.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "default"}})
    for name, given, node in (
        ("a", {"tier": "web"}, "n1"),
        ("b", {"tier": "web", "canary": ""}, ""),
        ("c", {"tier": "db"}, ""),
    ):
        one = pod(name, **({"nodeName": node} if node else {}))
        one["metadata"]["labels"] = given
        await api.create(PODS, one)
    found = await api.list(PODS, "default", label_selector=labels, field_selector=fields)
    assert [one["metadata"]["name"] for one in found.items] == names


async def test_a_field_that_cannot_be_selected_by(api: Client) -> None:
    with pytest.raises(ApiError) as refused:
        await api.list(PODS, "default", field_selector="spec.hostname=a")
    assert refused.value.code == 400
    assert "field label not supported: spec.hostname" in refused.value.message


async def test_pages_are_of_one_moment(api: Client) -> None:
    for number in range(7):
        await api.create(CONFIG_MAPS, config_map(f"m{number}", labels={"t": "1"}))
    query = {"labelSelector": "t=1", "limit": "3"}
    first = msgspec.json.decode(await api.raw("GET", MAPS, query=query))
    assert len(first["items"]) == 3
    await api.create(CONFIG_MAPS, config_map("m9", labels={"t": "1"}))
    await api.delete(CONFIG_MAPS, "m5", "default")
    second = msgspec.json.decode(
        await api.raw("GET", MAPS, query={**query, "limit": "9", "continue": first["metadata"]["continue"]})
    )
    assert [one["metadata"]["name"] for one in second["items"]] == ["m3", "m4", "m5", "m6"]


async def test_watch_goes_on_from_a_list_and_ends_with_its_time(api: Client) -> None:
    since = (await api.list(CONFIG_MAPS, "default")).resource_version
    await api.create(CONFIG_MAPS, config_map("a", labels={"t": "1"}))
    await api.patch(CONFIG_MAPS, "a", {"data": {"k": "1"}}, "default")
    await api.patch(CONFIG_MAPS, "a", {"metadata": {"labels": {"t": "2"}}}, "default")
    await api.create(CONFIG_MAPS, config_map("unseen"))
    seen = [
        (one.type, one.object["metadata"].get("name"))
        async for one in api.watch(CONFIG_MAPS, "default", resource_version=since, label_selector="t=1", timeout_s=1)
        if one.type != "BOOKMARK"
    ]
    assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_a_streamed_list_ends_with_its_bookmark(api: Client) -> None:
    await api.create(CONFIG_MAPS, config_map("a"))
    query = {
        "watch": "true", "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true", "timeoutSeconds": "1",
    }  # fmt: skip
    lines = [msgspec.json.decode(line) for line in (await api.raw("GET", MAPS, query=query)).splitlines()]
    assert [line["type"] for line in lines[:-1]] == ["ADDED", "BOOKMARK"]  # the last one tells the time is up
    assert lines[0]["object"]["metadata"]["name"] == "a"
    assert lines[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_revision_that_is_forgotten_is_gone(api: Client, server: ApiServer) -> None:
    since = (await api.list(CONFIG_MAPS, "default")).resource_version
    maps = server.parts.registry.get("configmaps").collection
    for number in range(3):
        await api.create(CONFIG_MAPS, config_map(f"m{number}"))
    maps.history.clear()
    maps.forgotten = maps.revision
    with pytest.raises(ApiError) as gone:
        async for _ in api.watch(CONFIG_MAPS, "default", resource_version=since, timeout_s=1):
            pass
    assert gone.value.gone
    assert "too old resource version" in gone.value.message


async def test_a_watcher_sees_each_change_once_under_concurrent_writes(api: Client) -> None:
    since = (await api.list(CONFIG_MAPS, "default")).resource_version

    async def watched() -> list[str]:
        found: list[str] = []
        async for one in api.watch(CONFIG_MAPS, "default", resource_version=since, timeout_s=20, bookmarks=False):
            found.append(one.object["metadata"]["name"])
            if len(found) == 60:
                break
        return found

    task = asyncio.ensure_future(watched())
    await asyncio.gather(*(api.create(CONFIG_MAPS, config_map(f"m{number}")) for number in range(60)))
    assert sorted(await task) == sorted(f"m{number}" for number in range(60))


async def test_status_is_a_door_of_its_own(api: Client) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = await api.create(
        DEPLOYMENTS, {"metadata": {"name": "d", "namespace": "default"}, "spec": spec, "status": {"replicas": 9}}
    )
    assert not made["status"].get("replicas")
    assert made["metadata"]["generation"] == 1
    told = await api.update_status(
        DEPLOYMENTS, {**made, "spec": {**made["spec"], "replicas": 5}, "status": {"replicas": 2}}
    )
    assert (told["spec"]["replicas"], told["status"]["replicas"], told["metadata"]["generation"]) == (1, 2, 1)
    scaled = await api.update(DEPLOYMENTS, {**told, "spec": {**told["spec"], "replicas": 5}, "status": {}})
    assert (scaled["spec"]["replicas"], scaled["status"]["replicas"], scaled["metadata"]["generation"]) == (5, 2, 2)


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"ports": [{"port": 80}], **spec}}


async def test_cluster_ips_are_given_once(api: Client) -> None:
    first = await api.create(SERVICES, service("a"))
    address = first["spec"]["clusterIP"]
    assert address.startswith("10.")
    with pytest.raises(ApiError) as taken:
        await api.create(SERVICES, service("b", clusterIP=address))
    assert taken.value.code == 422
    assert "provided IP is already allocated" in taken.value.message
    with pytest.raises(ApiError) as outside:
        await api.create(SERVICES, service("b", clusterIP="192.0.2.1"))
    assert outside.value.code == 422
    assert (await api.create(SERVICES, service("h", clusterIP="None")))["spec"]["clusterIP"] == "None"
    await api.delete(SERVICES, "a", "default")
    assert (await api.create(SERVICES, service("b", clusterIP=address)))["spec"]["clusterIP"] == address


async def test_objects_survive_a_restart(api: Client, server: ApiServer) -> None:
    made = await api.create(CONFIG_MAPS, config_map("a", {"k": "1"}))
    await server.stop()
    again = ApiServer(server.config)
    await again.start()
    try:
        item = again.parts.registry.get("configmaps").collection.items["default/a"]
        assert item.object()["metadata"]["uid"] == made["metadata"]["uid"]
        assert str(item.revision) == made["metadata"]["resourceVersion"]
    finally:
        await again.stop()
