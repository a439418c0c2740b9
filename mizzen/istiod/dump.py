"""What given proxies would be served, from files alone: no server, no root.

Takes manifests, a mesh configuration and a list of proxies, gives JSON: per proxy one list of resources per section, in
protobuf's JSON mapping with the original field names. Subscriptions follow what clusters and listeners mention.
Not here: the command line (commands.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from mizzen.api import kinds, manifest
from mizzen.api.errors import Invalid, UsageError
from mizzen.istiod.node import Node, parse_node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate import generate
from mizzen.istiod.xds import types
from mizzen.wire.newer import newer_json
from mizzen.wire.schema import message_class

SUFFIXES = (".yaml", ".yml", ".json")


def dump(snap: Snapshot, nodes: Mapping[str, Node]) -> dict[str, dict[str, list[Any]]]:
    """All resources of each proxy, by the proxy's name and section."""
    return {name: dump_node(snap, node) for name, node in nodes.items()}


def dump_node(snap: Snapshot, node: Node) -> dict[str, list[Any]]:
    """All resources of one proxy, by section."""
    sections = resources(snap, node)
    return {section: [newer_json(message) for message in messages] for section, messages in sections.items()}


def resources(snap: Snapshot, node: Node) -> dict[str, list[Message]]:
    """All resources of one proxy as messages, asked for in the order that Envoy does."""

    def ask(type_url: str, names: Iterable[str] | None = None) -> list[Message]:
        wanted = None if names is None else sorted(set(names))
        made = () if wanted == [] else generate(snap, node, type_url, wanted)
        return [message for _, message in made if isinstance(message, Message)]

    clusters, listeners = ask(types.CDS), ask(types.LDS)
    extensions = ask(types.ECDS, _extension_names(listeners))
    routes = ask(types.RDS, _route_names(listeners))
    return {
        "listeners": listeners,
        "clusters": clusters,
        "routes": routes,
        "endpoints": ask(types.EDS, _endpoint_names(clusters)),
        "extensions": extensions,
        "secrets": ask(types.SDS, _secret_names([*clusters, *listeners])),
        "name_table": ask(types.NDS),
    }


def _endpoint_names(clusters: Iterable[Any]) -> Iterator[str]:
    for cluster in clusters:
        if cluster.type == 3:  # Cluster.EDS
            yield cluster.eds_cluster_config.service_name or cluster.name


def _route_names(listeners: Iterable[Message]) -> Iterator[str]:
    for message in _mentions(listeners, "envoy.extensions.filters.network.http_connection_manager.v3.Rds"):
        yield message.route_config_name


def _extension_names(listeners: Iterable[Message]) -> Iterator[str]:
    for full_name in ("extensions.filters.network.http_connection_manager.v3.HttpFilter", "config.listener.v3.Filter"):
        for message in _mentions(listeners, f"envoy.{full_name}"):
            if message.HasField("config_discovery"):
                yield message.name


def _secret_names(messages: Iterable[Message]) -> Iterator[str]:
    for message in _mentions(messages, "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig"):
        if message.sds_config.HasField("ads"):
            yield message.name


def _mentions(messages: Iterable[Message], full_name: str) -> Iterator[Any]:
    """Every message of a type inside of these, Any payloads included."""
    for message in messages:
        yield from _walk(message, full_name)


def _walk(message: Message, full_name: str) -> Iterator[Any]:
    if message.DESCRIPTOR.full_name == full_name:
        yield message
    if message.DESCRIPTOR.full_name == "google.protobuf.Any":
        inner = unpack(message)
        if inner is not None:
            yield from _walk(inner, full_name)
        return
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            continue
        kind: Any = field.message_type
        if kind.GetOptions().map_entry:
            if kind.fields_by_name["value"].type == FieldDescriptor.TYPE_MESSAGE:
                for item in value.values():
                    yield from _walk(item, full_name)
        elif field.is_repeated:
            for item in value:
                yield from _walk(item, full_name)
        else:
            yield from _walk(value, full_name)


def unpack(packed: Any) -> Message | None:
    """The message inside an Any, None when its type is not known."""
    try:
        message: Message = message_class(packed.type_url.rpartition("/")[2])()
    except KeyError:
        return None
    try:
        message.ParseFromString(packed.value)
    except DecodeError as error:
        raise UsageError(f"{packed.type_url}: {error}") from error
    return message


def load_objects(paths: Iterable[Path]) -> list[Any]:
    """Typed objects of manifests; a folder stands for its YAML and JSON files, by name.

    Raises UsageError naming file and line for an object that cannot be read.
    """
    out: list[Any] = []
    for path in paths:
        files = sorted(f for f in path.iterdir() if f.suffix in SUFFIXES) if path.is_dir() else [path]
        for file in files:
            out += [_decode(document) for document in manifest.load(file)]
    return out


def _decode(document: manifest.Document) -> Any:
    for problem in document.problems:
        raise UsageError(f"{document.file}:{problem.line}: {problem.reason}")
    try:
        return kinds.decode(document.object)
    except Invalid as error:
        raise UsageError(f"{document.file}:{document.line_of(error.path)}: {error}") from error


def load_nodes(path: Path) -> dict[str, Node]:
    """The proxies of a file: a list of name, type, namespace, pod, ip or ips, labels, serviceAccount, metadata."""
    try:
        entries = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: {error}") from error
    return {str(entry["name"]): node_of(entry) for entry in entries or ()}


def node_of(entry: Mapping[str, Any]) -> Node:
    """The proxy that one entry describes. `extensions`: the names it lists; without them it is taken for Istio's Envoy."""
    namespace, pod = entry["namespace"], entry["pod"]
    listed = entry.get("extensions")
    ips = entry.get("ips") or [entry["ip"]]
    metadata = {
        "CLUSTER_ID": "Kubernetes",
        "NAMESPACE": namespace,
        "LABELS": entry.get("labels") or {},
        "SERVICE_ACCOUNT": entry.get("serviceAccount") or "default",
        "ISTIO_VERSION": "1.32.0",
        "INSTANCE_IPS": ",".join(ips),
        "MESH_ID": "cluster.local",
        "NAME": pod,
        **(entry.get("metadata") or {}),
    }
    node_id = f"{entry.get('type', 'sidecar')}~{ips[0]}~{pod}.{namespace}~{namespace}.svc.cluster.local"
    return parse_node(node_id, metadata, extensions=None if listed is None else frozenset(listed))
