"""ControllerRevisions: the history of a DaemonSet's or StatefulSet's template. Pure, but for `RevisionKeeper`.

Source: apps/v1 ControllerRevision; the label controller-revision-hash.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mizzen.kube.errors import ApiError
from mizzen.kube.resource import Resource
from mizzen.runtime.controllers.hashes import stable_hash
from mizzen.runtime.controllers.owners import is_controlled_by, reference_to
from mizzen.runtime.controllers.writes import Writer

Object = dict[str, Any]
CONTROLLER_REVISIONS = Resource("apps", "v1", "controllerrevisions", True, "ControllerRevision")
HASH = "controller-revision-hash"


class History(NamedTuple):
    """The revision of the present template, and all others of the owner, oldest first."""

    current: Object
    others: list[Object]


def data_of(owner: Object) -> Object:
    """What a revision remembers: the template, as a patch that would bring it back."""
    return {"spec": {"template": {**owner["spec"]["template"], "$patch": "replace"}}}


def new_revision(owner: Object, kind: str, number: int) -> Object:
    """The ControllerRevision of the owner's present template."""
    metadata, spec = owner["metadata"], owner["spec"]
    data = data_of(owner)
    name_hash = stable_hash(data, owner.get("status", {}).get("collisionCount") or 0)
    labels = dict((spec["template"].get("metadata") or {}).get("labels") or {})
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{metadata['name']}-{name_hash}",
            "namespace": metadata["namespace"],
            "labels": {**labels, HASH: name_hash if kind == "DaemonSet" else f"{metadata['name']}-{name_hash}"},
            "ownerReferences": [reference_to(owner, "apps/v1", kind)],
        },
        "data": data,
        "revision": number,
    }


class RevisionKeeper:
    """Keeps the history of one kind of owner."""

    def __init__(self, writer: Writer, kind: str) -> None:
        self._writer, self._kind = writer, kind

    def of(self, owner: Object) -> list[Object]:
        every = self._writer.in_namespace(CONTROLLER_REVISIONS, owner["metadata"]["namespace"])
        return sorted(
            (r for r in every if is_controlled_by(r, owner)), key=lambda r: (r["revision"], r["metadata"]["name"])
        )

    async def sync(self, owner: Object) -> History:
        """Makes the present template's revision the newest: an equal older one is moved up, a missing one made."""
        known, data = self.of(owner), data_of(owner)
        newest = known[-1]["revision"] if known else 0
        equal = next((r for r in reversed(known) if r["data"] == data), None)
        if equal is None:
            try:
                current = await self._writer.create(CONTROLLER_REVISIONS, new_revision(owner, self._kind, newest + 1))
            except ApiError as error:
                if not error.already_exists:
                    raise
                name = new_revision(owner, self._kind, newest + 1)["metadata"]["name"]
                current = await self._writer.client.get(CONTROLLER_REVISIONS, name, owner["metadata"]["namespace"])
            return History(current, known)
        if equal["revision"] != newest:
            equal = await self._writer.update(CONTROLLER_REVISIONS, {**equal, "revision": newest + 1})
        return History(equal, [r for r in known if r["metadata"]["uid"] != equal["metadata"]["uid"]])

    async def truncate(self, owner: Object, history: History, live: set[str]) -> None:
        """Deletes the oldest revisions beyond revisionHistoryLimit that no pod is of. live: hashes or names in use."""
        limit = owner["spec"].get("revisionHistoryLimit", 10)
        idle = [
            r
            for r in history.others
            if r["metadata"]["name"] not in live and r["metadata"]["labels"].get(HASH) not in live
        ]
        for revision in idle[: max(0, len(idle) - limit)]:
            await self._writer.delete(CONTROLLER_REVISIONS, revision)
