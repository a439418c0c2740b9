"""IST0106, IST0130, IST0131, IST0133: what Istio's schemas and admission refuse or warn of."""

from __future__ import annotations

from mizzen.api.validation import inspect
from mizzen.api.validation.metadata import ADMITTED
from mizzen.istiod.analysis.model import Mesh, Resource

TOPICS = {"unreachable": "IST0130", "ineffective": "IST0131"}


def schema(mesh: Mesh) -> None:
    """Validates every object of Istio's kinds."""
    for resource in mesh.every():
        if resource.group.endswith(".istio.io"):
            _validate(mesh, resource)


def _validate(mesh: Mesh, resource: Resource) -> None:
    """Labels and annotations have checks of their own, but for annotations that the admission refuses."""
    refused = {key: value for key, value in resource.annotations.items() if key in ADMITTED}
    meta = {"name": resource.name, "namespace": resource.namespace, "annotations": refused}
    report = inspect({**resource.object, "metadata": meta})
    for problem in resource.document.problems:
        mesh.report(resource, "IST0106", f"{problem.path}: {problem.reason}")
    for error in report.errors:
        mesh.report(resource, "IST0106", f"{error.path}: {error.reason}" if error.path else error.reason)
    for warned in report.warnings:
        if warned.topic in TOPICS:
            mesh.report(resource, TOPICS[warned.topic], *warned.details)
        else:
            mesh.report(resource, "IST0133", f"{warned.path}: {warned.reason}")
