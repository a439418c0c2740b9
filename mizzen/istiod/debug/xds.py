"""The debug types over ADS, as istioctl asks for them: syncz, config_dump, and any endpoint by its path.

Takes a type URL and names, gives one serialised response. Not here: the answers (endpoints.py), streams
(xds/server.py). Source: istioctl's xDS client: `istio.io/debug/syncz` → ClientConfig each,
`istio.io/debug/config_dump` with `<pod>.<namespace>` → the dump's messages, `istio.io/debug` with one path → the
HTTP body.
"""

from __future__ import annotations

import json
import sys
import uuid
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.status.v3 import csds_pb2
from google.protobuf import any_pb2, json_format, struct_pb2

import mizzen
from mizzen.istiod.ca import spiffe
from mizzen.istiod.debug.config_dump import dumps
from mizzen.istiod.debug.endpoints import Debug, DebugError, answer, is_proxy
from mizzen.istiod.rpc.call import Refused
from mizzen.istiod.xds.connection import Connection
from mizzen.istiod.xds.types import DEBUG
from mizzen.wire.grpc_status import Status

SYNCZ, CONFIG_DUMP = DEBUG + "/syncz", DEBUG + "/config_dump"
OWN_NAMESPACE_ONLY = frozenset({"config_dump", "ndsz", "edsz"})


class XdsDebug:
    """identity: the name of this istiod's pod. system_namespace: whose callers may ask for everything."""

    def __init__(self, debug: Debug, identity: str, version: str, revision: str, system_namespace: str) -> None:
        self._debug, self._system = debug, system_namespace
        info = {
            "version": version,
            "revision": revision,
            "golang_version": f"python{sys.version_info[0]}.{sys.version_info[1]}",
            "status": "Clean",
            "tag": mizzen.__version__,
        }
        self.identifier = json.dumps({"Component": "istiod", "ID": identity, "Info": info})

    def __call__(self, type_url: str, names: tuple[str, ...], identities: tuple[str, ...] | None, delta: bool) -> bytes:
        """One response. Raises Refused."""
        if delta:
            raise Refused(Status.UNIMPLEMENTED, f"{type_url}: debugging is state of the world only")
        try:
            resources = self._resources(type_url, names, identities)
        except DebugError as error:
            code = Status.NOT_FOUND if error.status == 404 else Status.INVALID_ARGUMENT
            raise Refused(code, error.text) from error
        response = discovery_pb2.DiscoveryResponse(type_url=type_url, nonce=str(uuid.uuid4()), resources=resources)
        response.control_plane.identifier = self.identifier
        return bytes(response.SerializeToString())

    def _resources(self, type_url: str, names: tuple[str, ...], identities: tuple[str, ...] | None) -> list[Any]:
        namespace = self._namespace(identities)
        if type_url == SYNCZ:
            return [packed(config) for config in self._client_configs(namespace)]
        if type_url == CONFIG_DUMP:
            connection = self._debug.connection({"proxyID": names[0] if names else ""})
            self._may_see(namespace, connection)
            return [packed(part) for part in dumps(connection)]
        if type_url != DEBUG:
            names = (type_url.removeprefix(DEBUG + "/"),)
        elif len(names) != 1:
            raise Refused(Status.INVALID_ARGUMENT, "exactly one debug request is required")
        if identities is not None and not identities:
            raise Refused(Status.UNAUTHENTICATED, "debugging needs a verified identity")
        return [self._body(names[0], namespace)]

    def _body(self, path: str, namespace: str | None) -> Any:
        parts = urlsplit(path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if namespace is not None:
            if parts.path not in OWN_NAMESPACE_ONLY:
                raise Refused(Status.PERMISSION_DENIED, f"{parts.path} is for the system namespace only")
            self._may_see(namespace, self._debug.connection(query))
        value = answer(self._debug, parts.path, query)
        text = value if isinstance(value, str) else json.dumps(value)
        return any_pb2.Any(type_url=DEBUG, value=text.encode())

    def _namespace(self, identities: tuple[str, ...] | None) -> str | None:
        """The one namespace that the caller may ask about; None = any (the system's own, or a port without
        authentication).
        """
        found = [identity for uri in identities or () if (identity := spiffe.parse(uri)) is not None]
        if not found or any(identity.namespace == self._system for identity in found):
            return None
        return found[0].namespace

    def _may_see(self, namespace: str | None, connection: Connection) -> None:
        if namespace is not None and connection.raw.namespace != namespace:
            raise DebugError(
                404, "Proxy not connected to this Pilot instance. It may be connected to another instance."
            )

    def _client_configs(self, namespace: str | None) -> list[Any]:
        return [
            client_config(connection)
            for connection in self._debug.hub.connections.values()
            if is_proxy(connection) and namespace in (None, connection.raw.namespace)
        ]


def client_config(connection: Connection) -> Any:
    """A connection's state as envoy.service.status.v3.ClientConfig."""
    config = csds_pb2.ClientConfig()
    config.node.id = connection.raw.id
    json_format.ParseDict(connection.raw.metadata, _struct(config))
    for url, watch in connection.watches.items():
        one = config.generic_xds_configs.add(type_url=url, config_status=watch.status)
        if watch.last_sent is not None:
            one.last_updated.FromNanoseconds(int(watch.last_sent * 1e9))
        if watch.error is not None:
            one.error_state.details = watch.error
    return config


def _struct(config: Any) -> struct_pb2.Struct:
    metadata: struct_pb2.Struct = config.node.metadata
    return metadata


def packed(message: Any) -> Any:
    out = any_pb2.Any()
    out.Pack(message)
    return out
