"""HTTP/2's numbers: frame types, flags, error codes, settings, limits; and how a connection error is told.

Source: RFC 9113, sections 4, 6 and 7.
"""

from __future__ import annotations

from typing import Any, Final

from mizzen.proxy.config.errors import ConfigError

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


class Limits:
    """What a peer may do before the connection is ended as a flood: Http2ProtocolOptions, with Envoy's defaults."""

    def __init__(self, options: Any = None) -> None:
        self.outbound_frames = _option(options, "max_outbound_frames", 10_000)
        self.outbound_control = _option(options, "max_outbound_control_frames", 1_000)
        self.empty_frames = _option(options, "max_consecutive_inbound_frames_with_empty_payload", 1, 0)
        self.priorities = _option(options, "max_inbound_priority_frames_per_stream", 100, 0)
        self.window_updates = _option(options, "max_inbound_window_update_frames_per_data_frame_sent", 10)


def _option(options: Any, name: str, default: int, least: int = 1) -> int:
    if options is None or not options.HasField(name):
        return default
    value = int(getattr(options, name).value)
    if value < least:
        camel = "".join(word.capitalize() for word in name.split("_"))
        raise ConfigError(
            f"Http2ProtocolOptionsValidationError.{camel}: value must be greater than or equal to {least}"
        )
    return value


class Broken(Exception):
    """The connection must end with GOAWAY."""

    def __init__(self, code: int, details: str = "", silent: bool = False) -> None:
        super().__init__(details or f"error {code}")
        self.code = code
        self.silent = silent  # close without a word, as Envoy does after a malformed message
        self.details = details or "http2.protocol_error"
