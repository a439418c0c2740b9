"""What Istio's admission demands of an EnvoyFilter: what is patched, matched and written go together.

Takes the typed object, reports errors and warnings by path. Not here: applying patches.
"""

from __future__ import annotations

from mizzen.api import text
from mizzen.api.istio.envoy_filter import EnvoyConfigObjectMatch, EnvoyConfigObjectPatch, EnvoyFilter, ListenerMatch
from mizzen.api.validation.common import label_selector, targets
from mizzen.api.validation.envoy_patch import patch_value
from mizzen.api.validation.report import Report

LISTENER_CLASS = frozenset({"LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER"})
ROUTE_CLASS = frozenset({"ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE"})
HCM = ("envoy.filters.network.http_connection_manager", "envoy.http_connection_manager")


def envoy_filter(obj: EnvoyFilter, report: Report) -> None:
    """Checks the whole object."""
    report.warn("spec", "an EnvoyFilter depends on internals that may change at any time", "internals")
    label_selector(obj.spec.workload_selector, "spec.workloadSelector", report)
    if report.errors:
        return
    targets(None, None, obj.spec.target_refs, report)
    for at, patch in enumerate(obj.spec.config_patches):
        config_patch(patch, f"spec.configPatches[{at}]", report)


def config_patch(value: EnvoyConfigObjectPatch, path: str, report: Report) -> None:
    """One patch."""
    if value.match is not None and value.match.context == "WAYPOINT":
        return  # Istio does not look at these
    if not report.need(value.apply_to != "INVALID", f"{path}.applyTo", "is required"):
        return
    patch = value.patch
    if patch is None:
        report.error(f"{path}.patch", "is required")
        return
    if not report.need(patch.operation != "INVALID", f"{path}.patch.operation", "is required"):
        return
    if patch.operation != "REMOVE" and patch.value is None:
        report.error(f"{path}.patch.value", "is required but for REMOVE")
        return
    if value.match is not None and not match(value.match, value.apply_to, f"{path}.match", report):
        return
    if patch.value is not None:
        patch_value(value.apply_to, patch.value, f"{path}.patch.value", report)


def match(value: EnvoyConfigObjectMatch, apply_to: str, path: str, report: Report) -> bool:
    """The match suits what is patched. Answers whether the patch is worth looking at."""
    if value.proxy is not None and value.proxy.proxy_version:
        wrong = text.compiles(value.proxy.proxy_version)
        if wrong:
            report.error(f"{path}.proxy.proxyVersion", wrong)
            return False
    members = {"listener": value.listener, "routeConfiguration": value.route_configuration, "cluster": value.cluster}
    given = [name for name, member in members.items() if member is not None]
    if value.waypoint is not None:
        given.append("waypoint")
    wanted = "listener" if apply_to in LISTENER_CLASS else "routeConfiguration" if apply_to in ROUTE_CLASS else ""
    wanted = "cluster" if apply_to == "CLUSTER" else wanted
    if wanted and given and given != [wanted]:
        report.error(path, f"{apply_to} is matched by {wanted}, not by {given[0]}")
        return wanted != "listener"
    if wanted == "listener" and value.listener is not None:
        return listener(value.listener, apply_to, f"{path}.listener", report)
    return True


def listener(value: ListenerMatch, apply_to: str, path: str, report: Report) -> bool:
    """Filters are matched by name, and HTTP filters below the HTTP connection manager."""
    filter_ = value.filter_chain.filter if value.filter_chain is not None else None
    if filter_ is None:
        return True
    here = f"{path}.filterChain.filter"
    if apply_to in ("LISTENER", "FILTER_CHAIN"):
        report.warn(here, f"has no effect on {apply_to}")
    if not report.need(filter_.name != "", f"{here}.name", "is required"):
        return False
    if filter_.sub_filter is None:
        return True
    return (
        report.need(apply_to == "HTTP_FILTER", f"{here}.subFilter", f"is for HTTP_FILTER, not for {apply_to}")
        and report.need(filter_.name in HCM, f"{here}.name", f"has to be {HCM[0]} above a subFilter")
        and report.need(filter_.sub_filter.name != "", f"{here}.subFilter.name", "is required")
    )
