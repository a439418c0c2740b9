"""A discovery stream: state of the world or delta, one type or all of them (ADS).

Keeps who wants which names, asks for them, delivers what comes, acknowledges or refuses each response, and comes back after a
break with what it holds. Not here: gRPC (grpc.py), what consumers do (manager.py, collections.py).
Source: Envoy's xDS protocol description; envoy.service.discovery.v3.
"""

from __future__ import annotations

import logging
import random
import time
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.values import only_v3
from mizzen.proxy.xds.grpc import Call

log = logging.getLogger("envoy.config")
PREFIX = "type.googleapis.com/"
CDS = PREFIX + "envoy.config.cluster.v3.Cluster"
EDS = PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = PREFIX + "envoy.config.listener.v3.Listener"
RDS = PREFIX + "envoy.config.route.v3.RouteConfiguration"
SDS = PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
ECDS = PREFIX + "envoy.config.core.v3.TypedExtensionConfig"
ORDER = (CDS, EDS, LDS, RDS, SDS, ECDS)
METHODS = {
    CDS: "envoy.service.cluster.v3.ClusterDiscoveryService/{}Clusters",
    EDS: "envoy.service.endpoint.v3.EndpointDiscoveryService/{}Endpoints",
    LDS: "envoy.service.listener.v3.ListenerDiscoveryService/{}Listeners",
    RDS: "envoy.service.route.v3.RouteDiscoveryService/{}Routes",
    SDS: "envoy.service.secret.v3.SecretDiscoveryService/{}Secrets",
    ECDS: "envoy.service.extension.v3.ExtensionConfigDiscoveryService/{}ExtensionConfigs",
}
FIRST_WAIT_S, MAX_WAIT_S = 0.5, 30.0
INVALID_ARGUMENT = 3


class TypeState:
    """What the stream knows about one resource type."""

    def __init__(self, type_url: str) -> None:
        self.type_url = type_url
        self.resources: dict[str, list[Any]] = {}  # subscriptions by name
        self.collection: Any = None  # a wildcard consumer
        self.stats: Any = None
        self.version = ""
        self.nonce = ""
        self.asked = False  # on this connection
        self.asked_names: set[str] = set()
        self.held: dict[str, str] = {}  # delta: name → version
        self.cache: dict[str, Any] = {}  # name → message as accepted
        self.dirty = True


class Handle:
    """What a subscriber holds."""

    def __init__(self, stream: Stream, type_url: str, resource: Any) -> None:
        self.stream = stream
        self.type_url = type_url
        self.resource = resource

    def cancel(self) -> None:
        self.stream.unsubscribe(self.type_url, self.resource)


class Stream:
    """One discovery stream at one server."""

    def __init__(self, server: Any, config: Any, stat_prefix: str, only: str = "") -> None:
        self.server = server
        self.only = only
        self.key = ""  # which stream of the process this is
        only_v3(config, "transport_api_version", "ApiConfigSource")
        if config.api_type not in (2, 3, 5, 6):
            raise Unsupported("ApiConfigSource.api_type REST")
        self.delta = config.api_type in (3, 6)
        if len(config.grpc_services) != 1:
            raise ConfigError("ApiConfigSource: exactly one gRPC service is needed")
        service = config.grpc_services[0]
        if service.WhichOneof("target_specifier") != "envoy_grpc":
            raise Unsupported("GrpcService.google_grpc")
        self.cluster_name: str = service.envoy_grpc.cluster_name
        self.metadata = [(each.key, each.value) for each in service.initial_metadata]
        self.node_once = config.set_node_on_first_message_only
        self.types: dict[str, TypeState] = {}
        self.call: Call | None = None
        self.open = False
        self.node_sent = False
        self.timer: Any = None
        self.wait = FIRST_WAIT_S
        self.scheduled = False
        self.stopped = False
        self.started = False
        self.stats: Any = server.stats.group(
            stat_prefix or "control_plane",
            ["rate_limit_enforced"],
            ["connected_state", "pending_requests"],
            (),
            ["identifier"],
        )

    # --- subscriptions ---

    def _type(self, type_url: str) -> TypeState:
        state = self.types.get(type_url)
        if state is None:
            state = self.types[type_url] = TypeState(type_url)
        return state

    def subscribe(self, resource: Any) -> Handle:
        state = self._type(resource.type_url)
        fresh = resource.name not in state.resources
        state.resources.setdefault(resource.name, []).append(resource)
        known = state.cache.get(resource.name)
        if known is not None:
            self.server.loop.call_soon(self._deliver_known, resource, known, state)
        if fresh or known is None:
            state.dirty = True
            self._schedule()
        return Handle(self, resource.type_url, resource)

    @staticmethod
    def _deliver_known(resource: Any, message: Any, state: TypeState) -> None:
        if not resource.arrived:
            try:
                resource.take(message, state.version)
            except ConfigError as error:
                log.warning("%s", error)

    def unsubscribe(self, type_url: str, resource: Any) -> None:
        state = self._type(type_url)
        those = state.resources.get(resource.name)
        if those is None:
            return
        if resource in those:
            those.remove(resource)
        if not those:
            # a replacement may subscribe in the same turn: what is known stays until then
            self.server.loop.call_soon(self._drop, state, resource.name)

    def _drop(self, state: TypeState, name: str) -> None:
        if not state.resources.get(name):
            state.resources.pop(name, None)
            state.cache.pop(name, None)
            state.held.pop(name, None)
            state.dirty = True
            self._schedule()

    def collect(self, type_url: str, collection: Any, stats: Any) -> Any:
        """A wildcard subscription."""
        state = self._type(type_url)
        state.collection, state.stats = collection, stats
        state.dirty = True
        self._schedule()
        return Handle(self, type_url, _Nobody())

    # --- the connection ---

    def start(self) -> None:
        if self.started or self.stopped:
            return
        self.started = True
        self._connect()

    def cluster_ready(self, name: str) -> None:
        if name == self.cluster_name and self.call is None and not self.stopped:
            self.started = True
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None
            self._connect()

    def _connect(self) -> None:
        self.timer = None
        if self.call is not None or self.stopped:
            return
        cluster = self.server.clusters.get(self.cluster_name)
        if cluster is None:
            if not self.server.clusters.known(self.cluster_name):
                raise ConfigError(f"Unknown gRPC client cluster '{self.cluster_name}'")
            return  # cluster_ready calls again
        kind = "Delta" if self.delta else "Stream"
        if self.only:
            method = "/" + METHODS[self.only].format(kind)
        else:
            method = f"/envoy.service.discovery.v3.AggregatedDiscoveryService/{kind}AggregatedResources"
        self.call = Call(cluster, method, self.metadata, self._opened, self._message, self._ended)
        self.call.start()

    def _opened(self) -> None:
        self.open = True
        self.node_sent = False
        self.stats.connected_state = 1
        for state in self.types.values():
            state.asked = False
            state.nonce = ""
            state.asked_names = set()
            state.dirty = True
        self._schedule()

    def _ended(self, status: int, text: str) -> None:
        was_open = self.open
        self.call = None
        self.open = False
        self.stats.connected_state = 0
        if self.stopped:
            return
        for state in self.types.values():
            if state.stats is not None:
                state.stats.update_failure += 1
            for resource in {id(r): r for those in state.resources.values() for r in those}.values():
                resource.stats.update_failure += 1
        log.info("gRPC config stream to %s closed: %s, %s", self.cluster_name, status, text)
        if was_open and status == 0:
            self.wait = FIRST_WAIT_S
        delay = random.random() * self.wait
        self.wait = min(MAX_WAIT_S, self.wait * 2)
        self.timer = self.server.loop.call_later(delay, self._connect)

    async def stop(self) -> None:
        self.stopped = True
        if self.timer is not None:
            self.timer.cancel()
        if self.call is not None:
            self.call.cancel()

    # --- requests ---

    def _schedule(self) -> None:
        if not self.scheduled:
            self.scheduled = True
            self.server.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self.scheduled = False
        if not self.started and self.server.xds.started:
            self.start()
        if not self.open:
            if self.call is None and self.timer is None:
                self._connect()
            return
        for type_url in (*ORDER, *[t for t in self.types if t not in ORDER]):
            state = self.types.get(type_url)
            if state is not None and state.dirty:
                state.dirty = False
                self._ask(state)

    def _ask(self, state: TypeState) -> None:
        names = set(state.resources)
        if state.collection is None and not names and not state.asked:
            return
        if self.delta:
            self._ask_delta(state, names)
            return
        if state.asked and names == state.asked_names and state.collection is None:
            return
        if state.asked and state.collection is not None:
            return
        self._send_sotw(state, None)

    def _count_attempt(self, state: TypeState) -> None:
        if state.stats is not None:
            state.stats.update_attempt += 1
        for those in state.resources.values():
            for resource in those:
                resource.stats.update_attempt += 1

    def _send_sotw(self, state: TypeState, error: str | None) -> None:
        request = discovery_pb2.DiscoveryRequest(
            type_url=state.type_url, version_info=state.version, response_nonce=state.nonce
        )
        state.asked_names = set(state.resources)
        if state.collection is None:
            request.resource_names.extend(sorted(state.asked_names))
        if not self.node_sent or not self.node_once:
            request.node.CopyFrom(self.server.node_message())
            self.node_sent = True
        if error is not None:
            request.error_detail.code = INVALID_ARGUMENT
            request.error_detail.message = error
        elif not state.asked:
            self._count_attempt(state)
        state.asked = True
        self._send(request)

    def _ask_delta(self, state: TypeState, names: set[str]) -> None:
        fresh = names - state.asked_names
        gone = state.asked_names - names
        if state.asked and not fresh and not gone:
            return
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=state.type_url)
        if not state.asked:
            if state.collection is not None and names:
                request.resource_names_subscribe.append("*")
            for name, version in state.held.items():
                request.initial_resource_versions[name] = version
            self._count_attempt(state)
        request.resource_names_subscribe.extend(sorted(fresh))
        request.resource_names_unsubscribe.extend(sorted(gone))
        state.asked = True
        state.asked_names = names
        self._node(request)
        self._send(request)

    def _node(self, request: Any) -> None:
        if not self.node_sent or not self.node_once:
            request.node.CopyFrom(self.server.node_message())
            self.node_sent = True

    def _send(self, request: Any) -> None:
        if self.call is not None:
            self.call.send(request.SerializeToString())

    # --- responses ---

    def _message(self, data: bytes) -> None:
        self.wait = FIRST_WAIT_S
        if (pool := self.server.pool) is not None:
            pool.relay(self.key, data)
        if self.delta:
            response = discovery_pb2.DeltaDiscoveryResponse()
            response.ParseFromString(data)
            self._delta(response)
            return
        response = discovery_pb2.DiscoveryResponse()
        response.ParseFromString(data)
        self._sotw(response)

    def _sotw(self, response: Any) -> None:
        state = self.types.get(response.type_url)
        if state is None:
            log.warning("response for a type that nobody asked for: %s", response.type_url)
            return
        began = time.monotonic()
        state.nonce = response.nonce
        if response.control_plane.identifier:
            self.stats.identifier = response.control_plane.identifier
        error: str | None = None
        try:
            messages = [self._unpacked(each, state.type_url) for each in response.resources]
            if state.collection is not None:
                state.collection.update(messages, response.version_info)
            else:
                self._deliver(state, messages, response.version_info)
        except ConfigError as problem:
            error = str(problem)
        if error is None:
            state.version = response.version_info
        self._counted(state, error, response.version_info, began)
        self._send_sotw(state, error)

    def _deliver(self, state: TypeState, messages: list[Any], version: str) -> None:
        from mizzen.proxy.xds.manager import resource_name

        errors = []
        for message in messages:
            name = resource_name(message)
            bad = False
            for resource in list(state.resources.get(name, ())):
                try:
                    resource.take(message, version)
                    resource.stats.update_success += 1
                except ConfigError as error:
                    bad = True
                    errors.append(f"{name}: {error}")
            if not bad and name in state.resources:
                state.cache[name] = message
        if errors:  # a response that is refused has failed for all that wait for its type
            for resource in [each for those in state.resources.values() for each in those]:
                resource.stats.update_rejected += 1
                if hasattr(resource.consumer, "failed"):
                    resource.consumer.failed()
            raise ConfigError("; ".join(dict.fromkeys(errors)))

    def _unpacked(self, any_message: Any, type_url: str) -> Any:
        from mizzen.proxy.xds.manager import TYPES

        if any_message.type_url.endswith("envoy.service.discovery.v3.Resource"):
            wrapper = discovery_pb2.Resource()
            any_message.Unpack(wrapper)
            any_message = wrapper.resource
        message = TYPES[type_url]()
        if not any_message.Unpack(message):
            raise ConfigError(f"{any_message.type_url} does not match the message-wide type URL {type_url}")
        return message

    def _counted(self, state: TypeState, error: str | None, version: str, began: float) -> None:
        stats = state.stats
        if error is not None:
            log.warning("gRPC config for %s rejected: %s", state.type_url, error)
        if stats is None:
            return
        stats.update_attempt += 1
        if error is not None:
            stats.update_rejected += 1
            return
        stats.update_success += 1
        stats.version_text = version
        stats.update_time = int(time.time() * 1000)
        stats.update_duration.record((time.monotonic() - began) * 1000)

    def _delta(self, response: Any) -> None:
        state = self.types.get(response.type_url)
        if state is None:
            log.warning("response for a type that nobody asked for: %s", response.type_url)
            return
        began = time.monotonic()
        error: str | None = None
        versions = {each.name: each.version for each in response.resources}
        try:
            messages = [self._unpacked(each.resource, state.type_url) for each in response.resources]
            removed = list(response.removed_resources)
            if state.collection is not None:
                state.collection.change(messages, removed, response.system_version_info)
            else:
                self._deliver(state, messages, response.system_version_info)
                self._removed(state, removed)
        except ConfigError as problem:
            error = str(problem)
        if error is None:
            state.held.update(versions)
            for name in response.removed_resources:
                state.held.pop(name, None)
        state.version = response.system_version_info
        self._counted(state, error, response.system_version_info, began)
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=state.type_url, response_nonce=response.nonce)
        if error is not None:
            request.error_detail.code = INVALID_ARGUMENT
            request.error_detail.message = error
        self._node(request)
        self._send(request)

    @staticmethod
    def _removed(state: TypeState, names: list[str]) -> None:
        for name in names:
            state.cache.pop(name, None)
            for resource in list(state.resources.get(name, ())):
                resource.gone()


class _Nobody:
    """The subscriber behind a wildcard's handle: there is nothing to take back."""

    name = ""
