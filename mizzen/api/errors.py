"""The errors that the project's rooms share; each says whose fault it is.

Not here: how they are shown (each command and server maps them once).
"""

from __future__ import annotations


class MizzenError(Exception):
    """The base of all errors that are meant to be shown to a user."""


class UsageError(MizzenError):
    """Our caller asked for something that cannot be: a bad flag, a missing prerequisite."""


class PeerError(MizzenError):
    """The other side of a connection broke its protocol."""


class Unsupported(MizzenError):
    """A field or feature that is known and not built. `field` names it."""

    def __init__(self, field: str, reason: str = "") -> None:
        super().__init__(f"{field}: not supported" + (f": {reason}" if reason else ""))
        self.field = field
        self.reason = reason


class Invalid(MizzenError):
    """A value in an object that is refused.

    path: field names joined by dots, "[3]" for an item, "[key]" for an entry of a mapping ("spec.http[0].timeout").
    reason: what is wrong and what would be right, without the path.
    by: "schema" (a kube-apiserver refuses it too) or "semantic" (an admission webhook does).
    """

    def __init__(self, path: str, reason: str, by: str = "schema") -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path = path
        self.reason = reason
        self.by = by

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Invalid) and (self.path, self.reason) == (other.path, other.reason)

    def __hash__(self) -> int:
        return hash((self.path, self.reason))
