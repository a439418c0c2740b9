"""Adding, inserting, replacing and removing in a list of named things: the part that all filter patches share.

Takes a list, gives a new one; the things themselves are left alone. Not here: which of them a patch means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def placed(items: list[T], operation: str, value: T, means: Callable[[T], bool] | None) -> list[T]:
    """The list with a value put in by ADD, INSERT_FIRST, INSERT_BEFORE, INSERT_AFTER or REPLACE.

    means: whether an item is the one that the patch names; None = it names none, and before/after is the start/end. When the
    named one is not there, the list stays as it is.
    """
    if operation == "ADD":
        return [*items, value]
    if operation == "INSERT_FIRST":
        return [value, *items]
    if means is None:
        if operation == "INSERT_BEFORE":
            return [value, *items]
        return [*items, value] if operation == "INSERT_AFTER" else items
    at = next((index for index, item in enumerate(items) if means(item)), None)
    if at is None:
        return items
    if operation == "INSERT_BEFORE":
        return [*items[:at], value, *items[at:]]
    if operation == "INSERT_AFTER":
        return [*items[: at + 1], value, *items[at + 1 :]]
    if operation == "REPLACE":
        return [*items[:at], value, *items[at + 1 :]]
    return items
