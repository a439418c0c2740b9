"""What a validation finds: errors and warnings, each with the path of its field.

Not here: the rules.
"""

from __future__ import annotations

from typing import NamedTuple

from mizzen.api.errors import Invalid


class Warned(NamedTuple):
    """Something that is accepted and probably not meant. topic: "" or what an analyzer reports under a code of its own."""

    path: str
    reason: str
    topic: str = ""
    details: tuple[str, ...] = ()


class Report:
    """Collects the findings of one object."""

    def __init__(self, by: str = "semantic") -> None:
        self.by = by
        self.errors: list[Invalid] = []
        self.warnings: list[Warned] = []

    def error(self, path: str, reason: str) -> None:
        """The field at path is refused."""
        self.errors.append(Invalid(path, reason, self.by))

    def need(self, holds: bool, path: str, reason: str) -> bool:
        """Refuses the field at path unless the condition holds; says whether it does."""
        if not holds:
            self.error(path, reason)
        return holds

    def take(self, path: str, reason: str) -> None:
        """Refuses the field at path for a reason, if there is one: for checks that answer "" or what is wrong."""
        if reason:
            self.error(path, reason)

    def warn(self, path: str, reason: str, topic: str = "", *details: str) -> None:
        """The field at path is accepted with a warning."""
        self.warnings.append(Warned(path, reason, topic, details))
