"""The authorization policies in a proxy's RBAC filters, as `x authz check` shows them.

Takes a config dump, gives rows. Source: names that istiod gives to RBAC policies: `ns[<ns>]-policy[<name>]-rule[<i>]`,
`istio-ext-authz-<provider>-…` for those that ask another service.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mizzen.istioctl import envoy_dump

HEADER = ("ACTION", "AuthorizationPolicy", "RULES")
ORDER = ("DENY", "ALLOW", "LOG", "CUSTOM")
NAME = re.compile(r"ns\[(?P<namespace>.*)\]-policy\[(?P<name>.*)\]-rule\[\d+\]")
CUSTOM_PREFIX = "istio-ext-authz-"
NOTHING = "_anonymous_match_nothing_"
RBAC = (".rbac.v3.RBAC",)


def rows(dump: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """One row a policy and action: DENY first, then ALLOW, LOG, CUSTOM; by name."""
    rules: dict[tuple[str, str], set[str]] = {}
    for listener in envoy_dump.listeners(dump):
        if listener.get("traffic_direction") == "OUTBOUND":
            continue
        for config in _rbacs(listener):
            for action, name in _policies(config):
                found = NAME.search(name)
                policy = f"{found['name']}.{found['namespace']}" if found else NOTHING
                rules.setdefault((action, policy), set()).add(name)
            if "rules" in config and not config["rules"].get("policies"):
                rules.setdefault((str(config["rules"].get("action", "ALLOW")), NOTHING), set()).add(NOTHING)
    ordered = sorted(rules.items(), key=lambda item: (ORDER.index(item[0][0]), item[0][1]))
    return [(action, policy, str(len(names))) for (action, policy), names in ordered]


def _policies(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in (config.get("rules") or {}).get("policies") or {}:
        yield str(config["rules"].get("action", "ALLOW")), name
    for name in (config.get("shadow_rules") or {}).get("policies") or {}:
        if name.startswith(CUSTOM_PREFIX):
            yield "CUSTOM", name


def _rbacs(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every RBAC filter's config in a listener."""
    if isinstance(value, Mapping):
        if str(value.get("@type", "")).endswith(RBAC):
            yield value
        else:
            for inner in value.values():
                yield from _rbacs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _rbacs(inner)
