"""The admission webhooks over HTTPS: /validate for Istio's objects, /inject for pods.

Takes AdmissionReview v1 requests, answers them. What is valid is told by mizzen.api, what a pod gets by istiod/inject.
Source: AdmissionReview (admission.k8s.io/v1); istiod's validation webhook.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from mizzen.api import kinds
from mizzen.api.errors import Invalid
from mizzen.istiod.server.metrics import Metrics

log = logging.getLogger(__name__)

Check = Callable[[Any], list[Invalid]]
TOP_LEVEL = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})


def validate_routes(check: Check, metrics: Metrics) -> list[web.AbstractRouteDef]:
    """POST /validate and /validate/…"""

    async def validate(request: web.Request) -> web.Response:
        try:
            review = msgspec.json.decode(await request.read())
            admission = review["request"]
        except (msgspec.DecodeError, KeyError, TypeError):
            metrics.add("galley_validation_http_error", status="400")
            return web.Response(status=400, text="no AdmissionReview with a request in the body\n")
        message = verdict(admission, check)
        _count(metrics, admission, message)
        return web.json_response(review_response(admission, message))

    return [web.post("/validate", validate), web.post("/validate/{tail:.*}", validate)]


def verdict(admission: Mapping[str, Any], check: Check) -> str | None:
    """Why the object is refused; None when it is allowed. Only CREATE and UPDATE are looked at."""
    if admission.get("operation") not in ("CREATE", "UPDATE"):
        return None
    obj = admission.get("object")
    if not isinstance(obj, Mapping):
        return "configuration is invalid: no object"
    unknown = sorted(obj.keys() - TOP_LEVEL)
    if unknown:
        return f"configuration is invalid: unknown field {', '.join(unknown)}"
    meta = obj.get("metadata") or {}
    named = {**obj, "metadata": {**meta, "name": meta.get("name") or admission.get("name") or "generated"}}
    try:
        errors = check(kinds.decode(named))
    except Invalid as error:
        errors = [error]
    return f"configuration is invalid: {'; '.join(map(str, errors))}" if errors else None


def review_response(admission: Mapping[str, Any], message: str | None) -> dict[str, Any]:
    """The AdmissionReview that answers."""
    response: dict[str, Any] = {"uid": admission.get("uid", ""), "allowed": message is None}
    if message is not None:
        response["status"] = {"code": 400, "reason": "Invalid", "message": message}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def _count(metrics: Metrics, admission: Mapping[str, Any], message: str | None) -> None:
    resource = admission.get("resource") or {}
    labels = {name: str(resource.get(name) or "") for name in ("group", "version", "resource")}
    if message is None:
        metrics.add("galley_validation_passed", **labels)
    else:
        metrics.add("galley_validation_failed", reason="invalid_resource", **labels)
