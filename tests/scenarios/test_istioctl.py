"""What istioctl's commands say about a running mesh, on both data planes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mizzen.testing.plugin import RunningMesh
from mizzen.up.leftovers import leftovers
from mizzen.up.mesh import Mesh
from mizzen.up.process import UpProcess
from tests.support.api_server import KUBECTL, Kubectl

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or KUBECTL is None, reason="needs root and kubectl"),
    pytest.mark.timeout(180),
]

SHOP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: web}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart, version: v1}}
    spec:
      containers:
      - name: web
        image: host
        command: [python3, -m, http.server, "8000"]
        workingDir: /etc/alternatives
        ports: [{name: web, containerPort: 8000}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart-rule, namespace: shop}
spec:
  host: cart
  trafficPolicy: {loadBalancer: {simple: RANDOM}, connectionPool: {tcp: {maxConnections: 9}}}
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart-routes, namespace: shop}
spec:
  hosts: [cart]
  http:
  - match: [{uri: {prefix: /old}}]
    route: [{destination: {host: cart, subset: v2}}]
  - route: [{destination: {host: cart, subset: v1}, weight: 80}, {destination: {host: cart, subset: v2}, weight: 20}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: get-only, namespace: shop}
spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: shop}
spec: {mtls: {mode: STRICT}}
"""


@pytest.fixture(scope="module")
def home(data_plane: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    folder = tmp_path_factory.mktemp("istioctl")
    with UpProcess(folder, data_plane=data_plane):
        running = RunningMesh(folder)

        async def apply(mesh: Mesh) -> None:
            kubectl = Kubectl(running.kubeconfig)
            await kubectl.apply(SHOP)
            await mesh.ready("shop", timeout_s=60.0)
            for kind in ("destinationrule/cart-rule", "virtualservice/cart-routes", "authorizationpolicy/get-only"):
                await kubectl("wait", "--for=condition=Reconciled", kind, "-n", "shop", "--timeout=30s")

        running.run(apply)
        yield running
    assert leftovers(folder) == []


def mizzen(home: RunningMesh, *arguments: str) -> str:
    command = [sys.executable, "-m", "mizzen", *arguments, "-c", str(home.kubeconfig)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_describe_pod(home: RunningMesh) -> None:
    text = mizzen(home, "x", "describe", "pod", "deploy/cart", "-n", "shop")
    lines = text.splitlines()
    assert lines[0].startswith("Pod: cart-")
    for line in (
        "   Pod Revision: default",
        "Service: cart",
        "   Port: http 80/HTTP targets pod port 8000",
        'DestinationRule: cart-rule for "cart"',
        "   Matching subsets: v1",
        "      (Non-matching subsets v2)",
        "   Policies: load balancer/connection pool",
        "VirtualService: cart-routes",
        '   Route to host "cart" subset "v1" with weight 80%',
        "   2 additional destination(s) that will not reach this pod",
        "RBAC policies: ns[shop]-policy[get-only]-rule[0]",
        "   Workload mTLS mode: STRICT",
        "   strict.shop",
    ):
        assert line in lines, text


def test_describe_service(home: RunningMesh) -> None:
    text = mizzen(home, "describe", "service", "cart.shop")
    assert text.startswith("Service: cart.shop\n")
    assert 'DestinationRule: cart-rule.shop for "cart"' in text


def test_authz_check(home: RunningMesh) -> None:
    lines = mizzen(home, "x", "authz", "check", "deploy/cart", "-n", "shop").splitlines()
    rows = [line.split() for line in lines]
    assert rows[0] == ["ACTION", "AuthorizationPolicy", "RULES"]
    assert ["ALLOW", "get-only.shop", "1"] in rows
    assert ["ALLOW", "_anonymous_match_nothing_", "1"] in rows, "TCP, which has no methods"


def test_who_injects(home: RunningMesh) -> None:
    text = mizzen(home, "x", "check-inject", "deploy/cart", "-n", "shop")
    assert "Namespace label istio-injection=enabled matches" in text
    refused = mizzen(home, "x", "check-inject", "-l", "sidecar.istio.io/inject=false", "-n", "shop")
    assert "Pod has sidecar.istio.io/inject=false label, preventing injection" in refused
    listed = mizzen(home, "x", "injector", "list")
    assert "istio-sidecar-injector" in listed and "shop" in listed


def test_what_a_proxy_was_sent_and_has(home: RunningMesh) -> None:
    assert "cart-" in mizzen(home, "proxy-status", "-n", "shop")
    both = mizzen(home, "proxy-status", "deploy/cart", "-n", "shop")
    assert "Clusters Match" in both and "Listeners Match" in both, both
    assert '"proxy": "cart-' in mizzen(home, "x", "internal-debug", "syncz")


def test_explain_says_what_happens(home: RunningMesh) -> None:
    """The answer for the running mesh, beside what a request of that pod gets."""

    async def name(mesh: Mesh) -> str:
        return str((await mesh.pod("shop", app="cart"))["metadata"]["name"])

    async def statuses(mesh: Mesh) -> set[int]:
        pod = await mesh.pod("shop", app="cart")
        url = "http://cart.shop/"
        script = (
            "import urllib.request, urllib.error\n"
            f"def ask(method):\n    request = urllib.request.Request('{url}', method=method)\n"
            "    try:\n        return urllib.request.urlopen(request).status\n"
            "    except urllib.error.HTTPError as error:\n        return error.code\n"
            "print(ask('GET'), *(ask('DELETE') for _ in range(20)))"  # a fifth goes to v2, of which there is no pod
        )
        result = await mesh.exec(pod, "python3", "-c", script, container="web")
        return set(map(int, result.stdout.split()))

    pod = home.run(name)
    allowed = mizzen(home, "explain", pod, "http://cart.shop/", "-n", "shop")
    assert "route" in allowed and "(VirtualService shop/cart-routes)" in allowed
    assert "policy    allowed by ns[shop]-policy[get-only]-rule[0]" in allowed
    assert "mutual TLS, PeerAuthentication says STRICT" in allowed
    refused = mizzen(home, "explain", pod, "http://cart.shop/", "-n", "shop", "-X", "DELETE")
    assert "DENIED (403)" in refused
    assert 403 in home.run(statuses)


def test_proxy_config(home: RunningMesh) -> None:
    every = mizzen(home, "proxy-config", "all", "deploy/cart", "-n", "shop", "--with-headers")
    for heading in ("BOOTSTRAP", "CLUSTER", "LISTENER", "ROUTE", "SECRET", "ENDPOINTS"):
        assert f"------ {heading} INFO ------" in every
    one = mizzen(home, "proxy-config", "clusters", "deploy/cart", "-n", "shop", "--fqdn", "cart.shop", "--subset", "v1")
    assert len(one.splitlines()) == 2 and "cart-rule.shop" in one
    assert mizzen(home, "proxy-config", "ecds", "deploy/cart", "-n", "shop").split() == ["ECDS", "NAME", "TYPE"]
