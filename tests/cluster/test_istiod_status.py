"""What istiod writes into objects: how many proxies have them, who refused them, what is wrong with them; by one leader."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from mizzen.istiod.server.istiod import Istiod
from mizzen.istiod.xds.types import CDS
from tests.support.ads_client import AdsClient
from tests.support.api_server import KUBECTL, Kubectl, api_server, istiod_on

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="needs kubectl")

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
"""
RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: default}
spec: {host: web, trafficPolicy: {connectionPool: {tcp: {maxConnections: %d}}}}
"""
MISSING = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: lost, namespace: default}
spec: {hosts: [lost.example], http: [{route: [{destination: {host: nowhere}}]}]}
"""
FILTER = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: odd, namespace: default}
spec:
  configPatches:
  - {applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND}, patch: {operation: MERGE, value: {alt_stat_name: odd}}}
"""


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with api_server(tmp_path_factory.mktemp("apiserver")) as path:
        yield path


@pytest.fixture
async def kubectl(kubeconfig: Path) -> AsyncIterator[Kubectl]:
    run = Kubectl(kubeconfig)
    await run.apply_crds()
    await run.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system}\n")
    await run.apply(SERVICE)
    yield run
    await run("delete", "virtualservices,destinationrules,envoyfilters", "--all", "-n", "default")


class Proxy:
    """A proxy that takes clusters, or refuses them while `refusing`."""

    def __init__(self, channel: Any, number: int) -> None:
        node = f"sidecar~10.0.0.{number}~web-{number}.default~default.svc.cluster.local"
        self.client = AdsClient(channel, node, {"NAMESPACE": "default", "PROXY_CONFIG": {}}, delta=True)
        self.refusing = ""
        self.asked = asyncio.Event()

    async def run(self) -> None:
        await self.client.ask(CDS)
        while True:
            response = await self.client.next(60)
            if self.refusing:
                await self.client.nack(response, self.refusing)
            else:
                await self.client.ack(response)
            self.asked.set()


async def condition(kubectl: Kubectl, kind: str, name: str, type_: str) -> dict[str, Any]:
    found = await kubectl.get(kind, name)
    conditions = found.get("status", {}).get("conditions", ())
    return next((one for one in conditions if one["type"] == type_), {})


async def eventually(condition: Any, expected: str, limit_s: float = 15.0) -> None:
    last = None
    async with asyncio.timeout(limit_s):
        while (last := await condition()) != expected:
            await asyncio.sleep(0.1)
    assert last == expected


def address(istiod: Istiod) -> str:
    return f"127.0.0.1:{istiod.ports['grpc']}"


async def test_how_far_a_change_has_come(kubectl: Kubectl, kubeconfig: Path) -> None:
    async with istiod_on(kubeconfig) as istiod, grpc.aio.insecure_channel(address(istiod)) as channel:
        proxies = [Proxy(channel, 1), Proxy(channel, 2)]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(proxy.run()) for proxy in proxies]
            for proxy in proxies:
                await asyncio.wait_for(proxy.asked.wait(), 5)
            await kubectl.apply(RULE % 1)
            await kubectl("wait", "--for=condition=Reconciled", "destinationrule/web", "--timeout=15s")
            found = await kubectl.get("destinationrule", "web")
            (reconciled,) = found["status"]["conditions"]
            assert reconciled["message"] == "2/2 proxies up to date."
            assert int(found["status"]["observedGeneration"]) == found["metadata"]["generation"] == 1

            publications = len(istiod.hub.history)
            await kubectl.apply(FILTER)
            await kubectl("wait", "--for=condition=Reconciled", "envoyfilter/odd", "--timeout=15s")
            assert len(istiod.hub.history) == publications + 1, "writing a status is no change"

            proxies[0].refusing = "Error adding/updating cluster(s) outbound|80||web.default.svc.cluster.local: odd"
            await kubectl.apply(RULE % 2)

            async def refused() -> str:
                return str((await condition(kubectl, "destinationrule", "web", "RefusedByProxies")).get("message"))

            await eventually(refused, f"Refused by web-1.default: {proxies[0].refusing}")
            reconciled = await condition(kubectl, "destinationrule", "web", "Reconciled")
            assert (reconciled["status"], reconciled["message"]) == ("False", "1/2 proxies up to date.")
            other = await condition(kubectl, "envoyfilter", "odd", "Reconciled")
            assert other["status"] == "True", "it did not change since the proxy last accepted"

            proxies[0].refusing = ""
            await kubectl.apply(RULE % 3)
            await eventually(refused, "None")
            await kubectl("wait", "--for=condition=Reconciled", "destinationrule/web", "--timeout=15s")
            for task in running:
                task.cancel()


async def test_proxies_of_another_istiod_count(kubectl: Kubectl, kubeconfig: Path) -> None:
    """Two istiods with a proxy each: the one that writes speaks of both, also of what the other's proxy refuses."""

    async def said(type_: str, field: str) -> str:
        return str((await condition(kubectl, "destinationrule", "web", type_)).get(field))

    async with (
        istiod_on(kubeconfig, identity="first") as first,
        istiod_on(kubeconfig, identity="second") as second,
        grpc.aio.insecure_channel(address(first)) as one,
        grpc.aio.insecure_channel(address(second)) as other,
        asyncio.TaskGroup() as tasks,
    ):
        proxies = [Proxy(one, 1), Proxy(other, 2)]
        running = [tasks.create_task(proxy.run()) for proxy in proxies]
        for proxy in proxies:
            await asyncio.wait_for(proxy.asked.wait(), 5)
        await kubectl.apply(RULE % 1)
        await eventually(lambda: said("Reconciled", "message"), "2/2 proxies up to date.")
        for proxy in proxies:  # of whom one is another istiod's than the writer
            proxy.refusing = "Error adding/updating cluster(s) outbound|80||web.default.svc.cluster.local: odd"
        await kubectl.apply(RULE % 2)
        names = "web-1.default, web-2.default"

        async def refusers() -> str:
            words = (await said("RefusedByProxies", "message")).removeprefix("Refused by ").partition(":")[0]
            return ", ".join(sorted(words.split(", ")))

        await eventually(refusers, names)
        assert await said("Reconciled", "message") == "0/2 proxies up to date."
        for proxy in proxies:
            proxy.refusing = ""
        await kubectl.apply(RULE % 3)
        await eventually(lambda: said("Reconciled", "message"), "2/2 proxies up to date.")
        await eventually(refusers, "None")
        for task in running:
            task.cancel()


async def test_what_analysis_says(kubectl: Kubectl, kubeconfig: Path) -> None:
    await kubectl.apply(MISSING)

    async def codes() -> str:
        found = await kubectl.get("virtualservice", "lost")
        messages = found.get("status", {}).get("validationMessages", ())
        return " ".join(f"{one['type']['code']} {one['level']}" for one in messages)

    async with istiod_on(kubeconfig, analysis=True):
        await eventually(codes, "IST0101 ERROR")
        found = await kubectl.get("virtualservice", "lost")
        url = found["status"]["validationMessages"][0]["documentationUrl"]
        assert url == "https://istio.io/latest/docs/reference/config/analysis/ist0101/?ref=status-controller"


async def test_an_object_that_is_not_taken(kubectl: Kubectl, kubeconfig: Path) -> None:
    """Without the webhook a bad change gets into the cluster: the last good state stays in force, the object says why."""
    async with istiod_on(kubeconfig) as istiod:
        await kubectl.apply(RULE % 1)
        await kubectl("wait", "--for=condition=Reconciled", "destinationrule/web", "--timeout=15s")
        bad = {"spec": {"trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": -5}}}}}
        await kubectl("patch", "destinationrule", "web", "--type=merge", "-p", json.dumps(bad))
        await kubectl("wait", "--for=condition=Accepted=False", "destinationrule/web", "--timeout=15s")
        found = await kubectl.get("destinationrule", "web")
        assert found["status"]["validationMessages"][0]["type"]["code"] == "IST0106"
        assert "maxConnections" in (await condition(kubectl, "destinationrule", "web", "Accepted"))["message"]
        snapshot = istiod.hub.snapshot
        assert snapshot is not None
        policy = snapshot.get("DestinationRule", ("default", "web")).spec.traffic_policy
        assert policy.connection_pool.tcp.max_connections == 1
        await kubectl.apply(RULE % 2)

        async def accepted() -> str:
            return str(await condition(kubectl, "destinationrule", "web", "Accepted"))

        await eventually(accepted, "{}")
        found = await kubectl.get("destinationrule", "web")
        assert "validationMessages" not in found["status"]


async def test_another_takes_over(kubectl: Kubectl, kubeconfig: Path) -> None:
    """Two istiods: one leads each duty; when it is gone without a word the other goes on where it was."""

    async def holder(name: str) -> str:
        found = await kubectl.get("leases", "-n", "istio-system")
        holders = {one["metadata"]["name"]: str(one["spec"]["holderIdentity"]) for one in found["items"]}
        return holders.get(name, "").partition("_")[0]

    async with istiod_on(kubeconfig, identity="first") as first:
        await eventually(lambda: holder("istio-status-leader"), "first")
        async with istiod_on(kubeconfig, identity="second"):
            await kubectl.apply(RULE % 7)
            await kubectl("wait", "--for=condition=Reconciled", "destinationrule/web", "--timeout=15s")
            assert await holder("istio-status-leader") == "first"
            assert first.client is not None

            async def unreachable(*_: object, **__: object) -> bytes:
                raise OSError("cut off")

            first.client.raw = unreachable  # type: ignore[method-assign]
            await eventually(lambda: holder("istio-status-leader"), "second")
            await eventually(lambda: holder("istio-namespace-controller-election"), "second")
            await kubectl.apply(RULE % 8)
            await kubectl("create", "namespace", "late")

            async def generation() -> str:
                found = await kubectl.get("destinationrule", "web")
                return str(found["status"].get("observedGeneration"))

            await eventually(generation, "2")

            async def roots() -> str:
                return await kubectl(
                    "get",
                    "configmaps",
                    "-n",
                    "late",
                    "-o",
                    "name",
                    "--field-selector",
                    "metadata.name=istio-ca-root-cert",
                )

            await eventually(roots, "configmap/istio-ca-root-cert\n")


INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: front, namespace: default, annotations: {kubernetes.io/ingress.class: istio}}
spec: {rules: [{host: a.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
---
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec: {type: LoadBalancer, selector: {istio: ingressgateway}, ports: [{port: 80}]}
"""


async def test_where_an_ingress_is_reached(kubectl: Kubectl, kubeconfig: Path) -> None:
    await kubectl.apply(INGRESS)
    async with istiod_on(kubeconfig):
        status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}, {"hostname": "lb.test"}]}}}
        service = ("service", "istio-ingressgateway", "-n", "istio-system")
        await kubectl("patch", *service, "--subresource=status", "--type=merge", "-p", json.dumps(status))

        async def found() -> str:
            return await kubectl("get", "ingress", "front", "-o", "jsonpath={.status.loadBalancer.ingress}")

        await eventually(found, '[{"ip":"192.0.2.7"},{"hostname":"lb.test"}]')
    await kubectl("delete", "ingress", "front")
    await kubectl("delete", *service)
