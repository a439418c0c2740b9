"""Hypothesis strategy for EnvoyFilters whose patches are sound: what they put in is valid where they put it.

Every applyTo that a control plane serves, every operation that leaves a configuration whole (REMOVE and REPLACE of arbitrary
parts do not), and matches that hit or miss.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Patches = st.SearchStrategy[dict[str, Any]]
TYPES = "type.googleapis.com/envoy.extensions."
CONTEXTS = st.sampled_from(("ANY", "SIDECAR_OUTBOUND", "SIDECAR_INBOUND", "GATEWAY"))
HCM = "envoy.filters.network.http_connection_manager"
NAMES = ("virtualInbound", "virtualOutbound", "0.0.0.0_80", "10.0.0.1_9000", "0.0.0.0_8080", "absent")
CLUSTERS = (
    "outbound|80||a.shop.svc.cluster.local",
    "outbound|443||b.shop.svc.cluster.local",
    "PassthroughCluster",
    "absent",
)
PORTS = st.sampled_from((80, 81, 443, 9000, 15006))


def some(**fields: st.SearchStrategy[Any]) -> Patches:
    """Objects with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


def typed(name: str, proto: str, **fields: Any) -> dict[str, Any]:
    """A filter, or another extension, with its typed config."""
    return {"name": name, "typed_config": {"@type": TYPES + proto, **fields}}


HTTP_FILTERS = st.sampled_from(
    (
        typed("envoy.filters.http.buffer", "filters.http.buffer.v3.Buffer", max_request_bytes=65536),
        typed(
            "lua", "filters.http.lua.v3.Lua", default_source_code={"inline_string": "function envoy_on_request(h) end"}
        ),
        typed("limit", "filters.http.local_ratelimit.v3.LocalRateLimit", stat_prefix="limit"),
        typed(
            "envoy.filters.http.csrf",
            "filters.http.csrf.v3.CsrfPolicy",
            filter_enabled={"default_value": {"numerator": 1}},
        ),
        {
            "name": "by-ecds",
            "config_discovery": {
                "config_source": {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"},
                "type_urls": [TYPES + "filters.http.buffer.v3.Buffer"],
            },
        },
    )
)
NETWORK_FILTERS = st.sampled_from(
    (
        typed("limit", "filters.network.connection_limit.v3.ConnectionLimit", stat_prefix="limit", max_connections=9),
        typed("rbac", "filters.network.rbac.v3.RBAC", stat_prefix="rbac"),
    )
)
LISTENER_FILTERS = st.sampled_from(
    (
        typed("envoy.filters.listener.tls_inspector", "filters.listener.tls_inspector.v3.TlsInspector"),
        typed("envoy.filters.listener.proxy_protocol", "filters.listener.proxy_protocol.v3.ProxyProtocol"),
        typed("envoy.filters.listener.original_dst", "filters.listener.original_dst.v3.OriginalDst"),
    )
)
HEADERS = [{"header": {"key": "x-patched", "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]
LISTENER = some(
    per_connection_buffer_limit_bytes=st.just(32768),
    listener_filters_timeout=st.just("3s"),
    tcp_backlog_size=st.just(64),
    ignore_global_conn_limit=st.booleans(),
)
CHAIN = some(transport_socket_connect_timeout=st.just("2s"), metadata=st.just({"filter_metadata": {"a": {"b": "c"}}}))
CLUSTER = some(
    connect_timeout=st.just("7s"),
    circuit_breakers=st.just({"thresholds": [{"priority": "HIGH", "max_connections": 7}]}),
    outlier_detection=st.just({"consecutive_5xx": 3, "max_ejection_percent": 20}),
    upstream_connection_options=st.just({"tcp_keepalive": {"keepalive_time": 9}}),
    dns_lookup_family=st.sampled_from(("V4_ONLY", "ALL")),
    per_connection_buffer_limit_bytes=st.just(16384),
)
NEW_CLUSTER = st.just(
    {
        "name": "added",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "added",
            "endpoints": [
                {
                    "lb_endpoints": [
                        {"endpoint": {"address": {"socket_address": {"address": "192.0.2.1", "port_value": 80}}}}
                    ]
                }
            ],
        },
    }
)
NEW_LISTENER = st.just(
    {
        "name": "added",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 29999}},
        "filter_chains": [
            {"filters": [typed("tcp", "filters.network.tcp_proxy.v3.TcpProxy", stat_prefix="added", cluster="added")]}
        ],
    }
)
ROUTES = some(
    response_headers_to_add=st.just(HEADERS),
    request_headers_to_remove=st.just(["x-gone"]),
    max_direct_response_body_size_bytes=st.just(999),
)
VIRTUAL_HOST = some(
    response_headers_to_add=st.just(HEADERS),
    include_request_attempt_count=st.booleans(),
    retry_policy=st.just({"retry_on": "5xx", "num_retries": 1}),
)
NEW_ROUTE = st.sampled_from(
    (
        {"name": "added", "match": {"prefix": "/added"}, "direct_response": {"status": 418}},
        {"name": "elsewhere", "match": {"path": "/e"}, "redirect": {"host_redirect": "e.test"}},
    )
)
ROUTE = some(
    response_headers_to_add=st.just(HEADERS),
    decorator=st.just({"operation": "patched"}),
    typed_per_filter_config=st.just(
        {"envoy.filters.http.buffer": {"@type": TYPES + "filters.http.buffer.v3.BufferPerRoute", "disabled": True}}
    ),
)

FILTER = some(name=st.sampled_from((HCM, "envoy.filters.network.tcp_proxy", "absent"))).flatmap(
    lambda one: some(subFilter=some(name=st.sampled_from(("envoy.filters.http.router", "istio.alpn", "absent")))).map(
        lambda sub: {**one, **sub} if one.get("name") == HCM else one
    )
)
ON_LISTENER = some(
    name=st.sampled_from(NAMES),
    portNumber=PORTS,
    filterChain=some(
        name=st.sampled_from(("virtualInbound", "PassthroughFilterChain", "absent")),
        transportProtocol=st.sampled_from(("tls", "raw_buffer")),
        applicationProtocols=st.just("istio-http/1.1"),
        destinationPort=PORTS,
        filter=FILTER,
    ),
)
ON_HTTP = st.just({"filterChain": {"filter": {"name": HCM, "subFilter": {"name": "envoy.filters.http.router"}}}})
ON_ROUTES = some(
    name=st.sampled_from(("80", "inbound|80||", "http.80", "absent")),
    portNumber=PORTS,
    gateway=st.just("shop/edge"),
    vhost=some(
        name=st.sampled_from(("a.shop.svc.cluster.local:80", "allow_any", "absent")),
        route=some(name=st.just("default"), action=st.sampled_from(("ANY", "ROUTE", "DIRECT_RESPONSE"))),
    ),
)
ON_CLUSTER = some(
    name=st.sampled_from(CLUSTERS),
    service=st.sampled_from(("a.shop.svc.cluster.local", "absent.test")),
    portNumber=PORTS,
    subset=st.just("v1"),
)
PROXY = some(
    proxy=some(proxyVersion=st.sampled_from((".*", r"^1\.2.*", "^0$")), metadata=st.just({"CLUSTER_ID": "Kubernetes"}))
)


def _patch(apply_to: str, operations: str, value: Patches, where: str, match: Patches) -> Patches:
    def build(
        context: str, operation: str, proxy: dict[str, Any], patched: dict[str, Any], part: dict[str, Any]
    ) -> Any:
        matched = {"context": context, **proxy, **({where: part} if where else {})}
        return {"applyTo": apply_to, "match": matched, "patch": {"operation": operation, "value": patched}}

    return st.builds(build, CONTEXTS, st.sampled_from(operations.split()), PROXY, value, match)


ANYWHERE: Patches = st.just({})
PATCH = st.one_of(
    _patch("LISTENER", "MERGE", LISTENER, "listener", ON_LISTENER),
    _patch("LISTENER", "ADD", NEW_LISTENER, "", ANYWHERE),
    _patch("LISTENER_FILTER", "INSERT_FIRST INSERT_BEFORE ADD", LISTENER_FILTERS, "listener", ON_LISTENER),
    _patch("FILTER_CHAIN", "MERGE", CHAIN, "listener", ON_LISTENER),
    _patch("NETWORK_FILTER", "INSERT_FIRST INSERT_BEFORE", NETWORK_FILTERS, "listener", ON_LISTENER),
    _patch("HTTP_FILTER", "INSERT_FIRST INSERT_BEFORE", HTTP_FILTERS, "listener", ON_HTTP),
    _patch("CLUSTER", "MERGE", CLUSTER, "cluster", ON_CLUSTER),
    _patch("CLUSTER", "ADD", NEW_CLUSTER, "", ANYWHERE),
    _patch("ROUTE_CONFIGURATION", "MERGE", ROUTES, "routeConfiguration", ON_ROUTES),
    _patch("VIRTUAL_HOST", "MERGE", VIRTUAL_HOST, "routeConfiguration", ON_ROUTES),
    _patch("HTTP_ROUTE", "MERGE", ROUTE, "routeConfiguration", ON_ROUTES),
    _patch("HTTP_ROUTE", "ADD INSERT_FIRST INSERT_BEFORE INSERT_AFTER", NEW_ROUTE, "routeConfiguration", ON_ROUTES),
    _patch(
        "EXTENSION_CONFIG",
        "ADD",
        st.just({**typed("by-ecds", "filters.http.buffer.v3.Buffer", max_request_bytes=1)}),
        "",
        ANYWHERE,
    ),
)
SPEC = st.fixed_dictionaries(
    {"configPatches": st.lists(PATCH, min_size=1, max_size=3)},
    optional={"priority": st.sampled_from((-5, 0, 7)), "workloadSelector": st.just({"labels": {"app": "a"}})},
)
"""Specs of EnvoyFilters."""
