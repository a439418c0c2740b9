"""HTTP/2's numbers: frame types, flags, error codes, settings, limits; and how a connection error is told.

Source: RFC 9113, sections 4, 6 and 7.
"""

from __future__ import annotations

from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9
END_STREAM: Final = 1
END_HEADERS: Final = 4
PADDED: Final = 8
HAS_PRIORITY: Final = 32
ACK: Final = 1
NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
SETTINGS_TIMEOUT: Final = 4
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
CONNECT_ERROR: Final = 10
ENHANCE_YOUR_CALM: Final = 11
INADEQUATE_SECURITY: Final = 12
HTTP_1_1_REQUIRED: Final = 13
TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_STREAMS: Final = 3
INITIAL_WINDOW: Final = 4
MAX_FRAME: Final = 5
MAX_LIST: Final = 6
ENABLE_CONNECT: Final = 8
MAX_WINDOW: Final = 2**31 - 1
FRAME: Final = 16384
MAX_CONTROL: Final = 1000  # answers to control frames that may wait unsent, as Envoy's
MAX_EMPTY: Final = 100  # empty frames in a row
MAX_RESETS: Final = 500  # resets of fresh streams by a client before it is cut off


class Broken(Exception):
    """The connection must end with GOAWAY."""

    def __init__(self, code: int, details: str = "", silent: bool = False) -> None:
        super().__init__(details or f"error {code}")
        self.code = code
        self.silent = silent  # close without a word, as Envoy does after a malformed message
        self.details = details or "http2.protocol_error"
