"""envoy.filters.http.ext_authz and envoy.filters.network.ext_authz: a service decides on each request or connection.

Not here: how the service is asked (authz_client.py). Source: envoy.extensions.filters.{http,network}.ext_authz.v3.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.matchers import metadata_matcher, runtime_flag, runtime_fraction
from mizzen.proxy.config.values import only_v3, wrapped
from mizzen.proxy.filters.authz_client import (
    DENIED,
    ERROR,
    OK,
    PARTIAL,
    Edit,
    GrpcClient,
    HttpClient,
    Verdict,
    any_of,
)
from mizzen.proxy.filters.base import DISABLED, HttpFilter
from mizzen.proxy.filters.network import NetworkFilter
from mizzen.proxy.http import info as flags
from mizzen.proxy.http.header_ops import APPEND, apply
from mizzen.proxy.http.header_ops import Op as HeaderOp
from mizzen.proxy.jwt.provider import drop_parameter
from mizzen.proxy.net.connection import Downstream

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

NAMESPACE, NETWORK_NAMESPACE = "envoy.filters.http.ext_authz", "envoy.filters.network.ext_authz"
COUNTERS = (
    "denied", "disabled", "error", "failure_mode_allowed", "filter_state_name_collision", "ignored_dynamic_metadata",
    "invalid", "ok", "omitted_response_headers", "request_header_limits_reached", "response_header_limits_reached",
    "shadow_denied", "shadow_error",
)  # fmt: skip
NETWORK_COUNTERS = ("cx_closed", "denied", "disabled", "error", "failure_mode_allowed", "ok", "total")


def edit(headers: Headers, edits: list[Edit], info: Any) -> None:
    apply(tuple(HeaderOp(action, name, value, None, True) for action, name, value in edits), headers, info)


class Body:
    """How much of a request's body the service is sent."""

    def __init__(self, message: Any) -> None:
        self.max: int = message.max_request_bytes
        self.partial: bool = message.allow_partial_message


class RouteSettings:
    """A route's check_settings."""

    def __init__(self, message: Any) -> None:
        self.extensions = dict(message.context_extensions)
        self.no_body: bool = message.disable_request_body_buffering
        self.body = Body(message.with_request_body) if message.HasField("with_request_body") else None

    def merged(self, outer: RouteSettings) -> RouteSettings:
        """This route's settings with the context of a less specific level beneath."""
        self.extensions = {**outer.extensions, **self.extensions}
        return self


class Asked:
    """One request's question: the body collected for it, then the call that waits for the verdict."""

    __slots__ = ("body", "call", "collecting", "ok", "parts", "size")

    def __init__(self) -> None:
        self.body: Body | None = None
        self.parts: list[bytes] = []
        self.size = 0
        self.collecting = False
        self.call: Any = None
        self.ok: list[Edit] | None = None  # what the client's answer gets when the request was allowed


class ExtAuthz(HttpFilter):
    decodes = encodes = finishes = True
    reads_request_data = True

    def __init__(self, config: Any, server: Any, hcm: Any) -> None:
        self.server = server
        only_v3(config, "transport_api_version", "ExtAuthz")
        prefix = f"http.{hcm.stat_prefix}.ext_authz" + (f".{config.stat_prefix}" if config.stat_prefix else "")
        self.stats: Any = server.stats.group(prefix, COUNTERS)
        allowed, refused = any_of(config.allowed_headers), any_of(config.disallowed_headers)
        kind = config.WhichOneof("services")
        if kind == "http_service":
            self.client: HttpClient | GrpcClient = HttpClient(config.http_service, allowed, server)
        elif kind == "grpc_service":
            self.client = GrpcClient(config, allowed, refused, server)
        else:
            raise ConfigError("ExtAuthz: services is required")
        self.fail_open: bool = config.failure_mode_allow
        self.fail_header: bool = config.failure_mode_allow_header_add
        self.body = Body(config.with_request_body) if config.HasField("with_request_body") else None
        self.error_code = (config.status_on_error.code if config.HasField("status_on_error") else 0) or 403
        self.share = (
            runtime_fraction(config.filter_enabled, server.runtime) if config.HasField("filter_enabled") else None
        )
        self.enabled_by = (
            metadata_matcher(config.filter_enabled_metadata) if config.HasField("filter_enabled_metadata") else None
        )
        self.deny_at_disable = (
            runtime_flag(config.deny_at_disable, server.runtime) if config.HasField("deny_at_disable") else None
        )
        self.clear_route_cache: bool = config.clear_route_cache
        self.charge = wrapped(config, "charge_cluster_response_stats", True)

    # --- the request ---

    def _off(self, stream: Stream) -> bool:
        if self.share is not None and random.random() >= self.share():
            return True
        return self.enabled_by is not None and not self.enabled_by(stream.metadata)

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        if self._off(stream):
            self.stats.disabled += 1
            if self.deny_at_disable is not None and self.deny_at_disable():
                stream.local_reply(self.error_code, "", "ext_authz_error", flags.UNAUTHORIZED_EXTERNAL_SERVICE)
                return False
            return True
        route: RouteSettings | None = self.route_config(stream)
        asked = Asked()
        if stream.state is None:
            stream.state = {}
        stream.state[self] = asked
        body = self.body if route is None else None if route.no_body else route.body or self.body
        if body is not None and not end and not stream.upgrade:
            asked.body = body
            asked.collecting = True
            return False
        self._ask(stream, asked)
        return False

    def request_data(self, stream: Stream, data: bytes, end: bool) -> bytes | None:
        asked: Asked | None = stream.state.get(self) if stream.state is not None else None
        if asked is None or not asked.collecting or asked.body is None:
            return data
        asked.parts.append(data)
        asked.size += len(data)
        if not asked.body.partial and asked.size > asked.body.max:
            asked.collecting = False
            stream.local_reply(413, "Payload Too Large", "request_payload_too_large", close=stream.protocol != "HTTP/2")
            return None
        if end or (asked.body.partial and asked.size >= asked.body.max):
            self._ask(stream, asked)
        return data

    def request_trailers(self, stream: Stream, trailers: Headers) -> bool:
        asked: Asked | None = stream.state.get(self) if stream.state is not None else None
        if asked is not None and asked.collecting:
            self._ask(stream, asked)
        return True

    def _ask(self, stream: Stream, asked: Asked) -> None:
        asked.collecting = False
        body = b""
        request = stream.request
        assert request is not None
        if asked.body is not None:
            whole = b"".join(asked.parts)
            asked.parts = []
            body = whole[: asked.body.max]
            request.set(PARTIAL, "true" if len(body) < len(whole) or not stream.request_end else "false")
        route: RouteSettings | None = self.route_config(stream)
        extensions = route.extensions if route is not None else {}
        early: list[Verdict] = []
        starting = True

        def done(verdict: Verdict) -> None:
            if starting:
                early.append(verdict)
            else:
                asked.call = None
                self._decided(stream, verdict)

        asked.call = self.client.check(stream, body, extensions, done)
        if asked.body is not None:
            request.remove(PARTIAL)
        starting = False
        if early:  # it failed before it began
            self.server.loop.call_soon(self._decided, stream, early[0])

    # --- the verdict ---

    def _count(self, stream: Stream, name: str) -> None:
        self.stats.counter(name)
        if self.charge and stream.cluster is not None:
            self.server.stats.group(f"{stream.cluster.stat_prefix}.ext_authz").count(name)

    def _decided(self, stream: Stream, verdict: Verdict) -> None:
        if stream.done:
            return
        self._count(stream, verdict.outcome)
        if verdict.metadata is not None:
            stream.dynamic_metadata(NAMESPACE).update(verdict.metadata)
        if verdict.outcome == OK:
            self._allow(stream, verdict)
        elif verdict.outcome == DENIED:
            refusal = flags.UNAUTHORIZED_EXTERNAL_SERVICE

            def modify(response: ResponseHeaders) -> None:
                edit(response, verdict.client, stream)

            kinds = [value for _, name, value in verdict.client if name == "content-type"]
            stream.local_reply(
                verdict.code,
                verdict.body,
                "ext_authz_denied",
                refusal,
                modify=modify,
                content_type=kinds[0] if kinds else None,
            )
        elif self.fail_open:
            self._count(stream, "failure_mode_allowed")
            if self.fail_header and stream.request is not None:
                stream.request.set("x-envoy-auth-failure-mode-allowed", "true")
            stream.continue_request()
        else:
            stream.local_reply(self.error_code, "", "ext_authz_error", flags.UNAUTHORIZED_EXTERNAL_SERVICE)

    def _allow(self, stream: Stream, verdict: Verdict) -> None:
        request = stream.request
        assert request is not None
        changed = bool(verdict.upstream or verdict.remove or verdict.query_set or verdict.query_drop)
        edits = [each for each in verdict.upstream if each[0] != APPEND or request.get(each[1]) is not None]
        edit(request, edits, stream)
        for name in verdict.remove:
            if not name.startswith(":") and name != "host":
                request.remove(name)
        for name in verdict.query_drop:
            drop_parameter(request, name)
        for name, value in verdict.query_set:
            drop_parameter(request, name)
            request.path += f"{'&' if '?' in request.path else '?'}{name}={value}"
        if verdict.client_ok and stream.state is not None:
            stream.state[self].ok = verdict.client_ok
        if changed and self.clear_route_cache:
            stream.clear_route_cache()
        stream.continue_request()

    def response_headers(self, stream: Stream, headers: ResponseHeaders, end: bool) -> bool:
        asked: Asked | None = stream.state.get(self) if stream.state is not None else None
        if asked is not None and asked.ok:
            edit(headers, asked.ok, stream)
        return True

    def finished(self, stream: Stream) -> None:
        asked: Asked | None = stream.state.get(self) if stream.state is not None else None
        if asked is not None and asked.call is not None:
            asked.call.cancel()
            asked.call = None


class NetworkExtAuthz(NetworkFilter):
    """Asks when the first bytes of a connection come; they wait for the verdict."""

    def __init__(self, config: Any, server: Any) -> None:
        self.stats: Any = server.stats.group(
            f"ext_authz.{config.stat_prefix.rstrip('.')}", NETWORK_COUNTERS, ["active"]
        )
        self.server = server
        only_v3(config, "transport_api_version", "ExtAuthz")
        self.client = GrpcClient(config, None, None, server)
        self.fail_open: bool = config.failure_mode_allow
        self.enabled_by = (
            metadata_matcher(config.filter_enabled_metadata) if config.HasField("filter_enabled_metadata") else None
        )

    def wrap(self, conn: Downstream, inner: Any) -> Any:
        return Waiting(self, conn, inner)


class Waiting:
    """The protocol of a connection that has no verdict yet; steps aside with an allowing one."""

    def __init__(self, owner: NetworkExtAuthz, conn: Downstream, inner: Any) -> None:
        self.owner = owner
        self.conn = conn
        self.inner = inner
        self.transport: Any = None
        self.held: list[bytes] | None = None
        self.ended = False
        self.call: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.held is not None:
            self.held.append(data)
            self.transport.pause_reading()
            return
        owner = self.owner
        if owner.enabled_by is not None and not owner.enabled_by(self.conn.metadata):
            owner.stats.disabled += 1
            self.transport.set_protocol(self.inner)
            self.inner.data_received(data)
            return
        self.held = [data]
        owner.stats.total += 1
        owner.stats.active += 1
        early: list[Verdict] = []
        starting = True

        def done(verdict: Verdict) -> None:
            if starting:
                early.append(verdict)
            else:
                self._decided(verdict)

        self.call = owner.client.check_connection(self.conn, done)
        starting = False
        if early:
            owner.server.loop.call_soon(self._decided, early[0])

    def _decided(self, verdict: Verdict) -> None:
        self.call = None
        stats = self.owner.stats
        stats.active -= 1
        if self.transport is None:
            return
        stats.counter(verdict.outcome)
        if verdict.metadata is not None:
            self.conn.metadata = {**(self.conn.metadata or {}), NETWORK_NAMESPACE: verdict.metadata}
        if verdict.outcome == ERROR and self.owner.fail_open:
            stats.failure_mode_allowed += 1
        elif verdict.outcome != OK:
            stats.cx_closed += 1
            self.conn.termination = "ext_authz_denied" if verdict.outcome == DENIED else "ext_authz_error"
            self.transport.close()
            return
        held, self.held = self.held or [], None
        self.transport.set_protocol(self.inner)
        self.inner.data_received(b"".join(held))
        if self.ended:
            self.inner.eof_received()
        self.transport.resume_reading()

    def eof_received(self) -> Any:
        if self.held is not None:
            self.ended = True
            return True
        return self.inner.eof_received()

    def connection_lost(self, error: BaseException | None) -> None:
        if self.call is not None:
            self.call.cancel()
            self.call = None
            self.owner.stats.active -= 1
        inner, self.inner, self.transport = self.inner, None, None
        inner.connection_lost(error)

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()


def http_filter(config: Any, server: Any, hcm: Any) -> ExtAuthz:
    return ExtAuthz(config, server, hcm)


def route_config(config: Any, server: Any) -> Any:
    if config.WhichOneof("override") == "disabled":
        return DISABLED if config.disabled else None
    return RouteSettings(config.check_settings)


def network_filter(config: Any, server: Any, listener: Any) -> NetworkExtAuthz:
    return NetworkExtAuthz(config, server)
