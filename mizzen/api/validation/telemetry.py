"""What Istio's admission demands of Telemetry, WasmPlugin and TrafficExtension beyond their schemas.

Takes the typed objects, reports errors and warnings by path.
"""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.api.istio.extensions import TrafficExtension, VmConfig, WasmPlugin
from mizzen.api.istio.telemetry import ProviderRef, Telemetry
from mizzen.api.urls import plugin_url
from mizzen.api.validation import cel_syntax
from mizzen.api.validation.common import targets
from mizzen.api.validation.report import Report


def telemetry(obj: Telemetry, report: Report) -> None:
    """Checks the whole object."""
    spec = obj.spec
    targets(spec.selector, spec.target_ref, spec.target_refs, report)
    for at, metrics in enumerate(spec.metrics):
        path = f"spec.metrics[{at}]"
        providers(metrics.providers, path, report)
        for number, override in enumerate(metrics.overrides):
            for name, tag in override.tag_overrides.items():
                here = f"{path}.overrides[{number}].tagOverrides[{name}]"
                if not name:
                    report.warn(here, "a tag's name should not be empty")
                if tag.operation == "UPSERT":
                    report.need(tag.value != "", f"{here}.value", "is required for UPSERT")
                else:
                    report.need(tag.value == "", f"{here}.value", "is for UPSERT alone")
    if len(spec.tracing) > 1:
        report.warn("spec.tracing", "only the first one has an effect")
    for at, tracing in enumerate(spec.tracing):
        path = f"spec.tracing[{at}]"
        if len(tracing.providers) > 1:
            report.warn(f"{path}.providers", "only the first one has an effect")
        providers(tracing.providers, path, report)
        for name in tracing.custom_tags:
            report.need(name != "", f"{path}.customTags[]", "a tag's name must not be empty")
    for at, logging in enumerate(spec.access_logging):
        path = f"spec.accessLogging[{at}]"
        if logging.filter is not None:
            report.take(f"{path}.filter.expression", cel_syntax.wrong(logging.filter.expression))
        providers(logging.providers, path, report)


def providers(values: Iterable[ProviderRef], path: str, report: Report) -> None:
    """Providers have names."""
    for at, provider in enumerate(values):
        report.need(provider.name != "", f"{path}.providers[{at}].name", "is required")


def wasm_plugin(obj: WasmPlugin, report: Report) -> None:
    """Checks the whole object."""
    spec = obj.spec
    targets(spec.selector, spec.target_ref, spec.target_refs, report)
    report.take("spec.url", plugin_url(spec.url))
    vm_config(spec.vm_config, "spec.vmConfig", report)


def vm_config(value: VmConfig | None, path: str, report: Report) -> None:
    """Environment variables, each once."""
    names = set[str]()
    for at, variable in enumerate(value.env if value is not None else ()):
        here = f"{path}.env[{at}]"
        report.need(variable.name not in names, f"{here}.name", f"{variable.name!r} stands twice")
        names.add(variable.name)
        if variable.value_from != "INLINE":
            report.need(variable.value == "", f"{here}.value", "is for INLINE alone")


def traffic_extension(obj: TrafficExtension, report: Report) -> None:
    """Checks the whole object."""
    spec = obj.spec
    targets(spec.selector, None, spec.target_refs, report)
    report.need((spec.wasm is None) != (spec.lua is None), "spec", "exactly one of wasm and lua is needed")
    if spec.wasm is not None:
        report.take("spec.wasm.url", plugin_url(spec.wasm.url))
        vm_config(spec.wasm.vm_config, "spec.wasm.vmConfig", report)
    if spec.lua is not None:
        report.need(len(spec.lua.inline_code.encode()) <= 65536, "spec.lua.inlineCode", "has more than 65536 bytes")
