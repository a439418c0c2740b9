"""The HTTP connection manager, and whole HTTP filter chains around it.

Takes the chain context and options, gives envoy.config.listener.v3.Filter messages. One builder for the three listener
classes; what differs between them stands in the function that is about it.
Not here: the HTTP filters (http.py), routes.
"""

from __future__ import annotations

from typing import Any

import msgspec
from envoy.config.core.v3 import extension_pb2, protocol_pb2
from envoy.config.listener.v3 import listener_components_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.extensions.http.header_formatters.preserve_case.v3 import preserve_case_pb2
from envoy.extensions.request_id.uuid.v3 import uuid_pb2

from mizzen.api.istio.proxy_config import SetCurrentClientCertDetails
from mizzen.istiod.registry.protocol import Protocol
from mizzen.istiod.translate.connection_settings import apply_to_manager
from mizzen.istiod.translate.extension_plugins import AUTHN, AUTHZ, STATS, UNSPECIFIED
from mizzen.istiod.translate.filters.context import ChainContext, ListenerClass, idle_timeout
from mizzen.istiod.translate.filters.exchange import metadata_exchange
from mizzen.istiod.translate.filters.extensions import network_extensions
from mizzen.istiod.translate.filters.http import HttpChain, http_filters
from mizzen.istiod.translate.messages import ADS_CONFIG, boolean, duration, pack
from mizzen.istiod.translate.telemetry.access_log import access_logs
from mizzen.istiod.translate.telemetry.tracing import hcm_tracing

NAME = "envoy.filters.network.http_connection_manager"
Hcm = hcm_pb2.HttpConnectionManager
SERVER_NAME = "istio-envoy"


class HttpOptions(msgspec.Struct, frozen=True):
    """What is special of one connection manager.

    stat_prefix: as it stands (those that are made of names end with `;`);
    rds: name of its route configuration, or route_config: the configuration itself;
    protocol: of the port; port: that extensions are matched by (service port, for inbound the target port);
    absolute_url: an HTTP proxy's listener; http2: the port speaks HTTP/2 (inbound).
    """

    stat_prefix: str
    rds: str = ""
    route_config: Any = None
    protocol: Protocol = Protocol.HTTP
    port: int = 0
    absolute_url: bool = False
    dns_cache: Any = None


def http_filter_chain(ctx: ChainContext, options: HttpOptions) -> list[Any]:
    """The network filters of an HTTP chain: what stands before the connection manager, and it."""
    return [*before_http(ctx, options.port), connection_manager(ctx, options)]


def before_http(ctx: ChainContext, port: int) -> list[Any]:
    """The network filters before a connection manager."""
    exchange = metadata_exchange(ctx) if ctx.inbound else []
    phases = (AUTHN, AUTHZ, STATS, UNSPECIFIED)
    return [*exchange, *(one for phase in phases for one in network_extensions(ctx, phase, port))]


def connection_manager(ctx: ChainContext, options: HttpOptions) -> Any:
    """The connection manager as a network filter."""
    manager = Hcm(
        codec_type=Hcm.AUTO,
        stat_prefix=options.stat_prefix,
        http_filters=http_filters(ctx, HttpChain(options.protocol, options.port, options.dns_cache)),
        use_remote_address=boolean(ctx.cls is ListenerClass.GATEWAY),
        upgrade_configs=[Hcm.UpgradeConfig(upgrade_type="websocket")],
        stream_idle_timeout=duration(0.0),
        proxy_100_continue=True,
        access_log=access_logs(ctx.snap, ctx.telemetry.logs),
        tracing=hcm_tracing(ctx.snap, ctx.node, ctx.telemetry.tracing, ctx.proxy_config),
    )
    if options.rds:
        manager.rds.CopyFrom(hcm_pb2.Rds(route_config_name=options.rds, config_source=ADS_CONFIG))
    elif options.route_config is not None:
        manager.route_config.CopyFrom(options.route_config)
    _paths(ctx, manager)
    _request_id(ctx, manager)
    _server_name(ctx, manager)
    _client_certificates(ctx, manager)
    _protocols(ctx, manager, options)
    if ctx.connection is not None and ctx.cls is not ListenerClass.OUTBOUND:
        apply_to_manager(ctx.connection, manager)
    return listener_components_pb2.Filter(name=NAME, typed_config=pack(manager))


def _paths(ctx: ChainContext, manager: Any) -> None:
    setting = ctx.snap.mesh.path_normalization
    level = setting.normalization if setting is not None else "DEFAULT"
    manager.normalize_path.value = level != "NONE"
    manager.merge_slashes = level in ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")
    unescape = level == "DECODE_AND_MERGE_SLASHES"
    manager.path_with_escaped_slashes_action = Hcm.UNESCAPE_AND_FORWARD if unescape else Hcm.KEEP_UNCHANGED


def _request_id(ctx: ChainContext, manager: Any) -> None:
    tracing = ctx.telemetry.tracing
    sampled = tracing.use_request_id if tracing is not None and not tracing.disabled else True
    config = uuid_pb2.UuidRequestIdConfig(use_request_id_for_trace_sampling=boolean(sampled))
    manager.request_id_extension.typed_config.CopyFrom(pack(config))
    if ctx.headers.request_id is not None and ctx.headers.request_id.disabled:
        manager.generate_request_id.value = False


def _server_name(ctx: ChainContext, manager: Any) -> None:
    server = ctx.headers.server
    if ctx.cls is ListenerClass.OUTBOUND and server is None:
        return
    if server is not None and server.disabled:
        manager.server_header_transformation = Hcm.PASS_THROUGH
    else:
        manager.server_name = server.value if server is not None and server.value else SERVER_NAME


def _client_certificates(ctx: ChainContext, manager: Any) -> None:
    """What becomes of x-forwarded-client-cert."""
    if ctx.cls is ListenerClass.OUTBOUND:
        return
    topology = ctx.proxy_config.gateway_topology
    own = ctx.headers.forwarded_client_cert
    details = own if own != "UNDEFINED" else ("APPEND_FORWARD" if ctx.inbound else "SANITIZE_SET")
    if ctx.cls is ListenerClass.GATEWAY:
        if topology is not None and topology.forward_client_cert_details != "UNDEFINED":
            details = topology.forward_client_cert_details
        if topology is not None:
            manager.xff_num_trusted_hops = topology.num_trusted_proxies
    manager.forward_client_cert_details = Hcm.ForwardClientCertDetails.Value(details)
    if details in ("APPEND_FORWARD", "SANITIZE_SET"):
        manager.set_current_client_cert_details.CopyFrom(_cert_details(ctx))


def _cert_details(ctx: ChainContext) -> Any:
    given = ctx.headers.set_current_client_cert_details or SetCurrentClientCertDetails()
    gateway = ctx.cls is ListenerClass.GATEWAY
    return Hcm.SetCurrentClientCertDetails(
        subject=boolean(given.subject is not False),
        cert=gateway if given.cert is None else given.cert,
        chain=given.chain is True,
        dns=given.dns is not False,
        uri=given.uri is not False,
    )


def _protocols(ctx: ChainContext, manager: Any, options: HttpOptions) -> None:
    """Options of HTTP/1 and HTTP/2, and idle time-outs."""
    http1 = protocol_pb2.Http1ProtocolOptions()
    needed = options.absolute_url or ctx.cls is ListenerClass.GATEWAY
    if options.absolute_url:
        http1.allow_absolute_url.value = True
    if ctx.node.text("HTTP10") == "1":
        http1.accept_http_10 = needed = True
    if ctx.headers.preserve_http1_header_case:
        needed = True
        http1.header_key_format.stateful_formatter.CopyFrom(
            extension_pb2.TypedExtensionConfig(
                name="preserve_case", typed_config=pack(preserve_case_pb2.PreserveCaseFormatterConfig())
            )
        )
    if needed:
        manager.http_protocol_options.CopyFrom(http1)
    if ctx.inbound and options.protocol.is_http2:
        manager.http2_protocol_options.SetInParent()
    idle = idle_timeout(ctx)
    if idle is not None:
        manager.common_http_protocol_options.idle_timeout.CopyFrom(duration(idle))
    if ctx.headers.x_forwarded_port is not None and ctx.headers.x_forwarded_port.enabled:
        manager.append_x_forwarded_port = True
