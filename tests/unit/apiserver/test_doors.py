"""Patches, custom resources, tables, strictness, discovery, tokens, access and webhooks, over HTTP."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
import pytest

from mizzen.kube import ApiError, Client, KubeConfig, Resource, load
from mizzen.kube.resource import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    SERVICE_ACCOUNTS,
    SERVICES,
    TOKEN_REVIEWS,
    VALIDATING_WEBHOOKS,
)
from mizzen.runtime.apiserver.server import ApiServer

MAPS = "/api/v1/namespaces/default/configmaps"
decode = msgspec.json.decode


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


@pytest.mark.parametrize(
    ("kind", "patch", "data"),
    [
        ("merge", {"data": {"a": None, "c": "3"}}, {"b": "2", "c": "3"}),
        ("strategic", {"data": {"a": "9"}}, {"a": "9", "b": "2"}),
        ("strategic", {"data": {"$patch": "replace", "z": "1"}}, {"z": "1"}),
        ("json", [{"op": "replace", "path": "/data/a", "value": "7"}, {"op": "remove", "path": "/data/b"}], {"a": "7"}),
        (
            "json",
            [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "add", "path": "/data/x~1y", "value": ""}],
            422,
        ),
        ("json", [{"op": "test", "path": "/data/a", "value": "no"}], 422),
        ("json", [{"op": "remove", "path": "/data/none"}], 422),
        ("merge", {"data": []}, 422),
    ],
)
async def test_patches(api: Client, kind: Any, patch: Any, data: Any) -> None:
    await api.create(CONFIG_MAPS, config_map("a", a="1", b="2"))
    try:
        found: Any = (await api.patch(CONFIG_MAPS, "a", patch, "default", type=kind))["data"]
    except ApiError as error:
        found = error.code
    assert found == data


async def test_apply_owns_conflicts_and_forces(api: Client) -> None:
    one = await api.apply(CONFIG_MAPS, config_map("a", k="1", mine="x"), field_manager="one", force=False)
    assert [entry["manager"] for entry in one["metadata"]["managedFields"]] == ["one"]
    with pytest.raises(ApiError) as conflict:
        await api.apply(CONFIG_MAPS, config_map("a", k="2"), field_manager="two", force=False)
    assert conflict.value.code == 409
    assert 'conflict with "one": .data.k' in conflict.value.message
    two = await api.apply(CONFIG_MAPS, config_map("a", k="2"), field_manager="two", force=True)
    assert two["data"] == {"k": "2", "mine": "x"}
    left = await api.apply(CONFIG_MAPS, config_map("a"), field_manager="one", force=False)
    assert left["data"] == {"k": "2"}


CRD = {
    "metadata": {"name": "boats.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [{"name": "Masts", "type": "integer", "jsonPath": ".spec.masts"}],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["masts"],
                                "properties": {
                                    "masts": {"type": "integer", "minimum": 1},
                                    "rig": {"type": "string", "default": "sloop", "enum": ["sloop", "ketch"]},
                                },
                                "x-kubernetes-validations": [
                                    {
                                        "rule": "self.rig != 'ketch' || self.masts == 2",
                                        "message": "a ketch has two masts",
                                    }
                                ],
                            },
                            "status": {"type": "object", "properties": {"afloat": {"type": "boolean"}}},
                        },
                    }
                },
            }
        ],
    },
}
BOATS = Resource("example.com", "v1", "boats", True, "Boat")


def boat(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


async def test_custom_resources(api: Client) -> None:
    await api.create(CUSTOM_RESOURCE_DEFINITIONS, CRD)

    async def served() -> bool:
        try:
            await api.list(BOATS)
        except ApiError:
            return False
        return True

    for _ in range(500):
        if await served():
            break
    made = await api.create(BOATS, {**boat("a", masts=1, unknown=True), "status": {"afloat": True}})
    assert made["spec"] == {"masts": 1, "rig": "sloop"}
    assert "status" not in made
    for spec, text in (
        ({}, "spec.masts: Required value"),
        ({"masts": 0}, "spec.masts in body should be greater than or equal to 1"),
        ({"masts": "1"}, 'must be of type integer: "string"'),
        ({"masts": 1, "rig": "barque"}, 'Unsupported value: "barque"'),
        ({"masts": 1, "rig": "ketch"}, "a ketch has two masts"),
    ):
        with pytest.raises(ApiError) as refused:
            await api.create(BOATS, boat("b", **spec))
        assert refused.value.code == 422
        assert text in refused.value.message
    told = await api.update_status(BOATS, {**made, "spec": {"masts": 3}, "status": {"afloat": True}})
    assert (told["spec"]["masts"], told["status"]) == (1, {"afloat": True})
    async with api_session(api) as session:
        accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        async with session.get(api.config.server + "/apis/example.com/v1/boats", headers=accept) as answer:
            table = await answer.json()
    assert [one["name"] for one in table["columnDefinitions"]] == ["Name", "Masts"]
    assert [row["cells"] for row in table["rows"]] == [["a", 1]]
    await api.delete(CUSTOM_RESOURCE_DEFINITIONS, "boats.example.com")


def api_session(api: Client) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=api.config.ssl_context() or True))


async def test_a_service_as_a_table(api: Client) -> None:
    async with api_session(api) as session:
        url = api.config.server + "/api/v1/namespaces/default/services"
        headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        async with session.get(url, headers=headers) as answer:
            table = await answer.json()
    names = [one["name"] for one in table["columnDefinitions"]]
    assert names == ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector"]
    assert table["rows"][0]["cells"][:5] == ["kubernetes", "ClusterIP", "10.96.0.1", "<none>", "443/TCP"]


@pytest.mark.parametrize(
    ("word", "status", "warned"), [("Strict", 400, False), ("Warn", 201, True), ("Ignore", 201, False)]
)
async def test_unknown_fields(api: Client, word: str, status: int, warned: bool) -> None:
    async with api_session(api) as session:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "dta": {}}
        async with session.post(api.config.server + MAPS, params={"fieldValidation": word}, json=body) as answer:
            assert answer.status == status
            assert ("Warning" in answer.headers) == warned
            assert ("dta" in await answer.text()) == (status == 400)
            if warned:
                assert 'unknown field \\"dta\\"' in answer.headers["Warning"]


# runtime.Unknown{typeMeta{v1, ConfigMap}, raw: ConfigMap{metadata{name: a}, data{k: v}}} behind the envelope's magic
PROTOBUF = (
    b"k8s\x00"
    + b"\x0a\x0f\x0a\x02v1\x12\x09ConfigMap"
    + b"\x12\x0d"
    + b"\x0a\x03\x0a\x01a"
    + b"\x12\x06\x0a\x01k\x12\x01v"
)


@pytest.mark.parametrize(("body", "code"), [(PROTOBUF, 201), (PROTOBUF[:-2], 400), (b"no magic", 400)])
async def test_protobuf_bodies(api: Client, body: bytes, code: int) -> None:
    try:
        answer = await api.raw("POST", MAPS, body, content_type="application/vnd.kubernetes.protobuf")
    except ApiError as error:
        assert error.code == code
    else:
        assert (code, decode(answer)["data"]) == (201, {"k": "v"})


async def test_other_media_are_refused(api: Client) -> None:
    with pytest.raises(ApiError) as refused:
        await api.raw("POST", MAPS, b"x", content_type="text/csv")
    assert refused.value.code == 415


async def test_discovery(api: Client) -> None:
    groups = decode(await api.raw("GET", "/apis"))
    assert {"apps", "batch", "discovery.k8s.io"} <= {group["name"] for group in groups["groups"]}
    core = {one["name"]: one for one in decode(await api.raw("GET", "/api/v1"))["resources"]}
    assert core["configmaps"]["shortNames"] == ["cm"]
    assert core["configmaps"]["namespaced"] is True
    assert {"pods/status", "pods/exec", "serviceaccounts/token"} <= core.keys()
    assert "major" in decode(await api.raw("GET", "/version"))
    assert await api.raw("GET", "/readyz") == b"ok"


async def test_tokens_name_their_account(api: Client, server: ApiServer) -> None:
    await api.create(SERVICE_ACCOUNTS, {"metadata": {"name": "sa", "namespace": "default"}})
    spec = {"audiences": [], "expirationSeconds": 600}
    path = "/api/v1/namespaces/default/serviceaccounts/sa/token"
    ask = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    token = decode(await api.raw("POST", path, ask))["status"]["token"]
    review = (await api.create(TOKEN_REVIEWS, {"metadata": {}, "spec": {"token": token}}))["status"]
    assert review["authenticated"] is True
    assert review["user"]["username"] == "system:serviceaccount:default:sa"
    forged = (await api.create(TOKEN_REVIEWS, {"metadata": {}, "spec": {"token": token[:-4] + "AAAA"}}))["status"]
    assert not forged.get("authenticated")
    await api.delete(SERVICE_ACCOUNTS, "sa", "default")
    after = (await api.create(TOKEN_REVIEWS, {"metadata": {}, "spec": {"token": token}}))["status"]
    assert not after.get("authenticated")


async def test_access_is_refused_in_words_and_granted_by_a_role(api: Client, server: ApiServer) -> None:
    admin = load(server.kubeconfig_path)
    async with Client(KubeConfig(server=admin.server, ca=admin.ca, token="tok-carol")) as carol:
        with pytest.raises(ApiError) as refused:
            await carol.list(CONFIG_MAPS, "default")
        assert refused.value.code == 403
        assert refused.value.message == (
            'configmaps is forbidden: User "carol" cannot list resource "configmaps" in API group "" in the namespace "default"'
        )
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
        role = Resource("rbac.authorization.k8s.io", "v1", "roles", True, "Role")
        binding = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", True, "RoleBinding")
        meta = {"name": "r", "namespace": "default"}
        await api.create(role, {"metadata": meta, "rules": rules})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "carol"}
        await api.create(binding, {"metadata": meta, "roleRef": reference, "subjects": [subject]})
        await carol.list(CONFIG_MAPS, "default")
        with pytest.raises(ApiError):
            await carol.get(CONFIG_MAPS, "a", "default")
    async with Client(KubeConfig(server=admin.server, ca=admin.ca, token="nobody's")) as nobody:
        with pytest.raises(ApiError) as unknown:
            await nobody.list(CONFIG_MAPS, "default")
        assert unknown.value.code == 401


@pytest.mark.parametrize(("policy", "created"), [("Fail", False), ("Ignore", True)])
async def test_a_webhook_that_nobody_answers(api: Client, policy: str, created: bool) -> None:
    hook = {
        "name": "h.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        "failurePolicy": policy,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
    }
    await api.create(VALIDATING_WEBHOOKS, {"metadata": {"name": "h"}, "webhooks": [hook]})
    try:
        await api.create(CONFIG_MAPS, config_map("a"))
    except ApiError as error:
        assert (error.code, created) == (500, False)
        assert 'failed calling webhook "h.example.com"' in error.message
    else:
        assert created


async def test_every_problem_of_an_object_is_told(api: Client) -> None:
    ports = [{"port": 0}, {"name": "UP", "port": 80}]
    with pytest.raises(ApiError) as refused:
        await api.create(SERVICES, {"metadata": {"name": "s", "namespace": "default"}, "spec": {"ports": ports}})
    fields = {cause["field"] for cause in refused.value.details["causes"]}
    assert {"spec.ports[0].name", "spec.ports[0].port", "spec.ports[1].name"} <= fields
    with pytest.raises(ApiError) as mistyped:
        await api.create(DEPLOYMENTS, {"metadata": {"name": "d", "namespace": "default"}, "spec": {"replicas": "two"}})
    assert mistyped.value.code == 400
