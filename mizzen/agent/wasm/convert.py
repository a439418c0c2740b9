"""Rewrites extension resources: a module to be fetched becomes a file that is here.

Takes a discovery response as bytes, gives it with every remote module fetched; a module that cannot be had becomes a filter
that lets all pass or nothing, as the resource's failure policy says. Source: Istio's agent. Not here: fetching (cache.py).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from envoy.config.core.v3 import extension_pb2
from envoy.config.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac_pb2
from envoy.extensions.filters.http.wasm.v3 import wasm_pb2 as http_wasm_pb2
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac_pb2
from envoy.extensions.filters.network.wasm.v3 import wasm_pb2 as network_wasm_pb2
from envoy.extensions.wasm.v3 import wasm_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2, json_format
from google.protobuf.message import DecodeError
from udpa.type.v1 import typed_struct_pb2 as udpa_struct_pb2
from xds.type.v3 import typed_struct_pb2 as xds_struct_pb2

from mizzen.agent.wasm.cache import ModuleCache, Wanted
from mizzen.agent.wasm.settings import Counts
from mizzen.api.errors import PeerError

log = logging.getLogger("mizzen.agent.wasm")

INTERNAL = "ISTIO_META_"
SECRET, POLICY = "ISTIO_META_WASM_IMAGE_PULL_SECRET", "ISTIO_META_WASM_IMAGE_PULL_POLICY"
VERSION = "ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION"
NO_CHECKSUM = "nil"  # what istiod says for none, as Envoy demands one
TYPES = {message.DESCRIPTOR.full_name: message for message in (http_wasm_pb2.Wasm, network_wasm_pb2.Wasm)}
STRUCTS = {
    message.DESCRIPTOR.full_name: message for message in (udpa_struct_pb2.TypedStruct, xds_struct_pb2.TypedStruct)
}
DEFAULT_TIMEOUT_S = 5.0


async def converted(data: bytes, cache: ModuleCache, counts: Counts, *, delta: bool) -> bytes:
    """A response of extension resources. Raises PeerError when one of them is none."""
    response: Any = discovery_pb2.DeltaDiscoveryResponse() if delta else discovery_pb2.DiscoveryResponse()
    try:
        response.ParseFromString(data)
    except DecodeError as error:
        raise PeerError(f"no discovery response: {error}") from error
    holders = [one.resource for one in response.resources] if delta else list(response.resources)
    await asyncio.gather(*(_convert(holder, cache, counts) for holder in holders))
    return bytes(response.SerializeToString())


async def _convert(holder: any_pb2.Any, cache: ModuleCache, counts: Counts) -> None:
    """One resource, in place."""
    config = extension_pb2.TypedExtensionConfig()
    try:
        if not holder.Unpack(config):
            raise PeerError(f"{holder.type_url} is no TypedExtensionConfig")
        found = wasm_filter(config)
    except (DecodeError, json_format.ParseError, PeerError) as error:
        counts.conversion("unmarshal_failure")
        raise PeerError(f"{config.name}: {error}") from error
    if found is None or not found.config.vm_config.code.HasField("remote"):
        counts.conversion("no_remote_load")
        return
    try:
        await _to_file(config.name, found.config, cache, counts)
        config.typed_config.Pack(found)
        counts.conversion("success")
    except PeerError as error:
        fails_open = lets_pass(found.config)
        log.error(
            "%s: %s; instead of it a filter that %s", config.name, error, "allows all" if fails_open else "denies all"
        )
        config.typed_config.Pack(instead_of(found, fails_open))
    holder.Pack(config)


def wasm_filter(config: extension_pb2.TypedExtensionConfig) -> Any:
    """The Wasm filter that a resource configures, None when it is another. Raises PeerError, DecodeError, ParseError."""
    if not config.HasField("typed_config"):
        raise PeerError("has no typed_config")
    name, value = config.typed_config.type_url.rpartition("/")[2], config.typed_config.value
    made: Any = None
    if name in TYPES:
        made = TYPES[name].FromString(value)
    elif name in STRUCTS:
        struct = STRUCTS[name].FromString(value)
        inner = TYPES.get(struct.type_url.rpartition("/")[2])
        if inner is not None:
            made = json_format.ParseDict(json_format.MessageToDict(struct.value), inner())
    if made is not None and made.config.vm_config.code.WhichOneof("specifier") is None:
        raise PeerError("the module is neither local nor remote")
    return made


async def _to_file(resource: str, plugin: wasm_pb2.PluginConfig, cache: ModuleCache, counts: Counts) -> None:
    """Puts the module's file in place of its URL. Raises PeerError."""
    machine = plugin.vm_config
    said = dict(machine.environment_variables.key_values)
    _leave_out_internal(machine)
    if said.get(SECRET) == "":
        counts.conversion("fetch_failure")
        raise PeerError("the secret to pull the image with is missing")
    remote = machine.code.remote
    if not remote.HasField("http_uri"):
        counts.conversion("miss_remote_fetch_hint")
        raise PeerError("the module has no httpUri")
    uri = remote.http_uri
    wanted = Wanted(
        url=uri.uri,
        checksum="" if remote.sha256 == NO_CHECKSUM else remote.sha256,
        resource=resource,
        version=said.get(VERSION, ""),
        timeout_s=uri.timeout.ToNanoseconds() / 1e9 if uri.HasField("timeout") else DEFAULT_TIMEOUT_S,
        policy=said.get(POLICY, ""),
        pull_secret=said[SECRET].encode() if SECRET in said else None,
    )
    try:
        path = await cache.path(wanted)
    except PeerError:
        counts.conversion("fetch_failure")
        raise
    machine.code.local.filename = str(path)


def _leave_out_internal(machine: wasm_pb2.VmConfig) -> None:
    """What istiod tells the agent is not for the module."""
    variables = machine.environment_variables
    for name in [name for name in variables.key_values if name.startswith(INTERNAL)]:
        del variables.key_values[name]
    if not variables.key_values and not variables.host_env_keys:
        machine.ClearField("environment_variables")


def lets_pass(plugin: wasm_pb2.PluginConfig) -> bool:
    """Whether traffic goes on where the module cannot run."""
    if plugin.failure_policy != wasm_pb2.FailurePolicy.UNSPECIFIED:
        return bool(plugin.failure_policy == wasm_pb2.FailurePolicy.FAIL_OPEN)
    return bool(plugin.fail_open)


def instead_of(wasm: Any, fails_open: bool) -> Any:
    """A filter of the same place: without rules it lets all pass, with none that allows it lets nothing pass."""
    prefix = "wasm-default-allow" if fails_open else "wasm-default-deny"
    rules = None if fails_open else rbac_pb2.RBAC()
    if isinstance(wasm, http_wasm_pb2.Wasm):
        return http_rbac_pb2.RBAC(rules=rules, rules_stat_prefix=prefix)
    return network_rbac_pb2.RBAC(rules=rules, stat_prefix=prefix)
