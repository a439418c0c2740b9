"""A filter whose configuration ECDS serves: it stands in the chain and hands all on to the filter that is in force.

A request keeps the filter that it began with; a connection, too. Without any (nothing has come, and there is no default) a
request is answered with 500 and a connection is closed, as by Envoy. Not here: the subscription (xds/extensions.py).
Source: envoy.config.core.v3.ExtensionConfigSource.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.filters.base import HttpFilter
from mizzen.proxy.filters.network import NetworkFilter
from mizzen.proxy.http.info import NO_FILTER_CONFIG_FOUND

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

NOTHING = HttpFilter()  # configured, and never does anything
NO_NETWORK_FILTER = NetworkFilter()
Make = Callable[[str, Any], Any]


class Settings:
    """What a config_discovery says. known: the types that are built; terminal: those that end a chain, which are refused."""

    def __init__(self, name: str, message: Any, known: Iterable[str], terminal: Iterable[str], make: Make) -> None:
        self.name, self.make, self.known = name, make, frozenset(known)
        self.source, default = message.config_source, message.default_config
        self.without_warming: bool = message.apply_default_config_without_warming
        self.urls = [url.rpartition("/")[2] for url in message.type_urls]
        if not self.urls:
            raise ConfigError("ExtensionConfigSourceValidationError.TypeUrls: value must contain at least 1 item(s)")
        if not message.HasField("config_source"):
            raise ConfigError("ExtensionConfigSourceValidationError.ConfigSource: value is required")
        if self.without_warming and not message.HasField("default_config"):
            raise ConfigError(f"Error: filter config {name} applied without warming but has no default config.")
        for url in self.urls:
            if url in terminal:
                raise Unsupported(f"config_discovery of a filter that ends its chain: {name} ({url})")
        if not self.known.intersection(self.urls):
            raise ConfigError(f"Error: no factory found for a required type URL {self.urls[0]}.")
        self.default = self.compiled(default) if message.HasField("default_config") else None

    def compiled(self, any_message: Any) -> Any:
        """The filter of an Any. Raises ConfigError, Unsupported."""
        from mizzen.proxy.filters.registry import typed

        url = any_message.type_url.rpartition("/")[2]
        if url in ("xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"):
            url, config = typed(any_message, self.name)
        else:
            config = None
        if url not in self.urls:
            raise ConfigError(f"Error: filter config has type URL {url} but expect {', '.join(self.urls)}.")
        if url not in self.known:
            raise Unsupported(f"{self.name} ({url})")
        if config is None:
            _, config = typed(any_message, self.name)
        return self.make(url, config)


def joined(place: Any, settings: Settings, kind: str, server: Any, listener: Any) -> None:
    """Subscribes the place, and has its listener wait for what comes, unless the default will do."""
    extension = server.xds.extension(place, kind, settings.name, settings.source)
    if listener is not None and not settings.without_warming:
        listener.awaited.append(extension.settled)


class Discovered(HttpFilter):
    """An HTTP filter's place."""

    decodes = encodes = reads_request_data = reads_response_data = finishes = True

    def __init__(self, settings: Settings, server: Any, hcm: Any) -> None:
        self.settings, self.name = settings, settings.name
        self.default: HttpFilter | None = settings.default
        self.current: HttpFilter | None = None
        self.compiled = settings.compiled
        joined(self, settings, "http_filter", server, hcm.listener)

    def put(self, filter_: HttpFilter | None) -> None:
        if filter_ is not None and filter_ is not NOTHING:
            filter_.name, filter_.place = self.name, self
        self.current = filter_

    def _of(self, stream: Stream) -> HttpFilter:
        """The filter that this stream has here."""
        if stream.state is None:
            stream.state = {}
        found: HttpFilter | None = stream.state.get(self)
        if found is None:
            found = stream.state[self] = self.current or NOTHING
        return found

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        if self.current is None:
            stream.local_reply(500, "", "", NO_FILTER_CONFIG_FOUND)
            return False
        inner = self._of(stream)
        return inner.request_headers(stream, headers, end) if inner.decodes else True

    def request_data(self, stream: Stream, data: bytes, end: bool) -> bytes | None:
        inner = self._of(stream)
        return inner.request_data(stream, data, end) if inner.reads_request_data else data

    def request_trailers(self, stream: Stream, trailers: Headers) -> bool:
        inner = self._of(stream)
        return inner.request_trailers(stream, trailers) if inner.reads_request_data else True

    def response_headers(self, stream: Stream, headers: ResponseHeaders, end: bool) -> bool:
        inner = self._of(stream)
        return inner.response_headers(stream, headers, end) if inner.encodes else True

    def response_data(self, stream: Stream, data: bytes, end: bool) -> bytes | None:
        inner = self._of(stream)
        return inner.response_data(stream, data, end) if inner.reads_response_data else data

    def response_trailers(self, stream: Stream, trailers: Headers) -> bool:
        inner = self._of(stream)
        return inner.response_trailers(stream, trailers) if inner.reads_response_data else True

    def finished(self, stream: Stream) -> None:
        inner = self._of(stream)
        if inner.finishes:
            inner.finished(stream)

    def calls(self, stream: Stream) -> None:
        """A gRPC call begins whose messages are counted (grpc_stats)."""
        inner: Any = self._of(stream)
        if hasattr(inner, "calls"):
            inner.calls(stream)


class DiscoveredNetwork(NetworkFilter):
    """A network filter's place."""

    def __init__(self, settings: Settings, server: Any, listener: Any) -> None:
        self.settings = settings
        self.default: NetworkFilter | None = settings.default
        self.current: NetworkFilter | None = None
        self.compiled = settings.compiled
        self._sessions: dict[int, Any] = {}  # TCP sessions under way, by identity → their filter
        joined(self, settings, "network_filter", server, listener)

    def put(self, filter_: NetworkFilter | None) -> None:
        self.current = filter_

    def allow(self, conn: Any) -> bool:
        return self.current is not None and self.current.allow(conn)

    def wrap(self, conn: Any, inner: Any) -> Any:
        return inner if self.current is None else self.current.wrap(conn, inner)

    def began(self, session: Any) -> None:
        filter_: Any = self.current
        if hasattr(filter_, "finished"):
            self._sessions[id(session)] = filter_
            filter_.began(session)

    def finished(self, session: Any) -> None:
        filter_ = self._sessions.pop(id(session), None)
        if filter_ is not None:
            filter_.finished(session)
