"""Command operators (%NAME(argument):length%): each is a function from StreamInfo to text or None.

`PLAIN` are those without an argument, `WITH_ARGUMENT` make their function from it. Not here: parsing of formats (format.py).
Source: Envoy's access-log format reference.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from typing import Any

from mizzen.proxy.accesslog.grpc import grpc_status
from mizzen.proxy.accesslog.metadata import (
    any_metadata,
    cluster_metadata,
    dynamic,
    filter_state,
    host_metadata,
    metadata_of,
)
from mizzen.proxy.accesslog.times import certificate_time, common_duration, emit_time, start_time, start_time_local
from mizzen.proxy.accesslog.values import HOSTNAME, Getter, host_only, iso_milliseconds, milliseconds, port_only
from mizzen.proxy.codec.headers import Headers
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.matchers import query_parameters
from mizzen.proxy.http.info import LONG, StreamInfo, flags_text
from mizzen.proxy.net.addresses import text_of


def duration(info: StreamInfo) -> int:
    return int(((info.end or time.monotonic()) - info.start) * 1000)


def upstream_cluster(info: StreamInfo) -> str | None:
    """The name that statistics have for the cluster."""
    return info.upstream_cluster_name


def details(info: StreamInfo) -> str | None:
    return info.details.replace(" ", "_") if info.details else None


def failure(text: str | None) -> str | None:
    return text.replace(" ", "_") if text else None


def upstream_host(info: StreamInfo) -> str | None:
    return None if info.host is None else info.host.text


def long_flags(info: StreamInfo) -> str:
    return ",".join(LONG[bit] for bit in info.flag_order or ()) or "-"


def peer(attribute: str) -> Getter:
    def read(info: StreamInfo) -> Any:
        tls = info.conn.tls
        return None if tls is None or tls.peer is None else getattr(tls.peer, attribute) or None

    return read


def peer_names(attribute: str) -> Getter:
    def read(info: StreamInfo) -> str | None:
        tls = info.conn.tls
        return None if tls is None or tls.peer is None else ",".join(getattr(tls.peer, attribute)) or None

    return read


def local_names(attribute: str) -> Getter:
    def read(info: StreamInfo) -> str | None:
        tls = info.conn.tls
        if tls is None or tls.local is None:
            return None
        value = getattr(tls.local, attribute)
        return ",".join(value) or None if isinstance(value, list) else value or None

    return read


def upstream_peer(attribute: str) -> Getter:
    def read(info: StreamInfo) -> str | None:
        tls = info.upstream_tls
        if tls is None or tls.peer is None:
            return None
        value = getattr(tls.peer, attribute)
        return ",".join(value) or None if isinstance(value, list) else value or None

    return read


def protocol(info: StreamInfo) -> str | None:
    return info.protocol


def downstream_tls(attribute: str) -> Getter:
    return lambda info: None if info.conn.tls is None else getattr(info.conn.tls, attribute)


def upstream_tls(attribute: str) -> Getter:
    return lambda info: None if info.upstream_tls is None else getattr(info.upstream_tls, attribute)


def header_bytes(part: str) -> Getter:
    def read(info: StreamInfo) -> int:
        headers: Headers | None = getattr(info, part)
        if headers is None:
            return 0
        extra = 0
        if part == "request" and info.request is not None:
            fixed = {
                ":method": info.request.method,
                ":path": info.request.path,
                ":authority": info.request.authority,
                ":scheme": info.request.scheme,
            }
            extra = sum(len(name) + len(value) for name, value in fixed.items() if value)
        elif part == "response":
            extra = len(":status") + 3
        return headers.byte_size() + extra

    return read


def trace_id(info: StreamInfo) -> str | None:
    parent = None if info.request is None else info.request.d.get("traceparent")
    return parent.split("-")[1] if parent and parent.count("-") >= 3 else None


def route_name(info: StreamInfo) -> str | None:
    return None if info.route is None else info.route.name or None


PLAIN: dict[str, Getter] = {
    "ACCESS_LOG_TYPE": lambda info: "DownstreamEnd",
    "BYTES_RECEIVED": lambda info: info.bytes_received,
    "BYTES_SENT": lambda info: info.bytes_sent,
    "CONNECTION_ID": lambda info: info.conn.id,
    "CONNECTION_TERMINATION_DETAILS": lambda info: failure(info.conn.termination),
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS": lambda info: text_of(info.conn.original_local),
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": lambda info: text_of(info.conn.direct_remote),
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": lambda info: host_only(info.conn.direct_remote),
    "DOWNSTREAM_DIRECT_REMOTE_PORT": lambda info: port_only(info.conn.direct_remote),
    "DOWNSTREAM_HEADER_BYTES_RECEIVED": header_bytes("request"),
    "DOWNSTREAM_HEADER_BYTES_SENT": header_bytes("response"),
    "DOWNSTREAM_LOCAL_ADDRESS": lambda info: text_of(info.conn.local),
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": lambda info: host_only(info.conn.local),
    "DOWNSTREAM_LOCAL_DNS_SAN": local_names("dns"),
    "DOWNSTREAM_LOCAL_IP_SAN": local_names("ips"),
    "DOWNSTREAM_LOCAL_PORT": lambda info: port_only(info.conn.local),
    "DOWNSTREAM_LOCAL_SUBJECT": local_names("subject"),
    "DOWNSTREAM_LOCAL_URI_SAN": local_names("uris"),
    "DOWNSTREAM_PEER_CERT_V_END": lambda info: None,
    "DOWNSTREAM_PEER_CERT_V_START": lambda info: None,
    "DOWNSTREAM_PEER_DNS_SAN": peer_names("dns"),
    "DOWNSTREAM_PEER_EMAIL_SAN": peer_names("emails"),
    "DOWNSTREAM_PEER_FINGERPRINT_1": peer("fingerprint_1"),
    "DOWNSTREAM_PEER_FINGERPRINT_256": peer("fingerprint_256"),
    "DOWNSTREAM_PEER_IP_SAN": peer_names("ips"),
    "DOWNSTREAM_PEER_ISSUER": peer("issuer"),
    "DOWNSTREAM_PEER_SERIAL": peer("serial"),
    "DOWNSTREAM_PEER_SUBJECT": peer("subject"),
    "DOWNSTREAM_PEER_URI_SAN": peer_names("uris"),
    "DOWNSTREAM_REMOTE_ADDRESS": lambda info: text_of(info.remote or info.conn.remote),
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": lambda info: host_only(info.remote or info.conn.remote),
    "DOWNSTREAM_REMOTE_PORT": lambda info: port_only(info.remote or info.conn.remote),
    "DOWNSTREAM_TLS_CIPHER": downstream_tls("cipher"),
    "DOWNSTREAM_TLS_VERSION": downstream_tls("version"),
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON": lambda info: failure(info.conn.transport_failure),
    "DURATION": duration,
    "FILTER_CHAIN_NAME": lambda info: info.conn.chain_name or None,
    "GRPC_STATUS": grpc_status("CAMEL_STRING"),
    "GRPC_STATUS_NUMBER": grpc_status("NUMBER"),
    "HOSTNAME": lambda info: HOSTNAME,
    "LOCAL_REPLY_BODY": lambda info: info.local_body or "",
    "PROTOCOL": protocol,
    "REQUESTED_SERVER_NAME": lambda info: info.conn.server_name or None,
    "REQUEST_DURATION": lambda info: milliseconds(info.start, info.last_downstream_rx),
    "REQUEST_TX_DURATION": lambda info: milliseconds(info.start, info.last_upstream_tx),
    "RESPONSE_CODE": lambda info: info.code,
    "RESPONSE_CODE_DETAILS": details,
    "RESPONSE_DURATION": lambda info: milliseconds(info.start, info.first_upstream_rx),
    "RESPONSE_FLAGS": flags_text,
    "RESPONSE_FLAGS_LONG": long_flags,
    "RESPONSE_TX_DURATION": lambda info: milliseconds(info.first_upstream_rx, info.last_downstream_tx),
    "ROUNDTRIP_DURATION": lambda info: None,
    "ROUTE_NAME": route_name,
    "STREAM_ID": lambda info: info.stream_id,
    "TRACE_ID": trace_id,
    "UPSTREAM_CLUSTER": upstream_cluster,
    "UPSTREAM_CLUSTER_RAW": lambda info: info.cluster.name if info.cluster is not None else info.upstream_cluster_name,
    "UPSTREAM_CONNECTION_ID": lambda info: None,
    "UPSTREAM_HEADER_BYTES_RECEIVED": lambda info: header_bytes("response")(info) if info.first_upstream_rx else 0,
    "UPSTREAM_HEADER_BYTES_SENT": lambda info: header_bytes("request")(info) if info.first_upstream_tx else 0,
    "UPSTREAM_HOST": upstream_host,
    "UPSTREAM_HOST_NAME": lambda info: None if info.host is None else info.host.hostname or info.host.text,
    "UPSTREAM_HOST_NAME_WITHOUT_PORT": lambda info: (
        None if info.host is None else info.host.hostname or info.host.address[0]
    ),
    "UPSTREAM_LOCAL_ADDRESS": lambda info: text_of(info.upstream_local),
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": lambda info: host_only(info.upstream_local),
    "UPSTREAM_LOCAL_PORT": lambda info: port_only(info.upstream_local),
    "UPSTREAM_PEER_DNS_SAN": upstream_peer("dns"),
    "UPSTREAM_PEER_ISSUER": upstream_peer("issuer"),
    "UPSTREAM_PEER_SUBJECT": upstream_peer("subject"),
    "UPSTREAM_PEER_URI_SAN": upstream_peer("uris"),
    "UPSTREAM_PROTOCOL": lambda info: info.upstream_protocol,
    "UPSTREAM_REMOTE_ADDRESS": upstream_host,
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": lambda info: None if info.host is None else info.host.address[0],
    "UPSTREAM_REMOTE_PORT": lambda info: None if info.host is None else port_only(info.host.address),
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": lambda info: info.attempts,
    "UPSTREAM_TLS_CIPHER": upstream_tls("cipher"),
    "UPSTREAM_TLS_VERSION": upstream_tls("version"),
    "UPSTREAM_TRANSPORT_FAILURE_REASON": lambda info: failure(info.upstream_failure),
    "VIRTUAL_CLUSTER_NAME": lambda info: None,
}


def header_of(part: str) -> Callable[[str], Getter]:
    """%REQ(A?B)% and its kin: the first of two names that is there, repeated values joined."""

    def make(argument: str) -> Getter:
        if not argument:
            raise ConfigError(f"a header name is required in the {part} header command operator")
        if argument.count("?") > 1:
            raise ConfigError(f"More than 1 alternative header specified in token: {argument}")
        first, _, second = argument.lower().partition("?")

        def read(info: StreamInfo) -> str | None:
            headers: Headers | None = getattr(info, part)
            if headers is None:
                return None
            value = headers.joined(first)
            return headers.joined(second) if value is None and second else value

        if part != "request" or first.startswith(":") or second:
            return read

        def read_request(info: StreamInfo) -> str | None:  # most logs are made of these
            request = info.request
            if request is None:
                return None
            return request.d.get(first) if request.more is None else request.joined(first)

        return read_request if first != "host" else read

    return make


def environment(argument: str) -> Getter:
    value = os.environ.get(argument, "-")
    return lambda info: value


def query_parameter(argument: str) -> Getter:
    return lambda info: None if info.request is None else query_parameters(info.request.path).get(argument)


def path_operator(argument: str) -> Getter:
    query, _, which = argument.partition(":")
    if query not in ("", "WQ", "NQ") or which not in ("", "ORIG", "PATH", "ORIG_OR_PATH"):
        raise ConfigError(f"Invalid PATH option: {argument}")

    def read(info: StreamInfo) -> str | None:
        if info.request is None:
            return None
        original = info.request.d.get("x-envoy-original-path")
        path = info.request.path if which == "PATH" else original if which == "ORIG" else original or info.request.path
        return path.partition("?")[0] if path is not None and query == "NQ" else path

    return read


def span_id(info: StreamInfo) -> str | None:
    parent = None if info.request is None else info.request.d.get("traceparent")
    return parent.split("-")[2] if parent and parent.count("-") >= 3 else None


WITH_ARGUMENT: dict[str, Callable[[str], Getter]] = {
    "CLUSTER_METADATA": metadata_of(cluster_metadata),
    "COMMON_DURATION": common_duration,
    "DOWNSTREAM_PEER_CERT_V_END": certificate_time("downstream", "not_after"),
    "DOWNSTREAM_PEER_CERT_V_START": certificate_time("downstream", "not_before"),
    "DYNAMIC_METADATA": metadata_of(dynamic),
    "EMIT_TIME": emit_time,
    "ENVIRONMENT": environment,
    "FILTER_STATE": filter_state,
    "GRPC_STATUS": grpc_status,
    "METADATA": any_metadata,
    "PATH": path_operator,
    "QUERY_PARAM": query_parameter,
    "REQ": header_of("request"),
    "REQUEST_HEADER": header_of("request"),
    "RESP": header_of("response"),
    "RESPONSE_HEADER": header_of("response"),
    "START_TIME": start_time,
    "START_TIME_LOCAL": start_time_local,
    "TRAILER": header_of("response_trailers"),
    "RESPONSE_TRAILER": header_of("response_trailers"),
    "UPSTREAM_METADATA": metadata_of(host_metadata),
    "UPSTREAM_PEER_CERT_V_END": certificate_time("upstream", "not_after"),
    "UPSTREAM_PEER_CERT_V_START": certificate_time("upstream", "not_before"),
}


PLAIN |= {
    "CUSTOM_FLAGS": lambda info: "",
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT": lambda info: host_only(info.conn.original_local),
    "DOWNSTREAM_DIRECT_LOCAL_PORT": lambda info: port_only(info.conn.original_local),
    "DOWNSTREAM_LOCAL_EMAIL_SAN": local_names("emails"),
    "REQUEST_HEADERS_BYTES": header_bytes("request"),
    "RESPONSE_HEADERS_BYTES": header_bytes("response"),
    "RESPONSE_TRAILERS_BYTES": header_bytes("response_trailers"),
    "SPAN_ID": span_id,
    "UNIQUE_ID": lambda info: str(uuid.uuid4()),
    "UPSTREAM_PEER_IP_SAN": upstream_peer("ips"),
    "START_TIME": lambda info: iso_milliseconds(info.start_wall),
    "PATH": path_operator(""),
    "DOWNSTREAM_PEER_CERT_V_START": certificate_time("downstream", "not_before")(""),
    "DOWNSTREAM_PEER_CERT_V_END": certificate_time("downstream", "not_after")(""),
    "DOWNSTREAM_PEER_CERT": lambda info: None,
}
