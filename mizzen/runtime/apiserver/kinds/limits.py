"""Which LimitRanges and ResourceQuotas are refused."""

from __future__ import annotations

from ..errors import Problem
from .base import Object


def validate_limit_range(obj: Object) -> list[Problem]:
    return []


def validate_quota(obj: Object) -> list[Problem]:
    return []
