"""The garbage collector: dependents go with their owners, in the foreground, the background, or not at all.

Keeps one graph over all resources of the server: who owns whom, by uid. Takes changes (`changed`, `gone`), gives what to do
for one node of it (`judge`): pure. GarbageController does it. Source: metav1.OwnerReference, DeleteOptions.propagationPolicy,
the finalizers "foregroundDeletion" and "orphan".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from mizzen.kube.resource import Resource

Object = dict[str, Any]
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
Propagation = Literal["", "Background", "Foreground", "Orphan"]


@dataclass(slots=True)
class Node:
    """One object as the collector sees it."""

    uid: str
    resource: Resource
    namespace: str
    name: str
    owners: tuple[Object, ...] = ()
    finalizers: tuple[str, ...] = ()
    deleting: bool = False
    dependents: set[str] = field(default_factory=set)

    @property
    def foreground(self) -> bool:
        """Waits for its dependents to go first."""
        return self.deleting and FOREGROUND in self.finalizers


class Verdict(NamedTuple):
    """What to do for a node. drop: owner uids to take out of its references."""

    delete: Propagation = ""  # "" keeps it
    drop: tuple[str, ...] = ()
    orphan_dependents: bool = False
    release: bool = False  # take the foreground finalizer away


class Graph:
    """Owners and dependents. `absent` are uids known not to exist (asked the server, or seen deleted)."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.waiting: dict[str, set[str]] = {}  # owner uid not seen yet → dependents
        self.absent: set[str] = set()

    def changed(self, resource: Resource, obj: Object) -> set[str]:
        """Takes an object's newest state; the uids to judge because of it."""
        metadata = obj["metadata"]
        uid = metadata["uid"]
        node = self.nodes.get(uid)
        if node is None:
            node = Node(uid, resource, metadata.get("namespace") or "", metadata["name"])
            node.dependents = self.waiting.pop(uid, set())
            self.nodes[uid] = node
            self.absent.discard(uid)
        owners = tuple(metadata.get("ownerReferences") or ())
        self._relink(node, owners)
        was_foreground = node.foreground
        node.finalizers = tuple(metadata.get("finalizers") or ())
        node.deleting = "deletionTimestamp" in metadata
        again = {uid} if owners or node.deleting else set()
        if node.foreground and not was_foreground:
            again |= node.dependents
        if node.deleting:
            again |= {o["uid"] for o in owners if o["uid"] in self.nodes and self.nodes[o["uid"]].foreground}
        return again

    def gone(self, uid: str) -> set[str]:
        """An object has been deleted; the uids to judge because of it."""
        node = self.nodes.pop(uid, None)
        self.absent.add(uid)
        if node is None:
            return set(self.waiting.get(uid, ()))
        owners = {o["uid"] for o in node.owners if o["uid"] in self.nodes}
        self._relink(node, ())
        if node.dependents:
            self.waiting[uid] = node.dependents
        return set(node.dependents) | owners

    def _relink(self, node: Node, owners: tuple[Object, ...]) -> None:
        before, after = {o["uid"] for o in node.owners}, {o["uid"] for o in owners}
        for uid in before - after:
            holder = self.nodes[uid].dependents if uid in self.nodes else self.waiting.get(uid, set())
            holder.discard(node.uid)
            if uid not in self.nodes and not holder:
                self.waiting.pop(uid, None)
        for uid in after - before:
            holder = self.nodes[uid].dependents if uid in self.nodes else self.waiting.setdefault(uid, set())
            holder.add(node.uid)
        node.owners = owners

    def unknown_owners(self, uid: str) -> list[Object]:
        """Owner references of a node whose objects have neither been seen nor been found missing."""
        node = self.nodes.get(uid)
        return [o for o in node.owners if o["uid"] not in self.nodes and o["uid"] not in self.absent] if node else []

    def judge(self, uid: str) -> Verdict:
        """What to do for a node now. Its unknown owners count as there."""
        node = self.nodes.get(uid)
        if node is None:
            return Verdict()
        if node.deleting:
            if ORPHAN in node.finalizers:
                return Verdict(orphan_dependents=True)
            if node.foreground and not any(self._blocks(node, d) for d in node.dependents):
                return Verdict(release=True)
            return Verdict()
        if not node.owners:
            return Verdict()
        dangling = tuple(o["uid"] for o in node.owners if o["uid"] in self.absent)
        waiting = tuple(o["uid"] for o in node.owners if o["uid"] in self.nodes and self.nodes[o["uid"]].foreground)
        if len(dangling) + len(waiting) < len(node.owners):
            return Verdict(drop=dangling + waiting) if dangling or waiting else Verdict()
        if waiting and node.dependents:
            return Verdict(delete="Foreground")
        return Verdict(delete=_own_policy(node))

    def _blocks(self, owner: Node, dependent: str) -> bool:
        node = self.nodes.get(dependent)
        return node is not None and any(o["uid"] == owner.uid and o.get("blockOwnerDeletion") for o in node.owners)


def _own_policy(node: Node) -> Propagation:
    if ORPHAN in node.finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in node.finalizers else "Background"


def kept_references(obj: Object, dropped: Iterable[str]) -> list[Object]:
    """The object's owner references without the dropped ones."""
    gone = set(dropped)
    return [o for o in obj["metadata"].get("ownerReferences") or () if o["uid"] not in gone]
