"""What Istio's admission demands of the kinds of security.istio.io beyond their schemas.

Takes the typed objects, reports errors and warnings by path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from mizzen.api import text
from mizzen.api.booleans import FALSE, TRUE
from mizzen.api.istio.security import (
    AuthorizationPolicy,
    AuthorizationPolicySpec,
    Condition,
    JWTRule,
    Operation,
    PeerAuthentication,
    RequestAuthentication,
    Rule,
    Source,
)
from mizzen.api.validation.common import selector, targets
from mizzen.api.validation.metadata import DRY_RUN
from mizzen.api.validation.report import Report

PLAIN_KEYS = frozenset(
    [
        "source.namespace",
        "source.principal",
        "source.trustDomain",
        "request.auth.principal",
        "request.auth.audiences",
        "request.auth.presenter",
        "connection.sni",
    ]
)
# "request.headers" and the like are followed by [name].
BRACKET_KEYS = (
    "request.headers",
    "request.experimental.inline.headers",
    "request.auth.claims",
    "experimental.envoy.filters.",
)
_PATH_SEGMENT = re.compile(r"[A-Za-z0-9\-._~!$&'()+,;:@=%]+")


def authorization_policy(obj: AuthorizationPolicy, report: Report) -> None:
    """Checks the whole object."""
    spec = obj.spec
    dry_run(obj, report)
    targets(spec.selector, spec.target_ref, spec.target_refs, report)
    if spec.action == "CUSTOM":
        if report.need(bool(spec.rules), "spec.rules", "CUSTOM without rules asks about nothing ([{}] is everything)"):
            named = spec.provider is not None and spec.provider.name != ""
            report.need(named, "spec.provider", "is required for CUSTOM")
        custom(spec, report)
    elif spec.provider is not None:
        report.error("spec.provider", f"is for CUSTOM, not for {spec.action}")
    if spec.action == "DENY":
        report.need(bool(spec.rules), "spec.rules", "DENY without rules denies nothing ([{}] denies everything)")
    for at, rule in enumerate(spec.rules):
        authorization_rule(rule, f"spec.rules[{at}]", spec.action, report)


def dry_run(obj: AuthorizationPolicy, report: Report) -> None:
    """The annotation is a boolean and goes with ALLOW and DENY."""
    value = (obj.metadata.annotations or {}).get(DRY_RUN)
    if value is None:
        return
    path = f"metadata.annotations[{DRY_RUN}]"
    report.need(obj.spec.action in ("ALLOW", "DENY"), path, f"goes with ALLOW and DENY, not with {obj.spec.action}")
    report.need(value in TRUE | FALSE, path, f"{value!r} is neither true nor false")


def custom(spec: AuthorizationPolicySpec, report: Report) -> None:
    """CUSTOM is asked before peers and tokens are known."""
    fields = ("namespaces", "serviceAccounts", "trustDomains", "principals", "requestPrincipals")
    names = [*fields, *(f"not{field[0].upper()}{field[1:]}" for field in fields)]
    keys = ("source.namespace", "source.serviceAccount", "source.trustDomain", "source.principal")
    for at, rule in enumerate(spec.rules):
        for number, origin in enumerate(rule.from_):
            for name in names if origin.source is not None else ():
                attribute = re.sub("([A-Z])", lambda match: f"_{match[1].lower()}", name)
                if getattr(origin.source, attribute):
                    path = f"spec.rules[{at}].from[{number}].source.{name}"
                    report.error(path, "is not supported with CUSTOM")
        for number, condition in enumerate(rule.when):
            if condition.key in keys or condition.key.startswith("request.auth."):
                report.error(f"spec.rules[{at}].when[{number}].key", "is not supported with CUSTOM")


def authorization_rule(rule: Rule, path: str, action: str, report: Report) -> None:
    """from, to and when of one rule."""
    tcp_from = tcp_to = False
    for at, origin in enumerate(rule.from_):
        here = f"{path}.from[{at}]"
        if report.need(origin.source is not None, f"{here}.source", "is required"):
            assert origin.source is not None
            tcp_from |= source(origin.source, f"{here}.source", report)
    for at, target in enumerate(rule.to):
        here = f"{path}.to[{at}]"
        if report.need(target.operation is not None, f"{here}.operation", "is required"):
            assert target.operation is not None
            operation(target.operation, f"{here}.operation", report)
            tcp_to |= bool(target.operation.ports or target.operation.not_ports)
    for at, condition in enumerate(rule.when):
        when(condition, f"{path}.when[{at}]", report)
    only_http = (rule.from_ and not rule.to and not tcp_from) or (rule.to and not tcp_to)
    if action == "DENY" and only_http:
        report.warn(path, "denies all TCP traffic in its scope: it names HTTP attributes only and no port")


def each(values: Sequence[str], path: str, report: Report) -> None:
    """No value is empty."""
    for at, value in enumerate(values):
        report.need(value != "", f"{path}[{at}]", "must not be empty")


def source(value: Source, path: str, report: Report) -> bool:
    """Checks a source; says whether it can be told on TCP."""
    addresses = {
        "ipBlocks": value.ip_blocks,
        "notIpBlocks": value.not_ip_blocks,
        "remoteIpBlocks": value.remote_ip_blocks,
        "notRemoteIpBlocks": value.not_remote_ip_blocks,
    }
    peers = {
        "principals": value.principals,
        "notPrincipals": value.not_principals,
        "namespaces": value.namespaces,
        "notNamespaces": value.not_namespaces,
    }
    accounts = {"serviceAccounts": value.service_accounts, "notServiceAccounts": value.not_service_accounts}
    domains = {"trustDomains": value.trust_domains, "notTrustDomains": value.not_trust_domains}
    requests = {"requestPrincipals": value.request_principals, "notRequestPrincipals": value.not_request_principals}
    if any(accounts.values()) and any(peers.values()):
        report.error(path, "serviceAccounts exclude principals and namespaces")
    everything = addresses | peers | accounts | domains | requests
    report.need(any(everything.values()), path, "says nothing: at least one field is needed")
    for field, values in everything.items():
        each(values, f"{path}.{field}", report)
    for field, values in addresses.items():
        for at, address in enumerate(values):
            report.take(f"{path}.{field}[{at}]", text.address_or_range(address))
    for field, values in accounts.items():
        for at, account in enumerate(values):
            report.take(f"{path}.{field}[{at}]", service_account(account))
    for field, values in domains.items():
        for at, domain in enumerate(values):
            report.take(f"{path}.{field}[{at}]", trust_domain(domain))
    return any((addresses | peers | accounts).values())


def service_account(value: str) -> str:
    """[namespace/]name."""
    if "*" in value:
        return "there are no wildcards here"
    if len(value) > 320 or value.count("/") > 1 or not all(value.split("/")):
        return f"{value!r} is not of the form [namespace/]serviceAccount"
    return ""


def trust_domain(value: str) -> str:
    """A trust domain, with one * at an end perhaps."""
    if "/" in value:
        return f"{value!r} is not a trust domain"
    if value.count("*") > 1 or ("*" in value and not value.startswith("*") and not value.endswith("*")):
        return "one * at an end is allowed"
    return ""


def operation(value: Operation, path: str, report: Report) -> None:
    """Checks an operation."""
    fields = {
        "hosts": value.hosts,
        "notHosts": value.not_hosts,
        "ports": value.ports,
        "notPorts": value.not_ports,
        "methods": value.methods,
        "notMethods": value.not_methods,
        "paths": value.paths,
        "notPaths": value.not_paths,
    }
    report.need(any(fields.values()), path, "says nothing: at least one field is needed")
    for field, values in fields.items():
        each(values, f"{path}.{field}", report)
    for field in ("ports", "notPorts"):
        for at, port in enumerate(fields[field]):
            report.take(f"{path}.{field}[{at}]", port_text(port))
    for field in ("paths", "notPaths"):
        for at, pattern in enumerate(fields[field]):
            report.take(f"{path}.{field}[{at}]", path_template(pattern))


def port_text(value: str) -> str:
    """A port number as text; 0 passes."""
    number = re.fullmatch(r"[0-9]{1,20}", value)
    return "" if number and int(value) <= 65535 else f"{value!r} is not a port number"


def path_template(value: str) -> str:
    """A path where a segment may be {*} and the last one {**}; other braces are refused."""
    template = "{*}" in value or "{**}" in value
    rest_taken = False
    for segment in value.strip("/").split("/"):
        if segment in ("{*}", "{**}"):
            if rest_taken:
                return "{**} has to be the last template"
            rest_taken = segment == "{**}"
        elif "{" in segment or "}" in segment:
            return f"{segment!r}: braces are for {{*}} and {{**}} alone"
        elif template and not _PATH_SEGMENT.fullmatch(segment):
            return f"{segment!r} has characters that a path template cannot have"
    return ""


def when(condition: Condition, path: str, report: Report) -> None:
    """A known attribute with values that it can have."""
    key = condition.key
    if not report.need(key != "", f"{path}.key", "is required"):
        return
    if not report.need(bool(condition.values or condition.not_values), path, "one of values and notValues is needed"):
        return
    for field, values in (("values", condition.values), ("notValues", condition.not_values)):
        each(values, f"{path}.{field}", report)
        for at, value in enumerate(values):
            report.take(f"{path}.{field}[{at}]", attribute_value(key, value) if value else "")
    report.take(f"{path}.key", attribute_key(key))


def attribute_key(key: str) -> str:
    """The name of an attribute."""
    if key.startswith(BRACKET_KEYS):
        opened = key.find("[")
        return "" if key.endswith("]") and 0 < opened < len(key) - 2 else f"{key!r} is not of the form a[b]"
    if key in PLAIN_KEYS or key in ("source.ip", "remote.ip", "destination.ip", "destination.port"):
        return ""
    return "" if key == "source.serviceAccount" else f"unknown attribute {key!r}"


def attribute_value(key: str, value: str) -> str:
    """A value of an attribute."""
    if key in ("source.ip", "remote.ip", "destination.ip"):
        return text.address_or_range(value)
    if key == "destination.port":
        return port_text(value)
    if key == "source.serviceAccount":
        return service_account(value)
    return trust_domain(value) if key == "source.trustDomain" else ""


def request_authentication(obj: RequestAuthentication, report: Report) -> None:
    """Checks the whole object."""
    spec = obj.spec
    targets(spec.selector, spec.target_ref, spec.target_refs, report)
    for at, rule in enumerate(spec.jwt_rules):
        jwt_rule(rule, f"spec.jwtRules[{at}]", report)


def jwt_rule(rule: JWTRule, path: str, report: Report) -> None:
    """Where keys come from, where tokens are, what becomes of claims."""
    report.need(bool(rule.issuer or rule.jwks_uri), path, "one of issuer and jwksUri is needed")
    if rule.jwks_uri:
        report.take(f"{path}.jwksUri", http_url(rule.jwks_uri))
    if rule.jwks:
        report.take(f"{path}.jwks", key_set(rule.jwks))
    for field, values in (
        ("audiences", rule.audiences),
        ("fromParams", rule.from_params),
        ("fromCookies", rule.from_cookies),
    ):
        each(values, f"{path}.{field}", report)
    if rule.timeout is not None:
        report.take(f"{path}.timeout", text.duration(rule.timeout))


def http_url(value: str) -> str:
    """A URL of http or https with a port that is a number."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  (raises)
    except ValueError as error:
        return str(error)
    return "" if parts.scheme.lower() in ("http", "https") else f"the scheme of {value!r} is neither http nor https"


KEY_FIELDS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "oct": ("k",), "OKP": ("crv", "x")}


def key_set(value: str) -> str:
    """A JSON Web Key or a set of them."""
    try:
        parsed = json.loads(value)
    except ValueError:
        return "is not JSON"
    if not isinstance(parsed, dict):
        return "is not a key set"
    keys = parsed.get("keys") if "kty" not in parsed else [parsed]
    if not isinstance(keys, list):
        return "is not a key set: it has no list of keys"
    for key in keys:
        fields = KEY_FIELDS.get(key.get("kty", "")) if isinstance(key, dict) else None
        if fields is None:
            return "a key has no known type (kty)"
        for field in fields:
            if not isinstance(key.get(field), str):
                return f"a key of type {key['kty']} has no {field}"
    return ""


def peer_authentication(obj: PeerAuthentication, report: Report) -> None:
    """Checks the whole object."""
    spec = obj.spec
    if spec.port_level_mtls and not (spec.selector is not None and spec.selector.match_labels):
        report.error("spec.portLevelMtls", "needs a selector")
    selector(spec.selector, "spec.selector", report)
