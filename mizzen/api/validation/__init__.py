"""Validation: refuses what the CRDs' schemas and Istio's admission refuse, accepts what they accept.

Takes JSON objects, gives errors (and warnings) with the path of the field. In the order in which a create request meets
them: metadata and schema ("schema"), then Istio's admission ("semantic"), which is only asked about what passed the first.
Not here: lines (manifest.Document), kinds that are not Istio's beyond their types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mizzen.api.errors import Invalid
from mizzen.api.kinds import Kind, decode_as, kind_of
from mizzen.api.shapes import shape
from mizzen.api.validation.metadata import istio_annotations, metadata
from mizzen.api.validation.report import Report
from mizzen.api.validation.semantic import CHECKS


def validate(obj: Mapping[str, Any]) -> list[Invalid]:
    """Everything that keeps an object from being accepted; empty when nothing does."""
    return inspect(obj).errors


def inspect(obj: Mapping[str, Any]) -> Report:
    """The errors and warnings of an object."""
    report = Report()
    try:
        kind = kind_of(obj)
    except Invalid as error:
        report.errors.append(error)
        return report
    report.errors += schema_errors(kind, obj)
    check = CHECKS.get((kind.group, kind.kind))
    if report.errors or check is None:
        return report
    report.errors += istio_annotations(obj, dry_run=kind.kind == "AuthorizationPolicy")
    try:
        typed = decode_as(kind.type, obj, trusted=True)
    except Invalid as error:
        report.errors.append(error)
        return report
    check(typed, report)
    return report


def schema_errors(kind: Kind, obj: Mapping[str, Any]) -> list[Invalid]:
    """What a kube-apiserver with the kind's schema refuses."""
    errors = {error.path: error for error in metadata(obj, namespaced=kind.namespaced)}
    for error in shape(kind.type).check(obj, ""):
        errors.setdefault(error.path, error)
    return list(errors.values())
