"""Which pod specs are refused. Shared by pods and the templates of workloads."""

from __future__ import annotations

from ..errors import Problem
from .base import Object


def validate_spec(spec: Object, path: str, meta: Object, *, pod: bool = False, update: bool = False) -> list[Problem]:
    return []


def validate_template(template: Object, path: str) -> list[Problem]:
    return []


def taints(given: list[Object], path: str) -> list[Problem]:
    return []


def quantity_problems(path: str, name: str, value: str) -> list[Problem]:
    return []
