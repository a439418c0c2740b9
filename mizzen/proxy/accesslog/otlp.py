"""Access logs to an OpenTelemetry collector, over gRPC.

Records wait until they are buffer_size_bytes together or buffer_flush_interval has passed, and are dropped and counted while too
many wait for an answer. Source: envoy.extensions.access_loggers.open_telemetry.v3; opentelemetry.proto.collector.logs.v1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1 import logs_pb2

from mizzen.proxy.accesslog.format import text_format
from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.config.values import only_v3, optional_seconds, wrapped
from mizzen.proxy.filters.grpc_service import GrpcService
from mizzen.proxy.http.info import StreamInfo
from mizzen.proxy.tracing.span import span_of

EXPORT = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
MAX_UNANSWERED = 16  # batches
Value = Callable[[StreamInfo], Any]  # an AnyValue


class Collector:
    """Where the records of one configuration go."""

    def __init__(self, config: Any, server: Any) -> None:
        common = config.common_config
        only_v3(common, "transport_api_version", "CommonGrpcAccessLogConfig")
        if len(common.custom_tags):
            raise Unsupported("OpenTelemetryAccessLogConfig.common_config.custom_tags")
        self._server = server
        self._service = GrpcService(common.grpc_service, server)
        self._flush_s = optional_seconds(common, "buffer_flush_interval", 1.0) or 1.0
        self._flush_bytes: int = wrapped(common, "buffer_size_bytes", 16384)
        self._resource = _resource(config, server.node)
        prefix = "access_logs.open_telemetry_access_log"
        if config.stat_prefix:
            prefix += f".{config.stat_prefix}"
        self.stats: Any = server.stats.group(prefix, ["logs_dropped", "logs_written"])
        self._records: list[Any] = []
        self._size = 0
        self._unanswered = 0
        self._timer: Any = None

    def write(self, record: Any) -> None:
        self._records.append(record)
        self._size += record.ByteSize()
        if self._size >= self._flush_bytes:
            self._flush()
        elif self._timer is None:
            self._timer = self._server.loop.call_later(self._flush_s, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        records, self._records, self._size = self._records, [], 0
        if not records:
            return
        if self._unanswered >= MAX_UNANSWERED:
            self.stats.logs_dropped += len(records)
            return
        self.stats.logs_written += len(records)
        self._unanswered += 1
        message = logs_service_pb2.ExportLogsServiceRequest()
        group = message.resource_logs.add()
        group.resource.attributes.extend(self._resource)
        # scope_logs of newer protos; the number is the same
        group.instrumentation_library_logs.add().logs.extend(records)
        self._service.call(EXPORT, message.SerializeToString(), self._answered)

    def _answered(self, status: int, answer: bytes) -> None:
        self._unanswered -= 1


def shared(config: Any, server: Any) -> Collector:
    """The collector of all logs that are configured alike."""
    key = ("open_telemetry", config.SerializeToString(deterministic=True))
    found: Collector | None = server.log_streams.get(key)
    if found is None:
        found = server.log_streams[key] = Collector(config, server)
    return found


def _resource(config: Any, node: Any) -> list[Any]:
    out = []
    if not config.disable_builtin_labels:
        labels = {
            "log_name": config.common_config.log_name,
            "zone_name": node.locality.zone,
            "cluster_name": node.cluster,
            "node_name": node.id,
        }
        for key, text in labels.items():
            pair = common_pb2.KeyValue(key=key)
            pair.value.string_value = text
            out.append(pair)
    return [*out, *config.resource_attributes.values]


def value(message: Any) -> Value:
    """A maker of an AnyValue whose texts are formats."""
    kind = message.WhichOneof("value")
    if kind == "string_value":
        render = text_format(message.string_value)
        return lambda info: common_pb2.AnyValue(string_value=render(info))
    if kind == "kvlist_value":
        pairs = key_values(message.kvlist_value)
        return lambda info: common_pb2.AnyValue(kvlist_value=common_pb2.KeyValueList(values=pairs(info)))
    if kind == "array_value":
        items = [value(item) for item in message.array_value.values]
        return lambda info: common_pb2.AnyValue(
            array_value=common_pb2.ArrayValue(values=[item(info) for item in items])
        )
    raise Unsupported(f"OpenTelemetryAccessLogConfig value of kind {kind}")


def key_values(message: Any) -> Callable[[StreamInfo], list[Any]]:
    makers = [(pair.key, value(pair.value)) for pair in message.values]
    return lambda info: [common_pb2.KeyValue(key=key, value=make(info)) for key, make in makers]


def record(config: Any) -> Callable[[StreamInfo], Any]:
    """A maker of LogRecords."""
    body = value(config.body) if config.HasField("body") else None
    attributes = key_values(config.attributes)

    def make(info: StreamInfo) -> Any:
        out = logs_pb2.LogRecord(time_unix_nano=int(info.start_wall * 1e9))
        if body is not None:
            out.body.CopyFrom(body(info))
        out.attributes.extend(attributes(info))
        span = span_of(info)
        if span is not None:
            out.trace_id = bytes.fromhex(span.context.trace.rjust(32, "0"))
            out.span_id = bytes.fromhex(span.context.span)
        return out

    return make
