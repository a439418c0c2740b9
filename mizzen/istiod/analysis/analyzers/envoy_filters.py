"""EnvoyFilters whose patches may have no effect: IST0151 to IST0155."""

from __future__ import annotations

from mizzen.api.istio.networking import EnvoyConfigObjectPatch
from mizzen.istiod.analysis.model import NETWORKING, Mesh, Resource

REPLACEABLE = frozenset({"NETWORK_FILTER", "HTTP_FILTER", "VIRTUAL_HOST"})
FIXED = frozenset({"ROUTE_CONFIGURATION", "HTTP_ROUTE"})


def patches(mesh: Mesh) -> None:
    """Checks the operation of each patch against what it is applied to."""
    versioned = set[str]()  # filters that some patch before is for at one proxy version only
    for resource, filter_ in mesh.typed("EnvoyFilter", NETWORKING):
        for at, patch in enumerate(filter_.spec.config_patches):
            if patch.patch is None:
                break
            name = _name(patch)
            code = _code(patch, filter_.spec.priority, name in versioned)
            if code:
                _report(mesh, resource, code, at)
            match = patch.match
            if match is not None and match.proxy is not None and match.proxy.proxy_version:
                versioned.add(name)


def _report(mesh: Mesh, resource: Resource, code: str, at: int) -> None:
    mesh.report(resource, code, at=f"spec.configPatches[{at}].patch.value")


def _name(patch: EnvoyConfigObjectPatch) -> str:
    """The filter that a patch brings, or is matched by."""
    assert patch.patch is not None
    value = patch.patch.value
    if not value:
        return ""
    if value.get("name") is not None:
        return str(value["name"])
    listener = patch.match.listener if patch.match is not None else None
    chain = listener.filter_chain if listener is not None else None
    return chain.filter.name if chain is not None and chain.filter is not None else ""


def _code(patch: EnvoyConfigObjectPatch, priority: int, versioned: bool) -> str:
    assert patch.patch is not None
    operation, apply_to = patch.patch.operation, patch.apply_to
    if operation == "ADD":
        return "IST0153" if apply_to in FIXED else ""
    if operation == "REMOVE" and apply_to in FIXED:
        return "IST0154"
    if operation == "REPLACE" and apply_to not in REPLACEABLE:
        return "IST0152"
    relative = operation in ("REMOVE", "REPLACE", "INSERT_BEFORE", "INSERT_AFTER")
    if not relative or priority != 0:
        return ""
    return "IST0155" if versioned else "IST0151"
