"""Which statistics a proxy keeps and how their names are taken apart into tags.

Takes ProxyConfig and the pod's annotations, gives the JSON of Bootstrap.stats_config. Expressions are RE2's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

ADDRESS = r"[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*"
TAGS: tuple[tuple[str, str], ...] = (
    ("cluster_name", r"^cluster\.((.+?);\.)"),
    ("tcp_prefix", r"^tcp\.((.*?)\.)\w+?$"),
    ("response_code", r"_rq(_(\d{3}))$"),
    ("response_code_class", r"_rq(_(\dxx))$"),
    ("http_conn_manager_listener_prefix", rf"^listener\..*?\.http\.((({ADDRESS}))\.)"),
    ("http_conn_manager_prefix", rf"^http\.((({ADDRESS}))\.)"),
    ("listener_address", rf"^listener\.((({ADDRESS}))\.)"),
    ("thread_name", r"^server\.((worker_\d+)\.)"),
    ("mongo_prefix", r"^mongo\.((.+?)\.)(collection|cmd|cx_|op_|delays_|decoding_)"),
)
LATE_TAGS: tuple[tuple[str, str], ...] = (
    ("cache", r"(cache\.(.+?)\.)"),
    ("component", r"(component\.(.+?)\.)"),
    ("tag", r"(tag\.(.+?);\.)"),
    ("wasm_filter", r"(wasm_filter\.(.+?)\.)"),
    ("authz_enforce_result", r"rbac(\.(allowed|denied))"),
    ("authz_dry_run_action", r"(\.istio_dry_run_(allow|deny)_)"),
    ("authz_dry_run_result", r"(\.shadow_(allowed|denied))"),
)
# What Istio's own metrics carry.
ISTIO_TAGS = (
    "reporter", "source_namespace", "source_workload", "source_workload_namespace", "source_principal", "source_app",
    "source_version", "source_cluster", "destination_namespace", "destination_workload",
    "destination_workload_namespace", "destination_principal", "destination_app", "destination_version",
    "destination_service", "destination_service_name", "destination_service_namespace", "destination_port",
    "destination_cluster", "request_protocol", "request_operation", "request_host", "response_flags",
    "grpc_response_status", "connection_security_policy", "source_canonical_service", "destination_canonical_service",
    "source_canonical_revision", "destination_canonical_revision",
)  # fmt: skip
PREFIXES = ("reporter=", "cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "wasm")
SUFFIXES = ("rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied", "component", "istio")
REGEXES = (r"vhost\..*\.route\..*",)
PREFIX = "sidecar.istio.io/"


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def stats_config(
    config: Mapping[str, Any], annotations: Mapping[str, str], ips: Sequence[str], *, connections: bool, lean: bool
) -> Json:
    """connections: whether active connections are kept too, for a drain that waits for them. lean: without the tags
    that only names made by Istio's own filters carry."""
    extra = [*config.get("extraStatTags", ()), *words(annotations.get(f"{PREFIX}extraStatTags", ""))]
    named = [(tag, rf"({tag}=\.=(.*?);\.;)") for tag in dict.fromkeys([*([] if lean else ISTIO_TAGS), *extra])]
    tags = [{"tag_name": name, "regex": regex} for name, regex in (*TAGS, *named, *LATE_TAGS)]
    result: Json = {"use_all_default_tags": False, "stats_tags": tags}
    result["stats_matcher"] = {"inclusion_list": {"patterns": inclusion(config, annotations, ips, connections)}}
    buckets = annotations.get(f"{PREFIX}statsHistogramBuckets", "")
    if buckets:
        result["histogram_bucket_settings"] = histogram_buckets(buckets)
    return result


def inclusion(
    config: Mapping[str, Any], annotations: Mapping[str, str], ips: Sequence[str], connections: bool
) -> list[Json]:
    matcher = config.get("proxyStatsMatcher") or {}

    def asked(field: str, annotation: str) -> list[str]:
        texts = [*matcher.get(field, ()), *words(annotations.get(f"{PREFIX}{annotation}", ""))]
        return [text.replace("{pod_ip}", ip) for text in texts for ip in (ips if "{pod_ip}" in text else [""])]

    prefixes = [*PREFIXES, *asked("inclusionPrefixes", "statsInclusionPrefixes")]
    suffixes = [*SUFFIXES, *asked("inclusionSuffixes", "statsInclusionSuffixes")]
    if connections:
        suffixes.append("downstream_cx_active")
    regexes = [*REGEXES, *asked("inclusionRegexps", "statsInclusionRegexps")]
    return [
        *({"prefix": text} for text in dict.fromkeys(prefixes)),
        *({"suffix": text} for text in dict.fromkeys(suffixes)),
        *({"safe_regex": {"regex": text}} for text in dict.fromkeys(regexes)),
    ]


def histogram_buckets(text: str) -> list[Json]:
    """The annotation's JSON: {"prefix": [bounds…]}. Raises UsageError."""
    import json

    from mizzen.api.errors import UsageError

    try:
        asked = json.loads(text)
        return [{"match": {"prefix": name}, "buckets": [float(x) for x in bounds]} for name, bounds in asked.items()]
    except (ValueError, AttributeError, TypeError) as error:
        raise UsageError(f"{PREFIX}statsHistogramBuckets: {error}") from error
