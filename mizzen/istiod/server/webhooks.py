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

from mizzen.api.validation.report import Report
from mizzen.istiod.server.metrics import Metrics

log = logging.getLogger(__name__)

Inspect = Callable[[Mapping[str, Any]], Report]
"""The errors and warnings of an object as JSON: mizzen.api.validation.inspect."""
ALWAYS_REJECT = "internal.istio.io/webhook-always-reject"
"""An annotation by which istiod tells whether its webhook is asked: what has it is refused."""
TOP_LEVEL = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})


def validate_routes(inspect: Inspect, metrics: Metrics) -> list[web.AbstractRouteDef]:
    """POST /validate and /validate/…"""

    async def validate(request: web.Request) -> web.Response:
        try:
            review = msgspec.json.decode(await request.read())
            admission = review["request"]
        except (msgspec.DecodeError, KeyError, TypeError):
            metrics.add("galley_validation_http_error", status="400")
            return web.Response(status=400, text="no AdmissionReview with a request in the body\n")
        message, warnings = verdict(admission, inspect)
        _count(metrics, admission, message)
        return web.json_response(review_response(admission, message, warnings))

    return [web.post("/validate", validate), web.post("/validate/{tail:.*}", validate)]


def verdict(admission: Mapping[str, Any], inspect: Inspect) -> tuple[str | None, list[str]]:
    """Why the object is refused (None when it is allowed), and warnings. Only CREATE and UPDATE are looked at."""
    if admission.get("operation") not in ("CREATE", "UPDATE"):
        return None, []
    obj = admission.get("object")
    if not isinstance(obj, Mapping):
        return "configuration is invalid: no object", []
    unknown = sorted(obj.keys() - TOP_LEVEL)
    if unknown:
        return f"configuration is invalid: unknown field {', '.join(unknown)}", []
    meta = obj.get("metadata") or {}
    if (meta.get("annotations") or {}).get(ALWAYS_REJECT) == "true":
        return "configuration is invalid: the object asks to be refused", []
    named = {**obj, "metadata": {**meta, "name": meta.get("name") or admission.get("name") or "generated"}}
    report = inspect(named)
    warnings = [f"{warned.path}: {warned.reason}" for warned in report.warnings]
    if report.errors:
        return f"configuration is invalid: {'; '.join(map(str, report.errors))}", warnings
    return None, warnings


def review_response(admission: Mapping[str, Any], message: str | None, warnings: list[str]) -> dict[str, Any]:
    """The AdmissionReview that answers."""
    response: dict[str, Any] = {"uid": admission.get("uid", ""), "allowed": message is None}
    if message is not None:
        response["status"] = {"code": 400, "reason": "Invalid", "message": message}
    if warnings:
        response["warnings"] = warnings
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def _count(metrics: Metrics, admission: Mapping[str, Any], message: str | None) -> None:
    resource = admission.get("resource") or {}
    labels = {name: str(resource.get(name) or "") for name in ("group", "version", "resource")}
    if message is None:
        metrics.add("galley_validation_passed", **labels)
    else:
        metrics.add("galley_validation_failed", reason="invalid_resource", **labels)
