"""A JwtProvider compiled: where its tokens are found, which it trusts, what a good one leaves behind.

`Provider.status` is the verdict on one token; `effects` are what a good token does to the request. Keys that have to be
fetched are kept by `RemoteKeys`. Not here: requirements (filters/jwt_authn.py).
Source: envoy.extensions.filters.http.jwt_authn.v3.JwtProvider.
"""

from __future__ import annotations

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from mizzen.proxy.accesslog.format import data_source
from mizzen.proxy.codec.headers import RequestHeaders, ResponseHeaders
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.matchers import query_parameters, string_matcher
from mizzen.proxy.config.values import optional_seconds, seconds, wrapped
from mizzen.proxy.jwt import token as status
from mizzen.proxy.jwt.keys import BadKeys, Keys
from mizzen.proxy.jwt.token import Token
from mizzen.proxy.upstream.async_client import fetch

NAMESPACE = "envoy.filters.http.jwt_authn"
TOKEN_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
KEPT_TOKENS = 200  # verified ones that a provider remembers
Strip = Callable[[RequestHeaders], None]
Found = tuple[str, Strip]  # a token's text, and how to take it out of the request


class NeedKeys(Exception):
    """The verdict waits for keys that have to be fetched."""

    def __init__(self, remote: RemoteKeys) -> None:
        super().__init__("keys are needed")
        self.remote = remote


class RemoteKeys:
    """Keys of a URI, fetched when first needed and again when they are `cache_duration` old.

    With async_fetch they are fetched ahead, and the listener opens after the first attempt unless it is a fast_listener.
    """

    def __init__(self, message: Any, server: Any, stats: Any, listener: Any) -> None:
        uri = message.http_uri
        if not uri.cluster or not uri.uri:
            raise ConfigError("RemoteJwks.http_uri: uri and cluster are required")
        self.server = server
        self.stats = stats
        self.cluster_name: str = uri.cluster
        parts = urlsplit(uri.uri)
        self.host = parts.netloc
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.scheme = parts.scheme or "https"
        self.timeout = seconds(uri.timeout)
        self.duration = optional_seconds(message, "cache_duration", 600.0) or 600.0
        self.attempts = 1
        if message.HasField("retry_policy"):
            self.attempts += wrapped(message.retry_policy, "num_retries", 1)
        self.keys: Keys | None = None
        self.expires = 0.0
        self.waiting: list[Callable[[bool], None]] = []
        self.left = 0
        self.refetch: float | None = None
        if message.HasField("async_fetch"):
            self.refetch = optional_seconds(message.async_fetch, "failed_refetch_duration", 1.0) or 1.0
            self.tried = asyncio.Event()
            if not message.async_fetch.fast_listener and listener is not None:
                listener.awaited.append(self.tried)
            server.loop.call_soon(self._ahead)

    def current(self) -> Keys | None:
        return self.keys if time.monotonic() < self.expires else None

    def get(self, done: Callable[[bool], None]) -> None:
        """Fetch; `done(True)` once there are keys, `done(False)` when there are none to be had."""
        self.waiting.append(done)
        if len(self.waiting) == 1:
            self.left = self.attempts
            self._try()

    def _ahead(self) -> None:
        self.get(self._ahead_done)

    def _ahead_done(self, good: bool) -> None:
        self.tried.set()
        wait = max(self.duration - 5.0, 1.0) if good else self.refetch or 1.0
        self.server.loop.call_later(wait, self._ahead)

    def _try(self) -> None:
        self.left -= 1
        cluster = self.server.clusters.get(self.cluster_name)
        if cluster is None:
            self._over(False)
            return
        headers = RequestHeaders("GET", self.path, self.host, {}, None, self.scheme)
        fetch(cluster, headers, b"", self.timeout, self._answered)

    def _answered(self, response: ResponseHeaders | None, body: bytes, failure: str) -> None:
        if response is not None and response.status == 200:
            try:
                self.keys = Keys(body)
                self.expires = time.monotonic() + self.duration
                self._over(True)
                return
            except BadKeys:
                pass
        elif self.left > 0:
            self._try()
            return
        self._over(False)

    def _over(self, good: bool) -> None:
        if good:
            self.stats.jwks_fetch_success += 1
        else:
            self.stats.jwks_fetch_failed += 1
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done(good)


def audience_key(text: str) -> str:
    """Audiences are compared without scheme and final slash."""
    for scheme in ("https://", "http://"):
        if text.startswith(scheme):
            text = text[len(scheme) :]
    return text.removesuffix("/")


class Provider:
    """One issuer's tokens."""

    def __init__(self, name: str, message: Any, server: Any, stats: Any, listener: Any) -> None:
        self.name = name
        self.stats = stats
        self.issuer: str = message.issuer
        self.audiences = frozenset(audience_key(each) for each in message.audiences)
        self.skew: int = message.clock_skew_seconds or 60
        self.forward: bool = message.forward
        self.require_expiration: bool = message.require_expiration
        self.max_lifetime = seconds(message.max_lifetime) if message.HasField("max_lifetime") else None
        self.subjects = string_matcher(message.subjects) if message.HasField("subjects") else None
        self.payload_header: str = message.forward_payload_header.lower()
        self.pad: bool = message.pad_forward_payload_header
        self.claims = tuple((each.header_name.lower(), each.claim_name.split(".")) for each in message.claim_to_headers)
        self.payload_key: str = message.payload_in_metadata
        self.header_key: str = message.header_in_metadata
        self.spaced = tuple(message.normalize_payload_in_metadata.space_delimited_claims)
        self.clear_route_cache: bool = message.clear_route_cache
        if message.failed_status_in_metadata:
            raise Unsupported("JwtProvider.failed_status_in_metadata")
        self.headers = [(each.name.lower(), each.value_prefix) for each in message.from_headers]
        self.params = list(message.from_params)
        self.cookies = list(message.from_cookies)
        if not (self.headers or self.params or self.cookies):
            self.headers, self.params = [("authorization", "Bearer ")], ["access_token"]
        self.owned = [name for name, _ in self.claims] + ([self.payload_header] if self.payload_header else [])
        self.local: Keys | None = None
        self.remote: RemoteKeys | None = None
        if message.WhichOneof("jwks_source_specifier") == "remote_jwks":
            self.remote = RemoteKeys(message.remote_jwks, server, stats, listener)
        elif message.WhichOneof("jwks_source_specifier") == "local_jwks":
            text = data_source(message.local_jwks)
            try:
                self.local = Keys(text)
            except BadKeys as error:
                raise ConfigError(f"Provider '{name}' in jwt_authn config has invalid local jwks: {error}") from error
        else:
            raise ConfigError(f"JwtProvider {name}: jwks_source_specifier is required")
        self.verified: dict[str, Token] = {}
        self.verified_by: Keys | None = None

    # --- where tokens are ---

    def sanitize(self, headers: RequestHeaders) -> None:
        """Drop what only a verified token may say."""
        for name in self.owned:
            headers.remove(name)

    def tokens(self, headers: RequestHeaders) -> Iterator[Found]:
        for name, prefix in self.headers:
            value = headers.joined(name)
            if value is None:
                continue
            if prefix:
                at = value.find(prefix)
                if at < 0:
                    continue
                value = value[at + len(prefix) :]
                start = next((i for i, each in enumerate(value) if each in TOKEN_CHARACTERS), 0)
                value = value[start:]
            yield value, lambda request, name=name: request.remove(name)  # type: ignore[misc]
        if self.params and "?" in headers.path:
            query = query_parameters(headers.path)
            for name in self.params:
                if name in query:
                    yield query[name], lambda request, name=name: drop_parameter(request, name)  # type: ignore[misc]
        if self.cookies:
            for pair in "; ".join(headers.values("cookie")).split(";"):
                name, _, value = pair.strip().partition("=")
                if name in self.cookies:
                    yield value.strip('"'), lambda request: None

    # --- whether one is good ---

    def status(self, token: Token, audiences: frozenset[str] | None, failed: set[RemoteKeys]) -> str:
        """ "" for a good token, else why not. Raises NeedKeys."""
        now = time.time()
        if self.subjects is not None and not self.subjects(token.subject):
            return status.FAILS
        if self.require_expiration and not token.exp:
            return status.FAILS
        if self.max_lifetime is not None and (not token.exp or token.exp - now > self.max_lifetime):
            return status.FAILS
        late = token.time_status(now, self.skew)
        if late:
            return late
        wanted = self.audiences if audiences is None else audiences
        if wanted and wanted.isdisjoint(map(audience_key, token.audiences)):
            return status.AUDIENCE
        keys = self.local
        if self.remote is not None:
            keys = self.remote.current()
            if keys is None:
                if self.remote in failed:
                    return status.FETCH
                raise NeedKeys(self.remote)
        if keys is None:
            return status.NO_VALID_KEYS
        if keys is not self.verified_by:
            self.verified, self.verified_by = {}, keys
        if token.text in self.verified:
            return ""
        verdict = keys.status(token)
        if not verdict:
            if len(self.verified) >= KEPT_TOKENS:
                self.verified.pop(next(iter(self.verified)))
            self.verified[token.text] = token
        return verdict

    # --- what a good one does ---

    def effects(self, token: Token, strip: Strip, stream: Any) -> None:
        headers = stream.request
        if self.payload_header:
            text = token.payload_text
            headers.add(self.payload_header, text + "=" * (-len(text) % 4) if self.pad else text)
        for name, path in self.claims:
            text_value = claim_text(token.payload, path)
            if text_value is not None:
                headers.add(name, text_value)
        if not self.forward:
            strip(headers)
        if self.payload_key:
            payload = token.payload
            if self.spaced:
                split = {name: payload[name].split(" ") for name in self.spaced if isinstance(payload.get(name), str)}
                payload = {**payload, **split}
            stream.dynamic_metadata(NAMESPACE)[self.payload_key] = payload
        if self.header_key:
            stream.dynamic_metadata(NAMESPACE)[self.header_key] = token.header
        if self.clear_route_cache:
            stream.clear_route_cache()


def claim_text(payload: Any, path: list[str]) -> str | None:
    """A claim as a header carries it: plain for scalars, base64url of its JSON for lists and mappings."""
    value = payload
    for i, key in enumerate(path):
        if not isinstance(value, dict):
            return None
        whole = ".".join(path[i:])
        if whole in value:  # a claim whose very name has dots
            value = value[whole]
            break
        value = value.get(key)
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.6g}"
    if isinstance(value, int):
        return str(value)
    return urlsafe_b64encode(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()).decode()


def drop_parameter(headers: RequestHeaders, name: str) -> None:
    path, _, query = headers.path.partition("?")
    left = "&".join(part for part in query.split("&") if part.partition("=")[0] != name)
    headers.path = f"{path}?{left}" if left else path
