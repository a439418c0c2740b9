"""External authorizers as filters.

Takes an extension provider of MeshConfig, gives the HTTP or network ext_authz filter's name and config.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoy.config.core.v3 import base_pb2, grpc_service_pb2, http_uri_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2 as http_pb2
from envoy.extensions.filters.network.ext_authz.v3 import ext_authz_pb2 as network_pb2
from envoy.type.matcher.v3 import string_pb2
from envoy.type.v3 import http_status_pb2

from mizzen.api.istio.providers import EnvoyExtAuthzGrpc, EnvoyExtAuthzHttp, ExtensionProvider, RequestBody
from mizzen.api.types import Duration
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.messages import V3, duration
from mizzen.istiod.translate.security import matchers
from mizzen.istiod.translate.telemetry.providers import provider_cluster

HTTP, NETWORK = "envoy.filters.http.ext_authz", "envoy.filters.network.ext_authz"
HTTP_RBAC, NETWORK_RBAC = "envoy.filters.http.rbac", "envoy.filters.network.rbac"
POLICY_KEY = "istio_ext_authz_shadow_effective_policy_id"
DEFAULT_TIMEOUT_S = 600.0
Named = tuple[str, Any]


def usable(snap: Snapshot, provider: ExtensionProvider) -> bool:
    """Whether the provider is an authorizer whose service the registry knows."""
    authorizer = provider.envoy_ext_authz_http or provider.envoy_ext_authz_grpc
    if authorizer is None or provider_cluster(snap, authorizer.service, authorizer.port) is None:
        return False
    return not authorizer.status_on_error or status(authorizer.status_on_error) is not None


def http(snap: Snapshot, provider: ExtensionProvider, asked: str, sidecar: bool) -> Named:
    """The HTTP filter. asked: prefix of the RBAC policy ids that the authorizer is asked about."""
    if provider.envoy_ext_authz_grpc is not None:
        config = _http_over_grpc(snap, provider.envoy_ext_authz_grpc)
        clear = provider.envoy_ext_authz_grpc.clear_route_cache
    else:
        assert provider.envoy_ext_authz_http is not None  # usable() has seen to it
        config = _http_over_http(snap, provider.envoy_ext_authz_http)
        clear = provider.envoy_ext_authz_http.clear_route_cache
    config.clear_route_cache = clear and not sidecar
    config.transport_api_version = V3
    config.filter_enabled_metadata.CopyFrom(_asked(HTTP_RBAC, asked))
    return HTTP, config


def network(snap: Snapshot, provider: ExtensionProvider, asked: str) -> Named:
    """The network filter; only for authorizers that speak gRPC."""
    grpc = provider.envoy_ext_authz_grpc
    assert grpc is not None  # HTTP authorizers are left out on TCP chains
    config = network_pb2.ExtAuthz(
        stat_prefix="tcp.",
        grpc_service=_grpc(snap, grpc),
        failure_mode_allow=grpc.fail_open,
        transport_api_version=V3,
        filter_enabled_metadata=_asked(NETWORK_RBAC, asked),
    )
    return NETWORK, config


def status(text: str) -> Any:
    """A status code by number, None for one that Envoy does not know."""
    if not text.isdigit():
        return None
    try:
        http_status_pb2.StatusCode.Name(int(text))
    except ValueError:
        return None
    return http_status_pb2.HttpStatus(code=int(text)) if int(text) else None


def _asked(rbac: str, prefix: str) -> Any:
    value = matchers.ValueMatcher(string_match=string_pb2.StringMatcher(prefix=prefix))
    return matchers.metadata(rbac, (POLICY_KEY,), value)


def _body(config: Any, body: RequestBody | None) -> None:
    if body is not None:
        config.with_request_body.max_request_bytes = body.max_request_bytes
        config.with_request_body.allow_partial_message = body.allow_partial_message
        config.with_request_body.pack_as_bytes = body.pack_as_bytes


def _timeout(given: Duration | None) -> Any:
    return duration(given if given is not None else DEFAULT_TIMEOUT_S)


def _grpc(snap: Snapshot, grpc: EnvoyExtAuthzGrpc) -> Any:
    host, cluster = provider_cluster(snap, grpc.service, grpc.port) or ("", "")
    return grpc_service_pb2.GrpcService(
        envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=cluster, authority=host),
        timeout=_timeout(grpc.timeout),
    )


def _http_over_grpc(snap: Snapshot, grpc: EnvoyExtAuthzGrpc) -> Any:
    config = http_pb2.ExtAuthz(
        grpc_service=_grpc(snap, grpc),
        failure_mode_allow=grpc.fail_open,
        status_on_error=status(grpc.status_on_error),
    )
    _body(config, grpc.include_request_body_in_check)
    return config


def _http_over_http(snap: Snapshot, given: EnvoyExtAuthzHttp) -> Any:
    host, cluster = provider_cluster(snap, given.service, given.port) or ("", "")
    service = http_pb2.HttpService(
        server_uri=http_uri_pb2.HttpUri(uri=f"http://{host}", cluster=cluster, timeout=_timeout(given.timeout)),
        path_prefix=given.path_prefix,
    )
    for name, value in sorted(given.include_additional_headers_in_check.items()):
        service.authorization_request.headers_to_add.append(base_pb2.HeaderValue(key=name, value=value))
    response = service.authorization_response
    _headers(response.allowed_upstream_headers, given.headers_to_upstream_on_allow)
    _headers(response.allowed_client_headers, given.headers_to_downstream_on_deny)
    _headers(response.allowed_client_headers_on_success, given.headers_to_downstream_on_allow)
    config = http_pb2.ExtAuthz(
        http_service=service,
        failure_mode_allow=given.fail_open,
        status_on_error=status(given.status_on_error),
    )
    _headers(config.allowed_headers, given.include_request_headers_in_check or given.include_headers_in_check)
    _body(config, given.include_request_body_in_check)
    return config


def _headers(target: Any, names: Iterable[str]) -> None:
    target.patterns.extend(matchers.text(name, ignore_case=True) for name in names)
