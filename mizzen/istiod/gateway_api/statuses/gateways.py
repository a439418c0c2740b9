"""The status of Gateways: whether they are accepted and programmed, their addresses, and how each listener fares.

Takes a Gateway with the states of its listeners and the routes that attached; looks at the Service in front of it, its
ports and endpoints. A load balancer's address counts when it has one; until then nothing is programmed.
Source: gateway.networking.k8s.io GatewayStatus, GatewayConditionReason, ListenerConditionReason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from mizzen.api.gateway_api import GROUP
from mizzen.istiod.gateway_api.gateways import ACCEPTED, RESOLVED_REFS, Problem, State, services
from mizzen.istiod.gateway_api.parameters import parameters_problem
from mizzen.istiod.gateway_api.references import References
from mizzen.istiod.gateway_api.statuses.conditions import condition, from_problems, generation_of
from mizzen.istiod.gateway_api.statuses.routes import Attached
from mizzen.istiod.objects import Objects

PROGRAMMED, CONFLICTED = "Programmed", "Conflicted"
NO_ERRORS = "No errors found"
SHARED_PORT = (frozenset({"HTTPS", "TLS"}),)  # protocols that may share a port, told apart by SNI


class Assigned(msgspec.Struct):
    """What stands in front of a Gateway. found: host:port; addresses: as the status has them; problems: in words."""

    found: list[str] = []
    addresses: list[dict[str, str]] = []
    problems: list[str] = []


def gateway_status(
    gateway: Any, states: Sequence[State], attached: Attached, objects: Objects, references: References
) -> dict[str, Any]:
    """The status of a Gateway."""
    generation = generation_of(gateway)
    listeners = [
        _listener_status(listener, state, gateway, attached, objects)
        for listener, state in zip(gateway.spec.listeners, states, strict=True)
    ]
    assigned = _assigned(gateway, objects, references)
    return {
        "addresses": assigned.addresses,
        "conditions": [
            _accepted(gateway, states, objects, generation),
            _programmed(gateway, states, assigned, generation),
        ],
        "listeners": listeners,
    }


def _accepted(gateway: Any, states: Sequence[State], objects: Objects, generation: int) -> dict[str, Any]:
    problem = _spec_problem(gateway) or parameters_problem(objects, gateway)
    if problem is not None:
        return condition(ACCEPTED, False, problem.reason, problem.message, generation)
    bad = [state.attachment.name for state in states if state.listener is None]
    if bad:
        message = f"invalid listeners: {', '.join(bad)}"
        return condition(ACCEPTED, len(bad) < len(states), "ListenersNotValid", message, generation)
    return condition(ACCEPTED, True, ACCEPTED, "Resource accepted", generation)


def _spec_problem(gateway: Any) -> Problem | None:
    unsupported = [one.type for one in gateway.spec.addresses if one.type not in ("IPAddress", "Hostname")]
    if unsupported:
        message = f"only Hostname and IPAddress are supported, not {', '.join(unsupported)}"
        return Problem(ACCEPTED, "UnsupportedAddress", message)
    return None


def _programmed(gateway: Any, states: Sequence[State], assigned: Assigned, generation: int) -> dict[str, Any]:
    if not any(state.listener is not None for state in states):
        return condition(PROGRAMMED, False, "Invalid", "no listener is served", generation)
    where = " and ".join(assigned.found)
    if assigned.problems:
        what = "; ".join(assigned.problems)
        message = f"Failed to assign to any requested addresses: {what}"
        if assigned.found:
            message = f"Assigned to service(s) {where}, but failed to assign to all requested addresses: {what}"
        return condition(PROGRAMMED, False, "AddressNotAssigned", message, generation)
    message = f"Resource programmed, assigned to service(s) {where}"
    return condition(PROGRAMMED, True, PROGRAMMED, message, generation)


def _listener_status(listener: Any, state: State, gateway: Any, attached: Attached, objects: Objects) -> dict[str, Any]:
    generation = generation_of(gateway)
    problems = [*state.problems, *_certificate_problems(listener, gateway, objects)]
    conflict = _conflict(listener, gateway.spec.listeners)
    conflicted = condition(CONFLICTED, False, "NoConflicts", NO_ERRORS, generation)
    if conflict:
        conflicted = condition(CONFLICTED, True, "ProtocolConflict", conflict, generation)
    served = state.listener is not None and not any(p.reason == "InvalidCertificateRef" for p in problems)
    programmed = condition(PROGRAMMED, True, PROGRAMMED, NO_ERRORS, generation)
    if not served:
        message = next((problem.message for problem in problems), "the listener is not served")
        programmed = condition(PROGRAMMED, False, "Invalid", message, generation)
    return {
        "name": listener.name,
        "supportedKinds": [{"group": GROUP, "kind": kind} for kind in state.attachment.kinds],
        "attachedRoutes": attached.routes[state.attachment.key, listener.name],
        "conditions": [
            from_problems(ACCEPTED, problems, generation, ACCEPTED, NO_ERRORS),
            conflicted,
            programmed,
            from_problems(RESOLVED_REFS, problems, generation, RESOLVED_REFS, NO_ERRORS),
        ],
    }


def _conflict(listener: Any, every: Iterable[Any]) -> str:
    """Which other protocol wants the same port; "" when none does."""
    for other in every:
        pair = frozenset({listener.protocol, other.protocol})
        if other.port == listener.port and len(pair) > 1 and pair not in SHARED_PORT:
            return f"listener {other.name} has protocol {other.protocol} on the same port {other.port}"
    return ""


def _certificate_problems(listener: Any, gateway: Any, objects: Objects) -> Iterable[Problem]:
    """Certificates that are there, but are none."""
    if listener.tls is None or listener.tls.mode == "Passthrough":
        return
    for ref in listener.tls.certificate_refs:
        owner = ref.namespace or gateway.metadata.namespace or "default"
        secret = objects.table("Secret").get((owner, ref.name))
        data = (secret.data or {}) if secret is not None else {}
        if secret is not None and not _fits(data.get("tls.crt", ""), data.get("tls.key", "")):
            message = f"invalid certificate reference {owner}/{ref.name}, the certificate is malformed"
            yield Problem(RESOLVED_REFS, "InvalidCertificateRef", message)


@lru_cache(maxsize=1000)
def _fits(chain: str, key: str) -> bool:
    """Whether two base64 texts are a certificate chain and the key of its first certificate."""
    import base64

    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        certificate = x509.load_pem_x509_certificates(base64.b64decode(chain))[0]
        return load_pem_private_key(base64.b64decode(key), None).public_key() == certificate.public_key()
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm):
        return False


def _assigned(gateway: Any, objects: Objects, references: References) -> Assigned:
    """Looks each host up that the Gateway stands behind."""
    out = Assigned([], [], [])
    numbers = list(dict.fromkeys(listener.port for listener in gateway.spec.listeners))
    suffix = f".svc.{references.domain}"
    for host in services(gateway, references):
        name, _, namespace = host.removesuffix(suffix).partition(".")
        service = objects.table("Service").get((namespace, name)) if host.endswith(suffix) else None
        if service is None:
            out.problems.append(f'hostname "{host}" not found')
            continue
        ports = {port.port for port in service.spec.ports or ()}
        ready = _has_endpoints(objects, namespace, name)
        for number in numbers:
            if number not in ports:
                out.problems.append(f'port {number} not found for hostname "{host}"')
            elif not ready:
                out.problems.append(f'no instances found for hostname "{host}:{number}"')
            else:
                out.found.append(f"{host}:{number}")
        _add_addresses(out, gateway, service, host)
    return out


def _has_endpoints(objects: Objects, namespace: str, name: str) -> bool:
    for (owner, _), piece in objects.table("EndpointSlice").items():
        if owner == namespace and (piece.metadata.labels or {}).get("kubernetes.io/service-name") == name:
            for endpoint in piece.endpoints or ():
                if endpoint.conditions is None or endpoint.conditions.ready is not False:
                    return True
    return False


def _add_addresses(out: Assigned, gateway: Any, service: Any, host: str) -> None:
    if service.spec.type != "LoadBalancer":
        given = service.spec.externalIPs or ()
        out.addresses += [_address(ip, "IPAddress") for ip in given] or [_address(host, "Hostname")]
        return
    balancer = service.status.loadBalancer if service.status is not None else None
    given = [(one.ip, one.hostname) for one in (balancer.ingress if balancer is not None else None) or ()]
    if not given:
        out.problems.append(f'address pending for hostname "{host}"')
    for ip, name in given:
        out.addresses.append(_address(ip, "IPAddress") if ip else _address(name or "", "Hostname"))


def _address(value: str, type_: str) -> dict[str, str]:
    return {"type": type_, "value": value}
