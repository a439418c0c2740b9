"""Compression libraries of the compressor and decompressor filters: gzip, brotli, zstd.

Takes a library's typed configuration; gives the content coding's name and what makes a coder for one body.
`Coder(data, end) -> bytes` packs or unpacks the next piece; what it gives for a piece can be read at once.
Not here: which messages are coded (compression.py).
Source: envoy.extensions.compression.{gzip,brotli,zstd}.{compressor,decompressor}.v3.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.values import wrapped

Coder = Callable[[bytes, bool], bytes]
PREFIX = "envoy.extensions.compression."
RATIO = 100  # how many times longer than it came a piece of brotli or zstd may become, once it is longer than LEAST
LEAST = 256 * 1024
SLICE = 128
LEVELS = {0: -1, **{i: i for i in range(1, 10)}}


class Library(NamedTuple):
    coding: str  # in Content-Encoding
    stats: str  # in statistics' names
    make: Callable[[], Coder]


def gzip_packer(message: Any) -> Library:
    level = LEVELS.get(message.compression_level, -1)
    window, memory = wrapped(message, "window_bits", 12), wrapped(message, "memory_level", 5)
    strategy = int(message.compression_strategy)

    def make() -> Coder:
        packer = zlib.compressobj(level, zlib.DEFLATED, window + 16, memory, strategy)
        return lambda data, end: packer.compress(data) + packer.flush(zlib.Z_FINISH if end else zlib.Z_SYNC_FLUSH)

    return Library("gzip", "gzip", make)


def brotli_packer(message: Any) -> Library:
    import brotli

    quality, window = wrapped(message, "quality", 3), wrapped(message, "window_bits", 18)
    block = wrapped(message, "input_block_bits", 24)
    modes = {0: brotli.MODE_GENERIC, 1: brotli.MODE_GENERIC, 2: brotli.MODE_TEXT, 3: brotli.MODE_FONT}
    mode = modes[message.encoder_mode]
    if message.disable_literal_context_modeling:
        raise Unsupported("Brotli.disable_literal_context_modeling")

    def make() -> Coder:
        packer = brotli.Compressor(mode=mode, quality=quality, lgwin=window, lgblock=block)

        def feed(data: bytes, end: bool) -> bytes:
            out: bytes = packer.process(data) + (packer.finish() if end else packer.flush())
            return out

        return feed

    make()  # a bad configuration is refused now
    return Library("br", "brotli", make)


def zstd_packer(message: Any) -> Library:
    import zstandard

    if message.HasField("dictionary"):
        raise Unsupported("Zstd.dictionary")
    level = wrapped(message, "compression_level", 3)
    if level > zstandard.MAX_COMPRESSION_LEVEL:
        raise ConfigError(f"Zstd.compression_level: above {zstandard.MAX_COMPRESSION_LEVEL}")
    chosen = {"strategy": int(message.strategy)} if message.strategy else {}
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, write_checksum=message.enable_checksum, write_content_size=False, **chosen
    )

    def make() -> Coder:
        packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        finish, flush = zstandard.COMPRESSOBJ_FLUSH_FINISH, zstandard.COMPRESSOBJ_FLUSH_BLOCK
        return lambda data, end: packer.compress(data) + packer.flush(finish if end else flush)

    return Library("zstd", "zstd", make)


def gzip_unpacker(message: Any) -> Library:
    window, ratio = wrapped(message, "window_bits", 15), wrapped(message, "max_inflate_ratio", 100)

    def make() -> Coder:
        unpacker = zlib.decompressobj(window + 16)

        def feed(data: bytes, end: bool) -> bytes:
            try:
                return unpacker.decompress(data, len(data) * ratio)
            except zlib.error:
                return b""

        return feed

    return Library("gzip", "gzip", make)


def bound(data: bytes) -> int:
    return max(LEAST, len(data) * RATIO)


def brotli_unpacker(message: Any) -> Library:
    import brotli

    def make() -> Coder:
        unpacker = brotli.Decompressor()
        broken = False

        def feed(data: bytes, end: bool) -> bytes:
            nonlocal broken
            if broken:
                return b""
            try:
                out: bytes = unpacker.process(data, output_buffer_limit=bound(data))
            except brotli.error:
                broken = True
                return b""
            broken = not unpacker.can_accept_more_data()
            return b"" if broken else out

        return feed

    return Library("br", "brotli", make)


def zstd_unpacker(message: Any) -> Library:
    import zstandard

    if message.dictionaries:
        raise Unsupported("Zstd.dictionaries")

    def make() -> Coder:
        unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        broken = False

        def feed(data: bytes, end: bool) -> bytes:
            nonlocal broken
            parts: list[bytes] = []
            left = bound(data)
            for at in range(0, len(data), SLICE):  # the library has no bound of its own
                if broken:
                    break
                try:
                    parts.append(unpacker.decompress(data[at : at + SLICE]))
                except zstandard.ZstdError:
                    broken = True
                left -= len(parts[-1]) if parts else 0
                broken = broken or left < 0
            return b"" if left < 0 else b"".join(parts)

        return feed

    return Library("zstd", "zstd", make)


PACKERS: dict[str, Callable[[Any], Library]] = {
    PREFIX + "gzip.compressor.v3.Gzip": gzip_packer,
    PREFIX + "brotli.compressor.v3.Brotli": brotli_packer,
    PREFIX + "zstd.compressor.v3.Zstd": zstd_packer,
}
UNPACKERS: dict[str, Callable[[Any], Library]] = {
    PREFIX + "gzip.decompressor.v3.Gzip": gzip_unpacker,
    PREFIX + "brotli.decompressor.v3.Brotli": brotli_unpacker,
    PREFIX + "zstd.decompressor.v3.Zstd": zstd_unpacker,
}


def library(extension: Any, known: dict[str, Callable[[Any], Library]], where: str) -> Library:
    """What a TypedExtensionConfig names. Raises Unsupported for a library that is not known."""
    from mizzen.proxy.filters.registry import typed

    kind, message = typed(extension.typed_config, extension.name)
    if kind not in known:
        raise Unsupported(f"{where} {extension.name} ({kind})")
    return known[kind](message)
