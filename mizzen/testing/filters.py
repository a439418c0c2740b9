"""Run an HTTP filter (mizzen.http_filter) without a proxy: what it makes of one request and its answer.

    result = await exchange(Stamp({"name": "x-by"}), path="/a", answer=Answer(200, b"hello"))
    assert result.request.headers["x-by"] == "mizzen"

The messages are the proxy's own; what is not run is the network and the rest of the chain.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mizzen.http_filter import Headers, HttpFilter, Reply
from mizzen.proxy.codec.headers import Headers as Fields


@dataclass
class Asked:
    """A request, as mizzen.http_filter.Request."""

    method: str = "GET"
    path: str = "/"
    authority: str = "example.test"
    scheme: str = "http"
    protocol: str = "HTTP/1.1"
    headers: Headers = field(default_factory=lambda: Headers(Fields()))
    trailers: Headers | None = None
    body: bytes | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    peer: str = "192.0.2.1"
    identity: str = ""
    route: str = ""
    cluster: str = ""


@dataclass
class Answer:
    """An answer, as mizzen.http_filter.Response. Made with plain headers."""

    status: int = 200
    body: bytes | None = b""
    headers: Any = field(default_factory=dict)
    trailers: Headers | None = None

    def __post_init__(self) -> None:
        self.headers = mapped(self.headers)


@dataclass
class Result:
    """request, response: as they went on; response None when the filter answered the request. reply: the filter's own answer.

    counts: the statistics that it counted.
    """

    request: Asked
    response: Answer | None
    reply: Reply | None
    counts: dict[str, int]


def mapped(headers: Mapping[str, str]) -> Headers:
    out = Headers(Fields())
    out.update(headers)
    return out


async def exchange(
    filter_: HttpFilter,
    method: str = "GET",
    path: str = "/",
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    answer: Answer | None = None,
    **more: Any,
) -> Result:
    """One request through a filter, and an answer back when it went on. more: further fields of Asked."""
    counts: dict[str, int] = {}

    def counter(name: str, by: int = 1) -> None:
        counts[name] = counts.get(name, 0) + by

    filter_._counter = counter
    given = body if filter_.reads_request_body else None
    request = Asked(method, path, headers=mapped(headers or {}), body=given, **more)
    reply = await _said(filter_.on_request(request))
    response: Answer | None = None
    if reply is None:
        response = answer if answer is not None else Answer()
        if not filter_.reads_response_body:
            response.body = None
        reply = await _said(filter_.on_response(request, response))
    filter_.on_end(request, response)
    return Result(request, response if reply is None else None, reply, counts)


async def _said(value: Any) -> Reply | None:
    if inspect.isawaitable(value):
        value = await value
    if value is not None and not isinstance(value, Reply):
        raise TypeError(f"a filter gives a Reply or None, not {type(value).__name__}")
    return value


__all__ = ["Answer", "Asked", "Result", "exchange"]
