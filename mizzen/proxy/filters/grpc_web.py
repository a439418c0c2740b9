"""envoy.filters.http.grpc_web: gRPC-Web requests of browsers as gRPC, and the answers' trailers as a last frame of the body.

Source: envoy.extensions.filters.http.grpc_web.v3; gRPC-Web's protocol description (PROTOCOL-WEB).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders
from mizzen.proxy.filters.base import HttpFilter
from mizzen.proxy.http.local_reply import grpc_message
from mizzen.wire.grpc_status import FROM_HTTP

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

BINARY = frozenset(("application/grpc-web", "application/grpc-web+proto"))
TEXT = frozenset(("application/grpc-web-text", "application/grpc-web-text+proto"))
GRPC = frozenset(("application/grpc", "application/grpc+proto"))
TRAILER_FRAME = 0x80
MAX_MESSAGE = 16 * 1024  # bytes of a body that become a grpc-message


class Call:
    """One gRPC-Web call."""

    __slots__ = ("body", "rest", "text_in", "text_out", "unread")

    def __init__(self, text_in: bool, text_out: bool) -> None:
        self.text_in = text_in
        self.text_out = text_out
        self.unread = b""  # base64 of the request that does not make whole bytes yet
        self.rest = b""  # bytes of the answer that do not make whole base64 yet
        self.body: list[bytes] | None = None  # an answer that is not gRPC: kept for its message


class GrpcWeb(HttpFilter):
    decodes = encodes = True
    reads_request_data = reads_response_data = True

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        kind = headers.d.get("content-type", "")
        if kind not in BINARY and kind not in TEXT:
            return True
        if stream.state is None:
            stream.state = {}
        stream.state[self] = Call(kind in TEXT, headers.d.get("accept") in TEXT)
        headers.remove("content-length")
        headers.set("content-type", "application/grpc")
        headers.set("te", "trailers")
        headers.set("grpc-accept-encoding", "identity")
        return True

    def request_data(self, stream: Stream, data: bytes, end: bool) -> bytes | None:
        call: Call | None = stream.state.get(self) if stream.state is not None else None
        if call is None or not call.text_in:
            return data
        whole = call.unread + data
        usable = len(whole) & ~3
        call.unread = whole[usable:]
        try:
            if end and call.unread:
                raise ValueError("base64 ends within a group")
            return b"".join(b64decode(whole[i : i + 4], validate=True) for i in range(0, usable, 4))
        except ValueError:
            stream.local_reply(400, "Bad gRPC-web request, invalid base64 data.", "grpc_base_64_decode_failed_bad_size")
            return None

    def response_headers(self, stream: Stream, headers: ResponseHeaders, end: bool) -> bool:
        call: Call | None = stream.state.get(self) if stream.state is not None else None
        if call is None:
            return True
        grpc = headers.d.get("content-type", "") in GRPC
        headers.set(
            "content-type", "application/grpc-web-text+proto" if call.text_out else "application/grpc-web+proto"
        )
        if end or grpc:
            headers.remove("content-length")
            return True
        call.body = []
        return False

    def response_data(self, stream: Stream, data: bytes, end: bool) -> bytes | None:
        call: Call | None = stream.state.get(self) if stream.state is not None else None
        if call is None:
            return data
        if call.body is not None:
            call.body.append(data)
            if end:
                self._explain(stream, call)
            return None
        return self._text(call, data, end) if call.text_out else data

    def _explain(self, stream: Stream, call: Call) -> None:
        """The answer was not gRPC: its body becomes the message of a status."""
        response = stream.response
        assert response is not None
        message = b"".join(call.body or ())[:MAX_MESSAGE].decode("utf-8", "replace")
        call.body = None
        response.set("grpc-status", str(FROM_HTTP.get(response.status, 2)))
        if message:
            response.set("grpc-message", grpc_message(message))
        response.set("content-length", "0")
        stream.back_end = True
        stream.back_parts = None
        stream.continue_response()

    @staticmethod
    def _text(call: Call, data: bytes, end: bool) -> bytes:
        whole = call.rest + data
        usable = len(whole) if end else len(whole) // 3 * 3
        call.rest = whole[usable:]
        return b64encode(whole[:usable])

    def response_trailers(self, stream: Stream, trailers: Headers) -> bool:
        call: Call | None = stream.state.get(self) if stream.state is not None else None
        if call is None:
            return True
        if call.body is not None:
            stream.back_trailers = None
            self._explain(stream, call)
            return False
        text = "".join(f"{name}:{value}\r\n" for name, value in trailers.items()).encode("latin-1", "replace")
        frame = bytes((TRAILER_FRAME,)) + len(text).to_bytes(4, "big") + text
        stream.response_trailers = None
        stream.end_response(self.place or self, self._text(call, frame, True) if call.text_out else frame)
        return False


def http_filter(config: Any, server: Any, hcm: Any) -> GrpcWeb:
    return GrpcWeb()
