"""The kinds' own rules; `STRATEGIES` is the one list, by plural and group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Strategy

if TYPE_CHECKING:
    from ..resources import Resource

PLAIN = Strategy()


def strategies() -> dict[str, Strategy]:
    from . import table

    return table.STRATEGIES


_table: dict[str, Strategy] | None = None


def strategy_of(resource: Resource) -> Strategy:
    """The strategy of a resource; for custom resources their definition makes it."""
    global _table
    if resource.custom is not None:
        found: Strategy = resource.custom.strategy
        return found
    if _table is None:
        _table = strategies()
    return _table.get(resource.storage_name or resource.qualified, PLAIN)  # one strategy for all versions
