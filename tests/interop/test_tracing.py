"""Traces beside Envoy's: the same requests through both, and the same spans, headers to upstream and statistics."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from mizzen.agent.supervisor import find_envoy
from tests.support.either_proxy import HTTP2, TYPES, address, cluster, proxy
from tests.support.poll import until

pytestmark = pytest.mark.skipif(not find_envoy(), reason="no Envoy here")
TRACE = TYPES + "envoy.config.trace.v3."
ENVIRONMENT = TYPES + "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.EnvironmentResourceDetectorConfig"
EXTRA = [{"header": {"key": "x-token", "value": "on"}}]
PROVIDERS: dict[str, dict[str, Any]] = {
    "zipkin": {
        "@type": TRACE + "ZipkinConfig",
        "collector_cluster": "collector",
        "collector_endpoint": "/api/v2/spans",
        "collector_endpoint_version": "HTTP_JSON",
    },
    "zipkin as Istio has it": {
        "@type": TRACE + "ZipkinConfig",
        "collector_endpoint_version": "HTTP_JSON",
        "trace_id_128bit": True,
        "shared_span_context": False,
        "trace_context_option": "USE_B3_WITH_W3C_PROPAGATION",
        "collector_service": {
            "http_uri": {"uri": "http://tracer.x/spans", "cluster": "collector", "timeout": "2s"},
            "request_headers_to_add": EXTRA,
        },
    },
    "zipkin in protobuf": {
        "@type": TRACE + "ZipkinConfig",
        "collector_cluster": "collector",
        "collector_hostname": "zipkin.x",
        "collector_endpoint": "/api/v2/spans",
        "collector_endpoint_version": "HTTP_PROTO",
    },
    "otlp over http": {
        "@type": TRACE + "OpenTelemetryConfig",
        "http_service": {
            "http_uri": {"uri": "http://tracer.x/v1/traces", "cluster": "collector", "timeout": "2s"},
            "request_headers_to_add": EXTRA,
        },
        "resource_detectors": [{"name": "environment", "typed_config": {"@type": ENVIRONMENT}}],
    },
    "otlp over grpc": {
        "@type": TRACE + "OpenTelemetryConfig",
        "grpc_service": {
            "envoy_grpc": {"cluster_name": "grpc", "authority": "tracer.x"},
            "timeout": "2s",
            "initial_metadata": [{"key": "x-token", "value": "on"}],
        },
        "service_name": "shop",
    },
}
TAGS = [
    {"tag": "literal", "literal": {"value": "x"}},
    {"tag": "header", "request_header": {"name": "x-h", "default_value": "d"}},
    {"tag": "no header", "request_header": {"name": "x-none"}},
    {"tag": "environment", "environment": {"name": "NO_SUCH_VARIABLE", "default_value": "dd"}},
    {"tag": "format", "value": "%REQ(x-h)%"},
    {"tag": "metadata", "metadata": {"kind": {"request": {}}, "metadata_key": {"key": "a", "path": [{"key": "b"}]}}},
]
B3 = {"x-b3-traceid": "1" * 16, "x-b3-spanid": "2" * 16, "x-b3-parentspanid": "3" * 16, "x-b3-sampled": "1"}
W3C = {"traceparent": f"00-{'4' * 32}-{'5' * 16}-01", "tracestate": "k=v"}
SINGLE = f"{'1' * 16}-{'2' * 16}"
REQUESTS: list[tuple[str, str, str, dict[str, str]]] = [
    ("plain", "in", "/a?b=c", {"x-h": "hv"}),
    ("plain", "out", "/abcdefghijklmnop", {}),
    ("b3", "in", "/", B3),
    ("b3", "out", "/", B3),
    ("w3c", "in", "/", W3C),
    ("w3c", "out", "/", W3C),
    ("both", "out", "/", {**B3, **W3C}),
    ("b3, not sampled", "in", "/", {**B3, "x-b3-sampled": "0"}),
    ("w3c, not sampled", "in", "/", {"traceparent": f"00-{'4' * 32}-{'5' * 16}-00"}),
    ("b3 of 128 bits", "out", "/", {**B3, "x-b3-traceid": "1" * 32}),
    ("b3 in one header", "in", "/", {"b3": f"{SINGLE}-1"}),
    ("b3 in one header", "out", "/", {"b3": f"{SINGLE}-d-{'3' * 16}"}),
    ("b3 that says no", "in", "/", {"b3": "0"}),
    ("b3 without a decision", "out", "/", {"x-b3-traceid": "1" * 16, "x-b3-spanid": "2" * 16}),
    ("b3 debug", "out", "/", {"x-b3-flags": "1"}),
    ("b3 that is none", "in", "/", {"x-b3-traceid": "zz", "x-b3-spanid": "2" * 16}),
    ("half of b3", "out", "/", {"x-b3-traceid": "1" * 16}),
    ("w3c that is none", "in", "/", {"traceparent": "00-zz-11-01"}),
    ("decorated", "in", "/decorated", {}),
    ("decorated by the client", "in", "/decorated", {"x-envoy-decorator-operation": "given"}),
    ("decorated", "out", "/decorated", {}),
    ("decorated for itself", "in", "/quiet", {}),
    ("answered by the proxy", "in", "/direct", {}),
    ("of a route's own", "in", "/own", {"x-h": "hv"}),
    ("never sampled", "in", "/never", {}),
    ("forced", "in", "/never", {"x-envoy-force-trace": "1", "x-forwarded-for": "10.0.0.9"}),
    ("of a client's id", "in", "/never", {"x-client-trace-id": "cli"}),
    ("as an id says", "in", "/never", {"x-request-id": "aaaaaaaa-aaaa-9aaa-aaaa-aaaaaaaaaaaa"}),
    ("grpc", "in", "/s/m", {"content-type": "application/grpc", "te": "trailers", "grpc-timeout": "1S"}),
]
SCRUBBED = (
    (r"127\.0\.0\.1:\d+", "HOST"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-(.)[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", r"UUID \1"),
    (r"\b(?!(\d)\1{15})[0-9a-f]{32}\b", "TRACE"),
    (r"\b(?!(\d)\1{15}\b)[0-9a-f]{16}\b", "SPAN"),
)


def routes() -> list[dict[str, Any]]:
    def route(prefix: str, **more: Any) -> dict[str, Any]:
        return {"match": {"prefix": prefix}, "route": {"cluster": "up"}, **more}

    return [
        route("/decorated", decorator={"operation": "op"}),
        route("/quiet", decorator={"operation": "op", "propagate": False}),
        {"match": {"prefix": "/direct"}, "direct_response": {"status": 503}},
        route("/own", tracing={"custom_tags": [{"tag": "literal", "literal": {"value": "route's"}}]}),
        route("/never", tracing={"random_sampling": {"numerator": 0}}),
        route("/"),
    ]


def listener(name: str, direction: str, provider: dict[str, Any], **tracing: Any) -> dict[str, Any]:
    router = {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "h",
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]},
        "tracing": {"provider": {"name": "tracer", "typed_config": provider}, **tracing},
        "http_filters": [{"name": "router", "typed_config": router}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes()}]},
    }
    chains = [{"filters": [{"name": "http", "typed_config": manager}]}]
    return {"name": name, "traffic_direction": direction, "address": address(0), "filter_chains": chains}


class Upstream:
    """Where requests go, and where spans are sent."""

    def __init__(self, zipkin: bool) -> None:
        self.zipkin = zipkin
        self.headers: dict[str, str] = {}
        self.reports: list[Any] = []

    async def __aenter__(self) -> Upstream:
        app = web.Application()
        app.router.add_post("/{path:.*(?:spans|traces)}", self._report)
        app.router.add_route("*", "/{path:.*}", self._echo)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._grpc = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(self._export)
        service = "opentelemetry.proto.collector.trace.v1.TraceService"
        self._grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
        self.grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")
        await self._grpc.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._grpc.stop(None)

    async def _echo(self, request: web.Request) -> web.Response:
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        return web.Response(text="ok")

    async def _report(self, request: web.Request) -> web.Response:
        kind, body = request.headers["content-type"], await request.read()
        told = {"host": request.headers["host"], "type": kind, "token": request.headers.get("x-token")}
        self.reports.append(told | {"path": request.path} | self._read(kind, body))
        return web.Response(status=200 if "traces" in request.path else 202)

    def _read(self, kind: str, body: bytes) -> dict[str, Any]:
        if kind == "application/json":
            return {"spans": [timeless(span) for span in json.loads(body)]}
        if not self.zipkin:
            return otlp(body)
        else:
            return {"spans": [zipkin_fields(span) for _, span in fields(body)]}

    async def _export(self, body: bytes, context: Any) -> bytes:
        token = dict(context.invocation_metadata()).get("x-token")
        self.reports.append({"token": token} | otlp(body))
        return trace_service_pb2.ExportTraceServiceResponse().SerializeToString()


def timeless(span: dict[str, Any]) -> dict[str, Any]:
    assert span.pop("timestamp") > 1e15 and span.pop("duration") > 0
    return span | {"annotations": [each["value"] for each in span["annotations"]]}


def fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of each field of a message on the wire."""
    reader = io.BytesIO(data)

    def varint() -> int:
        value, shift = 0, 0
        while True:
            (byte,) = reader.read(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while reader.tell() < len(data):
        key = varint()
        kind = key & 7
        yield key >> 3, reader.read(8 if kind == 1 else varint()) if kind else varint().to_bytes(8, "big")


TRACE_ID, PARENT_ID, SPAN_ID, NAME, TIMESTAMP, DURATION, ANNOTATION, TAG = 1, 2, 3, 5, 6, 7, 10, 11


def zipkin_fields(span: bytes) -> list[Any]:
    """A span of Zipkin's protobuf without times, tags sorted."""
    out: list[Any] = []
    for number, content in fields(span):
        if number in (TRACE_ID, PARENT_ID, SPAN_ID):
            out.append([number, content.hex()])
        elif number == TAG:
            out.append([number, [text.decode() for _, text in fields(content)]])
        elif number == ANNOTATION:
            out.append([number, dict(fields(content))[2].decode()])
        else:
            out.append(
                [
                    number,
                    "" if number in (TIMESTAMP, DURATION) else content.hex() if number != NAME else content.decode(),
                ]
            )
    return sorted(out)


def otlp(body: bytes) -> dict[str, Any]:
    message = json_format.MessageToDict(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
    (group,) = message["resourceSpans"]
    resource = {each["key"]: each["value"]["stringValue"] for each in group["resource"]["attributes"]}
    spans = group["instrumentationLibrarySpans"][0]["spans"]
    for span in spans:
        assert int(span.pop("endTimeUnixNano")) >= int(span.pop("startTimeUnixNano"))
        span["attributes"].sort(key=lambda each: each["key"])
        span["ids"] = [bool(span.pop(name, "")) for name in ("traceId", "spanId", "parentSpanId")]
    return {
        "resource": {name: value for name, value in resource.items() if not name.startswith("telemetry.sdk")},
        "spans": spans,
    }


def scrubbed(value: Any) -> Any:
    text = json.dumps(value, sort_keys=True)
    for pattern, name in SCRUBBED:
        text = re.sub(pattern, name, text)
    return json.loads(text)


NOT_OURS = ("user-agent", "accept", "accept-encoding", "x-envoy-expected-rq-timeout-ms")


async def observed(which: str, folder: Path, provider: dict[str, Any]) -> dict[str, Any]:
    """What came of each request: the answer's decorator, the headers that upstream got, what was reported."""
    async with Upstream("Zipkin" in provider["@type"]) as upstream, aiohttp.ClientSession() as session:
        flushed_at_once = {"tracing.zipkin.min_flush_spans": 1, "tracing.opentelemetry.min_flush_spans": 1}
        bootstrap = {
            "node": {"id": "n1", "cluster": "c1", "locality": {"zone": "z1"}},
            "admin": {"address": address(0)},
            "layered_runtime": {"layers": [{"name": "static", "static_layer": flushed_at_once}]},
            "static_resources": {
                "listeners": [
                    listener("in", "INBOUND", provider, custom_tags=TAGS),
                    listener("out", "OUTBOUND", provider, max_path_tag_length=10, operation="%REQ(:method)% it"),
                ],
                "clusters": [
                    cluster("up", upstream.port),
                    cluster("collector", upstream.port),
                    cluster("grpc", upstream.grpc_port, typed_extension_protocol_options=HTTP2),
                ],
            },
        }
        out: dict[str, Any] = {}
        resource = {"OTEL_RESOURCE_ATTRIBUTES": "a=b,c=d"}
        async with proxy(which, folder, bootstrap, level="warning", environment=resource) as (admin, ports):
            for name, side, path, headers in REQUESTS:
                upstream.headers, upstream.reports = {}, []
                url = f"http://127.0.0.1:{ports[side]}{path}"
                async with session.get(url, headers={**headers, "user-agent": "ua"}) as answer:
                    decorator = answer.headers.get("x-envoy-decorator-operation")
                    await answer.read()
                sampled = expects_report(provider, name)
                if sampled:
                    await until(lambda: upstream.reports, f"{which}: a report of {name!r}")
                got = {key: value for key, value in upstream.headers.items() if key not in NOT_OURS}
                out[f"{name}, {side}"] = scrubbed([decorator, got, upstream.reports])
            async with session.get(f"http://127.0.0.1:{admin}/stats?filter=http.h.tracing") as answer:
                out["statistics"] = (await answer.text()).split("\n")
        return out


def expects_report(provider: dict[str, Any], name: str) -> bool:
    """Whether to wait for one: a report that comes unexpected is seen with the next request."""
    b3 = "Zipkin" in provider["@type"]
    w3c = not b3 or "trace_context_option" in provider
    silent = {"never sampled", "w3c, not sampled" if w3c else "", "b3, not sampled" if b3 else ""}
    silent |= {"b3 that is none", "b3 that says no"} if b3 else {"w3c that is none"}
    return name not in silent


@pytest.mark.parametrize("kind", PROVIDERS)
async def test_as_envoy(tmp_path: Path, kind: str) -> None:
    ours = await observed("mizzen", tmp_path / "mizzen", PROVIDERS[kind])
    theirs = await observed("envoy", tmp_path / "envoy", PROVIDERS[kind])
    assert ours == theirs
