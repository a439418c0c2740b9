"""Whether an EnvoyFilter's patch can be read as the Envoy message that it is laid over.

Takes JSON, reads it with Envoy's own messages (xds-protos). Unknown fields and deprecated types are warnings, values of a
wrong type and unknown type URLs are errors. Not here: which message is patched where.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from mizzen.api.validation.report import Report

# The message behind each applyTo.
MESSAGES = {
    "LISTENER": "envoy.config.listener.v3.listener_pb2:Listener",
    "FILTER_CHAIN": "envoy.config.listener.v3.listener_components_pb2:FilterChain",
    "NETWORK_FILTER": "envoy.config.listener.v3.listener_components_pb2:Filter",
    "LISTENER_FILTER": "envoy.config.listener.v3.listener_components_pb2:ListenerFilter",
    "HTTP_FILTER": "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2:HttpFilter",
    "ROUTE_CONFIGURATION": "envoy.config.route.v3.route_pb2:RouteConfiguration",
    "VIRTUAL_HOST": "envoy.config.route.v3.route_components_pb2:VirtualHost",
    "HTTP_ROUTE": "envoy.config.route.v3.route_components_pb2:Route",
    "CLUSTER": "envoy.config.cluster.v3.cluster_pb2:Cluster",
    "EXTENSION_CONFIG": "envoy.config.core.v3.extension_pb2:TypedExtensionConfig",
    "BOOTSTRAP": "envoy.config.bootstrap.v3.bootstrap_pb2:Bootstrap",
}
# Messages of Istio's own filters; xds-protos has none of them, so what they hold is not looked at.
ISTIO_TYPES = (
    "stats.PluginConfig",
    "io.istio.http.peer_metadata.Config",
    "io.istio.network.peer_metadata.Config",
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
    "envoy.tcp.metadataexchange.config.MetadataExchange",
    "istio.telemetry.metadata_exchange.Config",
)


def patch_value(apply_to: str, value: Mapping[str, Any], path: str, report: Report) -> None:
    """Reads a patch as the message of its applyTo."""
    from google.protobuf import json_format

    module, _, name = MESSAGES[apply_to].partition(":")
    message = getattr(import_module(module), name)
    known = _without_foreign(value, path, report)
    if report.errors:
        return
    try:
        json_format.ParseDict(known, message(), ignore_unknown_fields=True)
    except json_format.ParseError as error:
        report.error(_blamed(path, str(error)), f"not a {name} of Envoy: {str(error).splitlines()[0]}")
        return
    try:
        json_format.ParseDict(known, message())
    except json_format.ParseError as error:
        report.warn(path, f"not a {name} of Envoy: {str(error).splitlines()[0]}")
    for old in _names_without_config(value):
        report.warn(path, f"{old!r} has no typed_config")


def _without_foreign(value: Any, path: str, report: Report) -> Any:
    """The value with Istio's own messages left empty; unknown messages are reported."""
    if isinstance(value, list):
        return [_without_foreign(item, f"{path}[{at}]", report) for at, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    url = value.get("@type")
    if "@type" in value and not isinstance(url, str):
        report.error(f"{path}.@type", "a type's URL is expected")
    elif isinstance(url, str):
        type_name = url.rpartition("/")[2]
        if type_name in ISTIO_TYPES:
            return {"@type": "type.googleapis.com/google.protobuf.Struct", "value": {}}
        if not _loaded(type_name):
            hint = "; Envoy's API is v3" if ".v2." in type_name else ""
            report.error(f"{path}.@type", f"unknown type {type_name}{hint}")
            return value
    return {key: _without_foreign(entry, f"{path}.{key}", report) for key, entry in value.items()}


@cache
def _loaded(type_name: str) -> bool:
    """Whether the message is known, after importing the modules of its package."""
    from google.protobuf import descriptor_pool

    package = type_name.rpartition(".")[0]
    for candidate in (package, package.rpartition(".")[0]):  # a message may be nested in another
        if not candidate:
            continue
        try:
            folder = import_module(candidate)
        except ImportError:
            continue
        for module in pkgutil.iter_modules(getattr(folder, "__path__", ())):
            if module.name.endswith("_pb2"):
                import_module(f"{candidate}.{module.name}")
    try:
        descriptor_pool.Default().FindMessageTypeByName(type_name)
    except KeyError:
        return False
    return True


def _blamed(path: str, message: str) -> str:
    """The path of the field that protobuf's JSON reader names first in its message."""
    words = message.split()
    if message.startswith("Failed to parse ") and len(words) > 3:
        return f"{path}.{words[3]}"
    return path


def _names_without_config(value: Any) -> list[str]:
    """Names of extensions that have a name and nothing else."""
    if isinstance(value, list):
        return [name for item in value for name in _names_without_config(item)]
    if not isinstance(value, Mapping):
        return []
    own = [str(value["name"])] if set(value) == {"name"} and str(value["name"]).startswith("envoy.") else []
    return own + [name for entry in value.values() for name in _names_without_config(entry)]
