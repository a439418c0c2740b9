"""The life of CustomResourceDefinitions: defaults, status, which resources they bring, cleaning up when they go.

`Definition` is the kind's strategy; `Definitions` follows the collection, keeps the registry in step and writes status.
Source: apiextensions-apiserver's naming, establishing and finalizing controllers.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from ...store.base import Conflict
from ..cache import Event, Item
from ..context import Ask
from ..errors import Problem
from ..kinds.base import WithStatus
from ..resources import CRUD, READ_WRITE, Resource, Sub
from ..schema.scalars import now
from .checks import check_change, check_definition
from .custom import CustomVersion, selector_fields

if TYPE_CHECKING:
    from ..parts import Parts

log = logging.getLogger(__name__)
Object = dict[str, Any]
FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")


class Definition(WithStatus):
    def default(self, obj: Object) -> None:
        spec = obj.get("spec") or {}
        names = spec.get("names") or {}
        kind = names.get("kind", "")
        if kind:
            names.setdefault("singular", kind.lower())
            names.setdefault("listKind", f"{kind}List")
        if spec.get("conversion") is None:
            spec["conversion"] = {"strategy": "None"}
        reference = ((spec["conversion"].get("webhook") or {}).get("clientConfig") or {}).get("service")
        if reference is not None and reference.get("port") is None:
            reference["port"] = 443

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        stored = [one["name"] for one in obj["spec"].get("versions") or () if one.get("storage")]
        obj["status"] = {
            "conditions": None,
            "acceptedNames": {"plural": "", "kind": ""},
            "storedVersions": stored[:1] or None,
        }
        if len(stored) > 1 or not stored:
            obj["status"]["storedVersions"] = stored[:1] if len(stored) > 1 else None

    def prepare_update(self, ask: Ask, new: Object, old: Object) -> None:
        super().prepare_update(ask, new, old)
        status = dict(new.get("status") or {})
        stored = list(status.get("storedVersions") or ())
        for one in new["spec"].get("versions") or ():
            if one.get("storage") and one["name"] not in stored:
                stored.append(one["name"])
        new["status"] = {**status, "storedVersions": stored}

    def validate(self, obj: Object) -> list[Problem]:
        return check_definition(obj)

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        return check_change(new, old)


def version_order(name: str) -> tuple[Any, ...]:
    """The order of versions in discovery: v2 before v1, v1 before v1beta2, those before others by name."""
    import re

    found = re.match(r"^v(\d+)(?:(alpha|beta)(\d+))?\Z", name)
    if not found:
        return (1, name)
    rank = {None: 0, "beta": 1, "alpha": 2}[found[2]]
    return (0, rank, -int(found[1]), -int(found[3] or 0))


class Definitions:
    """Keeps the registry in step with the definitions there are."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._served: dict[str, list[Resource]] = {}
        self._digests: dict[str, bytes] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._collection = parts.registry.get("customresourcedefinitions", "apiextensions.k8s.io").collection

    def start(self) -> None:
        for item in self._collection.items.values():
            self._took(item)
        self._collection.watchers.add(self._event)

    def _event(self, event: Event) -> None:
        if event.after is None:
            assert event.before is not None
            self._withdraw(event.before.key)
            return
        self._took(event.after)

    def _took(self, item: Item) -> None:
        definition = item.object()
        if not (definition.get("status") or {}).get("conditions"):
            self._spawn(self._establish(item.key))
            return
        self._serve(item.key, definition)
        if definition["metadata"].get("deletionTimestamp"):
            self._spawn(self._finalize(item.key))

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work, name="custom resource definition")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # serving

    def _serve(self, key: str, definition: Object) -> None:
        if not _condition(definition, "Established"):
            self._withdraw(key)
            return
        mark = msgspec.json.encode([definition["spec"], bool(definition["metadata"].get("deletionTimestamp"))])
        if self._digests.get(key) == mark:
            return
        self._digests[key] = mark
        before = {(one.group, one.version, one.plural): one for one in self._served.get(key, [])}
        made = self._resources(definition)
        for gone in set(before) - {(one.group, one.version, one.plural) for one in made}:
            self._parts.registry.remove(*gone)
        for resource in made:
            self._parts.registry.add(resource)
        self._served[key] = made
        self._parts.registry.order(made[0].group if made else definition["spec"]["group"], version_order)

    def _resources(self, definition: Object) -> list[Resource]:
        spec, names = (
            definition["spec"],
            (definition.get("status") or {}).get("acceptedNames") or definition["spec"]["names"],
        )
        versions = {one["name"]: CustomVersion(definition, one) for one in spec["versions"]}
        fields = selector_fields(versions.values())
        stored = next((one["name"] for one in spec["versions"] if one.get("storage")), "")
        made = []
        for one in spec["versions"]:
            if not one.get("served"):
                continue
            custom = versions[one["name"]]
            custom.terminating = bool(definition["metadata"].get("deletionTimestamp"))
            subs: dict[str, Sub] = {}
            if custom.has_status:
                subs["status"] = Sub(custom.kind, READ_WRITE)
            if custom.scale_paths is not None:
                subs["scale"] = Sub("Scale", READ_WRITE, "autoscaling", "v1")
            resource = Resource(
                spec["group"], one["name"], names["plural"], custom.kind, spec["scope"] == "Namespaced", tuple(names.get("shortNames") or ()),
                tuple(names.get("categories") or ()), subs, VERBS, names.get("singular", ""),
            )  # fmt: skip
            resource.custom, resource.deprecation = custom, custom.deprecation
            resource.storage_version = "" if one["name"] == stored else stored
            resource.fields = fields
            made.append(resource)
        return made

    def _withdraw(self, key: str) -> None:
        for resource in self._served.pop(key, []):
            self._parts.registry.remove(resource.group, resource.version, resource.plural)
            collection = resource.collection
            collection.ended.set()
            collection.ended = asyncio.Event()
        self._digests.pop(key, None)

    # status

    async def _write(self, key: str, change: Any) -> None:
        """Changes a definition in the store; does nothing when it went meanwhile."""
        prefix = self._collection.prefix
        for _ in range(10):
            item = self._collection.items.get(key)
            if item is None:
                return
            tree = item.object()
            tree["metadata"].pop("resourceVersion")
            if not change(tree):
                return
            try:
                await self._parts.store.write(prefix + key, msgspec.json.encode(tree), item.revision)
                return
            except Conflict:
                await asyncio.sleep(0.005)

    async def _establish(self, key: str) -> None:
        def change(tree: Object) -> bool:
            if (tree.get("status") or {}).get("conditions"):
                return False
            problem = self._name_taken(key, tree)
            status = tree["status"]
            accepted = not problem
            conditions = [
                _made(
                    "NamesAccepted",
                    accepted,
                    *(problem or ("NoConflicts", "no conflicts found")),
                )
            ]
            if accepted:
                status["acceptedNames"] = dict(tree["spec"]["names"])
                conditions.append(
                    _made("Established", True, "InitialNamesAccepted", "the initial names have been accepted")
                )
            else:
                conditions.append(_made("Established", False, "NotAccepted", "not all names are accepted"))
            status["conditions"] = conditions
            tree["metadata"].setdefault("finalizers", [])
            finalizers = tree["metadata"]["finalizers"]
            if FINALIZER not in finalizers:
                finalizers.append(FINALIZER)
            return True

        await self._write(key, change)

    def _name_taken(self, key: str, tree: Object) -> tuple[str, str] | tuple[()]:
        names, group = tree["spec"]["names"], tree["spec"]["group"]
        for item in self._collection.items.values():
            other = item.shared
            if item.key == key or other["spec"]["group"] != group:
                continue
            theirs = (other.get("status") or {}).get("acceptedNames") or {}
            taken = {theirs.get("plural"), theirs.get("singular"), *(theirs.get("shortNames") or ())}
            for name, reason in (("plural", "PluralConflict"), ("singular", "SingularConflict")):
                if names.get(name) in taken:
                    return reason, f'"{names[name]}" is already in use'
            if names.get("kind") in (theirs.get("kind"), theirs.get("listKind")):
                return "KindConflict", f'"{names["kind"]}" is already in use'
            if names.get("listKind") in (theirs.get("kind"), theirs.get("listKind")):
                return "ListKindConflict", f'"{names["listKind"]}" is already in use'
        return ()

    # the end

    async def _finalize(self, key: str) -> None:
        """Deletes what the definition brought, waits until it is gone, lets the definition go."""
        resources = self._served.get(key) or []
        if resources:
            await self._delete_all(resources[0])
            while resources[0].collection.items and key in self._collection.items:
                await asyncio.sleep(0.05)

        def change(tree: Object) -> bool:
            finalizers = tree["metadata"].get("finalizers") or []
            if FINALIZER not in finalizers:
                return False
            tree["metadata"]["finalizers"] = [one for one in finalizers if one != FINALIZER]
            return True

        item = self._collection.items.get(key)
        if item is None:
            return
        others = [one for one in item.shared["metadata"].get("finalizers") or () if one != FINALIZER]
        if others:
            await self._write(key, change)
        else:
            try:
                await self._parts.store.write(self._collection.prefix + key, None, item.revision)
            except Conflict:
                self._spawn(self._finalize(key))

    async def _delete_all(self, resource: Resource) -> None:
        from ..deleting import begin

        for item in list(resource.collection.items.values()):
            tree = item.object()
            tree["metadata"].pop("resourceVersion")
            changed, gone = begin(resource, tree, {})
            try:
                if gone:
                    await self._parts.store.write(resource.prefix + item.key, None, item.revision)
                elif changed:
                    await self._parts.store.write(resource.prefix + item.key, msgspec.json.encode(tree), item.revision)
            except Conflict:
                continue


def _made(kind: str, true: bool, reason: str, message: str) -> Object:
    return {
        "type": kind,
        "status": "True" if true else "False",
        "lastTransitionTime": now(),
        "reason": reason,
        "message": message,
    }


def _condition(tree: Object, kind: str) -> bool:
    return any(
        one["type"] == kind and one["status"] == "True" for one in (tree.get("status") or {}).get("conditions") or ()
    )


__all__ = ["CRUD", "Definition", "Definitions"]
