"""HTTP filters in Python: the public interface.

A filter is a class; the proxy makes one object for each configuration that names it, and calls it for every request that
passes. docs/python-filters.md tells how it is loaded; mizzen.testing.filters runs one without a proxy. Not here: how the proxy
drives it (mizzen.proxy.filters.python).
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class Fields(Protocol):
    """Header or trailer fields as the data path has them: lower-case names."""

    def get(self, name: str) -> str | None: ...
    def values(self, name: str) -> list[str]: ...
    def set(self, name: str, value: str) -> None: ...
    def add(self, name: str, value: str) -> None: ...
    def remove(self, name: str) -> None: ...
    def items(self) -> Iterator[tuple[str, str]]: ...
    def __contains__(self, name: str) -> bool: ...


class Headers(MutableMapping[str, str]):
    """A mapping over a message's fields; names are told in any case and kept in lower case.

    `headers[name]` is the first value, and setting it puts one value in the place of all. `getall` and `add` are for names
    that come several times. Values are text, as latin-1 on the wire.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        value = self._fields.get(name.lower())
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str) -> None:
        _no_line_break(name, value)
        self._fields.set(name.lower(), value)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._fields.remove(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._fields.items()))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def getall(self, name: str) -> list[str]:
        """All values of a name in order of arrival."""
        return list(self._fields.values(name.lower()))

    def add(self, name: str, value: str) -> None:
        """One more value beside those that are there."""
        _no_line_break(name, value)
        self._fields.add(name.lower(), value)


def _no_line_break(name: str, value: str) -> None:
    """Raise ValueError for what would end the field or the head."""
    if not name or any(c in name for c in "\r\n\0: "):
        raise ValueError(f"no name of a field: {name!r}")
    if any(c in value for c in "\r\n\0"):
        raise ValueError(f"{name}: a value has no line breaks")


@dataclass(slots=True)
class Reply:
    """An answer in the upstream's stead. body: bytes, or text in UTF-8."""

    status: int
    body: bytes | str = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Request(Protocol):
    """A request on its way upstream. What is written to it goes upstream.

    body: the whole body where the filter asks for it (`reads_request_body`), else None; set it to send another.
    settings: what the route says to this filter (per-route configuration), else {}. metadata: the stream's dynamic
    metadata, a namespace's mapping by its name, which access logs and other filters read. state: the filter's own
    notes on this request. peer: the client's address, without its port. identity: the URI in the client's certificate
    (SPIFFE), "" without one. route, cluster: their names, "" for none.
    """

    method: str
    path: str
    authority: str
    body: bytes | None

    @property
    def scheme(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def trailers(self) -> Headers | None: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def metadata(self) -> MutableMapping[str, Any]: ...
    @property
    def state(self) -> dict[str, Any]: ...
    @property
    def peer(self) -> str: ...
    @property
    def identity(self) -> str: ...
    @property
    def route(self) -> str: ...
    @property
    def cluster(self) -> str: ...


class Response(Protocol):
    """An answer on its way to the client. What is written to it goes to the client.

    body: the whole body where the filter asks for it (`reads_response_body`), else None; set it to send another.
    """

    status: int
    body: bytes | None

    @property
    def headers(self) -> Headers: ...
    @property
    def trailers(self) -> Headers | None: ...


class HttpFilter:
    """The base of filters. All methods may be left out; those that answer may be coroutines.

    reads_request_body, reads_response_body: hold the message until its body is there in full, at most `max_body_bytes`
    (more is answered with 413, or 500 for an answer). An exception ends its request with status 500 and counts as
    `http.<stat_prefix>.python.<name>.errors`; the proxy goes on.
    """

    reads_request_body = False
    reads_response_body = False
    max_body_bytes = 1 << 20

    def __init__(self, config: Mapping[str, Any]) -> None:
        """config: what the configuration gives this filter. Raise ValueError, with the reason, to refuse it."""
        self.config = config

    def on_request(self, request: Request) -> Reply | Awaitable[Reply | None] | None:
        """A request is there. Give a Reply to answer it here."""
        return None

    def on_response(self, request: Request, response: Response) -> Reply | Awaitable[Reply | None] | None:
        """An answer is there. Give a Reply to send another in its place."""
        return None

    def on_end(self, request: Request, response: Response | None) -> None:
        """The exchange is over, however it ended; response: None when there was none."""

    def count(self, name: str, by: int = 1) -> None:
        """Add to the statistic `http.<stat_prefix>.python.<filter's name>.<name>`."""
        self._counter(name, by)

    _counter: Any = staticmethod(lambda name, by: None)
