"""AuthorizationPolicies as RBAC rules.

Takes policies of one action, gives envoy.config.rbac.v3.RBAC. Rules that need HTTP on a TCP chain: an ALLOW rule vanishes; in
a DENY, AUDIT or CUSTOM rule only the field that needs HTTP does, which makes it match more.
Not here: the filters around the rules (authorization.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from envoy.config.rbac.v3 import rbac_pb2

from mizzen.api.istio.security import AuthorizationPolicy, Operation, Rule, Source
from mizzen.istiod.translate.security.attributes import (
    PERMISSIONS,
    PRINCIPALS,
    Attribute,
    Permission,
    Principal,
    Values,
    attribute_of,
)

RBAC, Policy = rbac_pb2.RBAC, rbac_pb2.Policy
ACTIONS = {"ALLOW": RBAC.ALLOW, "DENY": RBAC.DENY, "AUDIT": RBAC.LOG, "CUSTOM": RBAC.DENY}


class _Unmatchable(Exception):
    """An ALLOW rule asks for something that a TCP connection has not, or that is no value of the attribute."""


def rules(
    policies: Iterable[AuthorizationPolicy],
    action: str,
    tcp: bool,
    trust_domains: Sequence[str],
    prefix: str = "",
    suffix: str = "",
) -> Any:
    """The rules of policies with one action. prefix, suffix: put around each policy's key.

    trust_domains: the mesh's and its aliases; principals of one are taken for those of all.
    """
    out = RBAC(action=ACTIONS[action])
    for policy in policies:
        namespace = policy.metadata.namespace or "default"
        key = f"{prefix}ns[{namespace}]-policy[{policy.metadata.name}]-rule"
        if not policy.spec.rules:
            out.policies[f"{key}[0]{suffix}"].CopyFrom(_never())
        for index, rule in enumerate(policy.spec.rules):
            made = _policy(rule, action, tcp, namespace, trust_domains)
            if made is not None:
                out.policies[f"{key}[{index}]{suffix}"].CopyFrom(made)
    return out


def _never() -> Any:
    """A policy that nothing matches."""
    return Policy(
        permissions=[Permission(not_rule=Permission(any=True))], principals=[Principal(not_id=Principal(any=True))]
    )


def _policy(rule: Rule, action: str, tcp: bool, namespace: str, trust_domains: Sequence[str]) -> Any:
    """The policy of one rule; None when it cannot be matched on this kind of chain."""
    who_else, what_else = _conditions(rule, trust_domains)
    sources = [one.source or Source() for one in rule.from_] or [Source()]
    operations = [one.operation or Operation() for one in rule.to] or [Operation()]
    try:
        what = [_all_permissions([*_operation(one), *what_else], action, tcp, namespace) for one in operations]
        who = [_all_principals([*_source(one, trust_domains), *who_else], action, tcp, namespace) for one in sources]
    except _Unmatchable:
        return None
    return Policy(permissions=what, principals=who)


def _conditions(rule: Rule, trust_domains: Sequence[str]) -> tuple[list[Values], list[Values]]:
    """The `when` of a rule: conditions on the caller, and on the request."""
    who, what = [], []
    for condition in rule.when:
        name = attribute_of(condition.key)
        values, not_values = condition.values, condition.not_values
        if (aliases := ALIASED.get(name)) is not None:
            values, not_values = aliases(values, trust_domains), aliases(not_values, trust_domains)
        if name in PRINCIPALS:
            who.append(Values(PRINCIPALS[name], condition.key, values, not_values))
        elif name in PERMISSIONS:
            what.append(Values(PERMISSIONS[name], condition.key, values, not_values))
    return who, what


def _source(source: Source, trust_domains: Sequence[str]) -> list[Values]:
    given = {
        "source.principal": (
            same_accounts(source.principals, trust_domains),
            same_accounts(source.not_principals, trust_domains),
        ),
        "request.auth.principal": (source.request_principals, source.not_request_principals),
        "source.trustDomain": (
            same_domains(source.trust_domains, trust_domains),
            same_domains(source.not_trust_domains, trust_domains),
        ),
        "source.serviceAccount": (source.service_accounts, source.not_service_accounts),
        "source.namespace": (source.namespaces, source.not_namespaces),
        "remote.ip": (source.remote_ip_blocks, source.not_remote_ip_blocks),
        "source.ip": (source.ip_blocks, source.not_ip_blocks),
    }
    return [Values(PRINCIPALS[name], name, *both) for name, both in given.items() if any(both)]


def _operation(operation: Operation) -> list[Values]:
    given = {
        "host": (operation.hosts, operation.not_hosts),
        "method": (operation.methods, operation.not_methods),
        "path": (operation.paths, operation.not_paths),
        "destination.port": (operation.ports, operation.not_ports),
    }
    return [Values(PERMISSIONS[name], name, *both) for name, both in given.items() if any(both)]


def _all_permissions(conditions: list[Values], action: str, tcp: bool, namespace: str) -> Any:
    out = []
    for condition in conditions:
        for values, negated in ((condition.values, False), (condition.not_values, True)):
            found = _matched(condition.attribute, condition.key, values, action, tcp, namespace)
            if found:
                whole = condition.attribute.whole is not None
                one = found[0] if whole else Permission(or_rules=Permission.Set(rules=found))
                out.append(Permission(not_rule=one) if negated else one)
    return Permission(and_rules=Permission.Set(rules=out or [Permission(any=True)]))


def _all_principals(conditions: list[Values], action: str, tcp: bool, namespace: str) -> Any:
    out = []
    for condition in conditions:
        for values, negated in ((condition.values, False), (condition.not_values, True)):
            found = _matched(condition.attribute, condition.key, values, action, tcp, namespace)
            if found:
                whole = condition.attribute.whole is not None
                one = found[0] if whole else Principal(or_ids=Principal.Set(ids=found))
                out.append(Principal(not_id=one) if negated else one)
    return Principal(and_ids=Principal.Set(ids=out or [Principal(any=True)]))


def _matched(
    attribute: Attribute, key: str, values: Sequence[str], action: str, tcp: bool, namespace: str
) -> list[Any]:
    if not values:
        return []
    if tcp and attribute.http:
        if action == "ALLOW":
            raise _Unmatchable
        return []
    if attribute.whole is not None:
        return [attribute.whole(key, values)]
    match = attribute.match
    assert match is not None  # a row has one of the two
    found = []
    for value in values:
        try:
            found.append(match(key, value, namespace))
        except ValueError as error:  # no address, no port number
            if action == "ALLOW":
                raise _Unmatchable from error
    return found


def same_accounts(principals: Sequence[str], trust_domains: Sequence[str]) -> tuple[str, ...]:
    """Principals with the same accounts under the other names of the trust domain.

    `<trust domain>/ns/<namespace>/sa/<account>` of one of the trust domains, or of cluster.local, is meant for all of them.
    """
    out: list[str] = []
    for principal in principals:
        domain, *rest = principal.split("/")
        if len(rest) == 4 and domain != "*" and (domain == "cluster.local" or _among(domain, trust_domains)):
            out += [
                principal if domain.startswith("*") and other.endswith(domain[1:]) else "/".join((other, *rest))
                for other in trust_domains
            ]
        else:
            out.append(principal)
    return tuple(dict.fromkeys(out))


def _among(domain: str, trust_domains: Sequence[str]) -> bool:
    """Whether one of the two, the domain or a trust domain, covers the other: either may begin or end with `*`."""
    return any(other in (domain, "*") or _covers(domain, other) or _covers(other, domain) for other in trust_domains)


def _covers(pattern: str, name: str) -> bool:
    return (pattern.startswith("*") and name.endswith(pattern[1:])) or (
        pattern.endswith("*") and name.startswith(pattern[:-1])
    )


def same_domains(values: Sequence[str], trust_domains: Sequence[str]) -> tuple[str, ...]:
    """Trust domains, with all of the mesh's where one of them is named."""
    out: list[str] = []
    for value in values:
        out += trust_domains if value in trust_domains else [value]
    return tuple(dict.fromkeys(out))


ALIASED = {"source.principal": same_accounts, "source.trustDomain": same_domains}
"""Attributes whose values are read with the mesh's other trust domains in mind."""
