"""Retries, mirrors, redirects and operations of single routes."""

from __future__ import annotations

import pytest
from envoy.config.route.v3 import route_components_pb2 as routes

from mizzen.api.istio.virtual_service import HTTPRedirect, HTTPRetry, HTTPRoute, Percent
from mizzen.api.types import Duration
from mizzen.istiod.translate.messages import pb_duration
from mizzen.istiod.translate.route_actions import set_redirect
from mizzen.istiod.translate.route_match import routing_claims
from mizzen.istiod.translate.route_policies import mirror_share, retry_policy, split_retry_on


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5xx", ("5xx", [])),
        ("5xx,503", ("5xx,retriable-status-codes", [503])),
        ("503", (",retriable-status-codes", [503])),
        ("retriable-status-codes, 429", ("retriable-status-codes", [429])),
        ("999", ("999", [])),
    ],
)
def test_retry_on(text: str, expected: tuple[str, list[int]]) -> None:
    assert split_retry_on(text) == expected


def test_retries() -> None:
    default = retry_policy(None)
    assert default is not None and default.num_retries.value == 2 and len(default.retry_host_predicate) == 1
    hashed = retry_policy(None, hashed=True)
    assert hashed is not None and not hashed.retry_host_predicate
    assert retry_policy(HTTPRetry(attempts=0)) is None
    here = retry_policy(HTTPRetry(attempts=1, retry_ignore_previous_hosts=False))
    assert here is not None and not here.retry_host_predicate
    backoff = retry_policy(HTTPRetry(attempts=1, backoff=Duration.of(0.25)))
    assert backoff is not None and backoff.retry_back_off.base_interval.nanos == 250_000_000


@pytest.mark.parametrize(
    ("route", "numerator"),
    [
        (HTTPRoute(), 100),
        (HTTPRoute(mirror_percent=7), 7),
        (HTTPRoute(mirror_percentage=Percent(value=0.5)), 5000),
        (HTTPRoute(mirror_percentage=Percent(value=0.0)), None),
        (HTTPRoute(mirror_percent=0), None),
    ],
)
def test_mirrored_share(route: HTTPRoute, numerator: int | None) -> None:
    share = mirror_share(route)
    assert (share.numerator if share is not None else None) == numerator


@pytest.mark.parametrize(
    ("redirect", "is_tls", "port"),
    [
        (HTTPRedirect(uri="/a"), False, 0),
        (HTTPRedirect(scheme="https", port=443), False, 0),
        (HTTPRedirect(scheme="http", port=443), False, 443),
        (HTTPRedirect(derive_port="FROM_REQUEST_PORT"), False, 8080),
        (HTTPRedirect(port=443), True, 0),
        (HTTPRedirect(scheme="https", derive_port="FROM_PROTOCOL_DEFAULT"), False, 0),
    ],
)
def test_redirect_ports(redirect: HTTPRedirect, is_tls: bool, port: int) -> None:
    route = routes.Route()
    set_redirect(route, redirect, 8080, is_tls, gateway_semantics=False)
    assert route.redirect.port_redirect == port


def test_a_redirect_code_that_envoy_lacks_leaves_no_action() -> None:
    route = routes.Route()
    set_redirect(route, HTTPRedirect(uri="/a", redirect_code=305), 80, False, gateway_semantics=False)
    assert route.WhichOneof("action") is None


@pytest.mark.parametrize(
    ("name", "claims"),
    [
        ("x-header", ()),
        ("@request.auth.claims.group", ("group",)),
        ("@request.auth.claims[a][b.c]", ("a", "b.c")),
        ("@Request.Auth.Claims.x.y", ("x", "y")),
        ("@request.auth.claims", ()),
    ],
)
def test_claims(name: str, claims: tuple[str, ...]) -> None:
    assert routing_claims(name) == claims


@pytest.mark.parametrize("seconds", [0.0, 1.5, -1.5, 3600.0])
def test_durations(seconds: float) -> None:
    message = pb_duration(Duration.of(seconds))
    assert message.seconds + message.nanos / 1e9 == seconds
