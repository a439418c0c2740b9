"""The status of BackendTLSPolicies: one word for each Gateway that leads to what the policy is for, or for the target
itself when none does.

Source: gateway.networking.k8s.io PolicyAncestorStatus, BackendTLSPolicyConditionReason.
"""

from __future__ import annotations

from typing import Any

from mizzen.api.gateway_api import GROUP
from mizzen.istiod.gateway_api.gateways import ACCEPTED, CONTROLLER, RESOLVED_REFS, Problem
from mizzen.istiod.gateway_api.statuses.conditions import from_problems, generation_of
from mizzen.istiod.gateway_api.statuses.routes import Attached
from mizzen.istiod.objects import Objects, by_age

MAX_ANCESTORS = 16
CERTIFICATE_KEY = "ca.crt"


def policy_status(policy: Any, attached: Attached, objects: Objects) -> dict[str, Any]:
    """The status of a policy."""
    namespace, generation = policy.metadata.namespace or "default", generation_of(policy)
    common = _certificate_problems(policy, namespace, objects)
    ancestors: dict[tuple[str, ...], list[Problem]] = {}
    for ref in policy.spec.target_refs:
        problems = [*_target_problems(policy, ref, namespace, objects), *common]
        for gateway in attached.gateways_of.get((namespace, ref.name), {}) or (None,):
            where = (ref.group, ref.kind, "", ref.name) if gateway is None else (GROUP, "Gateway", *gateway)
            ancestors.setdefault(where, []).extend(problems)
    return {
        "ancestors": [
            {
                "ancestorRef": _reference(where),
                "controllerName": CONTROLLER,
                "conditions": [
                    from_problems(ACCEPTED, problems, generation, ACCEPTED, "Configuration is valid"),
                    from_problems(RESOLVED_REFS, problems, generation, RESOLVED_REFS, "Configuration is valid"),
                ],
            }
            for where, problems in list(ancestors.items())[:MAX_ANCESTORS]
        ]
    }


def _reference(where: tuple[str, ...]) -> dict[str, str]:
    group, kind, namespace, name = where
    return {"group": group, "kind": kind, "name": name, **({"namespace": namespace} if namespace else {})}


def _target_problems(policy: Any, ref: Any, namespace: str, objects: Objects) -> list[Problem]:
    if (ref.group, ref.kind) != ("", "Service"):
        return [Problem(ACCEPTED, "Invalid", f'unsupported target: group "{ref.group}" kind "{ref.kind}"')]
    service = objects.table("Service").get((namespace, ref.name))
    if service is None:
        return [Problem(ACCEPTED, "TargetNotFound", f"target Service {namespace}/{ref.name} not found")]
    ports = [port.name for port in service.spec.ports or ()]
    if ref.section_name is not None and ref.section_name not in ports:
        message = f'the Service {namespace}/{ref.name} has no port "{ref.section_name}"'
        return [Problem(ACCEPTED, "TargetNotFound", message)]
    for other in by_age(objects.table("BackendTLSPolicy").values()):
        if other is policy:
            break
        same = [r for r in other.spec.target_refs if (other.metadata.namespace or "default") == namespace]
        if any(
            (r.group, r.kind, r.name, r.section_name) == (ref.group, ref.kind, ref.name, ref.section_name) for r in same
        ):
            return [
                Problem(
                    ACCEPTED, "Conflicted", f"the older policy {namespace}/{other.metadata.name} has the same target"
                )
            ]
    return []


def _certificate_problems(policy: Any, namespace: str, objects: Objects) -> list[Problem]:
    validation = policy.spec.validation
    if validation.well_known_ca_certificates not in (None, "System"):
        message = f'unknown wellKnownCACertificates "{validation.well_known_ca_certificates}"'
        return [Problem(ACCEPTED, "Invalid", message)]
    out: list[Problem] = []
    for ref in validation.ca_certificate_refs:
        if (ref.group, ref.kind) != ("", "ConfigMap"):
            out.append(
                Problem(RESOLVED_REFS, "InvalidKind", f'certificate references to {ref.kind} of group "{ref.group}"')
            )
            continue
        found = objects.table("ConfigMap").get((namespace, ref.name))
        if found is None or not (found.data or {}).get(CERTIFICATE_KEY):
            message = f"ConfigMap {namespace}/{ref.name} with the key {CERTIFICATE_KEY} not found"
            out.append(Problem(RESOLVED_REFS, "InvalidCACertificateRef", message))
    if out and len(out) == len(validation.ca_certificate_refs):
        out.append(Problem(ACCEPTED, "NoValidCACertificate", "no reference to a CA certificate is valid"))
    return out
