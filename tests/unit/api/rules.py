"""Help for tables of validation rules: an object from its kind and the YAML of its spec."""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml

from mizzen.api.kinds import ISTIO_KINDS
from mizzen.api.validation import inspect
from mizzen.api.validation.report import Report

KINDS = {kind.kind: kind for kind in ISTIO_KINDS}


class Rule(NamedTuple):
    """One row: where the error is expected, None when the object is accepted."""

    kind: str
    spec: str
    path: str | None = None


def made(kind: str, spec: str, **meta: Any) -> dict[str, Any]:
    """An object of a kind of Istio in its storage version."""
    metadata = {"name": "one", "namespace": "shop", **meta}
    return {
        "apiVersion": KINDS[kind].api_version,
        "kind": kind,
        "metadata": metadata,
        "spec": yaml.safe_load(spec),
    }


def report(kind: str, spec: str, **meta: Any) -> Report:
    """What validation says of it."""
    return inspect(made(kind, spec, **meta))


def holds(rule: Rule) -> None:
    """Asserts a row."""
    errors = report(rule.kind, rule.spec).errors
    said = [f"{error.path}: {error.reason}" for error in errors]
    if rule.path is None:
        assert not said
    else:
        assert any(error.path.startswith(rule.path) for error in errors), said or "accepted"


def rows(kind: str, table: str) -> list[Rule]:
    """Rules from lines `SPEC` (accepted) and `SPEC -> PATH` (refused there)."""
    found = []
    for line in table.strip().splitlines():
        spec, _, path = (part.strip() for part in line.partition(" -> "))
        if spec and not spec.startswith("#"):
            found.append(Rule(kind, spec, path or None))
    return found
