"""One request and its answer at a Python filter: what is held, what the filter may see and change, what follows from its answer."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from mizzen.http_filter import Headers as PublicHeaders
from mizzen.http_filter import Reply
from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders

if TYPE_CHECKING:
    from mizzen.proxy.filters.python import PythonFilter
    from mizzen.proxy.http.stream import Stream

log = logging.getLogger("envoy.filter")


class Message:
    """What both directions have: headers, a body when it is read, trailers when there are some."""

    def __init__(self, headers: Headers) -> None:
        self.head = headers
        self.headers = PublicHeaders(headers)
        self.trailers: PublicHeaders | None = None
        self.body: bytes | None = None


class RequestView(Message):
    """mizzen.http_filter.Request."""

    def __init__(self, stream: Stream, headers: RequestHeaders, settings: Mapping[str, Any]) -> None:
        super().__init__(headers)
        self._stream = stream
        self._headers = headers
        self.settings = settings
        self.state: dict[str, Any] = {}

    @property
    def method(self) -> str:
        return self._headers.method

    @method.setter
    def method(self, value: str) -> None:
        self._headers.method = value

    @property
    def path(self) -> str:
        return self._headers.path

    @path.setter
    def path(self, value: str) -> None:
        self._headers.path = value

    @property
    def authority(self) -> str:
        return self._headers.authority or ""

    @authority.setter
    def authority(self, value: str) -> None:
        self._headers.authority = value

    @property
    def scheme(self) -> str:
        return self._headers.scheme

    @property
    def protocol(self) -> str:
        return self._stream.protocol or ""

    @property
    def metadata(self) -> MutableMapping[str, Any]:
        if self._stream.metadata is None:
            self._stream.metadata = {}
        return self._stream.metadata

    @property
    def peer(self) -> str:
        remote = self._stream.remote or self._stream.conn.remote
        return str(remote[0])

    @property
    def identity(self) -> str:
        tls = self._stream.conn.tls
        uris = tls.peer.uris if tls is not None and tls.peer is not None else ()
        return uris[0] if uris else ""

    @property
    def route(self) -> str:
        return self._stream.route.name if self._stream.route is not None else ""

    @property
    def cluster(self) -> str:
        return self._stream.cluster.name if self._stream.cluster is not None else ""


class ResponseView(Message):
    """mizzen.http_filter.Response."""

    def __init__(self, headers: ResponseHeaders) -> None:
        super().__init__(headers)
        self._headers = headers

    @property
    def status(self) -> int:
        return self._headers.status

    @status.setter
    def status(self, value: int) -> None:
        self._headers.status = value


class Gathered:
    """A body as it comes in, up to a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, data: bytes) -> bool:
        """False when it is more than the limit."""
        self.parts.append(data)
        self.size += len(data)
        return self.size <= self.limit

    def whole(self) -> bytes:
        return b"".join(self.parts)


class Exchange:
    """The state of one stream at one filter."""

    def __init__(self, filter_: PythonFilter, stream: Stream) -> None:
        self.filter = filter_
        self.stream = stream
        self.request: RequestView | None = None
        self.response: ResponseView | None = None
        self.task: asyncio.Task[None] | None = None
        self.gathering: Gathered | None = None
        self.replied = False  # the answer that comes is the filter's own

    # --- the request ---

    def request_headers(self, headers: RequestHeaders, end: bool) -> bool:
        stream, filter_ = self.stream, self.filter
        self.request = RequestView(stream, headers, filter_.route_config(stream) or {})
        if filter_.reads_request_data and not end and not stream.upgrade:
            self.gathering = Gathered(filter_.made.max_body_bytes)
            return False
        if filter_.reads_request_data:
            self.request.body = b""
        if self._ask_request():
            return self._no_body_yet(self.request, self._request_on)
        return False

    def _no_body_yet(self, message: Message, go_on: Callable[[bytes | None], None]) -> bool:
        """Whether a message without a body goes on as it is; one that was given a body waits until it is held."""
        if not message.body:
            return True
        self.filter.server.loop.call_soon(go_on, None)
        return False

    def _ask_request(self) -> bool:
        """Whether the request goes on at once."""
        request = self.request
        assert request is not None
        before = request.body
        return self._ask(lambda: self.filter.made.on_request(request), lambda: self._request_on(before))

    def _request_on(self, before: bytes | None) -> None:
        """Let the held request go, with the body that it now has."""
        request, stream = self.request, self.stream
        assert request is not None
        if request.body is not None and (before or request.body):
            self._set_length(request, request.body)
            stream.held_parts = [request.body] if request.body else None
            stream.request_end = True
        stream.continue_request()

    def request_data(self, data: bytes, end: bool) -> bytes | None:
        gathering, request = self.gathering, self.request
        if gathering is None or request is None:
            return data
        if not gathering.add(data):
            self.gathering = None
            self.stream.local_reply(
                413, "Payload Too Large", "request_payload_too_large", close=self.stream.protocol != "HTTP/2"
            )
            return None
        if end:
            self._request_whole(gathering, request)
        return None

    def request_trailers(self, trailers: Headers) -> bool:
        gathering, request = self.gathering, self.request
        if gathering is not None and request is not None:
            request.trailers = PublicHeaders(trailers)
            self._request_whole(gathering, request)
        return True

    def _request_whole(self, gathering: Gathered, request: RequestView) -> None:
        self.gathering = None
        request.body = gathering.whole()
        if self._ask_request() and not self.stream.done:
            self._request_on(request.body)

    # --- the answer ---

    def response_headers(self, headers: ResponseHeaders, end: bool) -> bool:
        stream, filter_ = self.stream, self.filter
        if self.replied or headers.status == 101 or (self.request is None and stream.request is None):
            return True
        if self.request is None:
            assert stream.request is not None
            self.request = RequestView(stream, stream.request, filter_.route_config(stream) or {})
        self.response = ResponseView(headers)
        if filter_.reads_response_data and not end:
            self.gathering = Gathered(filter_.made.max_body_bytes)
            return False
        if filter_.reads_response_data:
            self.response.body = b""
        if self._ask_response():
            return self._no_body_yet(self.response, self._response_on)
        return False

    def _ask_response(self) -> bool:
        request, response = self.request, self.response
        assert request is not None and response is not None
        before = response.body
        return self._ask(
            lambda: self.filter.made.on_response(request, response), lambda: self._response_on(before), answer=True
        )

    def _response_on(self, before: bytes | None) -> None:
        response, stream = self.response, self.stream
        assert response is not None
        if response.body is not None and (before or response.body):
            self._set_length(response, response.body)
            stream.back_parts = [response.body] if response.body else None
            stream.back_end = True
        stream.continue_response()

    def response_data(self, data: bytes, end: bool) -> bytes | None:
        gathering, response = self.gathering, self.response
        if gathering is None or response is None:
            return data
        if not gathering.add(data):
            self.gathering = None
            self._fail("the answer's body is longer than max_body_bytes")
            return None
        if end:
            self._response_whole(gathering, response)
        return None

    def response_trailers(self, trailers: Headers) -> bool:
        gathering, response = self.gathering, self.response
        if gathering is not None and response is not None:
            response.trailers = PublicHeaders(trailers)
            self._response_whole(gathering, response)
        return True

    def _response_whole(self, gathering: Gathered, response: ResponseView) -> None:
        self.gathering = None
        response.body = gathering.whole()
        if self._ask_response() and not self.stream.done:
            self._response_on(response.body)

    # --- both ---

    @staticmethod
    def _set_length(message: Message, body: bytes) -> None:
        """The length of a body that is sent at once; with trailers a message has none (RFC 9112 section 6.2)."""
        message.head.remove("transfer-encoding")
        if message.trailers is None:
            message.head.set("content-length", str(len(body)))
        else:
            message.head.remove("content-length")

    def _ask(self, call: Callable[[], Any], go_on: Callable[[], None], answer: bool = False) -> bool:
        """Ask the filter; True when the message goes on now, else it goes on, or not, later."""
        try:
            said = call()
        except Exception:  # the filter's fault, whatever it is
            self._fail("it raised", exc_info=True)
            return False
        if inspect.isawaitable(said):
            self.task = self.filter.server.spawn(self._later(said, go_on), "python filter")
            return False
        return self._obey(said)

    async def _later(self, said: Any, go_on: Callable[[], None]) -> None:
        try:
            reply = await said
        except Exception:  # the filter's fault, whatever it is
            if not self.stream.done:
                self._fail("it raised", exc_info=True)
            return
        if not self.stream.done and self._obey(reply):
            go_on()

    def _obey(self, reply: Any) -> bool:
        """Whether the message goes on: not when there is a reply."""
        if reply is None:
            return True
        if not isinstance(reply, Reply):
            self._fail(f"it gave {type(reply).__name__}, no Reply")
            return False
        self.replied = True
        body = reply.body.decode("utf-8", "surrogateescape") if isinstance(reply.body, bytes) else reply.body
        headers = {name.lower(): value for name, value in reply.headers.items()}
        self.stream.local_reply(
            reply.status, body, f"python_filter_reply{{{self.filter.name}}}", headers=headers,
            content_type=headers.get("content-type"),
        )  # fmt: skip
        return False

    def _fail(self, why: str, exc_info: bool = False) -> None:
        log.error("Python filter %s: %s", self.filter.name, why, exc_info=exc_info)
        self.filter.stats.errors += 1
        self.replied = True
        self.stream.local_reply(500, "", f"python_filter_error{{{self.filter.name}}}")

    def finished(self) -> None:
        task, self.task = self.task, None
        if task is not None:
            task.cancel()
        request = self.request
        if request is None:
            if self.stream.request is None:
                return
            request = RequestView(self.stream, self.stream.request, self.filter.route_config(self.stream) or {})
        response, last = self.response, self.stream.response
        if last is not None and (response is None or response.head is not last):
            response = ResponseView(last)
        try:
            self.filter.made.on_end(request, response)
        except Exception:  # the filter's fault, whatever it is
            log.error("Python filter %s: on_end raised", self.filter.name, exc_info=True)
            self.filter.stats.errors += 1
