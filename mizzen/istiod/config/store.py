"""All configuration that istiod knows, as typed objects, and what changed since it was last taken.

Sources put JSON objects in (`put`, `remove`); the push loop takes the changes out (`take`). An object that does
not decode or is refused keeps its last good state and is remembered as rejected, so one bad object never harms
another. No I/O. Not here: where objects come from (files.py, kubernetes.py), what they mean (snapshot).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from mizzen.api import kinds
from mizzen.api.errors import Invalid
from mizzen.api.istio.meta import dec_hook
from mizzen.istiod.objects import Change, Key, key_of, kind_of

log = logging.getLogger(__name__)

ObjectKey = tuple[str, Key]
"""(kind as objects.kind_of names it, (namespace, name))."""

ISTIO_GROUPS = frozenset(kind.group for kind in kinds.ISTIO_KINDS)
BUILT_IN_GROUPS = frozenset(kind.group for kind in kinds.KUBERNETES_KINDS)


class Rejected(NamedTuple):
    """An object that was refused: where it came from (FILE:LINE or a resource version) and what is wrong."""

    origin: str
    errors: tuple[Invalid, ...]


class Live(NamedTuple):
    """What an API server holds of an object beside what it asks for: which state of it (`metadata.generation`), its
    status as JSON, and its resourceVersion, "" when it is not known.
    """

    generation: int
    status: Mapping[str, Any]
    version: str = ""


Check = Callable[[Mapping[str, Any]], list[Invalid]]
"""The errors of an Istio object as JSON: mizzen.api.validation.validate."""


def decode(obj: Mapping[str, Any]) -> Any:
    """The typed object. Istio's kinds are read strictly; Kubernetes' own leniently, for a server may be newer
    than we are.

    Raises Invalid.
    """
    kind = kinds.kind_of(obj)
    if kind.group not in BUILT_IN_GROUPS:
        return kinds.decode(obj)
    try:
        return msgspec.convert(obj, kind.type, dec_hook=dec_hook)
    except msgspec.ValidationError:
        return kinds.decode(obj)


class ConfigStore:
    """Objects by kind and key. `changed` is called with the monotonic time and the kind of each change that
    came in.

    `live` is filled by sources that can be written to, and `seen` with the newest resourceVersion of each of their
    kinds; neither is part of the configuration.
    """

    def __init__(self, check: Check | None = None) -> None:
        self.objects: dict[ObjectKey, Any] = {}
        self.rejected: dict[ObjectKey, Rejected] = {}
        self.live: dict[ObjectKey, Live] = {}
        self.seen: dict[str, int] = {}
        self.changed: Callable[[float, str], None] = lambda now, kind: None
        self.observe: Callable[[str, str], None] = lambda kind, event: None
        self._pending: dict[ObjectKey, Change] = {}
        self._first: float | None = None
        self._check = check

    @property
    def idle(self) -> bool:
        """Whether everything that came in has been taken out."""
        return not self._pending

    def put(self, obj: Mapping[str, Any], origin: str = "") -> tuple[Invalid, ...]:
        """Take a JSON object in; the errors that keep it out. Without namespace it is in `default`."""
        try:
            errors = tuple(self._check(obj)) if self._check is not None and _is_istio(obj) else ()
            if errors:
                return self.reject(rough_key(obj), origin, errors)
            typed = decode(obj)
        except Invalid as error:
            return self.reject(rough_key(obj), origin, (error,))
        kind = kind_of(typed)
        key = (kind, key_of(kind, typed))
        self.rejected.pop(key, None)
        self.put_typed(key, typed)
        return ()

    def put_typed(self, key: ObjectKey, typed: Any) -> None:
        """Take a typed object in as it is; nothing happens when it is equal to what is there."""
        old = self.objects.get(key)
        if old is not None and old == typed:
            return
        self.objects[key] = typed
        self.observe(key[0], "add" if old is None else "update")
        self._note(key, old, typed)

    def remove(self, key: ObjectKey) -> None:
        self.rejected.pop(key, None)
        self.live.pop(key, None)
        old = self.objects.pop(key, None)
        if old is not None:
            self.observe(key[0], "delete")
            self._note(key, old, None)

    def restore(self, key: ObjectKey, old: Any) -> None:
        """Put an object's former state back, without telling of a change."""
        if old is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = old

    def reject(self, key: ObjectKey, origin: str, errors: tuple[Invalid, ...]) -> tuple[Invalid, ...]:
        """Remember and log that the object was refused; its last good state, if any, stays."""
        kept = "; its last good state stays in force" if key in self.objects else ""
        if self.rejected.get(key) != Rejected(origin, errors):
            for error in errors:
                log.error("%s: %s %s: %s%s", origin or "config", key[0], "/".join(filter(None, key[1])), error, kept)
        self.rejected[key] = Rejected(origin, errors)
        return errors

    def take(self) -> tuple[list[Change], float]:
        """What changed since the last call, one change an object, and the monotonic time of the first."""
        changes = [change for change in self._pending.values() if change.obj is not None or change.old is not None]
        started = self._first if self._first is not None else time.monotonic()
        self._pending, self._first = {}, None
        return changes, started

    def _note(self, key: ObjectKey, old: Any, new: Any) -> None:
        now = time.monotonic()
        earlier = self._pending.get(key)
        self._pending[key] = Change(key[0], key[1], new, earlier.old if earlier is not None else old)
        if self._first is None:
            self._first = now
        self.changed(now, key[0])


def rough_key(obj: Mapping[str, Any]) -> ObjectKey:
    """The key of an object that may not be well-formed, as far as it can be told."""
    meta = obj.get("metadata")
    meta = meta if isinstance(meta, Mapping) else {}
    kind = str(obj.get("kind") or "")
    if kind == "Gateway" and str(obj.get("apiVersion") or "").startswith("gateway.networking.k8s.io"):
        kind = "K8sGateway"
    known = next((k for k in kinds.KINDS if k.kind == kind), None)
    namespaced = known is None or known.namespaced
    namespace = str(meta.get("namespace") or "default") if namespaced else ""
    return kind, (namespace, str(meta.get("name") or ""))


def _is_istio(obj: Mapping[str, Any]) -> bool:
    return str(obj.get("apiVersion") or "").partition("/")[0] in ISTIO_GROUPS
