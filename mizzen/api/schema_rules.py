"""Rules of the CRDs' schemas that types alone cannot say: CEL rules, each beside the same rule in Python.

A Rule's `cel` goes into the generated CRDs, where a kube-apiserver evaluates it; `holds` is evaluated here, on JSON values
that already have the right types. tests/unit/api hold the two together. Source: the Istio API's own constraints.
Not here: what only Istio's admission refuses (validation/).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from mizzen.api.istio import destination_rule as dr
from mizzen.api.istio import envoy_filter as ef
from mizzen.api.istio import extensions as ext
from mizzen.api.istio import gateway as gw
from mizzen.api.istio import meta, security
from mizzen.api.istio import service_entry as se
from mizzen.api.istio import telemetry as tel
from mizzen.api.istio import virtual_service as vs
from mizzen.api.text import LABEL
from mizzen.api.urls import plugin_url


class Rule(NamedTuple):
    """A constraint in Python (`holds`) and as the API server has it (`cel`, or `schema` where CEL would cost too much).

    blame: the field to name, below the value, when it is broken, or what finds it. schema: JSON Schema without types.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool]
    blame: str | Callable[[Any], str] = ""
    schema: Mapping[str, Any] | None = None


def has(value: Mapping[str, Any], name: str) -> bool:
    """CEL's has(): null is as good as absent."""
    return value.get(name) is not None


def one_of(*names: str, exactly: bool = False) -> Rule:
    """At most (or exactly) one of some fields is set."""
    each: list[dict[str, Any]] = [{"required": [name]} for name in names]
    if exactly:
        message = f"exactly one of {', '.join(names)} is needed"
        return Rule("", message, lambda value: sum(has(value, name) for name in names) == 1, "", {"oneOf": each})
    none: dict[str, Any] = {"not": {"anyOf": [{"required": [name]} for name in names]}}
    message = f"{', '.join(names)} exclude each other"
    return Rule("", message, lambda value: sum(has(value, name) for name in names) <= 1, "", {"oneOf": [none, *each]})


def ip_range_free(value: Mapping[str, Any]) -> bool:
    """No range of addresses where addresses are looked up."""
    ranges = any("/" in address for address in value.get("addresses") or ())
    return not ranges or value.get("resolution") in (None, "NONE", "STATIC")


def http_scheme(value: str) -> bool:
    """A URL of http or https."""
    try:
        return urlsplit(value).scheme.lower() in ("http", "https")
    except ValueError:
        return False


_POLICY_TARGET: Final = one_of("selector", "targetRef", "targetRefs")
_PORT: Final = Rule("0 < self && self <= 65535", "a port is in 1 to 65535", lambda value: 0 < value <= 65535)
_ADDRESS_OR_NETWORK: Final = Rule(
    "has(self.address) || has(self.network)",
    "one of address and network is needed",
    lambda value: has(value, "address") or has(value, "network"),
)
_SOCKET_WITHOUT_PORTS: Final = Rule(
    '!(has(self.address) && self.address.startsWith("unix://") && has(self.ports))',
    "a socket file has no ports",
    lambda value: not ((value.get("address") or "").startswith("unix://") and has(value, "ports")),
)
_NO_STAR: Final = Rule("!self.contains('*')", "there are no wildcards in a selector", lambda value: "*" not in value)
_PEERS: Final = ("principals", "notPrincipals", "namespaces", "notNamespaces")
_ACCOUNTS: Final = ("serviceAccounts", "notServiceAccounts")

# Rules of whole objects, wherever they stand.
OBJECT_RULES: Final[dict[type, tuple[Rule, ...]]] = {
    vs.StringMatch: (one_of("exact", "prefix", "regex"),),
    vs.HTTPRedirect: (one_of("port", "derivePort"),),
    vs.HTTPBody: (one_of("string", "bytes"),),
    vs.Delay: (one_of("fixedDelay", "exponentialDelay"),),
    vs.Abort: (one_of("httpStatus", "grpcStatus", "http2Error"),),
    dr.LoadBalancerSettings: (one_of("simple", "consistentHash"), one_of("warmup", "warmupDurationSecs")),
    dr.ConsistentHashLB: (
        one_of("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"),
        one_of("ringHash", "maglev"),
    ),
    gw.ServerTLSSettings: (one_of("credentialNames", "tlsCertificates"),),
    se.ServiceEntrySpec: (
        one_of("workloadSelector", "endpoints"),
        Rule(
            "!has(self.addresses) || !self.addresses.exists(a, a.contains('/')) || "
            "!has(self.resolution) || self.resolution in ['NONE', 'STATIC']",
            "ranges of addresses go with resolution NONE and STATIC",
            ip_range_free,
            lambda value: next(f"addresses[{at}]" for at, name in enumerate(value["addresses"]) if "/" in name),
        ),
        Rule(
            "!has(self.endpoints) || (has(self.resolution) && self.resolution != 'NONE')",
            "there are no endpoints with resolution NONE",
            lambda value: not has(value, "endpoints") or value.get("resolution") not in (None, "NONE"),
            "endpoints",
        ),
        Rule(
            "!has(self.endpoints) || !has(self.resolution) || self.resolution != 'DNS_ROUND_ROBIN' || "
            "self.endpoints.size() <= 1",
            "there is one endpoint at most with resolution DNS_ROUND_ROBIN",
            lambda value: value.get("resolution") != "DNS_ROUND_ROBIN" or len(value.get("endpoints") or ()) <= 1,
            "endpoints",
        ),
    ),
    se.ReadinessProbe: (one_of("httpGet", "tcpSocket", "exec", "grpc"),),
    ef.EnvoyFilterSpec: (one_of("workloadSelector", "targetRefs"),),
    ef.EnvoyConfigObjectMatch: (one_of("listener", "routeConfiguration", "cluster", "waypoint"),),
    security.AuthorizationPolicySpec: (_POLICY_TARGET,),
    security.RequestAuthenticationSpec: (_POLICY_TARGET,),
    security.Source: (
        Rule(
            f"!({' || '.join(f'has(self.{name})' for name in _ACCOUNTS)}) || "
            f"!({' || '.join(f'has(self.{name})' for name in _PEERS)})",
            "serviceAccounts exclude principals and namespaces",
            lambda value: (
                not any(has(value, name) for name in _ACCOUNTS) or not any(has(value, name) for name in _PEERS)
            ),
        ),
    ),
    security.PeerAuthenticationSpec: (
        Rule(
            "!has(self.portLevelMtls) || (has(self.selector) && has(self.selector.matchLabels) && "
            "self.selector.matchLabels.size() > 0)",
            "portLevelMtls needs a selector",
            lambda value: not has(value, "portLevelMtls") or bool((value.get("selector") or {}).get("matchLabels")),
            "portLevelMtls",
        ),
    ),
    security.JWTRule: (one_of("jwks", "jwksUri"),),
    tel.TelemetrySpec: (_POLICY_TARGET,),
    tel.CustomTag: (one_of("literal", "environment", "header", "formatter"),),
    tel.MetricSelector: (one_of("metric", "customMetric"),),
    tel.TagOverride: (
        Rule(
            "!has(self.operation) || self.operation != 'UPSERT' || (has(self.value) && self.value != '')",
            "is required for UPSERT",
            lambda value: value.get("operation") != "UPSERT" or bool(value.get("value")),
            "value",
        ),
        Rule(
            "!has(self.operation) || self.operation != 'REMOVE' || !has(self.value)",
            "is for UPSERT alone",
            lambda value: value.get("operation") != "REMOVE" or not has(value, "value"),
            "value",
        ),
    ),
    ext.WasmPluginSpec: (_POLICY_TARGET,),
    ext.TrafficExtensionSpec: (one_of("selector", "targetRefs"), one_of("wasm", "lua", exactly=True)),
    ext.EnvVar: (
        Rule(
            "!has(self.valueFrom) || self.valueFrom != 'HOST' || !has(self.value)",
            "is for INLINE alone",
            lambda value: value.get("valueFrom") != "HOST" or not has(value, "value"),
            "value",
        ),
    ),
}

_URL: Final = Rule(
    "isURL(self) ? (url(self).getScheme() in ['', 'http', 'https', 'oci', 'file']) : isURL('http://' + self)",
    "a URL's scheme is http, https, oci or file",
    lambda value: not plugin_url(value),
)
_LABEL_KEYS: Final = (
    Rule("self.all(key, key.size() != 0)", "a label's key must not be empty", lambda value: "" not in value),
)

# Rules of single fields, by the type that has the field and its JSON name.
FIELD_RULES: Final[dict[tuple[type, str], tuple[Rule, ...]]] = {
    (meta.WorkloadSelector, "matchLabels"): _LABEL_KEYS,
    (meta.PolicyTargetReference, "namespace"): (
        Rule("self.size() == 0", "nothing in another namespace can be referred to", lambda value: value == ""),
    ),
    (se.WorkloadEntry, "spec"): (_ADDRESS_OR_NETWORK, _SOCKET_WITHOUT_PORTS),
    (se.WorkloadEntrySpec, "address"): (
        Rule(
            "!self.startsWith('unix://') || self.size() == 7 || self.substring(7, 8) in ['/', '@']",
            "a socket is an absolute path or abstract (@name)",
            lambda value: not value.startswith("unix://") or value[7:8] in ("", "/", "@"),
        ),
        Rule(
            "!self.startsWith('unix://') || !self.endsWith('/')",
            "a socket is not a folder",
            lambda value: not value.startswith("unix://") or not value.endswith("/"),
        ),
    ),
    (se.ServicePort, "number"): (_PORT,),
    (se.ServicePort, "targetPort"): (_PORT,),
    (se.ServiceEntrySpec, "ports"): (
        Rule(
            "self.all(l1, self.exists_one(l2, l1.number == l2.number))",
            "a port's number stands twice",
            lambda value: len({port["number"] for port in value}) == len(value),
        ),
    ),
    (se.HTTPHealthCheckConfig, "port"): (_PORT,),
    (se.HTTPHealthCheckConfig, "scheme"): (
        Rule(
            "self in ['', 'HTTP', 'HTTPS']", "is neither HTTP nor HTTPS", lambda value: value in ("", "HTTP", "HTTPS")
        ),
    ),
    (se.TCPHealthCheckConfig, "port"): (_PORT,),
    (security.JWTRule, "jwksUri"): (
        Rule("isURL(self) && url(self).getScheme() in ['http', 'https']", "is not a URL of http or https", http_scheme),
    ),
    (ext.WasmPluginSpec, "url"): (_URL,),
    (ext.WasmConfig, "url"): (_URL,),
}

# Rules of each item of a list, or of each value of a mapping.
ITEM_RULES: Final[dict[tuple[type, str], tuple[Rule, ...]]] = {
    (meta.WorkloadSelector, "matchLabels"): (_NO_STAR,),
    (gw.WorkloadSelector, "labels"): (_NO_STAR,),
    (se.ServiceEntrySpec, "hosts"): (Rule("self != '*'", "* is no service", lambda value: value != "*"),),
    (se.ServiceEntrySpec, "endpoints"): (_ADDRESS_OR_NETWORK, _SOCKET_WITHOUT_PORTS),
    (se.WorkloadEntrySpec, "ports"): (_PORT,),
}

# Keys of mappings, as an expression over `key` and its Python twin: the key itself is blamed.
KEY_RULES: Final[dict[tuple[type, str], Rule]] = {
    (meta.WorkloadSelector, "matchLabels"): Rule(
        "!key.contains('*')", "there are no wildcards in a selector", _NO_STAR.holds
    ),
    (se.WorkloadEntrySpec, "ports"): Rule(
        f"key.size() < 63 && key.matches('^{LABEL}$')",
        "is not a port's name (a DNS label)",
        lambda key: len(key) < 63 and re.fullmatch(LABEL, key) is not None,
    ),
    (security.PeerAuthenticationSpec, "portLevelMtls"): Rule(
        "0 < int(key) && int(key) <= 65535",
        "is not a port's number (1 to 65535)",
        lambda key: key.isascii() and key.isdigit() and 0 < int(key) <= 65535,
    ),
}

# Lists that are mappings by a field of their items.
MAP_LISTS: Final[dict[tuple[type, str], str]] = {
    (se.ServiceEntrySpec, "ports"): "name",
    (ext.TrafficSelector, "ports"): "number",
    (ext.VmConfig, "env"): "name",
}

# Durations that may be less than a millisecond.
ANY_DURATION: Final[frozenset[tuple[type, str]]] = frozenset({(dr.HTTPCookie, "ttl"), (dr.TCPSettings, "idleTimeout")})
LEAST_NANOS: Final = 1_000_000
DURATION_CEL: Final = "duration(self) >= duration('1ms')"
GATEWAY_API_DURATION: Final = "^([0-9]{1,5}(h|m|s|ms)){1,4}$"  # GEP-2257
DURATION_MODULES: Final = frozenset(
    f"mizzen.api.istio.{name}"
    for name in (
        "virtual_service",
        "destination_rule",
        "gateway",
        "service_entry",
        "envoy_filter",
        "security",
        "telemetry",
        "extensions",
    )
)

# Fields whose proto name the schema takes too.
PROTO_NAMES: Final[dict[type, dict[str, str]]] = {
    vs.HTTPRoute: {"mirror_percent": "mirrorPercent"},
    security.JWTRule: {"jwks_uri": "jwksUri"},
}
