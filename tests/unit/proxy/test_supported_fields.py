"""The gate: what is not served is refused by its name, and what is listed as served is really read by somebody.

The second is shown by compiling what real control planes serve and what the proxy's plays configure, and then the same
with one more field set, until every listed field has been read.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

import mizzen.proxy
from mizzen.proxy.config.clusters import ClusterConfig
from mizzen.proxy.config.endpoints import assignment
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.fields import FIELDS
from mizzen.proxy.config.hcm import RouteSource
from mizzen.proxy.config.load import fill, message_class, parse_document
from mizzen.proxy.config.no_effect import NO_EFFECT
from mizzen.proxy.config.routes import compile_routes
from mizzen.proxy.config.supported import check
from mizzen.proxy.filters import registry
from mizzen.proxy.listener.listener import ListenerConfig
from mizzen.proxy.server import Options, Server
from mizzen.proxy.upstream.cluster import Cluster
from mizzen.proxy.upstream.discovery import discovery
from mizzen.proxy.upstream.health import checker
from mizzen.proxy.xds.extensions import Extension
from mizzen.proxy.xds.manager import SecretConsumer
from mizzen.wire import newer
from tests.support.recorded import Reads, Recorded, record
from tests.support.variations import set_field, variations

PROXY = Path(mizzen.proxy.__path__[0])
ANSWERS = Path(__file__).parents[2] / "answers"
PLAYS = ANSWERS / "proxy" / "cases"
TRIES = 80  # of one field in different places, before it is taken as not read


def test_the_lists_name_real_fields() -> None:
    for name, fields in (*FIELDS.items(), *((name, " ".join(why)) for name, why in NO_EFFECT.items())):
        cls = message_class(name)
        assert cls is not None, name
        known = {*cls.DESCRIPTOR.fields_by_name, *(each.name for each in newer.FIELDS if each.message == name)}
        assert not {*fields.split()} - known, name
        assert not {*FIELDS.get(name, "").split()} & {*NO_EFFECT.get(name, ())}, name


def _messages() -> list[Any]:
    return [message_class(name)() for name in sorted({*FIELDS, *NO_EFFECT})]


@pytest.mark.parametrize("message", _messages(), ids=lambda message: message.DESCRIPTOR.full_name)
def test_any_other_field_is_refused_by_its_name(message: Any) -> None:
    name = message.DESCRIPTOR.full_name
    served = {*FIELDS.get(name, "").split(), *NO_EFFECT.get(name, ())}
    for field in message.DESCRIPTOR.fields:
        made = type(message)()
        set_field(made, field)
        if field.name in served:
            check(made, "it")
            continue
        with pytest.raises(Unsupported) as refused:
            check(made, "it")
        assert refused.value.field == f"it.{field.name}"


class Discovery:
    """In the place of xDS: everything is subscribed to, nothing ever comes."""

    resources: frozenset[Any] = frozenset()

    def routes(self, rds: Any, hcm: Any) -> RouteSource:
        return RouteSource(rds.route_config_name)

    def extension(self, place: Any, kind: str, name: str, source: Any) -> Extension:
        del place, source
        return Extension(name, kind, None)

    def endpoints(self, *_: Any) -> None: ...

    def secret(self, *_: Any) -> None: ...


def server_of(bootstrap: Any) -> Any:
    made: Any = Server(bootstrap, Options(), asyncio.get_running_loop())
    made.xds = Discovery()
    made.clusters.known = lambda name: True
    return made


def _cluster(message: Any, server: Any) -> None:
    cluster = Cluster(ClusterConfig(message, server), server)
    cluster.discovery = discovery(cluster)
    if len(message.health_checks):
        checker(cluster, message.health_checks)
    assignment(message.load_assignment, {})


def _secret(message: Any, server: Any) -> None:
    server.secrets.add_static([message])
    secret = server.secrets.static[message.name]
    if message.HasField("validation_context"):
        SecretConsumer(server, secret, "validation_context").update(message)


COMPILE: dict[type, Callable[[Any, Any], Any]] = {
    listener_pb2.Listener: ListenerConfig,
    cluster_pb2.Cluster: _cluster,
    route_pb2.RouteConfiguration: lambda message, server: compile_routes(message, server, False),
    endpoint_pb2.ClusterLoadAssignment: lambda message, server: assignment(message, {}),
    bootstrap_pb2.Bootstrap: lambda message, server: server_of(message),
    secret_pb2.Secret: _secret,
}
KINDS = {
    "listeners": listener_pb2.Listener,
    "clusters": cluster_pb2.Cluster,
    "routes": route_pb2.RouteConfiguration,
    "endpoints": endpoint_pb2.ClusterLoadAssignment,
}


def _plays(tmp_path: Path) -> Iterator[Any]:
    """The configurations of the proxy's plays, with numbers and files in the place of what a run would fill in."""
    empty = tmp_path / "empty.yaml"
    empty.write_text("resources: []")
    texts = {"pki": str(ANSWERS / "proxy" / "pki") + "/", "file": str(empty), "log": str(tmp_path / "log")}

    def filled(found: re.Match[str]) -> str:
        kind, rest = found.group(1), found.group(2) or ""
        return texts[kind] + (rest if kind == "pki" else "") if kind in texts else "1234"

    for path in (Path(__file__).parent / "data" / "served.yaml", *sorted(PLAYS.glob("*/envoy.yaml"))):
        text = re.sub(r"\$\{(\w+)(?::([^{}]*))?\}", filled, path.read_text())
        with contextlib.suppress(ConfigError):  # a case of a bootstrap that is wrong
            bootstrap = fill(bootstrap_pb2.Bootstrap(), parse_document(text, path.name), path.name)
            yield bootstrap
            yield from bootstrap.static_resources.listeners
            yield from bootstrap.static_resources.clusters
            yield from bootstrap.static_resources.secrets


def _served() -> Iterator[Any]:
    """What istiod served in the recorded meshes."""
    for path in sorted((ANSWERS / "xds").rglob("expected/*.json")):
        document = json.loads(path.read_text())
        for key, kind in KINDS.items():
            for each in document.get(key, ()):
                with contextlib.suppress(ConfigError):  # an extension that is in nobody's messages
                    yield fill(kind(), each, path.name)


def _filters() -> Iterator[Any]:
    """A listener with each filter that there is, and routes with the settings of each."""
    for kind in registry.HTTP_FILTERS:
        if (cls := message_class(kind)) is not None and not kind.endswith("Router"):
            manager = http_connection_manager_pb2.HttpConnectionManager(stat_prefix="x")
            manager.http_filters.add(name="x").typed_config.Pack(cls())
            yield _listener(manager)
    for kind in registry.NETWORK_FILTERS:
        if (cls := message_class(kind)) is not None:
            yield _listener(cls())
    for kind in registry.ROUTE_CONFIGS:
        if (cls := message_class(kind)) is not None:
            routes = route_pb2.RouteConfiguration(name="x")
            routes.typed_per_filter_config["x"].Pack(cls())
            yield routes


def _listener(network_filter: Any) -> listener_pb2.Listener:
    made = listener_pb2.Listener(name="x")
    made.address.socket_address.address, made.address.socket_address.port_value = "127.0.0.1", 1
    made.filter_chains.add().filters.add(name="x").typed_config.Pack(network_filter)
    return made


def _modules() -> list[ModuleType]:
    names = [each.name for each in pkgutil.walk_packages(mizzen.proxy.__path__, "mizzen.proxy.")]
    return [importlib.import_module(name) for name in names if not name.endswith("__main__")]


def _code() -> str:
    return "".join(path.read_text() for path in PROXY.rglob("*.py") if path.name not in ("fields.py", "no_effect.py"))


# Read when a request, a connection or a discovery stream needs them, out of a message that is kept until then.
READ_WHILE_SERVING: dict[str, str] = {
    "envoy.config.bootstrap.v3.Admin": "access_log address",
    "envoy.config.bootstrap.v3.Bootstrap": "admin dynamic_resources static_resources tracing",
    "envoy.config.bootstrap.v3.Bootstrap.DynamicResources": "lds_config cds_config ads_config",
    "envoy.config.bootstrap.v3.Bootstrap.StaticResources": "listeners clusters secrets",
    "envoy.config.cluster.v3.OutlierDetection":
        "enforcing_success_rate success_rate_minimum_hosts success_rate_request_volume success_rate_stdev_factor "
        "enforcing_local_origin_success_rate failure_percentage_threshold enforcing_failure_percentage "
        "enforcing_failure_percentage_local_origin failure_percentage_minimum_hosts failure_percentage_request_volume",
    "envoy.config.core.v3.ApiConfigSource": "api_type transport_api_version grpc_services",
    "envoy.config.core.v3.ConfigSource":
        "path_config_source api_config_source ads initial_fetch_timeout resource_api_version",
    "envoy.config.core.v3.Http2ProtocolOptions":
        "max_concurrent_streams initial_stream_window_size initial_connection_window_size allow_connect",
    "envoy.config.core.v3.KeepaliveSettings": "interval timeout",
    "envoy.config.core.v3.Node": "id cluster metadata locality",
    "envoy.config.core.v3.PathConfigSource": "path",
    "envoy.config.core.v3.SocketAddress": "ipv4_compat",
    "envoy.config.endpoint.v3.ClusterLoadAssignment": "cluster_name",
    "envoy.config.route.v3.FilterConfig": "is_optional",
    "envoy.config.route.v3.InternalRedirectPolicy":
        "max_internal_redirects redirect_response_codes allow_cross_scheme_redirect",
    "envoy.config.route.v3.RateLimit.Action.DynamicMetaData": "descriptor_key",
    "envoy.config.route.v3.RateLimit.Action.MetaData": "descriptor_key",
    "envoy.config.trace.v3.Tracing": "http",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter": "is_optional",
    "envoy.extensions.filters.network.http_connection_manager.v3.Rds": "config_source",
    "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext": "only_verify_leaf_cert_crl",
}  # fmt: skip


async def test_what_is_listed_as_served_is_read_and_whatever_is_set_raises_nothing_but_config_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logging.getLogger("envoy").setLevel(logging.CRITICAL)
    reads: Reads = set()
    listed = {(name, field) for name, fields in FIELDS.items() for field in fields.split()}
    tried: Counter[tuple[str, str]] = Counter()

    def compile_one(message: Any) -> None:
        with contextlib.suppress(ConfigError):
            COMPILE[type(message)](message, server_of(bootstrap_pb2.Bootstrap()))

    def record_one(message: Any) -> None:
        with monkeypatch.context() as patch:
            record(patch, modules, reads)
            # a record is no message where one message is built of another
            with contextlib.suppress(ConfigError, TypeError, AttributeError):
                COMPILE[type(message)](Recorded(message, reads), server_of(bootstrap_pb2.Bootstrap()))

    modules = _modules()
    bases = [*_plays(tmp_path), *_served(), *_filters()]
    for base in bases:
        record_one(base)
    for base in bases:
        for name, field, make in variations(base):
            pair = (name, field)
            tried[pair] += 1
            if tried[pair] <= 3:
                compile_one(make())
            if tried[pair] <= TRIES and pair in listed and pair not in reads:
                record_one(make())
    later = {(name, field) for name, fields in READ_WHILE_SERVING.items() for field in fields.split()}
    unread = "\n".join(f"{name}: {field}" for name, field in sorted(listed - reads - later))
    assert not unread, unread
    compiled = [f"{name}: {field}" for name, field in later & reads]
    assert not compiled, compiled
    code = _code()
    nowhere = [f"{name}: {field}" for name, field in later if not re.search(rf"""[."']{field}\b""", code)]
    assert not nowhere, nowhere
