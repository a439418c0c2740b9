"""Answers that the proxy gives itself: their form for plain and gRPC clients, and how configuration rewrites them.

Source: envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig; gRPC's HTTP to status mapping.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from mizzen.proxy.accesslog.format import data_source, json_format, text_format
from mizzen.proxy.codec.headers import ResponseHeaders
from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.config.header_ops import add_ops
from mizzen.proxy.http.header_ops import Ops, apply
from mizzen.wire.grpc_status import FROM_HTTP

GRPC_SAFE: Final = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


def grpc_status_for(http_status: int) -> int:
    return FROM_HTTP.get(http_status, 2)


def grpc_message(body: str) -> str:
    return quote(body.rstrip("\r\n"), safe=GRPC_SAFE)


def grpc_reply(status: int, body: str) -> ResponseHeaders:
    """A trailers-only gRPC answer."""
    d = {"content-type": "application/grpc", "grpc-status": str(status)}
    if body:
        d["grpc-message"] = grpc_message(body)
    return ResponseHeaders(200, d)


class Body:
    """A body format: what renders it and its content type."""

    __slots__ = ("content_type", "render")

    def __init__(self, message: Any) -> None:
        kind = message.WhichOneof("format")
        if message.formatters:
            raise Unsupported("LocalReplyConfig.body_format.formatters")
        if kind == "json_format":
            render = json_format(message.json_format, message.omit_empty_values)
            self.render: Callable[[Any], str] = lambda info: render(info) + "\n"
            self.content_type = "application/json"
        else:
            text = message.text_format if kind == "text_format" else data_source(message.text_format_source)
            self.render = text_format(text, message.omit_empty_values)
            self.content_type = "text/plain"
        if message.content_type:
            self.content_type = message.content_type


class Mapper:
    __slots__ = ("body", "body_format", "ops", "predicate", "status")

    def __init__(self, message: Any) -> None:
        from mizzen.proxy.config.accesslog import log_filter

        self.predicate = log_filter(message.filter, _NoRuntime)
        self.status = message.status_code.value if message.HasField("status_code") else 0
        self.body: str | None = data_source(message.body) if message.HasField("body") else None
        self.body_format = Body(message.body_format_override) if message.HasField("body_format_override") else None
        self.ops: Ops = tuple(add_ops(message.headers_to_add))


class _NoRuntime:
    runtime: dict[str, Any] = {}


class LocalReplies:
    """A LocalReplyConfig: `rewrite` changes status, body and headers of a local reply."""

    def __init__(self, message: Any) -> None:
        self._mappers = tuple(Mapper(each) for each in message.mappers)
        self._format = Body(message.body_format) if message.HasField("body_format") else None

    def rewrite(self, stream: Any, headers: ResponseHeaders, body: str) -> tuple[str, str]:
        """The body and its content type; status and headers are changed in place."""
        fmt = self._format
        for mapper in self._mappers:
            if not mapper.predicate(stream):
                continue
            apply(mapper.ops, headers, stream)
            if mapper.status:
                headers.status = stream.code = mapper.status
            if mapper.body is not None:
                body = mapper.body
            if mapper.body_format is not None:
                fmt = mapper.body_format
            break
        if fmt is None:
            return body, "text/plain"
        stream.local_body = body
        return fmt.render(stream), fmt.content_type


def local_replies(message: Any) -> LocalReplies:
    return LocalReplies(message)
