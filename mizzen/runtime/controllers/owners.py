"""Owner references: who controls an object, who may adopt it, who lets it go.

Source: metav1.OwnerReference; the claim rules of Kubernetes' controllers (adopt matching orphans, release what no longer matches).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

Object = dict[str, Any]


def controller_of(obj: Object) -> Object | None:
    """The owner reference with controller: true, or None."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return reference  # type: ignore[no-any-return]
    return None


def is_controlled_by(obj: Object, owner: Object) -> bool:
    """The object's controller is this very owner (by uid)."""
    reference = controller_of(obj)
    return reference is not None and reference["uid"] == owner["metadata"]["uid"]


def reference_to(owner: Object, api_version: str, kind: str) -> Object:
    """A controller reference that blocks the owner's foreground deletion."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


class Claims(NamedTuple):
    """What an owner does with the objects that it sees: keep, take over, let go."""

    owned: list[Object]
    adopt: list[Object]
    release: list[Object]


def claim(owner: Object, candidates: Iterable[Object], matches: Callable[[Mapping[str, str]], bool]) -> Claims:
    """Sorts candidates of the owner's namespace by what the owner should do with them. A deleted owner adopts nothing."""
    claims = Claims([], [], [])
    for candidate in candidates:
        metadata = candidate["metadata"]
        fits = matches(metadata.get("labels") or {})
        reference = controller_of(candidate)
        if reference is not None:
            if reference["uid"] == owner["metadata"]["uid"]:
                (claims.owned if fits else claims.release).append(candidate)
        elif fits and "deletionTimestamp" not in metadata and "deletionTimestamp" not in owner["metadata"]:
            claims.adopt.append(candidate)
    return claims


def adoption(owner: Object, api_version: str, kind: str, adopted: Object) -> Object:
    """The strategic merge patch that makes owner the controller of adopted."""
    return {
        "metadata": {"uid": adopted["metadata"]["uid"], "ownerReferences": [reference_to(owner, api_version, kind)]}
    }


def releasing(owner: Object, released: Object) -> Object:
    """The strategic merge patch that takes owner out of released's owners."""
    return {
        "metadata": {
            "uid": released["metadata"]["uid"],
            "ownerReferences": [{"$patch": "delete", "uid": owner["metadata"]["uid"]}],
        }
    }
