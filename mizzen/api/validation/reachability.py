"""Rules of a VirtualService that never match because rules before them match everything they do.

Reports warnings with the topics "unreachable" (IST0130; details: rule, reason) and "ineffective" (IST0131; details: rule,
match, the rule that already has it). Source: Istio's admission warns of the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from mizzen.api.istio.meta import enc_hook
from mizzen.api.istio.networking import HTTPMatchRequest, StringMatch, VirtualServiceSpec
from mizzen.api.validation.report import Report


class Prefix(NamedTuple):
    """A match by a path's prefix, and what else has to hold for it."""

    rule: str
    match: str
    prefix: str
    port: int
    method: str
    authority: str
    headers: Mapping[str, str]
    query_params: Mapping[str, str]
    without_headers: Mapping[str, str]


def unreachable(spec: VirtualServiceSpec, report: Report) -> None:
    """Reports what is never reached among the HTTP, TCP and TLS rules."""
    prefixes = _duplicates(spec.http, "spec.http", report)
    for at, first in enumerate(prefixes):
        for later in prefixes[at + 1 :]:
            if later.prefix != first.prefix and covers(first, later):
                match = f"{later.match} of prefix {later.prefix}"
                by = f"{first.match} of prefix {first.prefix} on {first.rule}"
                _ineffective(later.rule, match, by, "spec.http", report)
    _duplicates(spec.tcp, "spec.tcp", report)
    _duplicates(spec.tls, "spec.tls", report)


def _duplicates(routes: Sequence[Any], path: str, report: Report) -> list[Prefix]:
    """Reports matches that stand twice and rules behind a rule without matches; gives the matches by prefix."""
    seen: dict[bytes, int] = {}
    catch_all, prefixes = False, []
    for at, route in enumerate(routes):
        name = _name(route, at)
        if not route.match:
            if catch_all:
                _unreachable(name, "only the last rule can have no matches", f"{path}[{at}]", report)
            catch_all = True
            continue
        doubled = 0
        for number, match in enumerate(route.match):
            if catch_all:
                _unreachable(name, "route without matches defined before", f"{path}[{at}]", report)
                continue
            key = _key(match)
            if key in seen:
                other = seen[key]
                here = f"{path}[{at}].match[{number}]"
                _ineffective(name, _name(match, number), _name(routes[other], other), here, report)
                doubled += 1
                continue
            seen[key] = at
            if isinstance(match, HTTPMatchRequest) and match.uri is not None and match.uri.prefix:
                prefixes.append(_prefix(match, match.uri.prefix, name, _name(match, number)))
        if doubled == len(route.match):
            _unreachable(name, "all matches used by prior rules", f"{path}[{at}]", report)
    return prefixes


def covers(first: Prefix, later: Prefix) -> bool:
    """Whether the earlier match takes everything that the later one means."""
    return (
        later.prefix.startswith(first.prefix)
        and later.port == first.port
        and first.method.startswith(later.method)
        and first.authority.startswith(later.authority)
        and _all_start(first.headers, later.headers)
        and _all_start(first.query_params, later.query_params)
        and _all_start(first.without_headers, later.without_headers)
    )


def _all_start(first: Mapping[str, str], later: Mapping[str, str]) -> bool:
    return first.keys() == later.keys() and all(value.startswith(later[key]) for key, value in first.items())


def _prefix(match: HTTPMatchRequest, prefix: str, rule: str, name: str) -> Prefix:
    return Prefix(
        rule,
        name,
        prefix,
        match.port,
        _text(match.method) or "exact=GET",
        _text(match.authority),
        {key: _text(value) for key, value in match.headers.items()},
        {key: _text(value) for key, value in match.query_params.items()},
        {key: _text(value) for key, value in match.without_headers.items()},
    )


def _text(match: StringMatch | None) -> str:
    if match is None:
        return ""
    return f"exact={match.exact}" if match.exact else f"prefix={match.prefix}" if match.prefix else ""


def _key(match: msgspec.Struct) -> bytes:
    """What a match means, without its name."""
    unnamed = msgspec.structs.replace(match, name="") if isinstance(match, HTTPMatchRequest) else match
    return msgspec.json.encode(unnamed, enc_hook=enc_hook, order="sorted")


def _name(value: Any, at: int) -> str:
    """How messages call a rule or match: its name in quotes, or its number."""
    name = getattr(value, "name", "")
    return f'"{name}"' if name else f"#{at}"


def _unreachable(rule: str, reason: str, path: str, report: Report) -> None:
    report.warn(path, f"rule {rule} is not used ({reason})", "unreachable", rule, reason)


def _ineffective(rule: str, match: str, by: str, path: str, report: Report) -> None:
    report.warn(path, f"match {match} of rule {rule} is not used (rule {by} has it)", "ineffective", rule, match, by)
