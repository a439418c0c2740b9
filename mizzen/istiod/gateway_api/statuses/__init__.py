"""What the Gateway API's objects should say in their status, from the same decisions that translate them.

Takes the table of objects, gives statuses as JSON without times, by object. Not here: writing them, times, and the
conditions of other controllers, which stay (status/gateway_reporter.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from mizzen.istiod.gateway_api.gateways import gateway_states
from mizzen.istiod.gateway_api.references import References
from mizzen.istiod.gateway_api.statuses.classes import class_status
from mizzen.istiod.gateway_api.statuses.gateways import gateway_status
from mizzen.istiod.gateway_api.statuses.policies import policy_status
from mizzen.istiod.gateway_api.statuses.routes import ROUTES, Attached, route_status
from mizzen.istiod.objects import Key, Objects

log = logging.getLogger(__name__)

Statuses = dict[tuple[str, Key], dict[str, Any]]


def statuses(objects: Objects, domain: str) -> Statuses:
    """The statuses of all objects of the Gateway API that are this controller's affair. domain: of Services' hosts."""
    references = References(objects, domain)
    found = list(gateway_states(objects, references))
    attached = Attached([state.attachment for _, states in found for state in states])
    out: Statuses = {}

    def put(kind: str, key: Key, make: Callable[[], dict[str, Any] | None]) -> None:
        try:
            status = make()
        except Exception:  # our bug, met by one object: the others get theirs
            log.exception("status of %s %s", kind, "/".join(filter(None, key)))
            return
        if status is not None:
            out[kind, key] = status

    for kind in ROUTES:
        for key, route in objects.table(kind).items():
            put(kind, key, partial(route_status, kind, route, attached, objects, references))
    for gateway, states in found:
        key = (gateway.metadata.namespace or "default", gateway.metadata.name)
        put("K8sGateway", key, partial(gateway_status, gateway, states, attached, objects, references))
    for key, obj in objects.table("GatewayClass").items():
        put("GatewayClass", key, partial(class_status, obj))
    for key, policy in objects.table("BackendTLSPolicy").items():
        put("BackendTLSPolicy", key, partial(policy_status, policy, attached, objects))
    return out
