"""What a Kubernetes API server answers when it refuses: one exception, with the Status object's fields.

Not here: connection failures; those stay aiohttp's and OSError, gathered in `CONNECTION_ERRORS`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

# What a call raises when no answer came at all. Worth a retry; says nothing about the object.
CONNECTION_ERRORS = (aiohttp.ClientError, OSError, asyncio.TimeoutError)


class ApiError(Exception):
    """An answer of 400 or more.

    code: the HTTP status. reason: Kubernetes' machine-readable word (NotFound, AlreadyExists, Conflict, Expired, …),
    "" when the server gave none. message: for people. details: Status.details, or {}.
    """

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(f"{code} {reason}: {message}" if reason else f"{code}: {message}")
        self.code, self.reason, self.message, self.details = code, reason, message, details or {}

    @property
    def not_found(self) -> bool:
        return self.code == 404

    @property
    def conflict(self) -> bool:
        """The object has changed since it was read (not: it exists already)."""
        return self.code == 409 and self.reason != "AlreadyExists"

    @property
    def already_exists(self) -> bool:
        return self.code == 409 and self.reason == "AlreadyExists"

    @property
    def namespace_terminating(self) -> bool:
        """Nothing can be made in that namespace any more: trying again is in vain."""
        causes = self.details.get("causes") or ()
        return self.code == 403 and any(cause.get("reason") == "NamespaceTerminating" for cause in causes)

    @property
    def gone(self) -> bool:
        """The resourceVersion or continue token is too old: list anew."""
        return self.code == 410 or self.reason in ("Expired", "Gone")


def from_status(code: int, status: Any, text: str = "") -> ApiError:
    """The error in an answer's body: a Status object as JSON, or `text` when it is none."""
    if isinstance(status, dict) and status.get("kind") == "Status":
        return ApiError(
            int(status.get("code") or code),
            str(status.get("reason") or ""),
            str(status.get("message") or ""),
            status.get("details") or {},
        )
    return ApiError(code, "", text.strip()[:500])
