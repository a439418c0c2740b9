"""The Gateway API in a running mesh: a Gateway is applied with kubectl, its proxy comes up by itself, traffic goes, the
status says so; on both data planes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from mizzen.testing.plugin import RunningMesh
from mizzen.up.leftovers import leftovers
from mizzen.up.mesh import Mesh, Seen, until
from mizzen.up.process import UpProcess
from tests.support.api_server import KUBECTL, Kubectl

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or KUBECTL is None, reason="needs root and kubectl"),
    pytest.mark.timeout(180),
]

APPS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8000}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec:
      containers:
      - {name: web, image: host, command: [python3, -m, http.server, "8000"], workingDir: /etc/alternatives}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  gatewayClassName: istio
  infrastructure: {labels: {team: edge}}
  listeners:
  - {name: http, port: 80, protocol: HTTP, hostname: "*.shop.test"}
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{name: edge}]
  hostnames: [cart.shop.test]
  rules: [{backendRefs: [{name: BACKEND, port: 80}]}]
"""


@pytest.fixture(scope="module")
def home(data_plane: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    folder = tmp_path_factory.mktemp("gateway")
    with UpProcess(folder, data_plane=data_plane):
        yield RunningMesh(folder)
    assert leftovers(folder) == []


def conditions(found: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: f"{one['status']} {one['reason']}" for one in found.get("conditions", ())}


def test_a_gateway_of_its_own(home: RunningMesh) -> None:
    kubectl = Kubectl(home.kubeconfig)

    async def work(mesh: Mesh) -> None:
        await kubectl.apply(APPS)
        await kubectl.apply(ROUTE.replace("BACKEND", "absent"))
        await kubectl("wait", "--for=condition=Programmed", "gateway/edge", "-n", "shop", "--timeout=60s")
        gateway = await kubectl.get("gateway", "edge", "-n", "shop")
        (listener,) = gateway["status"]["listeners"]
        assert conditions(gateway["status"])["Accepted"] == "True Accepted"
        assert conditions(listener)["Programmed"] == "True Programmed"
        (address,) = gateway["status"]["addresses"]
        url = f"http://{address['value']}/"

        async def references() -> str:
            found = await kubectl.get("httproute", "cart", "-n", "shop")
            (parent,) = found["status"]["parents"]
            return conditions(parent)["ResolvedRefs"]

        assert await references() == "False BackendNotFound"
        await kubectl.apply(ROUTE.replace("BACKEND", "cart"))
        await until(references, lambda text: text == "True ResolvedRefs", 15.0)
        await mesh.ready("shop", timeout_s=60.0)

        async def call(host: str) -> Seen:
            return await mesh.call(url, 5, headers={"Host": host})

        await until(lambda: call("cart.shop.test"), lambda seen: seen.all_are(200), 30.0)
        assert (await call("other.shop.test")).all_are(404)
        gateway = await kubectl.get("gateway", "edge", "-n", "shop")
        assert gateway["status"]["listeners"][0]["attachedRoutes"] == 1
        pods = json.loads(await kubectl("get", "pods", "-n", "shop", "-l", "team=edge", "-o", "json"))["items"]
        assert [pod["spec"]["serviceAccountName"] for pod in pods] == ["edge-istio"]

        await kubectl("delete", "gateway", "edge", "-n", "shop")

        async def left() -> str:
            return await kubectl(
                "get", "deployments,services,serviceaccounts", "-n", "shop", "-o", "name", "-l", "team=edge"
            )

        await until(left, lambda text: not text.strip(), 30.0)

        async def parents() -> Any:
            return (await kubectl.get("httproute", "cart", "-n", "shop"))["status"]["parents"]

        await until(parents, lambda found: found == [], 15.0)
        classes = await kubectl.get("gatewayclass", "istio")
        assert conditions(classes["status"])["Accepted"] == "True Accepted"

    home.run(work)
