"""Decisions of filters that need no sockets: RBAC, tokens, buckets, encodings."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from envoy.config.rbac.v3 import rbac_pb2
from google.protobuf.json_format import ParseDict

from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.rbac import Rules
from mizzen.proxy.filters.compression import accepted
from mizzen.proxy.filters.local_ratelimit import Bucket
from mizzen.proxy.http.info import StreamInfo
from mizzen.proxy.jwt.provider import claim_text, drop_parameter
from mizzen.proxy.jwt.token import BadToken, Token
from mizzen.proxy.net.connection import Downstream


def info(path: str = "/", remote: str = "10.1.2.3", port: int = 8080, **headers: str) -> StreamInfo:
    out = StreamInfo(Downstream((remote, 5), ("10.9.9.9", port)), time.monotonic())
    out.request = RequestHeaders("GET", path, "svc.test", dict(headers))
    return out


def rules(action: str, **policies: Any) -> Rules:
    return Rules(ParseDict({"action": action, "policies": policies}, rbac_pb2.RBAC()))


ANY = [{"any": True}]


@pytest.mark.parametrize(
    ("permission", "path", "expected"),
    [
        ({"url_path": {"path": {"prefix": "/a"}}}, "/a?q", True),
        ({"url_path": {"path": {"exact": "/a"}}}, "/a?q", True),
        ({"url_path": {"path": {"exact": "/a?q"}}}, "/a?q", False),
        ({"not_rule": {"any": True}}, "/", False),
        ({"destination_port": 8080}, "/", True),
        ({"destination_port_range": {"start": 1, "end": 8080}}, "/", False),
        ({"or_rules": {"rules": [{"destination_port": 1}, {"any": True}]}}, "/", True),
        ({"and_rules": {"rules": [{"destination_port": 1}, {"any": True}]}}, "/", False),
    ],
)
def test_permissions(permission: Any, path: str, expected: bool) -> None:
    assert rules("ALLOW", p={"permissions": [permission], "principals": ANY}).decide(info(path))[0] is expected


def test_first_policy_by_name_decides() -> None:
    both = rules("DENY", b={"permissions": ANY, "principals": ANY}, a={"permissions": ANY, "principals": ANY})
    assert both.decide(info()) == (False, "a")


def test_a_policy_without_principals_never_matches_a_plaintext_peer() -> None:
    named = {"permissions": ANY, "principals": [{"authenticated": {"principal_name": {"exact": "x"}}}]}
    assert rules("ALLOW", p=named).decide(info()) == (False, "")


def test_remote_address_is_the_trusted_one() -> None:
    network = {"permissions": ANY, "principals": [{"remote_ip": {"address_prefix": "192.0.2.0", "prefix_len": 24}}]}
    request = info()
    assert rules("ALLOW", p=network).decide(request) == (False, "")
    request.remote = ("192.0.2.7", 0)
    assert rules("ALLOW", p=network).decide(request) == (True, "p")


def test_log_only_marks() -> None:
    request = info()
    assert rules("LOG", p={"permissions": ANY, "principals": ANY}).decide(request)[0]
    assert request.metadata == {"envoy.common": {"access_log_hint": True}}


def test_conditions_are_refused_by_name() -> None:
    with pytest.raises((Unsupported, ConfigError), match="p"):
        rules("ALLOW", p={"permissions": ANY, "principals": ANY, "condition": {"id": "1"}})


def token(header: Any, payload: Any, signature: str = "c2ln") -> str:
    parts = (urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, payload))
    return ".".join([*parts, signature])


RS = {"alg": "RS256"}


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("x", "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"),
        (token(RS, {}, ""), "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"),
        (token({}, {}), "Jwt header [alg] field is required and must be a string"),
        (token({"alg": "none"}, {}), "Jwt header [alg] is not supported"),
        (token({**RS, "kid": 1}, {}), "Jwt header [kid] field is not a string"),
        (token(RS, {"iss": 1}), "Jwt payload [iss] field is not a string"),
        (token(RS, {"exp": "soon"}), "Jwt payload [exp] field is not an integer"),
        (token(RS, {"exp": -1}), "Jwt payload [exp] field is not a positive 64 bit integer"),
        (token(RS, {"aud": [1]}), "Jwt payload [aud] field is not a string or string list"),
        (token(RS, {}, "!"), "Jwt signature is an invalid Base64url encoded"),
    ],
)
def test_malformed_tokens(text: str, status: str) -> None:
    with pytest.raises(BadToken) as caught:
        Token(text)
    assert str(caught.value) == status


def test_times_allow_for_skew() -> None:
    good = Token(token(RS, {"exp": 100, "nbf": 50}))
    assert [good.time_status(now, 10) for now in (39, 40, 110, 111)] == ["Jwt not yet valid", "", "", "Jwt is expired"]


@pytest.mark.parametrize(
    ("claim", "text"),
    [("s", "x"), ("n", "7"), ("t", "true"), ("o.name", "y"), ("l", "WyJhIl0="), ("absent", None), ("f", "1.5")],
)
def test_claims_as_headers(claim: str, text: str | None) -> None:
    payload = {"s": "x", "n": 7, "t": True, "o": {"name": "y"}, "l": ["a"], "f": 1.5}
    assert claim_text(payload, claim.split(".")) == text


def test_a_parameter_is_cut_out_of_the_path() -> None:
    headers = RequestHeaders("GET", "/p?a=1&t=x&b=2", "h")
    drop_parameter(headers, "t")
    assert headers.path == "/p?a=1&b=2"


def test_a_bucket_is_empty_after_its_tokens() -> None:
    bucket = Bucket(2, 1, 3600.0)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    assert bucket.remaining() == 0
    assert 3590 < bucket.reset_s() <= 3600


def test_accept_encoding() -> None:
    assert accepted("gzip;q=0.5, br , *;q=0,deflate;q=x") == [("gzip", 0.5), ("br", 1.0), ("*", 0.0)]
