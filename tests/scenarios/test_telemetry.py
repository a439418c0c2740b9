"""What a mesh tells of its traffic: a trace through two sidecars at a collector, on both data planes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from mizzen.testing.plugin import RunningMesh
from mizzen.up.leftovers import leftovers
from mizzen.up.mesh import Mesh, until
from mizzen.up.process import UpProcess
from tests.support.api_server import KUBECTL, Kubectl

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or KUBECTL is None, reason="needs root and kubectl"),
    pytest.mark.timeout(180),
]

COLLECTOR = """
import http.server, json
got = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        got.extend(json.loads(self.body()))
        self.answer(202, b"")
    def do_GET(self):
        self.answer(200, json.dumps(got).encode())
    def body(self):
        if "content-length" in self.headers:
            return self.rfile.read(int(self.headers["content-length"]))
        out = b""
        while size := int(self.rfile.readline(), 16):
            out += self.rfile.read(size); self.rfile.readline()
        self.rfile.readline()
        return out
    def answer(self, status, data):
        self.send_response(status); self.send_header("content-length", str(len(data))); self.end_headers()
        self.wfile.write(data)
http.server.ThreadingHTTPServer(("", 9411), Handler).serve_forever()
"""
MESH = """
apiVersion: v1
kind: Namespace
metadata: {name: tools}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: tracer, namespace: tools}
spec: {selector: {app: tracer}, ports: [{name: http, port: 9411}]}
---
apiVersion: v1
kind: Pod
metadata: {name: tracer, namespace: tools, labels: {app: tracer}}
spec: {containers: [{name: tracer, image: host, command: [python3, -u, -c, SCRIPT], ports: [{containerPort: 9411}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8000}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: cart, version: v1}}
spec:
  containers: [{name: web, image: host, command: [python3, -m, http.server, "8000"], workingDir: /etc/alternatives}]
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {containers: [{name: client, image: host, command: [sleep, infinity]}]}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: traced, namespace: shop}
spec:
  tracing:
  - providers: [{name: collector}]
    randomSamplingPercentage: 100
    customTags: {shelf: {literal: {value: top}}}
"""
PROVIDERS = "extensionProviders: [{name: collector, zipkin: {service: tracer.tools.svc.cluster.local, port: 9411}}]"


@pytest.fixture(scope="module")
def home(data_plane: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    folder = tmp_path_factory.mktemp("telemetry")
    with UpProcess(folder, data_plane=data_plane):
        running = RunningMesh(folder)

        async def apply(mesh: Mesh) -> None:
            kubectl = Kubectl(running.kubeconfig)
            settings = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "istio", "namespace": "istio-system"},
                "data": {"mesh": PROVIDERS},
            }
            await kubectl.apply(json.dumps(settings))
            await kubectl.apply(MESH.replace("SCRIPT", json.dumps(COLLECTOR)))
            await mesh.ready("tools", "shop", timeout_s=60.0)

        running.run(apply)
        yield running
    assert leftovers(folder) == []


def test_a_trace_of_two_sidecars(home: RunningMesh) -> None:
    async def work(mesh: Mesh) -> list[dict[str, Any]]:
        client, tracer = await mesh.pod("shop", app="client"), await mesh.pod("tools", app="tracer")
        url = "http://cart.shop/README?x=1"
        await until(lambda: mesh.call_from(client, url, 5), lambda seen: seen.total > 0 and not seen.errors, 20.0)
        read = (
            "python3",
            "-c",
            "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9411').read().decode())",
        )

        async def spans() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = json.loads((await mesh.exec(tracer, *read)).stdout)
            return found

        return await until(spans, lambda found: any(pair(span, found) for span in found), 30.0)

    def pair(server: dict[str, Any], found: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The client's span that a server's goes on with."""
        parents = [span for span in found if span["id"] == server.get("parentId") and span["kind"] == "CLIENT"]
        return parents[0] if server["kind"] == "SERVER" and parents else None

    found = home.run(work)
    server = next(span for span in found if pair(span, found))
    client = pair(server, found)
    assert client is not None
    assert server["traceId"] == client["traceId"]
    assert client["name"] == server["name"] == "cart.shop.svc.cluster.local:80/*"
    assert client["localEndpoint"]["serviceName"] == "client.shop"
    assert server["localEndpoint"]["serviceName"] == "cart.shop"
    for span in (client, server):
        tags = span["tags"]
        assert tags["shelf"] == "top" and tags["istio.namespace"] == "shop"
        assert tags["http.url"] == "http://cart.shop/README?x=1" and tags["http.method"] == "GET"
    assert client["tags"]["upstream_cluster"].startswith("outbound|80||cart.shop.svc.cluster.local")
    assert server["tags"]["upstream_cluster"].startswith("inbound|8000|")
    assert client["tags"]["guid:x-request-id"] == server["tags"]["guid:x-request-id"]
