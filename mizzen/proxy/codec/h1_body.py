"""HTTP/1.1 chunked bodies: bytes in; data, trailers and what is left over out.

Not here: bodies with a length or up to the end of the connection; the connections count those themselves.
"""

from __future__ import annotations

import re
from typing import Final

from mizzen.proxy.codec.errors import CodecError
from mizzen.proxy.codec.h1_head import head_end, lenient_fields, lenient_lines
from mizzen.proxy.codec.headers import Headers

SIZE_LINE: Final = re.compile(rb"[ \t]*([0-9A-Fa-f]+)[ \t]*(?:;.*)?", re.DOTALL)
MAX_SIZE_LINE: Final = 4096  # bytes of a chunk-size line with its extensions
SIZE: Final = 0
DATA: Final = 1
DATA_END: Final = 2
TRAILERS: Final = 3
DONE: Final = 4


class ChunkedReader:
    """Feed it what comes; `data` is what that held, `done` says that the body is over and `rest` what came after it."""

    __slots__ = ("done", "left", "max_trailers", "rest", "state", "trailers")

    def __init__(self, max_trailers: int = 60 * 1024) -> None:
        self.state = SIZE
        self.left = 0
        self.rest = b""
        self.done = False
        self.trailers: Headers | None = None
        self.max_trailers = max_trailers

    def feed(self, data: bytes) -> bytes:
        """The body bytes in `data`. Raises CodecError for wrong framing."""
        buffer = self.rest + data if self.rest else data
        at, end = 0, len(buffer)
        out: list[bytes] = []
        while at < end:
            if self.state == DATA:
                piece = buffer[at : at + self.left]
                out.append(piece)
                at += len(piece)
                self.left -= len(piece)
                if self.left:
                    break
                self.state = DATA_END
            elif self.state == SIZE:
                stop = buffer.find(b"\n", at)
                if stop < 0:
                    if end - at > MAX_SIZE_LINE:
                        raise CodecError("http1.codec_error")
                    break
                self._size(buffer[at:stop])
                at = stop + 1
            elif self.state == DATA_END:
                stop = buffer.find(b"\n", at)
                if stop < 0:
                    if end - at > MAX_SIZE_LINE:
                        raise CodecError("http1.codec_error")
                    break
                at = stop + 1
                self.state = SIZE
            else:
                after = self._trailers(buffer, at)
                if after < 0:
                    break
                at = after
                self.state, self.done = DONE, True
                break
        self.rest = buffer[at:]
        return out[0] if len(out) == 1 else b"".join(out)

    def _size(self, line: bytes) -> None:
        if not line.endswith(b"\r"):
            raise CodecError("http1.codec_error")
        matched = SIZE_LINE.fullmatch(line[:-1])
        if matched is None or len(matched[1].lstrip(b"0")) > 15:
            raise CodecError("http1.codec_error")
        self.left = int(matched[1], 16)
        self.state = DATA if self.left else TRAILERS

    def _trailers(self, buffer: bytes, at: int) -> int:
        """Where the message ends, -1 when that is yet to come."""
        if buffer[at : at + 2] == b"\r\n":
            return at + 2
        if buffer[at : at + 1] == b"\n":
            return at + 1
        stop, after = head_end(buffer, at)
        if stop < 0:
            if len(buffer) - at > self.max_trailers:
                raise CodecError("http1.trailers_too_large", 431)
            return -1
        d, more = lenient_fields(["", *lenient_lines(buffer[at:stop])])
        self.trailers = Headers(d, more)
        return after
