"""Rows of what extends or guards the API: certificates, definitions, API services, admission, flow control."""

from __future__ import annotations

from typing import Any

from ..schema.scalars import human_duration
from .text import NONE, UNSET, age_text, param_kind, spec_of, status_of

Object = dict[str, Any]


def signing_request(tree: Object) -> list[Any]:
    spec, conditions = spec_of(tree), status_of(tree).get("conditions") or ()
    types = {one["type"] for one in conditions}
    state = "Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"
    if "Failed" in types:
        state += ",Failed"
    if status_of(tree).get("certificate"):
        state += ",Issued"
    seconds = spec.get("expirationSeconds")
    duration = NONE if seconds is None else human_duration(seconds)
    return [age_text(tree), spec.get("signerName", NONE), spec.get("username", ""), duration, state]


def definition(tree: Object) -> list[Any]:
    spec = spec_of(tree)
    established = any(
        one["type"] == "Established" and one["status"] == "True" for one in status_of(tree).get("conditions") or ()
    )
    names = spec.get("names") or {}
    versions = ",".join(one["name"] for one in spec.get("versions") or ())
    return [
        spec.get("scope", ""),
        versions,
        tree["metadata"].get("creationTimestamp"),
        spec.get("group", ""),
        names.get("kind", ""),
        ",".join(names.get("shortNames") or ()),
        established,
    ]


def api_service(tree: Object) -> list[Any]:
    service_ref = spec_of(tree).get("service")
    name = f"{service_ref.get('namespace', '')}/{service_ref.get('name', '')}" if service_ref else "Local"
    state = next((one for one in status_of(tree).get("conditions") or () if one["type"] == "Available"), None)
    text = (
        "Unknown"
        if state is None
        else state["status"]
        if state["status"] == "True"
        else f"{state['status']} ({state.get('reason', '')})"
    )
    return [name, text, age_text(tree)]


def webhooks(tree: Object) -> list[Any]:
    return [len(tree.get("webhooks") or ()), age_text(tree)]


def admission_policy(tree: Object) -> list[Any]:
    return [len(spec_of(tree).get("validations") or ()), param_kind(tree), age_text(tree)]


def mutating_policy(tree: Object) -> list[Any]:
    return [len(spec_of(tree).get("mutations") or ()), param_kind(tree), age_text(tree)]


def policy_binding(tree: Object) -> list[Any]:
    reference = spec_of(tree).get("paramRef")
    text = UNSET
    if reference:
        name = reference.get("name", "")
        text = f"{reference['namespace']}/{name}" if reference.get("namespace") else f"*/{name}"
    return [spec_of(tree).get("policyName", ""), text, age_text(tree)]


def flow_schema(tree: Object) -> list[Any]:
    spec = spec_of(tree)
    missing = next((one["status"] for one in status_of(tree).get("conditions") or () if one["type"] == "Dangling"), "?")
    return [
        (spec.get("priorityLevelConfiguration") or {}).get("name", NONE),
        spec.get("matchingPrecedence", 0),
        (spec.get("distinguisherMethod") or {}).get("type", NONE),
        age_text(tree),
        missing,
    ]
