"""What an entry for an access log service says of a request or a TCP session.

`*_filler` read a configuration once and give what fills the messages. Source: envoy.data.accesslog.v3.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.data.accesslog.v3 import accesslog_pb2
from google.protobuf import json_format, struct_pb2, wrappers_pb2

from mizzen.proxy.accesslog.operators import header_bytes
from mizzen.proxy.http import info as flags
from mizzen.proxy.http.info import StreamInfo
from mizzen.proxy.net.addresses import Address
from mizzen.proxy.tracing.tags import custom_tags

Filler = Callable[[Any, StreamInfo], None]
TLS_VERSIONS: Final = {"TLSv1": 1, "TLSv1.1": 2, "TLSv1.2": 3, "TLSv1.3": 4}
HTTP_VERSIONS: Final = {"HTTP/1.0": 1, "HTTP/1.1": 2, "HTTP/2": 3, "HTTP/3": 4}
DOWNSTREAM_END, TCP_CONNECTION_END = 6, 3
# the members of ResponseFlags by our bits; reasons of UNAUTHORIZED_EXTERNAL_SERVICE are a message
FLAGS: Final = {
    flags.FAILED_LOCAL_HEALTH_CHECK: "failed_local_healthcheck",
    flags.NO_HEALTHY_UPSTREAM: "no_healthy_upstream",
    flags.UPSTREAM_REQUEST_TIMEOUT: "upstream_request_timeout",
    flags.LOCAL_RESET: "local_reset",
    flags.UPSTREAM_REMOTE_RESET: "upstream_remote_reset",
    flags.UPSTREAM_CONNECTION_FAILURE: "upstream_connection_failure",
    flags.UPSTREAM_CONNECTION_TERMINATION: "upstream_connection_termination",
    flags.UPSTREAM_OVERFLOW: "upstream_overflow",
    flags.NO_ROUTE_FOUND: "no_route_found",
    flags.DELAY_INJECTED: "delay_injected",
    flags.FAULT_INJECTED: "fault_injected",
    flags.RATE_LIMITED: "rate_limited",
    flags.RATE_LIMIT_SERVICE_ERROR: "rate_limit_service_error",
    flags.DOWNSTREAM_CONNECTION_TERMINATION: "downstream_connection_termination",
    flags.UPSTREAM_RETRY_LIMIT_EXCEEDED: "upstream_retry_limit_exceeded",
    flags.STREAM_IDLE_TIMEOUT: "stream_idle_timeout",
    flags.INVALID_ENVOY_REQUEST_HEADERS: "invalid_envoy_request_headers",
    flags.DOWNSTREAM_PROTOCOL_ERROR: "downstream_protocol_error",
    flags.UPSTREAM_MAX_STREAM_DURATION_REACHED: "upstream_max_stream_duration_reached",
    flags.RESPONSE_FROM_CACHE_FILTER: "response_from_cache_filter",
    flags.NO_FILTER_CONFIG_FOUND: "no_filter_config_found",
    flags.DURATION_TIMEOUT: "duration_timeout",
    flags.UPSTREAM_PROTOCOL_ERROR: "upstream_protocol_error",
    flags.NO_CLUSTER_FOUND: "no_cluster_found",
    flags.OVERLOAD_MANAGER: "overload_manager",
    flags.DNS_RESOLUTION_FAILED: "dns_resolution_failure",
    flags.DOWNSTREAM_REMOTE_RESET: "downstream_remote_reset",
}


def common_filler(config: Any) -> Filler:
    """Fills AccessLogCommon. Raises ConfigError for a CustomTag that is none."""
    tags = list(custom_tags(config.custom_tags).values())
    objects = list(config.filter_state_objects_to_log)

    def fill(out: Any, info: StreamInfo) -> None:
        _connection(out, info)
        _times(out, info)
        _upstream(out, info)
        _flags(out.response_flags, info)
        if info.route is not None and info.route.name:
            out.route_name = info.route.name
        for name, struct in (info.metadata or {}).items():
            json_format.ParseDict(struct, out.metadata.filter_metadata[name])
        for key in objects:
            value = info.get_filter_state(key)
            if value is not None:
                out.filter_state_objects[key].Pack(_state(value))
        for name, read in tags:
            text = read(info)
            if text is not None:
                out.custom_tags[name] = text
        http = info.request is not None or bool(info.protocol)
        if info.stream_id or not http:
            out.stream_id = info.stream_id or str(uuid.uuid4())
        if info.conn.termination:
            out.connection_termination_details = info.conn.termination
        out.access_log_type = DOWNSTREAM_END if http else TCP_CONNECTION_END

    return fill


def _state(value: Any) -> Any:
    if isinstance(value, dict):
        struct = struct_pb2.Struct()
        struct.update(value)
        return struct
    return wrappers_pb2.StringValue(value=str(value))


def _address(out: Any, address: Address | None) -> None:
    if address is None:
        return
    host, port = address
    if port < 0:
        out.pipe.path = host
    else:
        out.socket_address.address, out.socket_address.port_value = host, port


def _connection(out: Any, info: StreamInfo) -> None:
    conn = info.conn
    _address(out.downstream_remote_address, info.remote or conn.remote)
    _address(out.downstream_direct_remote_address, conn.direct_remote)
    _address(out.downstream_local_address, conn.local)
    if conn.transport_failure:
        out.downstream_transport_failure_reason = conn.transport_failure
    if conn.tls is not None:
        _tls(out.tls_properties, info)


def _tls(out: Any, info: StreamInfo) -> None:
    tls = info.conn.tls
    assert tls is not None
    out.tls_sni_hostname = info.conn.server_name
    for side, certificate in (
        (out.local_certificate_properties, tls.local),
        (out.peer_certificate_properties, tls.peer),
    ):
        side.SetInParent()
        if certificate is not None:
            for uri in certificate.uris:
                side.subject_alt_name.add(uri=uri)
            for name in certificate.dns:
                side.subject_alt_name.add(dns=name)
            side.subject = certificate.subject
    if tls.peer is not None:
        out.peer_certificate_properties.issuer = tls.peer.issuer
    out.tls_version = TLS_VERSIONS.get(tls.version or "", 0)
    number = CIPHERS.get(tls.cipher or "")
    if number is not None:
        out.tls_cipher_suite.value = number


# IANA's numbers of the suites that are negotiated, by OpenSSL's names
CIPHERS: Final = {
    "TLS_AES_128_GCM_SHA256": 0x1301,
    "TLS_AES_256_GCM_SHA384": 0x1302,
    "TLS_CHACHA20_POLY1305_SHA256": 0x1303,
    "ECDHE-ECDSA-AES128-GCM-SHA256": 0xC02B,
    "ECDHE-ECDSA-AES256-GCM-SHA384": 0xC02C,
    "ECDHE-RSA-AES128-GCM-SHA256": 0xC02F,
    "ECDHE-RSA-AES256-GCM-SHA384": 0xC030,
    "ECDHE-RSA-CHACHA20-POLY1305": 0xCCA8,
    "ECDHE-ECDSA-CHACHA20-POLY1305": 0xCCA9,
    "ECDHE-ECDSA-AES128-SHA": 0xC009,
    "ECDHE-ECDSA-AES256-SHA": 0xC00A,
    "ECDHE-RSA-AES128-SHA": 0xC013,
    "ECDHE-RSA-AES256-SHA": 0xC014,
    "AES128-GCM-SHA256": 0x009C,
    "AES256-GCM-SHA384": 0x009D,
    "AES128-SHA": 0x002F,
    "AES256-SHA": 0x0035,
}


def _times(out: Any, info: StreamInfo) -> None:
    out.start_time.FromNanoseconds(int(info.start_wall * 1e9))
    for duration, moment in (
        (out.time_to_last_rx_byte, info.last_downstream_rx),
        (out.time_to_first_upstream_tx_byte, info.first_upstream_tx),
        (out.time_to_last_upstream_tx_byte, info.last_upstream_tx),
        (out.time_to_first_upstream_rx_byte, info.first_upstream_rx),
        (out.time_to_last_upstream_rx_byte, info.last_upstream_rx),
        (out.time_to_first_downstream_tx_byte, info.first_upstream_rx or info.last_downstream_tx),
        (out.time_to_last_downstream_tx_byte, info.last_downstream_tx),
        (out.duration, info.end),
    ):
        if moment:
            duration.FromNanoseconds(max(1, int((moment - info.start) * 1e9)))


def _upstream(out: Any, info: StreamInfo) -> None:
    if info.host is not None:
        _address(out.upstream_remote_address, info.host.address)
        out.upstream_cluster = info.cluster.name if info.cluster is not None else info.upstream_cluster_name or ""
    _address(out.upstream_local_address, info.upstream_local)
    if info.upstream_failure:
        out.upstream_transport_failure_reason = info.upstream_failure
    out.upstream_request_attempt_count = info.attempts


def _flags(out: Any, info: StreamInfo) -> None:
    for bit in info.flag_order or ():
        if bit == flags.UNAUTHORIZED_EXTERNAL_SERVICE:
            out.unauthorized_details.reason = accesslog_pb2.ResponseFlags.Unauthorized.EXTERNAL_SERVICE
        elif bit in FLAGS:
            setattr(out, FLAGS[bit], True)


def http_filler(config: Any) -> Filler:
    """Fills the rest of an HTTPAccessLogEntry."""
    request_names = [name.lower() for name in config.additional_request_headers_to_log]
    response_names = [name.lower() for name in config.additional_response_headers_to_log]
    trailer_names = [name.lower() for name in config.additional_response_trailers_to_log]

    def fill(entry: Any, info: StreamInfo) -> None:
        entry.protocol_version = HTTP_VERSIONS.get(info.protocol or "", 0)
        _request(entry.request, info)
        _headers(entry.request.request_headers, info.request, request_names)
        _response(entry.response, info)
        _headers(entry.response.response_headers, info.response, response_names)
        _headers(entry.response.response_trailers, info.response_trailers, trailer_names)

    return fill


_request_bytes, _response_bytes = header_bytes("request"), header_bytes("response")


def _headers(out: Any, headers: Any, names: list[str]) -> None:
    if headers is not None:
        for name in names:
            value = headers.joined(name)
            if value is not None:
                out[name] = value.encode("latin-1", "replace").decode("utf-8", "replace")


def _request(out: Any, info: StreamInfo) -> None:
    request = info.request
    out.request_body_bytes = info.bytes_received
    if request is None:
        return
    d = request.d
    out.request_method = base_pb2.RequestMethod.Value(request.method) if request.method in _METHODS else 0
    for name, value in (
        ("scheme", request.scheme),
        ("authority", request.authority),
        ("path", request.path),
        ("user_agent", d.get("user-agent")),
        ("referer", d.get("referer")),
        ("forwarded_for", d.get("x-forwarded-for")),
        ("request_id", d.get("x-request-id")),
        ("original_path", d.get("x-envoy-original-path")),
    ):
        if value:
            setattr(out, name, value)
    out.request_headers_bytes = _request_bytes(info)


_METHODS = frozenset(base_pb2.RequestMethod.keys())


def _response(out: Any, info: StreamInfo) -> None:
    if info.code:
        out.response_code.value = info.code
    if info.details:
        out.response_code_details = info.details.replace(" ", "_")
    out.response_body_bytes = info.bytes_sent
    out.response_headers_bytes = _response_bytes(info)


def tcp_filler(entry: Any, info: StreamInfo) -> None:
    """Fills the rest of a TCPAccessLogEntry."""
    entry.connection_properties.received_bytes = info.bytes_received
    entry.connection_properties.sent_bytes = info.bytes_sent
