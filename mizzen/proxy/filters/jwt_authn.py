"""envoy.filters.http.jwt_authn: requests must carry the tokens that the first matching rule requires.

A requirement is compiled to an object with `check(stream, failed)`, which gives a status ("" for good) and what good tokens do to the
request; it raises NeedKeys while keys have to be fetched, and is then asked again. Not here: tokens, keys, providers (jwt/).
Source: envoy.extensions.filters.http.jwt_authn.v3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.routes import route_match
from mizzen.proxy.filters.base import HttpFilter
from mizzen.proxy.jwt import token as status
from mizzen.proxy.jwt.provider import NeedKeys, Provider, RemoteKeys, Strip, audience_key
from mizzen.proxy.jwt.token import BadToken, Token

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

COUNTERS = (
    "allowed", "cors_preflight_bypassed", "denied", "jwks_fetch_failed", "jwks_fetch_success", "jwt_cache_hit", "jwt_cache_miss",
)  # fmt: skip
OFF = ""  # the requirement name that stands for a route without requirements
MAX_URI = 256  # bytes of the path in www-authenticate
Good = list[tuple[Provider, Token, Strip]]
Failed = set[RemoteKeys]


class Requirement(Protocol):
    def check(self, headers: RequestHeaders, failed: Failed, good: Good) -> str: ...


class FromProvider:
    """Tokens of one provider, all of which must be good, and there must be one."""

    def __init__(self, provider: Provider, audiences: frozenset[str] | None = None) -> None:
        self.provider = provider
        self.audiences = audiences

    def check(self, headers: RequestHeaders, failed: Failed, good: Good) -> str:
        provider = self.provider
        provider.sanitize(headers)
        outcome = status.MISSED
        for text, strip in list(provider.tokens(headers)):
            provider.stats.jwt_cache_miss += 1
            token = provider.verified.get(text)
            if token is None:
                try:
                    token = Token(text)
                except BadToken as error:
                    return str(error)
            if provider.issuer and token.issuer != provider.issuer:
                return status.UNKNOWN_ISSUER
            outcome = provider.status(token, self.audiences, failed)
            if outcome:
                return outcome
            good.append((provider, token, strip))
        return outcome


class FromAny:
    """Tokens of any provider may be there; with `or_failed` they may also be bad."""

    def __init__(self, providers: list[Provider], or_failed: bool) -> None:
        self.providers = providers
        self.or_failed = or_failed

    def check(self, headers: RequestHeaders, failed: Failed, good: Good) -> str:
        found: dict[str, tuple[Strip, list[Provider]]] = {}
        for provider in self.providers:
            provider.sanitize(headers)
            for text, strip in list(provider.tokens(headers)):
                found.setdefault(text, (strip, []))[1].append(provider)
        outcome = ""
        for text, (strip, providers) in found.items():
            outcome = self._one(text, strip, providers, failed, good)
            if outcome and not self.or_failed:
                return outcome
        return "" if self.or_failed else outcome

    @staticmethod
    def _one(text: str, strip: Strip, providers: list[Provider], failed: Failed, good: Good) -> str:
        providers[0].stats.jwt_cache_miss += 1
        try:
            token = Token(text)
        except BadToken as error:
            return str(error)
        for provider in providers:
            if not provider.issuer or provider.issuer == token.issuer:
                outcome = provider.status(token, None, failed)
                if not outcome:
                    good.append((provider, token, strip))
                return outcome
        return status.UNKNOWN_ISSUER


class AnyOf:
    """One of several is enough; `bypass` tells whether nothing, or nothing good, is enough too."""

    def __init__(self, parts: list[Requirement], bypass: str) -> None:
        self.parts = parts
        self.bypass = bypass

    def check(self, headers: RequestHeaders, failed: Failed, good: Good) -> str:
        worst = ""
        for part in self.parts:
            mine: Good = []
            outcome = part.check(headers, failed, mine)
            if not outcome:
                good += mine
                return ""
            if worst in ("", status.MISSED) or (worst == status.UNKNOWN_ISSUER and outcome != status.MISSED):
                worst = outcome
        if self.bypass == "allow_missing_or_failed" or (self.bypass == "allow_missing" and worst == status.MISSED):
            return ""
        return worst


class AllOf:
    def __init__(self, parts: list[Requirement]) -> None:
        self.parts = parts

    def check(self, headers: RequestHeaders, failed: Failed, good: Good) -> str:
        for part in self.parts:
            outcome = part.check(headers, failed, good)
            if outcome:
                return outcome
        return ""


class Denied:
    """A route names a requirement that does not exist."""

    def __init__(self, message: str) -> None:
        self.message = message


class JwtAuthn(HttpFilter):
    decodes = True

    def __init__(self, config: Any, server: Any, hcm: Any) -> None:
        prefix = f"http.{hcm.stat_prefix}.jwt_authn" + (f".{config.stat_prefix}" if config.stat_prefix else "")
        self.stats: Any = server.stats.group(prefix, COUNTERS)
        self.providers = {
            name: Provider(name, config.providers[name], server, self.stats, hcm.listener)
            for name in sorted(config.providers)
        }
        self.named = {name: self._requirement(each) for name, each in config.requirement_map.items()}
        self.rules: list[tuple[Callable[[Any], bool], Requirement | None]] = []
        for rule in config.rules:
            kind = rule.WhichOneof("requirement_type")
            if kind == "requirement_name":
                if rule.requirement_name not in self.named:
                    raise ConfigError(
                        f"Wrong requirement_name: {rule.requirement_name}. It should be in requirement_map"
                    )
                wanted: Requirement | None = self.named[rule.requirement_name]
            else:
                wanted = self._requirement(rule.requires) if kind == "requires" else None
            self.rules.append((route_match(rule.match, server, "JwtAuthentication.rules"), wanted))
        self.state_key: str = config.filter_state_rules.name
        self.by_state = {k: self._requirement(each) for k, each in config.filter_state_rules.requires.items()}
        self.bypass_preflight: bool = config.bypass_cors_preflight
        self.strip_failure: bool = config.strip_failure_response

    def _provider(self, name: str) -> Provider:
        found = self.providers.get(name)
        if found is None:
            raise ConfigError(f"Required provider ['{name}'] is not configured.")
        return found

    def _requirement(self, message: Any) -> Requirement | None:
        kind = message.WhichOneof("requires_type")
        if kind == "provider_name":
            return FromProvider(self._provider(message.provider_name))
        if kind == "provider_and_audiences":
            pair = message.provider_and_audiences
            return FromProvider(self._provider(pair.provider_name), frozenset(map(audience_key, pair.audiences)))
        if kind == "requires_all":
            parts = [self._requirement(each) for each in message.requires_all.requirements]
            return AllOf([each for each in parts if each is not None])
        if kind == "requires_any":
            return self._any(message.requires_any.requirements)
        if kind in ("allow_missing", "allow_missing_or_failed"):
            return FromAny(list(self.providers.values()), kind == "allow_missing_or_failed")
        return None

    def _any(self, messages: Any) -> AnyOf:
        parts: list[Requirement] = []
        bypass = ""
        for each in messages:
            kind = each.WhichOneof("requires_type")
            if kind in ("allow_missing", "allow_missing_or_failed"):
                bypass = max(bypass, kind)  # the longer name is the more lenient one
            else:
                part = self._requirement(each)
                if part is not None:
                    parts.append(part)
        return AnyOf(parts, bypass)

    def _for(self, stream: Stream) -> Requirement | Denied | None:
        route = self.route_config(stream)
        if route is not None:
            if route == OFF:
                return None
            if route in self.named:
                return self.named[route]
            known = ",".join(sorted(self.named))
            return Denied(f"Wrong requirement_name: {route}. It should be one of [{known}]")
        for test, requirement in self.rules:
            if test(stream):
                return requirement
        if self.by_state:
            value = stream.get_filter_state(self.state_key)
            if value is not None:
                return self.by_state.get(str(value))
        return None

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        if (
            self.bypass_preflight
            and headers.method == "OPTIONS"
            and headers.d.get("origin")
            and headers.d.get("access-control-request-method")
        ):
            self.stats.cors_preflight_bypassed += 1
            self.stats.allowed += 1
            return True
        requirement = self._for(stream)
        if requirement is None:
            self.stats.allowed += 1
            return True
        if isinstance(requirement, Denied):
            self.stats.denied += 1
            details = f"jwt_authn_access_denied{{{requirement.message}}}"
            stream.local_reply(403, "Failed JWT authentication", details)
            return False
        return self._check(stream, requirement, set())

    def _check(self, stream: Stream, requirement: Requirement, failed: Failed) -> bool:
        headers = stream.request
        assert headers is not None
        good: Good = []
        try:
            outcome = requirement.check(headers, failed, good)
        except NeedKeys as need:
            self._wait(stream, requirement, failed, need.remote)
            return False
        if outcome:
            self._deny(stream, headers, outcome)
            return False
        for provider, token, strip in good:
            provider.effects(token, strip, stream)
        self.stats.allowed += 1
        return True

    def _wait(self, stream: Stream, requirement: Requirement, failed: Failed, remote: RemoteKeys) -> None:
        waiting = True

        def fetched(good: bool) -> None:
            if not good:
                failed.add(remote)
            if stream.done or waiting:
                return
            if self._check(stream, requirement, failed):
                stream.continue_request()

        remote.get(fetched)
        waiting = False
        if remote in failed or remote.current() is not None:  # it was known at once
            stream.hcm.server.loop.call_soon(fetched, remote not in failed)

    def _deny(self, stream: Stream, headers: RequestHeaders, outcome: str) -> None:
        self.stats.denied += 1
        details = f"jwt_authn_access_denied{{{outcome}}}"
        code = 403 if outcome == status.AUDIENCE else 401
        if self.strip_failure:
            stream.local_reply(code, "", details)
            return
        path = (headers.d.get("x-envoy-original-path") or headers.path)[:MAX_URI]
        scheme = headers.d.get("x-forwarded-proto") or headers.scheme or "http"
        challenge = f'Bearer realm="{scheme}://{headers.authority}{path}"'
        if outcome != status.MISSED:
            challenge += ', error="invalid_token"'
        stream.local_reply(code, outcome, details, headers={"www-authenticate": challenge})


def http_filter(config: Any, server: Any, hcm: Any) -> JwtAuthn:
    return JwtAuthn(config, server, hcm)


def route_config(config: Any, server: Any) -> Any:
    kind = config.WhichOneof("requirement_specifier")
    return str(config.requirement_name) if kind == "requirement_name" else OFF
