"""Where a request goes and why: lines for calls in a small mesh, found by the proxy's own code."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from mizzen.cli.main import BY_NAME, load

MESH = Path(__file__).parent / "data" / "explain.yaml"
COMMAND = load(BY_NAME["explain"])


def explain(*arguments: str, code: int = 0, more: Path | None = None) -> str:
    files = ["-f", str(MESH), *(("-f", str(more)) if more is not None else ())]
    done = CliRunner().invoke(COMMAND, [*files, "-n", "shop", *arguments])
    assert done.exit_code == code, done.output
    return done.output


RULE = "(DestinationRule shop/cart-rule)"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("web-1", "http://cart/x"),
            (
                "  name      cart.shop.svc.cluster.local is 10.96.0.7, Service shop/cart",
                "  route     80, virtual host cart.shop.svc.cluster.local:80",
                "            route rest (VirtualService shop/cart-routes)",
                "            with a fault injected",
                f"  cluster   90% outbound|80|v1|cart.shop.svc.cluster.local {RULE}",
                "            10.1.0.1:8080 (cart-1), mutual TLS",
                f"  cluster   10% outbound|80|v2|cart.shop.svc.cluster.local {RULE}",
                "at cart-1.shop (10.1.0.1:8080)",
                "  listener  virtualInbound, chain 0.0.0.0_8080; mutual TLS, PeerAuthentication says STRICT",
                "  identity  spiffe://cluster.local/ns/shop/sa/web",
                "  policy    allowed by ns[shop]-policy[web-only]-rule[0]",
            ),
        ),
        (
            ("web-1", "http://cart.shop/admin?a=b", "-H", "x-role: ops"),
            (
                "            route admin (VirtualService shop/cart-routes)",
                "            timeout 2 s",
                f"  cluster   outbound|80|v2|cart.shop.svc.cluster.local {RULE}",
                "at cart-2.shop (10.1.0.2:8080)",
            ),
        ),
        (("web-1", "http://cart/admin"), ("            route rest (VirtualService shop/cart-routes)",)),
        (("web-1", "http://cart/gone"), ("            answers 410 itself",)),
        (("web-1", "cart/x", "-X", "post"), ("  policy    DENIED (403), no rule applies",)),
        (("cart-2.shop", "http://cart/x"), ("  policy    DENIED (403), no rule applies",)),
        (
            ("web-1", "https://example.com/"),
            ("  name      example.com is no service that is seen from there", "  cluster   PassthroughCluster"),
        ),
        (("web-1", "http://cart:9999/"), ("  listener  virtualOutbound, chain virtualOutbound-catchall-tcp",)),
    ],
)
def test_calls(arguments: tuple[str, ...], expected: tuple[str, ...]) -> None:
    lines = explain(*arguments).splitlines()
    for line in expected:
        assert line in lines


def test_plaintext_to_a_server_that_wants_mutual_tls(tmp_path: Path) -> None:
    more = tmp_path / "rule.yaml"
    more.write_text(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a-plain, namespace: istio-system}\n"
        "spec: {host: plain.shop.svc.cluster.local, trafficPolicy: {tls: {mode: DISABLE}}}\n---\n"
        "apiVersion: v1\nkind: Service\nmetadata: {name: plain, namespace: shop}\n"
        "spec: {selector: {app: cart}, clusterIP: 10.96.0.8, ports: [{name: http, port: 80, targetPort: 8080}]}\n---\n"
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
        "metadata: {name: plain-x, namespace: shop, labels: {kubernetes.io/service-name: plain}}\naddressType: IPv4\n"
        "endpoints:\n- {addresses: [10.1.0.1], conditions: {ready: true}, targetRef: {kind: Pod, name: cart-1, namespace: shop}}\n"
        "ports: [{name: http, port: 8080}]\n"
    )
    text = explain("web-1", "http://plain/", more=more)
    assert "no filter chain for plaintext, PeerAuthentication says STRICT: the connection is closed" in text
    assert "mutual TLS\n" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody", "http://cart/"), "no pod 'nobody' in namespace shop"),
        (("web-1", "ftp://cart/"), "give http://HOST"),
        (("web-1", "http://cart:x/"), "http://cart:x/"),
        (("web-1", "http://cart/", "-H", "nonsense"), "is no header"),
    ],
)
def test_what_cannot_be_asked(arguments: tuple[str, ...], said: str) -> None:
    assert said in explain(*arguments, code=1)
