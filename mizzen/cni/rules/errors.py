"""The one error of this room's rule sets."""

from __future__ import annotations


class CaptureError(ValueError):
    """A word about interception that cannot be obeyed.

    Attributes: field (flag, variable or annotation), reason.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason
