"""Parameters of a Gateway's own Deployment and Service: patches in a ConfigMap that the Gateway names, or its class.

Takes ConfigMaps' data, gives patches by kind; says what is wrong with a reference. Not here: what is patched
(deployment.py).
Source: Gateway `spec.infrastructure.parametersRef`; ConfigMaps labelled gateway.istio.io/defaults-for-class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from mizzen.istiod.gateway_api.gateways import ACCEPTED, Problem
from mizzen.istiod.objects import Objects

PATCHED = {"deployment": "Deployment", "service": "Service", "serviceAccount": "ServiceAccount"}
UNSUPPORTED = ("horizontalPodAutoscaler", "podDisruptionBudget")
KEYS = frozenset({*PATCHED, *UNSUPPORTED})
DEFAULTS_LABEL = "gateway.istio.io/defaults-for-class"
INVALID = "InvalidParameters"


class BadParameters(Exception):
    """Parameters that cannot be used, in words."""


def patches(data: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The patches in a ConfigMap, by kind. Raises BadParameters."""
    out = {}
    for key, text in data.items():
        if key in UNSUPPORTED:
            raise BadParameters(f"{key} is not supported")
        if key not in PATCHED:
            raise BadParameters(f"unknown key {key}; known are {', '.join(PATCHED)}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise BadParameters(f"{key} is not YAML: {error}") from error
        if value is None:
            continue
        if not isinstance(value, dict):
            raise BadParameters(f"{key} is not an object")
        out[PATCHED[key]] = value
    return out


def reference_of(gateway: Any) -> Any:
    """The reference to parameters of a Gateway, None without one."""
    return gateway.spec.infrastructure.parameters_ref if gateway.spec.infrastructure is not None else None


def parameters_problem(objects: Objects, gateway: Any) -> Problem | None:
    """What is wrong with a Gateway's parameters."""
    ref = reference_of(gateway)
    if ref is None:
        return None
    if (ref.group, ref.kind) != ("", "ConfigMap"):
        return Problem(
            ACCEPTED, INVALID, f'parametersRef to {ref.kind} of group "{ref.group}"; only ConfigMap is supported'
        )
    namespace = gateway.metadata.namespace or "default"
    found = objects.table("ConfigMap").get((namespace, ref.name))
    if found is None:
        return Problem(ACCEPTED, INVALID, f"ConfigMap {namespace}/{ref.name} with parameters not found")
    try:
        patches(found.data or {})
    except BadParameters as error:
        return Problem(ACCEPTED, INVALID, f"ConfigMap {namespace}/{ref.name}: {error}")
    return None
