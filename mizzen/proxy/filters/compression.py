"""envoy.filters.http.compressor and .decompressor: gzip on the way to the client, and off on either way.

Refused: brotli and zstd (no library of theirs is at hand), compressing requests.
Source: envoy.extensions.filters.http.{compressor,decompressor}.v3, envoy.extensions.compression.gzip.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders
from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.config.matchers import runtime_flag
from mizzen.proxy.config.values import wrapped
from mizzen.proxy.filters.base import DISABLED, HttpFilter

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

GZIP = "envoy.extensions.compression.gzip.compressor.v3.Gzip"
GUNZIP = "envoy.extensions.compression.gzip.decompressor.v3.Gzip"
CONTENT_TYPES = (
    "application/javascript", "application/json", "application/xhtml+xml", "image/svg+xml", "text/css", "text/html",
    "text/plain", "text/xml",
)  # fmt: skip
LEVELS = {0: -1, 1: 1, **{i: i for i in range(2, 10)}}
STRATEGIES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}
COUNTERS = (
    "header_compressor_overshadowed", "header_compressor_used", "header_identity", "header_not_valid", "header_wildcard",
    "no_accept_header", "not_compressed_etag",
)  # fmt: skip
DIRECTION_COUNTERS = (
    "compressed", "content_length_too_small", "not_compressed", "total_compressed_bytes", "total_uncompressed_bytes",
)  # fmt: skip


def accepted(text: str) -> dict[str, float]:
    """Encodings of an Accept-Encoding header with their weights."""
    out: dict[str, float] = {}
    for part in text.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        if name:
            out[name] = weight
    return out


class Compressor(HttpFilter):
    """Compresses answers that are long enough and of the right type for clients that accept gzip."""

    decodes = encodes = True
    reads_response_data = True

    def __init__(self, config: Any, server: Any, hcm: Any) -> None:
        from mizzen.proxy.filters.registry import typed

        library = config.compressor_library
        kind, gzip = typed(library.typed_config, library.name)
        if kind != GZIP:
            raise Unsupported(f"Compressor.compressor_library {library.name} ({kind})")
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
        self.level = LEVELS.get(gzip.compression_level, -1)
        self.strategy = STRATEGIES.get(gzip.compression_strategy, 0)
        self.window = wrapped(gzip, "window_bits", 12)
        self.memory = wrapped(gzip, "memory_level", 5)
        prefix = f"http.{hcm.stat_prefix}.compressor.{library.name}.gzip"
        self.stats: Any = server.stats.group(prefix, COUNTERS)
        self.requests: Any = server.stats.group(prefix + ".request", DIRECTION_COUNTERS)
        self.responses: Any = self.stats if older else server.stats.group(prefix + ".response", DIRECTION_COUNTERS)
        if older:
            server.stats.group(prefix, DIRECTION_COUNTERS)

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        self.requests.not_compressed += 1
        text = headers.joined("accept-encoding")
        if text is not None:
            if stream.state is None:
                stream.state = {}
            stream.state[self] = text
            overrides = self.route_config(stream)
            if (
                overrides.drop_accept
                if overrides is not None and overrides.drop_accept is not None
                else self.drop_accept
            ):
                headers.remove("accept-encoding")
        return True

    def _wanted(self, text: str | None) -> bool:
        stats = self.stats
        if text is None:
            stats.no_accept_header += 1
            return False
        weights = accepted(text)
        if "gzip" in weights:
            if weights["gzip"] <= 0:
                stats.header_not_valid += 1
                return False
            if weights.get("identity", 0.0) > weights["gzip"]:
                stats.header_identity += 1
                return False
            stats.header_compressor_used += 1
            return True
        if weights.get("*", 0.0) > 0:
            stats.header_wildcard += 1
            return True
        if "identity" in weights:
            stats.header_identity += 1
        else:
            stats.header_not_valid += 1
        return False

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
        found = stream.state.pop(self, None) if stream.state is not None else None
        if not self.on() or headers.status == 101 or not self._long_enough(headers):
            self.responses.not_compressed += 1
            return True
        wanted = not end and self._wanted(found)
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
        headers.set("content-encoding", "gzip")
        if stream.state is None:
            stream.state = {}
        stream.state[self] = zlib.compressobj(self.level, zlib.DEFLATED, self.window + 16, self.memory, self.strategy)
        return True

    def response_data(self, stream: Stream, data: bytes, end: bool) -> bytes | None:
        packer = stream.state.get(self) if stream.state is not None else None
        if packer is None:
            return data
        out: bytes = packer.compress(data) + packer.flush(zlib.Z_FINISH if end else zlib.Z_SYNC_FLUSH)
        self.responses.total_uncompressed_bytes += len(data)
        self.responses.total_compressed_bytes += len(out)
        return out

    def response_trailers(self, stream: Stream, trailers: Headers) -> bool:
        packer = stream.state.pop(self, None) if stream.state is not None else None
        if packer is not None and not isinstance(packer, str):
            stream.add_response_data(self, packer.flush(zlib.Z_FINISH))
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
    """Unpacks gzip bodies of requests and answers."""

    decodes = encodes = True
    reads_request_data = reads_response_data = True

    def __init__(self, config: Any, server: Any, hcm: Any) -> None:
        from mizzen.proxy.filters.registry import typed

        library = config.decompressor_library
        kind, gzip = typed(library.typed_config, library.name)
        if kind != GUNZIP:
            raise Unsupported(f"Decompressor.decompressor_library {library.name} ({kind})")
        self.window = wrapped(gzip, "window_bits", 15)
        self.ratio = wrapped(gzip, "max_inflate_ratio", 100)
        request, response = config.request_direction_config, config.response_direction_config
        self.requests = self._on(request, server)
        self.advertise = wrapped(request, "advertise_accept_encoding", True)
        self.responses = self._on(response, server)
        prefix = f"http.{hcm.stat_prefix}.decompressor.{library.name}.gzip"
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
        if first.strip().lower() != "gzip" or "no-transform" in headers.d.get("cache-control", ""):
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
        stream.state[(self, key)] = zlib.decompressobj(self.window + 16)

    def _data(self, stream: Stream, key: str, data: bytes, stats: Any) -> bytes:
        unpacker = stream.state.get((self, key)) if stream.state is not None else None
        if unpacker is None or not data:
            return data
        stats.total_compressed_bytes += len(data)
        try:
            out: bytes = unpacker.decompress(data, len(data) * self.ratio)
        except zlib.error:
            return b""
        stats.total_uncompressed_bytes += len(out)
        return out

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        if self.advertise and self.requests() and "gzip" not in (headers.joined("accept-encoding") or ""):
            accept = headers.joined("accept-encoding")
            headers.set("accept-encoding", f"{accept},gzip" if accept else "gzip")
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
