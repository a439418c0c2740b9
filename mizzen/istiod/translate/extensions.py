"""ECDS: configs of extension filters.

Takes a snapshot, a proxy and a resource name, gives a TypedExtensionConfig, or None for a name that is not known.
Not here: where the filters stand (filters/extensions.py), fetching Wasm modules (the agent does).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

from envoy.config.core.v3 import base_pb2, extension_pb2, http_uri_pb2
from envoy.extensions.filters.http.wasm.v3 import wasm_pb2 as http_wasm_pb2
from envoy.extensions.filters.network.wasm.v3 import wasm_pb2 as network_wasm_pb2
from envoy.extensions.wasm.v3 import wasm_pb2
from google.protobuf import any_pb2, wrappers_pb2

from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.extension_plugins import Plugin, Wasm, plugins
from mizzen.istiod.translate.messages import duration, pack

RUNTIME = "envoy.wasm.runtime.v8"
FAIL_POLICIES = {"FAIL_CLOSE": "FAIL_CLOSED", "FAIL_OPEN": "FAIL_OPEN", "FAIL_RELOAD": "FAIL_RELOAD"}
PULL_POLICY, PULL_SECRET = "ISTIO_META_WASM_IMAGE_PULL_POLICY", "ISTIO_META_WASM_IMAGE_PULL_SECRET"
RESOURCE_VERSION = "ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION"
FETCH_TIMEOUT_S = 30.0
DOCKER_CONFIG = ".dockerconfigjson"
NO_CLUSTER = "_"
"""The agent fetches modules, so the cluster that a remote URI has to name does not matter."""


def extension(snap: Snapshot, node: Node, name: str) -> Any:
    """The config of one extension, None for an unknown name."""
    return next((config for known, config in extensions(snap, node, (name,)) if known == name), None)


def extensions(snap: Snapshot, node: Node, names: Iterable[str]) -> list[tuple[str, Any]]:
    """The configs of those extensions that are known, by name."""
    wanted = set(names)
    return [
        (plugin.resource, _config(snap, plugin, plugin.wasm))
        for plugin in plugins(snap, node)
        if plugin.wasm is not None and plugin.resource in wanted
    ]


def _config(snap: Snapshot, plugin: Plugin, wasm: Wasm) -> Any:
    vm = wasm_pb2.VmConfig(runtime=RUNTIME, code=_code(wasm), environment_variables=_environment(snap, plugin, wasm))
    config = wasm_pb2.PluginConfig(
        name=plugin.name,
        root_id=wasm.root_id,
        vm_config=vm,
        configuration=_configuration(wasm),
        failure_policy=FAIL_POLICIES[wasm.fail_strategy],
    )
    filter_ = network_wasm_pb2.Wasm(config=config) if plugin.network else http_wasm_pb2.Wasm(config=config)
    return extension_pb2.TypedExtensionConfig(name=plugin.resource, typed_config=pack(filter_))


def _configuration(wasm: Wasm) -> Any:
    """The plugin's own configuration as a JSON string; an empty Any when there is none."""
    if wasm.config is None:
        return any_pb2.Any()
    text = json.dumps(wasm.config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return pack(wrappers_pb2.StringValue(value=text))


def _code(wasm: Wasm) -> Any:
    if wasm.url.startswith("file://"):
        return base_pb2.AsyncDataSource(local=base_pb2.DataSource(filename=wasm.url.removeprefix("file://")))
    uri = http_uri_pb2.HttpUri(uri=wasm.url, cluster=NO_CLUSTER, timeout=duration(FETCH_TIMEOUT_S))
    return base_pb2.AsyncDataSource(remote=base_pb2.RemoteDataSource(http_uri=uri, sha256=wasm.sha256))


def _environment(snap: Snapshot, plugin: Plugin, wasm: Wasm) -> Any:
    out = wasm_pb2.EnvironmentVariables()
    for variable in wasm.vm.env if wasm.vm is not None else ():
        if variable.value_from == "HOST":
            out.host_env_keys.append(variable.name)
        else:
            out.key_values[variable.name] = variable.value
    if wasm.pull_policy != "UNSPECIFIED_POLICY":
        out.key_values[PULL_POLICY] = wasm.pull_policy
    if wasm.pull_secret:
        out.key_values[PULL_SECRET] = _docker_config(snap, plugin.namespace, wasm.pull_secret)
    out.key_values[RESOURCE_VERSION] = plugin.version
    return out


def _docker_config(snap: Snapshot, namespace: str, name: str) -> str:
    """The registry credentials in a Secret, "" when there are none."""
    secret = snap.get("Secret", (namespace, name))
    data = (secret.data or {}) if secret is not None else {}
    try:
        return base64.b64decode(data.get(DOCKER_CONFIG, "")).decode()
    except ValueError:
        return ""
