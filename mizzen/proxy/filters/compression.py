"""envoy.filters.http.compressor and .decompressor: bodies packed on the way to the client, and unpacked either way.

Several compressors in a chain agree on one content coding, by Accept-Encoding's weights and their order.
Refused: compressing requests. Not here: the libraries (coders.py).
Source: envoy.extensions.filters.http.{compressor,decompressor}.v3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders
from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.config.matchers import runtime_flag
from mizzen.proxy.config.values import wrapped
from mizzen.proxy.filters.base import DISABLED, HttpFilter
from mizzen.proxy.filters.coders import PACKERS, UNPACKERS, library

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

REGISTERED = "compressors"  # of a stream: the compressors that it passed, and what it accepts
CONTENT_TYPES = (
    "application/javascript", "application/json", "application/xhtml+xml", "image/svg+xml", "text/css", "text/html",
    "text/plain", "text/xml",
)  # fmt: skip
COUNTERS = (
    "header_compressor_overshadowed", "header_compressor_used", "header_identity", "header_not_valid", "header_wildcard",
    "no_accept_header", "not_compressed_etag",
)  # fmt: skip
DIRECTION_COUNTERS = (
    "compressed", "content_length_too_small", "not_compressed", "total_compressed_bytes", "total_uncompressed_bytes",
)  # fmt: skip


def accepted(text: str) -> list[tuple[str, float]]:
    """Codings of an Accept-Encoding header with their weights; one whose weight is no number is left out."""
    out: list[tuple[str, float]] = []
    for part in text.split(","):
        name, _, parameter = part.partition(";")
        key, _, value = parameter.partition("=")
        weight = 1.0
        if key.strip().lower() == "q":
            try:
                weight = float(value)
            except ValueError:
                weight = -1.0
        if weight >= 0:
            out.append((name.strip(), weight))
    return out


def choice(text: str, filters: list[Compressor], kind: str | None) -> tuple[str, str]:
    """The coding of an answer of this content type, and the counter that says how it was chosen."""
    allowed: dict[str, tuple[int, Compressor]] = {}
    for place, each in enumerate(filters):
        if kind is None or kind in each.types:
            allowed.setdefault(each.library.coding, (place, each))
    weights = accepted(text)
    for name, weight in weights:
        if weight == 0:
            allowed.pop(name, None)
    if not allowed:
        return "identity", "header_not_valid"
    chosen, best = "identity", -1.0
    for name, weight in weights:
        if name not in allowed and name not in ("identity", "*"):
            continue
        first = weight == best and name in allowed and chosen in allowed and allowed[name][1].choose_first
        if weight > best or (first and allowed[name][0] < allowed[chosen][0]):
            chosen, best = name, weight
    if best <= 0:
        return "identity", "header_not_valid"
    if chosen == "*":
        return next(iter(allowed)), "header_wildcard"
    return chosen, "header_identity" if chosen == "identity" else "header_compressor_used"


class Compressor(HttpFilter):
    """Compresses answers that are long enough and of the right type for clients that accept the coding."""

    decodes = encodes = True
    reads_response_data = True

    def __init__(self, config: Any, server: Any, hcm: Any) -> None:
        self.library = library(config.compressor_library, PACKERS, "Compressor.compressor_library")
        self.choose_first: bool = config.choose_first
        if config.HasField("request_direction_config") and wrapped(
            config.request_direction_config.common_config.enabled, "default_value", False
        ):
            raise Unsupported("Compressor.request_direction_config")
        response = config.response_direction_config
        common = response.common_config
        older = not config.HasField("response_direction_config")
        self.shortest: int = wrapped(common, "min_content_length", wrapped(config, "content_length", 30))
        self.types = tuple(each.lower() for each in common.content_type or config.content_type) or CONTENT_TYPES
        self.no_etag: bool = config.disable_on_etag_header if older else response.disable_on_etag_header
        self.drop_accept: bool = (
            config.remove_accept_encoding_header if older else response.remove_accept_encoding_header
        )
        self.on = runtime_flag(common.enabled, server.runtime)
        self.never = frozenset(response.uncompressible_response_codes) if not older else frozenset[int]()
        if getattr(response, "status_header_enabled", False):
            raise Unsupported("Compressor.response_direction_config.status_header_enabled")
        prefix = f"http.{hcm.stat_prefix}.compressor.{config.compressor_library.name}.{self.library.stats}"
        self.stats: Any = server.stats.group(prefix, COUNTERS)
        self.requests: Any = server.stats.group(prefix + ".request", DIRECTION_COUNTERS)
        self.responses: Any = self.stats if older else server.stats.group(prefix + ".response", DIRECTION_COUNTERS)
        if older:
            server.stats.group(prefix, DIRECTION_COUNTERS)

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        if stream.state is None:
            stream.state = {}
        self.requests.not_compressed += 1
        filters = stream.state.setdefault(REGISTERED, ([], headers.joined("accept-encoding")))[0]
        filters.append(self)
        overrides = self.route_config(stream)
        drop = overrides.drop_accept if overrides is not None else None
        if self.drop_accept if drop is None else drop:
            headers.remove("accept-encoding")
        return True

    def _wanted(self, stream: Stream, headers: ResponseHeaders) -> bool:
        filters, text = (stream.state or {}).get(REGISTERED) or ([self], None)
        stats = self.stats
        if text is None:
            stats.no_accept_header += 1
            return False
        kind = headers.d.get("content-type")
        coding, counter = choice(text, filters, None if kind is None else kind.partition(";")[0].strip().lower())
        mine = coding == self.library.coding
        if counter == "header_compressor_used" and not mine:
            counter = "header_compressor_overshadowed"
        setattr(stats, counter, getattr(stats, counter) + 1)
        return mine

    def _compressible(self, headers: ResponseHeaders) -> bool:
        d = headers.d
        kind = d.get("content-type")
        if kind is not None and kind.partition(";")[0].strip().lower() not in self.types:
            return False
        if "content-encoding" in d or headers.status in self.never:
            return False
        if "no-transform" in (headers.joined("cache-control") or ""):
            return False
        if "etag" in d and self.no_etag:
            self.stats.not_compressed_etag += 1
            return False
        transfer = d.get("transfer-encoding", "")
        return not any(each in transfer for each in ("gzip", "deflate", "br", "zstd"))

    def _long_enough(self, headers: ResponseHeaders) -> bool:
        length = headers.d.get("content-length")
        if length is not None and length.isdigit() and int(length) < self.shortest:
            self.responses.content_length_too_small += 1
            return False
        return True

    def response_headers(self, stream: Stream, headers: ResponseHeaders, end: bool) -> bool:
        if not self.on() or headers.status == 101 or not self._long_enough(headers):
            self.responses.not_compressed += 1
            return True
        wanted = not end and self._wanted(stream, headers)
        compressible = self._compressible(headers)
        if compressible:
            add_vary(headers)
        if not wanted or not compressible:
            self.responses.not_compressed += 1
            return True
        self.responses.compressed += 1
        d = headers.d
        headers.remove("content-length")
        if not d.get("etag", "W/").startswith("W/"):
            headers.remove("etag")
        headers.set("content-encoding", self.library.coding)
        if stream.state is None:
            stream.state = {}
        stream.state[(self, "response")] = self.library.make()
        return True

    def response_data(self, stream: Stream, data: bytes, end: bool) -> bytes | None:
        coder = stream.state.get((self, "response")) if stream.state is not None else None
        if coder is None:
            return data
        out: bytes = coder(data, end)
        self.responses.total_uncompressed_bytes += len(data)
        self.responses.total_compressed_bytes += len(out)
        return out

    def response_trailers(self, stream: Stream, trailers: Headers) -> bool:
        coder = stream.state.pop((self, "response"), None) if stream.state is not None else None
        if coder is not None:
            stream.add_response_data(self.place or self, coder(b"", True))
        return True


def add_vary(headers: ResponseHeaders) -> None:
    vary = headers.joined("vary")
    if vary is None:
        headers.set("vary", "Accept-Encoding")
    elif "accept-encoding" not in vary.lower():
        headers.set("vary", f"{vary}, Accept-Encoding")


class Overrides:
    """A route's CompressorPerRoute.overrides."""

    def __init__(self, message: Any) -> None:
        if message.HasField("compressor_library"):
            raise Unsupported("CompressorPerRoute.overrides.compressor_library")
        self.drop_accept: bool | None = None
        if message.HasField("response_direction_config"):
            self.drop_accept = wrapped(message.response_direction_config, "remove_accept_encoding_header", None)


def http_filter(config: Any, server: Any, hcm: Any) -> Compressor:
    return Compressor(config, server, hcm)


def route_config(config: Any, server: Any) -> Any:
    if config.WhichOneof("override") == "disabled":
        return DISABLED if config.disabled else None
    return Overrides(config.overrides)


class Decompressor(HttpFilter):
    """Unpacks bodies of requests and answers."""

    decodes = encodes = True
    reads_request_data = reads_response_data = True

    def __init__(self, config: Any, server: Any, hcm: Any) -> None:
        self.library = library(config.decompressor_library, UNPACKERS, "Decompressor.decompressor_library")
        request, response = config.request_direction_config, config.response_direction_config
        self.requests = self._on(request, server)
        self.advertise = wrapped(request, "advertise_accept_encoding", True)
        self.responses = self._on(response, server)
        prefix = f"http.{hcm.stat_prefix}.decompressor.{config.decompressor_library.name}.{self.library.stats}"
        names = ("decompressed", "not_decompressed", "total_compressed_bytes", "total_uncompressed_bytes")
        self.request_stats: Any = server.stats.group(prefix + ".request", names)
        self.response_stats: Any = server.stats.group(prefix + ".response", names)

    @staticmethod
    def _on(direction: Any, server: Any) -> Callable[[], bool]:
        common = direction.common_config
        if common.ignore_no_transform_header:
            raise Unsupported("Decompressor.common_config.ignore_no_transform_header")
        return runtime_flag(common.enabled, server.runtime)

    def _begin(self, stream: Stream, key: str, headers: Headers, stats: Any) -> None:
        encoding = headers.d.get("content-encoding", "")
        first, _, rest = encoding.partition(",")
        if first.strip().lower() != self.library.coding or "no-transform" in headers.d.get("cache-control", ""):
            stats.not_decompressed += 1
            return
        stats.decompressed += 1
        headers.remove("content-length")
        if rest.strip():
            headers.set("content-encoding", rest.strip())
        else:
            headers.remove("content-encoding")
        if stream.state is None:
            stream.state = {}
        stream.state[(self, key)] = self.library.make()

    def _data(self, stream: Stream, key: str, data: bytes, stats: Any) -> bytes:
        unpacker = stream.state.get((self, key)) if stream.state is not None else None
        if unpacker is None or not data:
            return data
        stats.total_compressed_bytes += len(data)
        out: bytes = unpacker(data, False)
        stats.total_uncompressed_bytes += len(out)
        return out

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        coding, accept = self.library.coding, headers.joined("accept-encoding")
        if self.advertise and self.requests() and coding not in (accept or ""):
            headers.set("accept-encoding", f"{accept},{coding}" if accept else coding)
        if self.requests() and not end:
            self._begin(stream, "request", headers, self.request_stats)
        return True

    def request_data(self, stream: Stream, data: bytes, end: bool) -> bytes | None:
        return self._data(stream, "request", data, self.request_stats)

    def response_headers(self, stream: Stream, headers: ResponseHeaders, end: bool) -> bool:
        if self.responses() and not end:
            self._begin(stream, "response", headers, self.response_stats)
        return True

    def response_data(self, stream: Stream, data: bytes, end: bool) -> bytes | None:
        return self._data(stream, "response", data, self.response_stats)


def decompressor(config: Any, server: Any, hcm: Any) -> Decompressor:
    return Decompressor(config, server, hcm)
