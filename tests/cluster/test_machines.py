"""Machines that register themselves, their health, and addresses for names without any: on our API server. No root needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from mizzen.istiod.server.istiod import Istiod
from mizzen.istiod.xds.types import CDS, HEALTH
from tests.support.ads_client import AdsClient
from tests.support.api_server import KUBECTL, Kubectl, api_server, istiod_on

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="needs kubectl")

GROUP = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: vms, namespace: default}
spec:
  metadata: {labels: {app: legacy}}
  template: {serviceAccount: legacy, labels: {tier: old}, ports: {http: 8080}}
  probe: {httpGet: {port: 8080}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: legacy, namespace: default}
spec:
  hosts: [legacy.test]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  workloadSelector: {labels: {app: legacy}}
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
    await run.apply(GROUP)
    yield run
    await run("delete", "workloadentries,workloadgroups,serviceentries", "--all", "-n", "default")


async def eventually(ask: Callable[[], Any], expected: Any, limit_s: float = 15.0) -> None:
    last = None
    try:
        async with asyncio.timeout(limit_s):
            while (last := await ask()) != expected:
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"still {last!r}, not {expected!r}") from None


class Machine:
    """A machine's agent: it asks for clusters and takes them, until it leaves."""

    def __init__(self, istiod: Istiod, **metadata: Any) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{istiod.ports['grpc']}")
        node = "sidecar~10.9.0.1~vm-1.default~default.svc.cluster.local"
        given = {"NAMESPACE": "default", "AUTO_REGISTER_GROUP": "vms", "LABELS": {"zone": "a"}, **metadata}
        self.client = AdsClient(self._channel, node, given, delta=True)

    async def arrive(self) -> None:
        await self.client.ask(CDS)
        await self.client.ack(await self.client.next())

    async def health(self, error: str = "") -> None:
        request = self.client.request_type(type_url=HEALTH)
        if error:
            request.error_detail.code, request.error_detail.message = 13, error
        await self.client.call.write(request)

    async def leave(self) -> None:
        self.client.call.cancel()
        await self._channel.close()


async def entries(kubectl: Kubectl) -> list[str]:
    return (await kubectl("get", "workloadentries", "-n", "default", "-o", "name")).split()


def served(istiod: Istiod) -> list[str]:
    """Addresses behind the ServiceEntry."""
    snapshot = istiod.hub.snapshot
    assert snapshot is not None
    found = snapshot.registry.by_host.get("legacy.test", ())
    return [endpoint.address for svc in found for endpoint in snapshot.endpoints(svc)]


async def test_a_machine_comes_is_well_and_leaves(
    kubectl: Kubectl, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with istiod_on(kubeconfig) as istiod:
        assert istiod._machines is not None
        monkeypatch.setattr(istiod._machines, "_grace_s", 0.5)
        machine = Machine(istiod)
        await machine.arrive()
        name = "workloadentry.networking.istio.io/vms-10.9.0.1"
        assert await entries(kubectl) == [name]
        found = await kubectl.get("workloadentry", "vms-10.9.0.1")
        assert found["spec"]["address"] == "10.9.0.1"
        assert found["spec"]["labels"] == {"tier": "old", "app": "legacy", "zone": "a"}
        annotations = found["metadata"]["annotations"]
        assert annotations["istio.io/autoRegistrationGroup"] == "vms"
        assert annotations["proxy.istio.io/health-checks-enabled"] == "true"
        assert "istio.io/connectedAt" in annotations

        async def endpoints() -> list[str]:
            return served(istiod)

        assert served(istiod) == [], "not known to be well"
        await machine.health()
        await eventually(endpoints, ["10.9.0.1"])
        await machine.health("connection refused")
        await eventually(endpoints, [])
        found = await kubectl.get("workloadentry", "vms-10.9.0.1")
        healthy = next(one for one in found["status"]["conditions"] if one["type"] == "Healthy")
        assert (healthy["status"], healthy["message"]) == ("False", "connection refused")
        await machine.health()
        await eventually(endpoints, ["10.9.0.1"])

        await machine.leave()
        back = Machine(istiod)
        await back.arrive()
        found = await kubectl.get("workloadentry", "vms-10.9.0.1")
        assert "istio.io/connectedAt" in found["metadata"]["annotations"]
        await back.leave()
        await eventually(lambda: entries(kubectl), [])


async def test_a_machine_moves_to_another_istiod(kubectl: Kubectl, kubeconfig: Path) -> None:
    async with istiod_on(kubeconfig, identity="second") as second:
        async with istiod_on(kubeconfig, identity="first") as first:
            machine = Machine(first)
            await machine.arrive()
        moved = Machine(second)
        await moved.arrive()

        async def controller() -> str:
            found = await kubectl.get("workloadentry", "vms-10.9.0.1")
            annotations = found["metadata"]["annotations"]
            return f"{annotations['istio.io/workloadController']} {'istio.io/disconnectedAt' in annotations}"

        await eventually(controller, "second False")
        await machine.leave()
        await moved.leave()


async def test_who_may_not_register(kubectl: Kubectl, kubeconfig: Path) -> None:
    async with istiod_on(kubeconfig) as istiod:
        for metadata, said in (
            ({"AUTO_REGISTER_GROUP": "none"}, "cannot find WorkloadGroup default/none"),
            ({"AUTO_REGISTER_GROUP": "", "WORKLOAD_ENTRY": "none"}, "WorkloadEntry default/none not found"),
        ):
            machine = Machine(istiod, **metadata)
            with pytest.raises((AssertionError, grpc.aio.AioRpcError)) as refused:
                await machine.arrive()
            assert said in f"{refused.value} {await machine.client.call.details()}"
            await machine.leave()


async def test_names_get_addresses_that_stay(kubectl: Kubectl, kubeconfig: Path) -> None:
    async def addresses(name: str) -> list[str]:
        found = await kubectl.get("serviceentry", name)
        return [one["value"] for one in found.get("status", {}).get("addresses", ())]

    async with istiod_on(kubeconfig) as istiod:
        await eventually(lambda: addresses("legacy"), ["240.240.0.1", "2001:2::1"])
        await kubectl("wait", "--for=condition=Reconciled", "serviceentry/legacy", "--timeout=15s")
        assert await addresses("legacy") == ["240.240.0.1", "2001:2::1"], "both writers' words are there"
        snapshot = istiod.hub.snapshot
        assert snapshot is not None
        (svc,) = snapshot.registry.by_host["legacy.test"]
        assert svc.auto_addresses == ("240.240.0.1", "2001:2::1")
    async with istiod_on(kubeconfig):
        await kubectl.apply(
            GROUP.split("---")[1].replace("name: legacy,", "name: another,").replace("legacy.test", "b.test")
        )
        await eventually(lambda: addresses("another"), ["240.240.0.2", "2001:2::2"])
        assert await addresses("legacy") == ["240.240.0.1", "2001:2::1"]
