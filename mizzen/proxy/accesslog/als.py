"""Access logs to a gRPC access log service (ALS): entries gathered, and sent on one stream per configuration.

An entry is dropped and counted while buffer_size_bytes of them wait and the stream takes no more. Loggers whose
common_config is the same share the stream. Not here: what an entry says (als_entries.py).
Source: envoy.extensions.access_loggers.grpc.v3; envoy.service.accesslog.v3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envoy.data.accesslog.v3 import accesslog_pb2
from envoy.service.accesslog.v3 import als_pb2

from mizzen.proxy.accesslog.als_entries import Filler, common_filler, http_filler, tcp_filler
from mizzen.proxy.accesslog.stream import Stream
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.values import only_v3, optional_seconds, wrapped
from mizzen.proxy.http.info import StreamInfo

METHOD = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
HTTP, TCP = "http_logs", "tcp_logs"


class Logger:
    """What is sent to one service under one log name, of one kind (HTTP or TCP)."""

    def __init__(self, common: Any, kind: str, server: Any) -> None:
        only_v3(common, "transport_api_version", "CommonGrpcAccessLogConfig")
        if not common.log_name:
            raise ConfigError("CommonGrpcAccessLogConfig.LogName: value length must be at least 1 characters")
        self._server, self._kind = server, kind
        self._log_name: str = common.log_name
        self._stream = Stream(common.grpc_service, server, METHOD)
        self._flush_s = optional_seconds(common, "buffer_flush_interval", 1.0) or 1.0
        self._max_bytes: int = wrapped(common, "buffer_size_bytes", 16384)
        self.stats: Any = server.stats.group("access_logs.grpc_access_log", ["logs_dropped", "logs_written"])
        self._message = als_pb2.StreamAccessLogsMessage()
        self._size = 0
        self._timer: Any = None

    def write(self, entry: Any) -> None:
        if self._max_bytes and self._size >= self._max_bytes:
            self._flush()
            if self._size >= self._max_bytes:
                self.stats.logs_dropped += 1
                return
        if self._kind == HTTP:  # Envoy counts no others
            self.stats.logs_written += 1
        getattr(self._message, self._kind).log_entry.append(entry)
        self._size += entry.ByteSize()
        if self._size >= self._max_bytes:
            self._flush()
        elif self._timer is None:
            self._timer = self._server.loop.call_later(self._flush_s, self._due)

    def _due(self) -> None:
        self._timer = None
        self._flush()

    def _flush(self) -> None:
        if not self._size:
            return
        if self._stream.full:
            if self._timer is None:
                self._timer = self._server.loop.call_later(self._flush_s, self._due)
            return
        message = self._message
        if not self._stream.begun:
            message.identifier.node.CopyFrom(self._server.node_message())
            message.identifier.log_name = self._log_name
        self._message, self._size = als_pb2.StreamAccessLogsMessage(), 0
        self._stream.send(message.SerializeToString())


Sink = tuple[Callable[[Any], None], Callable[[StreamInfo], Any]]
"""Where entries go, and what makes them."""


def http(config: Any, server: Any) -> Sink:
    """Of an HttpGrpcAccessLogConfig."""
    return _sink(config.common_config, HTTP, accesslog_pb2.HTTPAccessLogEntry, http_filler(config), server)


def tcp(config: Any, server: Any) -> Sink:
    """Of a TcpGrpcAccessLogConfig."""
    return _sink(config.common_config, TCP, accesslog_pb2.TCPAccessLogEntry, tcp_filler, server)


def _sink(config: Any, kind: str, entry_type: Callable[[], Any], parts: Filler, server: Any) -> Sink:
    common = common_filler(config)

    def make(info: StreamInfo) -> Any:
        entry = entry_type()
        common(entry.common_properties, info)
        parts(entry, info)
        return entry

    return _shared(config, kind, server).write, make


def _shared(common: Any, kind: str, server: Any) -> Logger:
    key = (kind, common.SerializeToString(deterministic=True))
    found: Logger | None = server.log_streams.get(key)
    if found is None:
        found = server.log_streams[key] = Logger(common, kind, server)
    return found
