"""Refusals of the API server: HTTP code, reason, message and details, as a Kubernetes `Status`.

`StatusError` is raised anywhere below a handler and becomes the answer. `Problem` is one refused field of an object.
Source: apimachinery's meta/v1 Status, StatusReason, field.Error.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class StatusError(Exception):
    """An answer that is a failure."""

    def __init__(
        self,
        code: int,
        message: str,
        reason: str | None = None,
        details: dict[str, Any] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.headers = code, message, headers
        self.reason = REASONS.get(code, "") if reason is None else reason
        self.details = details

    def body(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            out["reason"] = self.reason
        if self.details is not None:
            out["details"] = self.details
        out["code"] = self.code
        return out


class Problem(NamedTuple):
    """One refused field. `type` is the cause's reason, `text` what is said of it (without the path)."""

    field: str
    type: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


class _Omitted:
    """Stands for a value that is not shown."""


OMIT = _Omitted()


def show(value: Any) -> str:
    """A value as Go's field errors print it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def invalid(field: str, value: Any, detail: str) -> Problem:
    head = "Invalid value" if value is OMIT else f"Invalid value: {show(value)}"
    return Problem(field, "FieldValueInvalid", f"{head}: {detail}" if detail else head)


def required(field: str, detail: str = "") -> Problem:
    return Problem(field, "FieldValueRequired", f"Required value: {detail}" if detail else "Required value")


def unsupported(field: str, value: Any, supported: Any) -> Problem:
    listed = ", ".join(
        json.dumps(one) for one in (sorted(supported) if isinstance(supported, (set, frozenset)) else supported)
    )
    tail = f": supported values: {listed}" if listed else ""
    return Problem(field, "FieldValueNotSupported", f"Unsupported value: {show(value)}{tail}")


def forbidden_field(field: str, detail: str) -> Problem:
    return Problem(field, "FieldValueForbidden", f"Forbidden: {detail}")


def duplicate(field: str, value: Any) -> Problem:
    return Problem(field, "FieldValueDuplicate", f"Duplicate value: {show(value)}")


def not_found_field(field: str, value: Any) -> Problem:
    return Problem(field, "FieldValueNotFound", f"Not found: {show(value)}")


def too_long(field: str, most: int, value: Any = OMIT) -> Problem:
    return Problem(field, "FieldValueTooLong", f"Too long: may not be more than {most} bytes")


def too_many(field: str, given: int, most: int) -> Problem:
    return Problem(field, "FieldValueTooMany", f"Too many: {given}: must have at most {most} items")


def mistyped(field: str, value: Any, detail: str) -> Problem:
    return Problem(field, "FieldValueTypeInvalid", f"Invalid value: {show(value)}: {detail}")


def bad_request(message: str) -> StatusError:
    return StatusError(400, message)


def not_found(group: str, plural: str, name: str) -> StatusError:
    details = {"name": name, **({"group": group} if group else {}), "kind": plural}
    return StatusError(404, f'{qualified(group, plural)} "{name}" not found', details=details)


def already_exists(group: str, plural: str, name: str) -> StatusError:
    details = {"name": name, **({"group": group} if group else {}), "kind": plural}
    return StatusError(409, f'{qualified(group, plural)} "{name}" already exists', "AlreadyExists", details)


def conflict(group: str, plural: str, name: str, why: str) -> StatusError:
    details = {"name": name, **({"group": group} if group else {}), "kind": plural}
    return StatusError(
        409, f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}', details=details
    )


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def forbidden(group: str, plural: str, name: str, why: str) -> StatusError:
    details: dict[str, Any] = {
        **({"name": name} if name else {}),
        **({"group": group} if group else {}),
        "kind": plural,
    }
    shown = f' "{name}"' if name else ""
    return StatusError(403, f"{qualified(group, plural)}{shown} is forbidden: {why}", details=details)


def refused(group: str, kind: str, name: str, problems: list[Problem], reason: str = "Invalid") -> StatusError:
    """422 for an object whose fields are refused."""
    seen = list(dict.fromkeys(problems))
    texts = [str(one) for one in seen]
    shown = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = {
        **({"name": name} if name else {}),
        **({"group": group} if group else {}),
        "kind": kind,
        "causes": [{"reason": one.type, "message": one.text, "field": one.field} for one in seen],
    }
    return StatusError(422, f'{kind}{"." + group if group else ""} "{name}" is invalid: {shown}', reason, details)


def no_such_path() -> StatusError:
    return StatusError(404, "the server could not find the requested resource", details={})


def no_such_method() -> StatusError:
    return StatusError(405, "the server does not allow this method on the requested resource", details={})


def qualified(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural
