"""Attributes of a request or session as CEL expressions read them: request.path, response.code, source.address, …

An attribute that there is not, or not yet, is an error to an expression, and absent to has().
Source: Envoy's "Attributes" reference. Not here: the language (mizzen.cel).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from mizzen.cel import EvaluationError
from mizzen.cel.values import Uint
from mizzen.proxy.accesslog.grpc import grpc_number
from mizzen.proxy.accesslog.metadata import (
    cluster_metadata,
    host_group_metadata,
    host_metadata,
    listener_metadata,
    route_metadata,
)
from mizzen.proxy.accesslog.operators import header_bytes
from mizzen.proxy.http.info import StreamInfo
from mizzen.proxy.net.addresses import Address, text_of
from mizzen.wire.grpc_status import FROM_HTTP

Read = Callable[[StreamInfo], Any]  # None: there is no such attribute


class HeaderMap(dict[str, str]):
    """Headers by name in any case; repeated values are joined."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and dict.__contains__(self, name.lower())

    def __getitem__(self, name: str) -> str:
        return dict.__getitem__(self, name.lower())


class Attributes(dict[str, Any]):
    """The members of one name, read when they are asked for."""

    def __init__(self, members: Mapping[str, Read], info: StreamInfo) -> None:
        self._members, self._info = members, info

    def _read(self, name: object) -> Any:
        read = self._members.get(name) if isinstance(name, str) else None
        return None if read is None else read(self._info)

    def __contains__(self, name: object) -> bool:
        return self._read(name) is not None

    def __getitem__(self, name: str) -> Any:
        value = self._read(name)
        if value is None:
            raise EvaluationError(f"no such key: {name}")
        return value


class Environment(Mapping[str, Any]):
    """Every name that an expression may begin with."""

    def __init__(self, info: StreamInfo) -> None:
        self._info = info

    def __getitem__(self, name: str) -> Any:
        members = NAMES.get(name)
        if members is not None:
            return Attributes(members, self._info)
        if name == "metadata":
            return self._info.metadata or {}
        if name == "filter_state":
            return {**(self._info.conn.filter_state or {}), **(self._info.filter_state or {})}
        raise KeyError(name)

    def __iter__(self) -> Any:
        return iter((*NAMES, "metadata", "filter_state"))

    def __len__(self) -> int:
        return len(NAMES) + 2


def _header(part: str, name: str) -> Read:
    def read(info: StreamInfo) -> str | None:
        headers = getattr(info, part)
        return None if headers is None else headers.joined(name)

    return read


def _pseudo(name: str) -> Read:
    return lambda info: None if info.request is None else getattr(info.request, name) or None


def _headers(part: str) -> Read:
    def read(info: StreamInfo) -> HeaderMap:
        headers = getattr(info, part)
        out = HeaderMap()
        if headers is None:
            return out
        for name, value in headers.items():
            out[name] = f"{out[name]},{value}" if name in out else value
        if part == "request":
            for name in ("method", "path", "authority", "scheme"):
                if getattr(headers, name):
                    out[":" + name] = getattr(headers, name)
        elif part == "response":
            out[":status"] = str(headers.status)
        return out

    return read


def _part_of_path(at: int) -> Read:
    return lambda info: None if info.request is None else info.request.path.partition("?")[at]


def _duration(since: Read, until: Read) -> Read:
    def read(info: StreamInfo) -> timedelta | None:
        start, end = since(info), until(info)
        return timedelta(seconds=end - start) if start and end else None

    return read


def _host(read: Read) -> Read:
    def text(info: StreamInfo) -> str | None:
        address: Address | None = read(info)
        return None if address is None else text_of(address)

    return text


def _port(read: Read) -> Read:
    def port(info: StreamInfo) -> int | None:
        address: Address | None = read(info)
        return None if address is None or address[1] < 0 else address[1]

    return port


def _tls(member: str, upstream: bool = False) -> Read:
    def read(info: StreamInfo) -> Any:
        tls = info.upstream_tls if upstream else info.conn.tls
        return None if tls is None else getattr(tls, member)

    return read


def _certificate(side: str, member: str, upstream: bool = False) -> Read:
    """Of several names the first."""

    def read(info: StreamInfo) -> str | None:
        tls = info.upstream_tls if upstream else info.conn.tls
        certificate = None if tls is None else getattr(tls, side)
        if certificate is None:
            return None
        value = getattr(certificate, member)
        if isinstance(value, list):
            return value[0] if value else None
        return value or None

    return read


def _certificates(upstream: bool) -> dict[str, Read]:
    return {
        f"{name}_{side}_certificate": _certificate(side, member, upstream)
        for side in ("local", "peer")
        for name, member in (("subject", "subject"), ("dns_san", "dns"), ("uri_san", "uris"))
    } | {"sha256_peer_certificate_digest": _certificate("peer", "fingerprint_256", upstream)}


def _grpc_status(info: StreamInfo) -> int | None:
    """Of a request that is none of gRPC, what its HTTP status stands for."""
    number = grpc_number(info)
    return FROM_HTTP.get(info.code, 2) if number is None and info.code else number


def _total(part: str, body: str) -> Read:
    headers = header_bytes(part)
    return lambda info: headers(info) + getattr(info, body)


_REMOTE: Final[Read] = lambda info: info.remote or info.conn.remote  # noqa: E731
_LOCAL: Final[Read] = lambda info: info.conn.local  # noqa: E731
_UPSTREAM: Final[Read] = lambda info: None if info.host is None else info.host.address  # noqa: E731
NAMES: Final[dict[str, dict[str, Read]]] = {
    "request": {
        "path": _pseudo("path"),
        "url_path": _part_of_path(0),
        "query": _part_of_path(2),
        "host": _pseudo("authority"),
        "scheme": _pseudo("scheme"),
        "method": _pseudo("method"),
        "headers": _headers("request"),
        "referer": _header("request", "referer"),
        "useragent": _header("request", "user-agent"),
        "id": _header("request", "x-request-id"),
        "time": lambda info: datetime.fromtimestamp(info.start_wall, UTC),
        "protocol": lambda info: info.protocol,
        "duration": _duration(lambda info: info.start, lambda info: info.end),
        "size": lambda info: info.bytes_received,
        "total_size": _total("request", "bytes_received"),
    },
    "response": {
        "code": lambda info: info.code or None,
        "code_details": lambda info: info.details and info.details.replace(" ", "_"),
        "flags": lambda info: info.flags,
        "grpc_status": _grpc_status,
        "headers": _headers("response"),
        "trailers": _headers("response_trailers"),
        "size": lambda info: info.bytes_sent,
        "total_size": _total("response", "bytes_sent"),
        "backend_latency": _duration(lambda info: info.first_upstream_tx, lambda info: info.last_upstream_rx),
    },
    "source": {"address": _host(_REMOTE), "port": _port(_REMOTE)},
    "destination": {"address": _host(_LOCAL), "port": _port(_LOCAL)},
    "connection": {
        "id": lambda info: Uint(info.conn.id),
        "mtls": lambda info: info.conn.tls is not None and info.conn.tls.peer_der is not None,
        "requested_server_name": lambda info: info.conn.server_name,
        "tls_version": _tls("version"),
        "termination_details": lambda info: info.conn.termination,
        "transport_failure_reason": lambda info: info.conn.transport_failure,
        **_certificates(False),
    },
    "upstream": {
        "address": _host(_UPSTREAM),
        "port": _port(_UPSTREAM),
        "local_address": _host(lambda info: info.upstream_local),
        "tls_version": _tls("version", True),
        "transport_failure_reason": lambda info: None if info.host is None else info.upstream_failure or "",
        "request_attempt_count": lambda info: Uint(info.attempts),
        **_certificates(True),
    },
    "xds": {
        "cluster_name": lambda info: None if info.cluster is None else info.cluster.name,
        "cluster_metadata": cluster_metadata,
        "route_name": lambda info: None if info.route is None else info.route.name,
        "route_metadata": route_metadata,
        "virtual_host_name": lambda info: None if info.vhost is None else info.vhost.name,
        "virtual_host_metadata": host_group_metadata,
        "upstream_host_metadata": host_metadata,
        "filter_chain_name": lambda info: info.conn.chain_name or "",
        "listener_metadata": listener_metadata,
        "listener_direction": lambda info: (
            None if info.conn.listener is None else info.conn.listener.proto.traffic_direction
        ),
    },
}
