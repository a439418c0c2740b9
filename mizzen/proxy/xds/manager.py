"""Discovery: who wants which resources from where, and who is told when they come.

One subscription per consumer for files; one ADS stream for all that say `ads`; a stream each for other gRPC sources.
Not here: the wire of a gRPC stream (grpc.py, ads.py), files (files.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.hcm import RouteSource
from mizzen.proxy.config.routes import compile_routes
from mizzen.proxy.config.supported import check
from mizzen.proxy.config.values import only_v3, seconds
from mizzen.proxy.net.tls_context import Verifier, leaf_of
from mizzen.proxy.stats.names import xds_group
from mizzen.proxy.xds.extensions import Extension, Extensions
from mizzen.proxy.xds.files import FileSource

log = logging.getLogger("envoy.config")
PREFIX = "type.googleapis.com/"
CDS = PREFIX + "envoy.config.cluster.v3.Cluster"
EDS = PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = PREFIX + "envoy.config.listener.v3.Listener"
RDS = PREFIX + "envoy.config.route.v3.RouteConfiguration"
SDS = PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
ECDS = PREFIX + "envoy.config.core.v3.TypedExtensionConfig"
TYPES: dict[str, Any] = {
    CDS: cluster_pb2.Cluster,
    EDS: endpoint_pb2.ClusterLoadAssignment,
    LDS: listener_pb2.Listener,
    RDS: route_pb2.RouteConfiguration,
    SDS: secret_pb2.Secret,
    ECDS: extension_pb2.TypedExtensionConfig,
}


class Resource:
    """A subscription to one named resource by someone. `update(message)` of the consumer raises ConfigError to refuse."""

    def __init__(self, manager: Xds, type_url: str, name: str, consumer: Any, stats: Any) -> None:
        self.manager = manager
        self.type_url = type_url
        self.name = name
        self.consumer = consumer
        self.stats = stats
        self.source: Any = None
        self.version = ""
        self.arrived = False
        self.timer: Any = None
        self.updated = 0.0
        self.message: Any = None
        self.error: tuple[float, str] | None = None

    def start(self, config: Any) -> None:
        """Subscribe at an envoy.config.core.v3.ConfigSource."""
        only_v3(config, "resource_api_version", "ConfigSource")
        timeout = seconds(config.initial_fetch_timeout) if config.HasField("initial_fetch_timeout") else 15.0
        kind = config.WhichOneof("config_source_specifier")
        if timeout and kind not in ("path_config_source", "path"):
            self.timer = self.manager.server.loop.call_later(timeout, self._timed_out)
        if kind in ("path_config_source", "path"):
            path = config.path if kind == "path" else config.path_config_source.path
            self.source = FileSource(path, self._from_file, self.stats, self.manager.server.loop)
            self.source.start()
        elif kind == "ads":
            self.source = self.manager.ads_subscribe(self)
        elif kind == "api_config_source":
            self.source = self.manager.grpc_subscribe(self, config.api_config_source)
        else:
            raise Unsupported(f"ConfigSource.{kind}")

    def _from_file(self, response: Any) -> None:
        cls = TYPES[self.type_url]
        for each in response.resources:
            message = cls()
            if not each.Unpack(message):
                raise ConfigError(f"Unexpected type {each.type_url} in {self.type_url}")
            if resource_name(message) == self.name:
                self.take(message, response.version_info)

    def take(self, message: Any, version: str) -> None:
        """A version of the resource. Raises ConfigError when the consumer refuses it."""
        try:
            self.consumer.update(message)
        except ConfigError as error:
            self.error = (time.time(), str(error))
            raise
        self.error = None
        self.message = message
        self.version = version
        self.updated = time.time()
        self._settled()

    def gone(self) -> None:
        """The server says that the resource does not exist."""
        self._settled()
        if hasattr(self.consumer, "gone"):
            self.consumer.gone()

    def _settled(self) -> None:
        self.arrived = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.manager.server.changed.set()
        self.manager.progress.set()

    def _timed_out(self) -> None:
        self.timer = None
        self.stats.init_fetch_timeout += 1
        self.arrived = True
        if hasattr(self.consumer, "timed_out"):
            self.consumer.timed_out()
        self.manager.progress.set()

    def cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.source is not None:
            self.source.cancel()
        self.manager.resources.discard(self)


def resource_name(message: Any) -> str:
    return str(message.cluster_name if message.DESCRIPTOR.name == "ClusterLoadAssignment" else message.name)


class Routes:
    """The consumer of one route configuration: compiles it and puts it where connection managers look."""

    def __init__(self, server: Any, name: str) -> None:
        self.server = server
        self.source = RouteSource(name)
        self.proto: Any = None

    def update(self, message: Any) -> None:
        if message == self.proto:
            return
        table = compile_routes(message, self.server, False)
        self.proto = message
        self.source.table = table

    def gone(self) -> None:
        pass


class SecretConsumer:
    """Hands a Secret message on to those who use it, if it can be used."""

    def __init__(self, server: Any, secret: Any, kind: str) -> None:
        self.server = server
        self.secret = secret
        self.kind = kind

    def update(self, message: Any) -> None:
        check(message, f"Secret {message.name}")
        kind = message.WhichOneof("type")
        if kind != self.kind:
            raise ConfigError(
                f"Unexpected SDS secret type {kind or 'none'} for {message.name}: {self.kind} is expected"
            )
        value = getattr(message, kind)
        if kind == "validation_context":
            Verifier(value)
        else:
            from mizzen.proxy.accesslog.format import data_source_bytes

            leaf_of(data_source_bytes(value.certificate_chain))
        self.server.secrets.protos[message.name] = message
        self.secret.set(value)


class Xds:
    """All subscriptions of the process."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.resources: set[Resource] = set()
        self.route_resources: dict[tuple[str, bytes], Resource] = {}
        self.eds_resources: dict[tuple[str, bytes], list[Resource]] = {}
        self.extensions = Extensions(server)
        self.ads: Any = None
        self.streams: dict[bytes, Any] = {}
        self.progress = asyncio.Event()
        self.waiting: list[tuple[Resource, Any]] = []
        self.cds: Any = None
        self.lds: Any = None
        self.started = False
        self.later: list[Any] = []

    # --- single resources ---

    def routes(self, rds: Any, hcm: Any) -> RouteSource:
        """Where the routes of an Rds message are, or will be."""
        key = (rds.route_config_name, rds.config_source.SerializeToString(deterministic=True))
        resource = self.route_resources.get(key)
        if resource is None:
            prefix = f"http.{hcm.stat_prefix}.rds.{rds.route_config_name}"
            stats = xds_group(self.server.stats, prefix, ("config_reload", "update_empty"))
            resource = Resource(self, RDS, rds.route_config_name, Routes(self.server, rds.route_config_name), stats)
            self.route_resources[key] = resource
            self.resources.add(resource)
            resource.start(rds.config_source)
        source: RouteSource = resource.consumer.source
        return source

    def endpoints(self, config: Any, name: str, consumer: Any) -> Resource:
        stats = consumer.cluster.stats
        for each in ("update_rejected", "init_fetch_timeout"):
            self.server.stats.group(consumer.cluster.stat_prefix, [each], ["update_time"], ["update_duration"])
        resource = Resource(self, EDS, name, consumer, stats)
        self.resources.add(resource)
        resource.start(config)
        return resource

    def secret(self, name: str, config: Any, secret: Any, kind: str) -> None:
        stats = xds_group(self.server.stats, f"sds.{name}", ("key_rotation_failed",))
        resource = Resource(self, SDS, name, SecretConsumer(self.server, secret, kind), stats)
        self.resources.add(resource)
        resource.start(config)

    def extension(self, place: Any, kind: str, name: str, source: Any) -> Extension:
        """Where the configuration of a filter is, or will be."""
        return self.extensions.join(place, kind, name, source, self._subscribed)

    def _subscribed(self, name: str, consumer: Extension, stats: Any, source: Any) -> Resource:
        resource = Resource(self, ECDS, name, consumer, stats)
        self.resources.add(resource)
        resource.start(source)
        return resource

    def ads_subscribe(self, resource: Resource) -> Any:
        if self.ads is None:
            self.ads = self._make_ads()
        return self.ads.subscribe(resource)

    def _make_ads(self) -> Any:
        dynamic = self.server.bootstrap.dynamic_resources
        if not dynamic.HasField("ads_config"):
            raise ConfigError("ADS is not configured: dynamic_resources.ads_config is missing")
        return self._stream("ads", dynamic.ads_config, "control_plane", "")

    def _stream(self, key: str, config: Any, prefix: str, only: str) -> Any:
        """A stream at a server; in a worker beside the main process, what that passes on of its stream of the same key."""
        from mizzen.proxy.xds.ads import Stream

        if self.server.member is not None:
            from mizzen.proxy.workers.member import RelayedStream

            return RelayedStream(self.server, config, prefix, only, key)
        stream = Stream(self.server, config, prefix, only)
        stream.key = key
        return stream

    def stream(self, key: str) -> Any:
        """The stream of a key; None where there is none."""
        streams = [self.ads, *self.streams.values()]
        return next((each for each in streams if each is not None and each.key == key), None)

    def grpc_subscribe(self, resource: Resource, config: Any) -> Any:
        """A stream of its own for each server and type."""
        key = hashlib.sha256(config.SerializeToString(deterministic=True) + resource.type_url.encode()).digest()
        stream = self.streams.get(key)
        if stream is None:
            stream = self.streams[key] = self._stream(key.hex(), config, "", resource.type_url)
        return stream.subscribe(resource)

    def cluster_ready(self, cluster: Any) -> None:
        """Streams that were waiting for their cluster may connect."""
        for stream in (self.ads, *self.streams.values()):
            if stream is not None:
                stream.cluster_ready(cluster.name)

    # --- all clusters, all listeners ---

    async def start(self, dynamic: Any) -> None:
        """CDS, and the first answer to it (or its time limit)."""
        self.started = True
        if dynamic.HasField("ads_config") and self.ads is None:
            self.ads = self._make_ads()
        if self.ads is not None:
            self.ads.start()
        for stream in self.streams.values():
            stream.start()
        if dynamic.HasField("cds_config"):
            from mizzen.proxy.xds.collections import ClusterCollection

            self.cds = ClusterCollection(self.server)
            await self._collect(self.cds, dynamic.cds_config, CDS, "cluster_manager.cds")

    async def start_listeners(self, dynamic: Any) -> None:
        if dynamic.HasField("lds_config"):
            from mizzen.proxy.xds.collections import ListenerCollection

            self.lds = ListenerCollection(self.server)
            await self._collect(self.lds, dynamic.lds_config, LDS, "listener_manager.lds")
            await self.lds.settled()

    async def _collect(self, collection: Any, config: Any, type_url: str, prefix: str) -> None:
        only_v3(config, "resource_api_version", "ConfigSource")
        stats: Any = xds_group(self.server.stats, prefix)
        timeout = seconds(config.initial_fetch_timeout) if config.HasField("initial_fetch_timeout") else 15.0
        kind = config.WhichOneof("config_source_specifier")
        if kind in ("path_config_source", "path"):
            path = config.path if kind == "path" else config.path_config_source.path
            source = FileSource(path, collection.from_file, stats, self.server.loop)
            source.start()
            collection.source = source
            return
        if kind == "ads":
            if self.ads is None:
                self.ads = self._make_ads()
            collection.source = self.ads.collect(type_url, collection, stats)
            self.ads.start()
        elif kind == "api_config_source":
            stream = self._stream(type_url, config.api_config_source, "", type_url)
            self.streams[type_url.encode()] = stream
            collection.source = stream.collect(type_url, collection, stats)
            stream.start()
        else:
            raise Unsupported(f"ConfigSource.{kind}")
        try:
            async with asyncio.timeout(timeout or None):
                await collection.first.wait()
        except TimeoutError:
            stats.init_fetch_timeout += 1

    async def wait_listener(self, listener: Any) -> None:
        """Until the secrets and routes of a listener are there, or their time is over."""
        while True:
            secrets = [secret for secret in listener.secrets() if secret.message is None]
            missing = [
                r
                for r in self.resources
                if r.type_url == SDS and not r.arrived and any(r.consumer.secret is s for s in secrets)
            ]
            sources = [chain.terminal.hcm.routes for chain in listener.all_chains() if hasattr(chain.terminal, "hcm")]
            missing += [
                r
                for r in self.resources
                if r.type_url == RDS and not r.arrived and any(r.consumer.source is s for s in sources)
            ]
            if not missing:
                return
            self.progress.clear()
            try:
                async with asyncio.timeout(1.0):
                    await self.progress.wait()
            except TimeoutError:
                continue

    async def stop(self) -> None:
        for resource in list(self.resources):
            resource.cancel()
        for collection in (self.cds, self.lds):
            if collection is not None and collection.source is not None:
                collection.source.cancel()
        for stream in (self.ads, *self.streams.values()):
            if stream is not None:
                await stream.stop()


TYPE_NAMES = (CDS, EDS, LDS, RDS, SDS)
