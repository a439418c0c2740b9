"""Checks that several kinds share: destinations, exportTo, selectors, references.

Not here: single values (mizzen.api.text).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mizzen.api import text
from mizzen.api.istio.gateway import WorkloadSelector
from mizzen.api.istio.meta import PolicyTargetReference
from mizzen.api.istio.meta import WorkloadSelector as MatchLabels
from mizzen.api.istio.virtual_service import Destination
from mizzen.api.validation.report import Report

TARGETS = frozenset(
    {
        ("", "Service"),
        ("core", "Service"),
        ("networking.istio.io", "ServiceEntry"),
        ("gateway.networking.k8s.io", "Gateway"),
        ("gateway.networking.k8s.io", "GatewayClass"),
    }
)


def destination(value: Destination | None, path: str, report: Report) -> None:
    """A host that is not everything, a subset's name, a port."""
    if value is None:
        return
    if report.need(value.host != "*", f"{path}.host", "* is no destination"):
        report.take(f"{path}.host", text.wildcard_domain(value.host))
    if value.subset:
        report.need(text.label(value.subset), f"{path}.subset", f"{value.subset!r} is not a DNS label")
    if value.port is not None:
        report.take(f"{path}.port.number", text.port(value.port.number))


def source_labels(values: Mapping[str, str], path: str, report: Report) -> None:
    """Labels of workloads."""
    for key, reason in text.labels(dict(values)).items():
        report.error(f"{path}[{key}]", reason)


def export_to(
    values: Iterable[str],
    namespace: str,
    path: str,
    report: Report,
    *,
    to_no_one: bool = False,
    for_chosen: bool = False,
) -> None:
    """Namespaces that see an object: names, "." and "*"; to_no_one: also "~"; for_chosen: its own namespace alone."""
    given = tuple(values)
    seen: list[str] = []
    for at, value in enumerate(given):
        name = namespace if value == "." else value
        here = f"{path}[{at}]"
        if name in seen:
            report.error(here, f"{value!r} stands twice")
        elif name == "~" and not to_no_one:
            report.error(here, "only a ServiceEntry can be exported to no one (~)")
        elif name not in ("*", "~") and not text.label(name):
            report.error(here, f"{value!r} is not a namespace's name")
        else:
            seen.append(name)
    if for_chosen and seen and seen != [namespace]:
        report.error(path, "with a workloadSelector an object cannot be exported beyond its own namespace")
    if "*" in seen and len(given) > 1:
        report.error(path, "* stands for all namespaces; nothing can stand beside it")
    if "~" in seen and len(given) > 1:
        report.error(path, "~ stands for no one; nothing can stand beside it")


def selector(value: MatchLabels | None, path: str, report: Report) -> None:
    """A selector by matchLabels."""
    if value is not None:
        _selector_labels(value.match_labels, f"{path}.matchLabels", report)


def label_selector(value: WorkloadSelector | None, path: str, report: Report) -> None:
    """A selector by labels."""
    if value is not None:
        _selector_labels(value.labels, f"{path}.labels", report)


def _selector_labels(values: Mapping[str, str], path: str, report: Report) -> None:
    for key, value in values.items():
        report.need(key != "", path, "a label's key must not be empty")
        report.need("*" not in key and "*" not in value, f"{path}[{key}]", "there are no wildcards in a selector")
    if not values:
        report.warn(path.rpartition(".")[0], "a selector without labels selects every workload")


def targets(
    select: MatchLabels | None,
    one: PolicyTargetReference | None,
    many: tuple[PolicyTargetReference, ...],
    report: Report,
) -> None:
    """What a policy is for: by selector or by references, and to what references can be."""
    if (select is not None) + (one is not None) + bool(many) > 1:
        report.error("spec", "selector, targetRef and targetRefs exclude each other")
    selector(select, "spec.selector", report)
    references = [("spec.targetRef", one)] if one is not None else []
    references += [(f"spec.targetRefs[{at}]", reference) for at, reference in enumerate(many)]
    for path, reference in references:
        assert reference is not None
        report.need(reference.namespace == "", f"{path}.namespace", "nothing in another namespace can be referred to")
        known = (reference.group, reference.kind) in TARGETS
        report.need(known, path, f"a policy cannot be for a {reference.group or 'core'}/{reference.kind}")


def http_status(value: int) -> str:
    """An HTTP status that a proxy can answer with; 600 passes, as it does in Istio."""
    return "" if 200 <= value <= 600 else f"{value} is not in 200 to 599"
