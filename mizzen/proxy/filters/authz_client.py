"""What an authorization service is asked and what it answers, over HTTP and over gRPC.

Both clients have `check(stream, body, extensions, done)`, which gives something with `cancel()`; `done` gets a `Verdict` once.
Not here: what is done with the verdict (ext_authz.py). Source: envoy.extensions.filters.http.ext_authz.v3, envoy.service.auth.v3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from envoy.service.auth.v3 import external_auth_pb2

from mizzen.proxy.accesslog.format import struct_value
from mizzen.proxy.codec.headers import RequestHeaders, ResponseHeaders
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.header_ops import add_ops
from mizzen.proxy.config.matchers import StringPredicate, string_matcher
from mizzen.proxy.config.values import seconds
from mizzen.proxy.filters.grpc_service import GrpcService
from mizzen.proxy.http.header_ops import APPEND, OVERWRITE, apply
from mizzen.proxy.net.connection import Downstream
from mizzen.proxy.upstream.async_client import fetch

OK, DENIED, ERROR = "ok", "denied", "error"
CHECK = "/envoy.service.auth.v3.Authorization/Check"
PARTIAL = "x-envoy-auth-partial-body"
ALWAYS_TO_CLIENT = frozenset(("location", "www-authenticate", "proxy-authenticate", "set-cookie"))
OWN_OF_ANSWER = frozenset(("content-length", "transfer-encoding", "connection", "date", "server", "keep-alive"))
Edit = tuple[int, str, str]  # action of http/header_ops, name, value


class Verdict:
    """What the service said. Edits are carried out in order."""

    __slots__ = (
        "body",
        "client",
        "client_ok",
        "code",
        "metadata",
        "outcome",
        "query_drop",
        "query_set",
        "remove",
        "upstream",
    )

    def __init__(self, outcome: str) -> None:
        self.outcome = outcome
        self.code = 403
        self.body = ""
        self.upstream: list[Edit] = []  # to the request
        self.remove: list[str] = []
        self.client: list[Edit] = []  # to a refusal
        self.client_ok: list[Edit] = []  # to the answer of an allowed request
        self.metadata: dict[str, Any] | None = None
        self.query_set: list[tuple[str, str]] = []
        self.query_drop: list[str] = []


Done = Callable[[Verdict], None]
Allows = Callable[[str], bool]


def any_of(message: Any) -> Allows | None:
    """A predicate over header names for a ListStringMatcher; None when it is empty."""
    tests: list[StringPredicate] = [string_matcher(each) for each in message.patterns]
    return (lambda name: any(test(name) for test in tests)) if tests else None


class HttpClient:
    """http_service: the request's line and some of its headers, answered by a status."""

    def __init__(self, message: Any, allowed: Allows | None, server: Any) -> None:
        self.server = server
        self.cluster: str = message.server_uri.cluster
        if not self.cluster:
            raise ConfigError("ext_authz HttpService.server_uri.cluster is required")
        if message.HasField("retry_policy"):
            raise Unsupported("ExtAuthz.http_service.retry_policy")
        self.timeout = seconds(message.server_uri.timeout)
        self.prefix: str = message.path_prefix
        if self.prefix and not self.prefix.startswith("/"):
            raise ConfigError('ext_authz HttpService.path_prefix should start with "/".')
        request, response = message.authorization_request, message.authorization_response
        older = any_of(request.allowed_headers)
        self.allowed = allowed if allowed is not None else older
        for option in request.headers_to_add:
            if not option.key:
                raise ConfigError("ext_authz headers_to_add: key is required")
        self.added = [(each.key.lower(), each.value) for each in request.headers_to_add]
        self.formats = tuple(add_ops([_option(each) for each in request.headers_to_add]))
        self.upstream = any_of(response.allowed_upstream_headers)
        self.append = any_of(response.allowed_upstream_headers_to_append)
        self.client = any_of(response.allowed_client_headers)
        self.client_ok = any_of(response.allowed_client_headers_on_success)
        self.metadata = any_of(response.dynamic_metadata_from_headers)

    def check(self, stream: Any, body: bytes, extensions: dict[str, str], done: Done) -> Any:
        cluster = self.server.clusters.get(self.cluster)
        if cluster is None:
            self.server.loop.call_soon(done, Verdict(ERROR))
            return None
        request: RequestHeaders = stream.request
        headers = RequestHeaders(
            request.method, self.prefix + request.path, request.authority, {}, None, request.scheme
        )
        headers.d["content-length"] = str(len(body))
        if self.allowed is not None:
            for name, value in request.items():
                if name != "content-length" and self.allowed(name):
                    headers.add(name, value)
        elif "authorization" in request.d:
            headers.d["authorization"] = request.d["authorization"]
        apply(self.formats, headers, stream)
        return fetch(
            cluster,
            headers,
            body,
            self.timeout,
            lambda response, data, failure: done(self._verdict(response, data)),
            False,
        )

    def _verdict(self, response: ResponseHeaders | None, body: bytes) -> Verdict:
        if response is None or response.status >= 500:
            return Verdict(ERROR)
        verdict = Verdict(OK if response.status == 200 else DENIED)
        if verdict.outcome == DENIED:
            verdict.code = response.status
            verdict.body = body.decode("utf-8", "surrogateescape")
            for name, value in response.items():
                if name not in OWN_OF_ANSWER and (self.client is None or name in ALWAYS_TO_CLIENT or self.client(name)):
                    verdict.client.append((APPEND, name, value))
            return verdict
        found: dict[str, Any] = {}
        for name, value in response.items():
            if self.upstream is not None and self.upstream(name):
                verdict.upstream.append((OVERWRITE, name, value))
            if self.append is not None and self.append(name):
                verdict.upstream.append((APPEND, name, value))
            if self.client_ok is not None and self.client_ok(name):
                verdict.client_ok.append((OVERWRITE, name, value))
            if self.metadata is not None and self.metadata(name):
                found[name] = value
        if found:
            verdict.metadata = found
        drop = response.get("x-envoy-auth-headers-to-remove")
        if drop:
            verdict.remove = [each.strip().lower() for each in drop.split(",")]
        return verdict


def _option(header: Any) -> Any:
    from envoy.config.core.v3 import base_pb2

    return base_pb2.HeaderValueOption(
        header=header, append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    )


class GrpcClient:
    """grpc_service: envoy.service.auth.v3.Authorization/Check."""

    def __init__(self, config: Any, allowed: Allows | None, refused: Allows | None, server: Any) -> None:
        self.service = GrpcService(config.grpc_service, server, 0.2)
        self.allowed = allowed
        self.refused = refused
        self.peer_certificate: bool = config.include_peer_certificate
        self.tls_session: bool = config.include_tls_session
        self.pack = config.with_request_body.pack_as_bytes if hasattr(config, "with_request_body") else False
        self.namespaces = tuple(config.metadata_context_namespaces)

    def check(self, stream: Any, body: bytes, extensions: dict[str, str], done: Done) -> Any:
        request = external_auth_pb2.CheckRequest()
        attributes = request.attributes
        connection_attributes(attributes, stream.conn, self.peer_certificate, self.tls_session)
        self._http(attributes.request, stream, body)
        attributes.context_extensions.update(extensions)
        for namespace in self.namespaces:
            value = (stream.metadata or {}).get(namespace)
            if value is not None:
                attributes.metadata_context.filter_metadata[namespace].update(value)
        return self._send(request, done)

    def check_connection(self, conn: Downstream, done: Done) -> Any:
        request = external_auth_pb2.CheckRequest()
        connection_attributes(request.attributes, conn, self.peer_certificate, self.tls_session)
        return self._send(request, done)

    def _send(self, request: Any, done: Done) -> Any:
        return self.service.call(
            CHECK, request.SerializeToString(), lambda status, data: done(grpc_verdict(status, data))
        )

    def _http(self, part: Any, stream: Any, body: bytes) -> None:
        request: RequestHeaders = stream.request
        part.time.FromNanoseconds(int(stream.start_wall * 1e9))
        http = part.http
        http.id = str(stream.conn.id)
        http.method, http.path, http.host = request.method, request.path, request.authority or ""
        http.scheme, http.protocol = request.scheme, stream.protocol or ""
        length = request.d.get("content-length", "")
        http.size = int(length) if length.isdigit() else -1 if not stream.request_end else len(body)
        fixed = (
            (":method", request.method),
            (":path", request.path),
            (":authority", request.authority or ""),
            (":scheme", request.scheme),
        )
        allowed, refused = self.allowed, self.refused
        for name, value in fixed:
            if value and (allowed is None or allowed(name)) and (refused is None or not refused(name)):
                http.headers[name] = value
        for name in request.d:
            if (allowed is None or allowed(name)) and (refused is None or not refused(name)):
                http.headers[name] = request.joined(name) or ""
        if body:
            if self.pack:
                http.raw_body = body
            else:
                http.body = body.decode("utf-8", "replace")


def connection_attributes(attributes: Any, conn: Downstream, certificate: bool, tls_session: bool) -> None:
    """The peers of a connection."""
    for peer, (host, port) in ((attributes.source, conn.remote), (attributes.destination, conn.local)):
        peer.address.socket_address.address = host
        peer.address.socket_address.port_value = max(port, 0)
    tls = conn.tls
    if tls is None:
        return
    theirs = tls.peer
    if theirs is not None:
        attributes.source.principal = next(iter([*theirs.uris, *theirs.dns, theirs.subject]), "")
    if tls.local is not None:
        attributes.destination.principal = next(iter([*tls.local.uris, *tls.local.dns, tls.local.subject]), "")
    if certificate and tls.peer_der is not None:
        import ssl

        attributes.source.certificate = quote(ssl.DER_cert_to_PEM_cert(tls.peer_der), safe="")
    if tls_session and tls.sni:
        attributes.tls_session.sni = tls.sni


def _edit(option: Any) -> Edit:
    """A header option of the service: it overwrites unless it says append."""
    action = option.append_action
    if option.HasField("append"):
        action = APPEND if option.append.value else OVERWRITE
    elif not action:
        action = OVERWRITE
    value = option.header.value or option.header.raw_value.decode("latin-1")
    return action, option.header.key.lower(), value


def grpc_verdict(status: int, data: bytes) -> Verdict:
    """A CheckResponse as a verdict; anything but an answer is an error."""
    if status or not data:
        return Verdict(ERROR) if status else Verdict(OK)
    answer = external_auth_pb2.CheckResponse.FromString(data)
    metadata = struct_value(answer.dynamic_metadata) if answer.HasField("dynamic_metadata") else None
    if answer.status.code == 0:
        verdict = Verdict(OK)
        good = answer.ok_response
        verdict.upstream = [_edit(each) for each in good.headers]
        verdict.remove = [name.lower() for name in good.headers_to_remove]
        verdict.client_ok = [
            (APPEND if not each.HasField("append") and not each.append_action else _edit(each)[0], *_edit(each)[1:])
            for each in good.response_headers_to_add
        ]
        verdict.query_set = [(each.key, each.value) for each in good.query_parameters_to_set]
        verdict.query_drop = list(good.query_parameters_to_remove)
        if metadata is None and good.HasField("dynamic_metadata"):
            metadata = struct_value(good.dynamic_metadata)
    else:
        verdict = Verdict(DENIED)
        bad = answer.denied_response
        verdict.code = bad.status.code or 403
        verdict.body = bad.body
        verdict.client = [_edit(each) for each in bad.headers]
    verdict.metadata = metadata
    return verdict
