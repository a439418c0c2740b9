"""The status of Istio's kinds as JSON, and how a new one follows an old one.

Pure. A condition's lastTransitionTime moves only when its status does; a status that says nothing new is no reason to
write. Conditions and fields that are not ours stay. Not here: when to write (reporter.py), the Gateway API's statuses.
Source: istio.meta.v1alpha1.IstioStatus, istio.analysis.v1alpha1.AnalysisMessageBase.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mizzen.istiod.analysis.messages import DOCUMENTATION, MessageType
from mizzen.istiod.status.distribution import Progress

Status = Mapping[str, Any]
RECONCILED, REFUSED, ACCEPTED = "Reconciled", "RefusedByProxies", "Accepted"
OURS = frozenset({RECONCILED, REFUSED, ACCEPTED})
TIMES = frozenset({"lastProbeTime", "lastTransitionTime"})
MAX_NAMED = 3


def istio_status(
    current: Status,
    generation: int,
    progress: Progress | None,
    messages: Iterable[MessageType] | None,
    stamp: str,
    errors: Sequence[str] = (),
) -> dict[str, Any]:
    """The status that an object should have. progress, messages: None leaves what is there. stamp: RFC 3339, now.

    errors: why this state of the object is not in force.
    """
    out = dict(current)
    if progress is not None:
        conditions = [_reconciled(progress, generation), *_refused(progress, generation), *_invalid(errors, generation)]
        out["conditions"] = merged(current.get("conditions") or (), conditions, OURS, stamp)
        out["observedGeneration"] = generation
    if messages is not None:
        out["validationMessages"] = [_message(one) for one in messages]
        if not out["validationMessages"]:
            del out["validationMessages"]
    return out


def _reconciled(progress: Progress, generation: int) -> dict[str, Any]:
    return {
        "type": RECONCILED,
        "status": "True" if progress.done else "False",
        "message": f"{progress.acked}/{progress.total} proxies up to date.",
        "observedGeneration": generation,
    }


def _refused(progress: Progress, generation: int) -> list[dict[str, Any]]:
    """One condition while any proxy refuses what the object makes."""
    refusals = progress.refusals
    if not refusals:
        return []
    names = [refusal.proxy for refusal in refusals[:MAX_NAMED]]
    names += [f"{len(refusals) - MAX_NAMED} more"] if len(refusals) > MAX_NAMED else []
    message = f"Refused by {', '.join(names)}: {refusals[0].error}"
    return [
        {
            "type": REFUSED,
            "status": "True",
            "reason": refusals[0].type,
            "message": message,
            "observedGeneration": generation,
        }
    ]


def _invalid(errors: Sequence[str], generation: int) -> list[dict[str, Any]]:
    """One condition while the control plane does not take the object."""
    if not errors:
        return []
    return [
        {
            "type": ACCEPTED,
            "status": "False",
            "reason": "Invalid",
            "message": "; ".join(errors),
            "observedGeneration": generation,
        }
    ]


def _message(type_: MessageType) -> dict[str, Any]:
    return {
        "type": {"name": type_.name, "code": type_.code},
        "level": type_.level.upper(),
        "documentationUrl": f"{DOCUMENTATION}/{type_.code.lower()}/?ref=status-controller",
    }


def merged(
    current: Sequence[Mapping[str, Any]], wanted: Iterable[Mapping[str, Any]], ours: frozenset[str] | None, stamp: str
) -> list[dict[str, Any]]:
    """Conditions after the wanted ones have been put in their place.

    ours: types that are dropped when they are not wanted; None = every type.
    """
    by_type = {one["type"]: dict(one) for one in wanted}
    out = []
    for old in current:
        new = by_type.pop(str(old.get("type")), None)
        if new is not None:
            out.append(_following(old, new, stamp))
        elif ours is not None and old.get("type") not in ours:
            out.append(dict(old))
    return [*out, *({**one, "lastTransitionTime": stamp} for one in by_type.values())]


def _following(old: Mapping[str, Any], new: dict[str, Any], stamp: str) -> dict[str, Any]:
    since = old.get("lastTransitionTime") if old.get("status") == new["status"] else None
    return {**new, "lastTransitionTime": since or stamp}


def same(one: Any, other: Any) -> bool:
    """Whether two statuses say the same, whenever they said it."""
    return bool(_timeless(one) == _timeless(other))


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _number(_timeless(v)) for k, v in value.items() if k not in TIMES and v not in (None, "", [], {})}
    if isinstance(value, list | tuple):
        return [_timeless(one) for one in value]
    return value


def _number(value: Any) -> Any:
    """observedGeneration is written as a number or as text."""
    return int(value) if isinstance(value, str) and value.isdigit() else value
