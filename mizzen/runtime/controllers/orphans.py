"""Which owners an object without a controller might interest: those whose selector takes it."""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.api.labels import from_message
from mizzen.kube.controller import KeysOf
from mizzen.kube.resource import Key, Object, Resource, key_of
from mizzen.runtime.controllers.owners import controller_of
from mizzen.runtime.controllers.writes import Writer


def wakes(owned: KeysOf, writer: Writer, owners: Resource) -> KeysOf:
    """Keys of the controlling owner; of an orphan, keys of all owners in its namespace that select it."""

    def keys(obj: Object) -> Iterable[Key]:
        if controller_of(obj) is not None:
            return owned(obj)
        labels = obj["metadata"].get("labels") or {}
        if not labels:
            return ()
        candidates = writer.in_namespace(owners, obj["metadata"].get("namespace") or "")
        return [key_of(c) for c in candidates if from_message(c["spec"].get("selector"))(labels)]

    return keys
