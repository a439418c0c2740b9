"""What Istio's admission demands of faults, cross-origin rules and direct responses.

Not here: the route around them (virtual_service.py).
"""

from __future__ import annotations

import re

from mizzen.api import text
from mizzen.api.istio.virtual_service import (
    Abort,
    CorsPolicy,
    Delay,
    HTTPDirectResponse,
    HTTPFaultInjection,
    Percent,
)
from mizzen.api.validation.common import http_status
from mizzen.api.validation.report import Report

GRPC_STATUSES = frozenset(
    [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ]
)
CORS_METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"])
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
BODY_WARN, BODY_MOST = 100 * 1024, 1024 * 1024  # bytes


def fault(value: HTTPFaultInjection | None, path: str, report: Report) -> None:
    """Delays or aborts."""
    if value is None:
        return
    report.need(value.abort is not None or value.delay is not None, path, "one of delay and abort is needed")
    if value.abort is not None:
        abort(value.abort, f"{path}.abort", report)
    if value.delay is not None:
        delay(value.delay, f"{path}.delay", report)


def percentage(value: Percent | None, path: str, report: Report) -> None:
    """0, or 0.0001 to 100."""
    if value is not None and not (value.value == 0 or 0.0001 <= value.value <= 100):
        report.error(f"{path}.value", f"{value.value:g} is neither 0 nor in 0.0001 to 100")


def abort(value: Abort, path: str, report: Report) -> None:
    """With which status a request fails."""
    percentage(value.percentage, f"{path}.percentage", report)
    if value.grpc_status is not None:
        known = value.grpc_status in GRPC_STATUSES
        report.need(known, f"{path}.grpcStatus", f"{value.grpc_status!r} is not a gRPC status such as NOT_FOUND")
    elif value.http2_error is not None:
        report.error(f"{path}.http2Error", "not supported")
    elif value.http_status is not None:
        report.take(f"{path}.httpStatus", http_status(value.http_status))
    else:
        report.warn(path, "an abort without a status aborts nothing")


def delay(value: Delay, path: str, report: Report) -> None:
    """How long a request waits."""
    percentage(value.percentage, f"{path}.percentage", report)
    if value.fixed_delay is not None:
        report.take(f"{path}.fixedDelay", text.duration(value.fixed_delay))
    elif value.exponential_delay is not None:
        report.error(f"{path}.exponentialDelay", "not supported")


def cors(value: CorsPolicy | None, path: str, report: Report) -> None:
    """Origins, methods, headers and their age."""
    if value is None:
        return
    for at, origin in enumerate(value.allow_origins):
        content = origin.exact or origin.prefix or origin.regex or ""
        if report.need(content != "", f"{path}.allowOrigins[{at}]", "a match must not be empty") and origin.regex:
            report.take(f"{path}.allowOrigins[{at}].regex", text.regex(origin.regex))
    for at, method in enumerate(value.allow_methods):
        report.need(method in CORS_METHODS, f"{path}.allowMethods[{at}]", f"{method!r} is not an HTTP method")
    for field, names in (("allowHeaders", value.allow_headers), ("exposeHeaders", value.expose_headers)):
        for at, name in enumerate(names):
            report.take(f"{path}.{field}[{at}]", text.cors_header(name))
    if value.max_age is not None:
        report.take(f"{path}.maxAge", text.duration(value.max_age))
        report.need(value.max_age.nanos % 1_000_000_000 == 0, f"{path}.maxAge", "is not a whole number of seconds")


def direct_response(value: HTTPDirectResponse | None, path: str, report: Report) -> None:
    """A status, and a body that is not too large."""
    if value is None:
        return
    if value.body is not None:
        size = len((value.body.string or "").encode()) or len(value.body.bytes or "") * 3 // 4
        sound = _BASE64.fullmatch(value.body.bytes or "") is not None
        report.need(sound, f"{path}.body.bytes", "is not base64")
        if size > BODY_MOST:
            report.error(f"{path}.body", f"has {size} bytes, at most {BODY_MOST} are allowed")
        elif size > BODY_WARN:
            report.warn(f"{path}.body", "large bodies slow the control plane down")
    report.take(f"{path}.status", http_status(value.status))
