"""HTTP/2's numbers: frame types, flags, error codes, settings, limits; and how a connection error is told.

Source: RFC 9113, sections 4, 6 and 7.
"""

from __future__ import annotations

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, HAS_PRIORITY, ACK = 1, 4, 8, 32, 1
(
    NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
    REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, HTTP_1_1_REQUIRED,
) = range(14)  # fmt: skip
TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_LIST, ENABLE_CONNECT = 1, 2, 3, 4, 5, 6, 8
MAX_WINDOW = 2**31 - 1
FRAME = 16384
MAX_CONTROL = 1000  # answers to control frames that may wait unsent, as Envoy's
MAX_EMPTY = 100  # empty frames in a row
MAX_RESETS = 500  # resets of fresh streams by a client before it is cut off


class Broken(Exception):
    """The connection must end with GOAWAY."""

    def __init__(self, code: int, details: str = "", silent: bool = False) -> None:
        super().__init__(details or f"error {code}")
        self.code = code
        self.silent = silent  # close without a word, as Envoy does after a malformed message
        self.details = details or "http2.protocol_error"
