"""Conditions as JSON, without their times. Source: metav1.Condition."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mizzen.istiod.gateway_api.gateways import Problem

MAX_MESSAGE = 32768


def condition(type_: str, good: bool, reason: str, message: str, generation: int) -> dict[str, Any]:
    """One condition."""
    return {
        "type": type_,
        "status": "True" if good else "False",
        "reason": reason,
        "message": message[:MAX_MESSAGE],
        "observedGeneration": generation,
    }


def from_problems(
    type_: str, problems: Iterable[Problem], generation: int, reason: str, message: str
) -> dict[str, Any]:
    """A condition that is fulfilled unless a problem shows in it; the first one speaks."""
    for problem in problems:
        if problem.condition == type_:
            return condition(type_, False, problem.reason, problem.message, generation)
    return condition(type_, True, reason, message, generation)


def generation_of(obj: Any) -> int:
    """Which state of an object is spoken of."""
    return obj.metadata.generation or 0
