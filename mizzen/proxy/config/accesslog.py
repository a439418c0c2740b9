"""Access loggers and their filters → AccessLog objects: a predicate, a format and a sink.

Source: envoy.config.accesslog.v3, envoy.extensions.access_loggers.{file,stream}.v3.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2

from mizzen.proxy.accesslog.format import DEFAULT, TextFormat, json_format, substitution_format, text_format
from mizzen.proxy.accesslog.grpc import grpc_number
from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.matchers import header_matcher, metadata_matcher, runtime_number
from mizzen.proxy.config.values import fraction, unpack
from mizzen.proxy.http.info import FLAG_BY_NAME, StreamInfo
from mizzen.wire.grpc_status import FROM_HTTP

DOWNSTREAM_END: Final = 6  # AccessLogType
TCP_CONNECTION_END: Final = 3
LogFilter = Callable[[StreamInfo], bool]


class AccessLog:
    """One access log of a connection manager, TCP proxy or listener. fmt: makes what `write` takes, a line or a record."""

    __slots__ = ("format", "predicate", "write")

    def __init__(
        self, write: Callable[[Any], None], fmt: Callable[[StreamInfo], Any], predicate: LogFilter | None
    ) -> None:
        self.write = write
        self.format = fmt
        self.predicate = predicate

    def log(self, info: StreamInfo) -> None:
        if self.predicate is None or self.predicate(info):
            self.write(self.format(info))


def access_logs(messages: Any, server: Any) -> tuple[AccessLog, ...]:
    return tuple(access_log(message, server) for message in messages)


def access_log(message: Any, server: Any) -> AccessLog:
    """The AccessLog of an envoy.config.accesslog.v3.AccessLog. Raises ConfigError, Unsupported."""
    predicate = log_filter(message.filter, server) if message.HasField("filter") else None
    kind = message.typed_config.type_url.rpartition("/")[2]
    if kind == file_pb2.FileAccessLog.DESCRIPTOR.full_name:
        typed = unpack(message.typed_config, file_pb2.FileAccessLog, message.name)
        if not typed.path:
            raise ConfigError("FileAccessLog: path is required")
        return AccessLog(server.logs.file(typed.path), file_format(typed), predicate)
    if kind in (stream_pb2.StdoutAccessLog.DESCRIPTOR.full_name, stream_pb2.StderrAccessLog.DESCRIPTOR.full_name):
        stdout = kind == stream_pb2.StdoutAccessLog.DESCRIPTOR.full_name
        log = stream_pb2.StdoutAccessLog if stdout else stream_pb2.StderrAccessLog
        stream = unpack(message.typed_config, log, message.name)
        fmt = substitution_format(stream.log_format) if stream.HasField("log_format") else text_format(DEFAULT)
        return AccessLog(server.logs.file("/dev/stdout" if stdout else "/dev/stderr"), fmt, predicate)
    if kind == "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig":
        from mizzen.proxy.accesslog import otlp
        from mizzen.proxy.filters.registry import typed as typed_message

        _, config = typed_message(message.typed_config, message.name)
        return AccessLog(otlp.shared(config, server).write, otlp.record(config), predicate)
    if kind.startswith("envoy.extensions.access_loggers.grpc.v3."):
        from mizzen.proxy.accesslog import als
        from mizzen.proxy.filters.registry import typed as typed_message

        _, config = typed_message(message.typed_config, message.name)
        write, make = als.http(config, server) if kind.endswith(".HttpGrpcAccessLogConfig") else als.tcp(config, server)
        return AccessLog(write, make, predicate)
    raise Unsupported(f"access_log {message.name} ({kind})")


def file_format(typed: Any) -> TextFormat:
    kind = typed.WhichOneof("access_log_format")
    if kind is None:
        return text_format(DEFAULT)
    if kind == "format":
        return text_format(typed.format)
    if kind == "log_format":
        return substitution_format(typed.log_format)
    render = json_format(getattr(typed, kind))
    return lambda info: render(info) + "\n"


def compare(message: Any, server: Any) -> Callable[[int], bool]:
    """A ComparisonFilter: EQ, GE, LE, NE against a value that runtime may override."""
    wanted = runtime_number(message.value, server.runtime)
    tests: dict[int, Callable[[int], bool]] = {
        0: lambda value: value == wanted(),
        1: lambda value: value >= wanted(),
        2: lambda value: value <= wanted(),
        3: lambda value: value != wanted(),
    }
    return tests[message.op]


def _status(message: Any, server: Any) -> LogFilter:
    test = compare(message.comparison, server)
    return lambda info: test(info.code)


def _duration(message: Any, server: Any) -> LogFilter:
    test = compare(message.comparison, server)
    return lambda info: test(int((info.end - info.start) * 1000))


def _runtime(message: Any, server: Any) -> LogFilter:
    default = fraction(message.percent_sampled)
    key = message.runtime_key

    def sampled(info: StreamInfo) -> bool:
        value = server.runtime.get(key)
        share = float(value) / 100 if isinstance(value, (int, float)) else default
        return random.random() < share

    return sampled


def _flags(message: Any, server: Any) -> LogFilter:
    for flag in message.flags:
        if flag not in FLAG_BY_NAME:
            raise ConfigError(f"ResponseFlagFilter.flags: {flag} is not known")
    wanted = sum(FLAG_BY_NAME[flag] for flag in set(message.flags))
    if not wanted:
        return lambda info: info.flags != 0
    return lambda info: bool(info.flags & wanted)


def _grpc(message: Any, server: Any) -> LogFilter:
    statuses, exclude = set(message.statuses), message.exclude

    def test(info: StreamInfo) -> bool:
        number = grpc_number(info)
        if number is None:
            number = FROM_HTTP.get(info.code, 2)
        return bool((number in statuses) != exclude)

    return test


def _all(message: Any, server: Any) -> LogFilter:
    tests = [log_filter(each, server) for each in message.filters]
    return lambda info: all(test(info) for test in tests)


def _any(message: Any, server: Any) -> LogFilter:
    tests = [log_filter(each, server) for each in message.filters]
    return lambda info: any(test(info) for test in tests)


def _header(message: Any, server: Any) -> LogFilter:
    test = header_matcher(message.header)
    none = RequestHeaders("", "", None, {}, None, "")  # of a session
    return lambda info: test(none if info.request is None else info.request)


def _metadata(message: Any, server: Any) -> LogFilter:
    if not message.HasField("matcher"):
        return lambda info: True
    test = metadata_matcher(message.matcher)
    missing = message.match_if_key_not_found.value if message.HasField("match_if_key_not_found") else True
    namespace, keys = message.matcher.filter, [segment.key for segment in message.matcher.path]

    def matches(info: StreamInfo) -> bool:
        value: Any = (info.metadata or {}).get(namespace)
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return bool(missing) if value is None else test(info.metadata)

    return matches


def _not_health_check(message: Any, server: Any) -> LogFilter:
    return lambda info: not info.health_check


def _traceable(message: Any, server: Any) -> LogFilter:
    return lambda info: bool(info.trace_reason)


def _log_type(message: Any, server: Any) -> LogFilter:
    exclude: bool = message.exclude
    of_requests, of_sessions = DOWNSTREAM_END in message.types, TCP_CONNECTION_END in message.types
    return lambda info: (of_requests if info.request is not None or info.protocol else of_sessions) != exclude


FILTERS: Final[dict[str, Callable[[Any, Any], LogFilter]]] = {
    "status_code_filter": _status,
    "duration_filter": _duration,
    "not_health_check_filter": _not_health_check,
    "traceable_filter": _traceable,
    "runtime_filter": _runtime,
    "and_filter": _all,
    "or_filter": _any,
    "header_filter": _header,
    "response_flag_filter": _flags,
    "grpc_status_filter": _grpc,
    "metadata_filter": _metadata,
    "log_type_filter": _log_type,
}


def log_filter(message: Any, server: Any) -> LogFilter:
    """The predicate of an AccessLogFilter."""
    kind = message.WhichOneof("filter_specifier")
    if kind == "extension_filter":
        return extension_filter(message.extension_filter)
    if kind not in FILTERS:
        raise Unsupported(f"AccessLogFilter.{kind}")
    return FILTERS[kind](getattr(message, kind), server)


def extension_filter(message: Any) -> LogFilter:
    from mizzen.proxy.filters.registry import typed as typed_message

    kind, config = typed_message(message.typed_config, message.name)
    if not kind.endswith(".ExpressionFilter"):
        raise Unsupported(f"AccessLogFilter.extension_filter {message.name} ({kind})")
    from mizzen.proxy.accesslog.cel import expression_filter

    return expression_filter(config)
