"""extensions.istio.io: WasmPlugin, TrafficExtension.

Source: istio.extensions.v1alpha1 of these names. Not here: what makes one valid (mizzen.api.validation).
"""

from __future__ import annotations

from typing import Annotated, Literal

from lightkube.models.meta_v1 import ObjectMeta
from msgspec import Meta

from mizzen.api.istio.meta import (
    Int32,
    IstioStatus,
    Json,
    Message,
    NonEmpty,
    PolicyTargetReference,
    TargetRefs,
    WorkloadMode,
    WorkloadSelector,
)

PullPolicy = Literal["UNSPECIFIED_POLICY", "IfNotPresent", "Always"]
PluginPhase = Literal["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"]
FailStrategy = Literal["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"]
PluginType = Literal["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"]
Sha256 = Annotated[str, Meta(pattern=r"(^$|^[a-f0-9]{64}$)")]
PullSecret = Annotated[str, Meta(min_length=1, max_length=253)]
PluginName = Annotated[str, Meta(min_length=1, max_length=256)]


class EnvVar(Message):
    """VmConfig's environment variable."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    value_from: Literal["INLINE", "HOST"] = "INLINE"
    value: Annotated[str, Meta(max_length=2048)] = ""


class VmConfig(Message):
    """The virtual machine that a Wasm module runs in."""

    env: Annotated[tuple[EnvVar, ...], Meta(max_length=256)] = ()


class TrafficPort(Message):
    """A port of a traffic selector."""

    number: Annotated[int, Meta(ge=1, le=65535)]


class TrafficSelector(Message):
    """Traffic by direction and port."""

    mode: WorkloadMode = "UNDEFINED"
    ports: tuple[TrafficPort, ...] = ()


class WasmPluginSpec(Message):
    """istio.extensions.v1alpha1.WasmPlugin."""

    url: NonEmpty
    selector: WorkloadSelector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: TargetRefs = ()
    sha256: Sha256 = ""
    image_pull_policy: PullPolicy = "UNSPECIFIED_POLICY"
    image_pull_secret: PullSecret | None = None
    verification_key: str = ""
    plugin_config: Json | None = None
    plugin_name: PluginName | None = None
    phase: PluginPhase = "UNSPECIFIED_PHASE"
    priority: Int32 | None = None
    fail_strategy: FailStrategy = "FAIL_CLOSE"
    vm_config: VmConfig | None = None
    match: tuple[TrafficSelector, ...] = ()
    type: PluginType = "UNSPECIFIED_PLUGIN_TYPE"


class WasmPlugin(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: WasmPluginSpec
    status: IstioStatus | None = None


class WasmConfig(Message):
    """TrafficExtension's Wasm module."""

    url: NonEmpty
    sha256: Sha256 = ""
    image_pull_policy: PullPolicy = "UNSPECIFIED_POLICY"
    image_pull_secret: PullSecret | None = None
    verification_key: str = ""
    plugin_config: Json | None = None
    plugin_name: PluginName | None = None
    fail_strategy: FailStrategy = "FAIL_CLOSE"
    vm_config: VmConfig | None = None
    type: PluginType = "UNSPECIFIED_PLUGIN_TYPE"


class LuaConfig(Message):
    """TrafficExtension's Lua script."""

    inline_code: Annotated[str, Meta(min_length=1, max_length=65536)]


class TrafficExtensionSpec(Message):
    """istio.extensions.v1alpha1.TrafficExtension: one of wasm and lua."""

    selector: WorkloadSelector | None = None
    target_refs: TargetRefs = ()
    phase: Literal["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"] = "UNSPECIFIED"
    priority: Int32 | None = None
    match: tuple[TrafficSelector, ...] = ()
    wasm: WasmConfig | None = None
    lua: LuaConfig | None = None


class TrafficExtension(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: TrafficExtensionSpec = TrafficExtensionSpec()
    status: IstioStatus | None = None
