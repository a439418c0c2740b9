"""What a kind adds to the common life of objects: defaults, preparation, validation; and the rules of metadata.

`Strategy` has the common behaviour; each kind's file overrides what differs. All methods work on trees that are the request's own.
Source: apiserver's registry/rest and kube-apiserver's strategies.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import OMIT, Problem, duplicate, forbidden_field, invalid, required
from ..names import label_value, qualified_name, subdomain

if TYPE_CHECKING:
    from ..context import Ask

Object = dict[str, Any]
NameRule = Callable[[str], list[str]]
FINALIZERS = ("orphan", "foregroundDeletion", "kubernetes")
MAX_ANNOTATION_BYTES = 256 * 1024


def spec_of(obj: Object) -> Any:
    return obj.get("spec")


class Strategy:
    """The life of one kind's objects; defaults to that of a plain kind without status."""

    generations = False  # whether metadata.generation counts changes of the spec
    status = False  # whether there is a status subresource, which alone may change status
    create_on_update = False  # PUT creates what is not there
    unconditional_update = True  # PUT without a resourceVersion overwrites
    name_rule: NameRule = staticmethod(subdomain)
    returns_deleted = False  # whether DELETE answers with the object that went
    graceful = False  # whether deletion waits for a grace period (pods)
    default_propagation = "Background"

    def default(self, obj: Object) -> None:
        """Fills what was left out. Called whenever an object comes from outside."""

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        """Drops what a client may not set, after admission."""

    def prepare_update(self, ask: Ask, new: Object, old: Object) -> None:
        """The same for an update of the main resource."""

    def prepare_status(self, ask: Ask, new: Object, old: Object) -> None:
        """For an update of the status subresource: everything else stays as it was."""
        for key in list(new):
            if key not in ("kind", "apiVersion", "metadata", "status"):
                del new[key]
        for key, value in old.items():
            if key not in ("kind", "apiVersion", "metadata", "status"):
                new[key] = value
        self.keep_metadata(new, old)

    def prepare_part(self, ask: Ask, new: Object, old: Object, part: str) -> None:
        """For an update of another subresource: everything but that part of the object stays as it was."""

    def validate_part(self, new: Object, old: Object, part: str) -> list[Problem]:
        return []

    def keep_metadata(self, new: Object, old: Object) -> None:
        """What a status update leaves alone in the metadata."""
        for key in ("labels", "annotations", "finalizers", "ownerReferences"):
            if key in ("labels", "annotations"):
                continue

    def changed(self, new: Object, old: Object) -> bool:
        """Whether an update counts as a new generation."""
        return bool(spec_of(new) != spec_of(old))

    def validate(self, obj: Object) -> list[Problem]:
        return []

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        return self.validate(new)

    def validate_status(self, new: Object, old: Object) -> list[Problem]:
        return []

    def allocate(self, obj: Object, old: Object | None) -> list[Problem]:
        """Gives what comes from a pool (addresses, ports), last before the store; problems refuse the write."""
        return []

    def warnings(self, obj: Object) -> list[str]:
        return []


class WithStatus(Strategy):
    """A kind with a spec, a status subresource and generations."""

    generations = True
    status = True

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        obj["status"] = {}

    def prepare_update(self, ask: Ask, new: Object, old: Object) -> None:
        if "status" in old:
            new["status"] = old["status"]
        else:
            new.pop("status", None)


# metadata


def validate_metadata(obj: Object, namespaced: bool, name_rule: NameRule) -> list[Problem]:
    """Problems of an object's metadata, names included. Paths begin with "metadata"."""
    meta = obj["metadata"]
    problems: list[Problem] = []
    generate, name = meta.get("generateName", ""), meta.get("name", "")
    if generate:
        stem = generate.rstrip("-") if generate.endswith("-") and len(generate) > 1 else generate
        checked = f"{stem[:-1]}a" if stem.endswith("-") else stem
        problems += [invalid("metadata.generateName", generate, text) for text in name_rule(checked)]
    if not name:
        problems.append(required("metadata.name", "name or generateName is required"))
    else:
        problems += [invalid("metadata.name", name, text) for text in name_rule(name)]
    if namespaced and not meta.get("namespace"):
        problems.append(required("metadata.namespace"))
    elif not namespaced and meta.get("namespace"):
        problems.append(forbidden_field("metadata.namespace", "not allowed on this type"))
    if meta.get("generation", 0) < 0:
        problems.append(invalid("metadata.generation", meta["generation"], "must be greater than or equal to 0"))
    return (
        problems
        + validate_labels(meta.get("labels"), "metadata.labels")
        + _annotations(meta)
        + _owners(meta)
        + _finalizers(meta)
    )


def validate_labels(labels: Object | None, path: str) -> list[Problem]:
    problems = []
    for key, value in (labels or {}).items():
        problems += [invalid(path, key, text) for text in qualified_name(key)]
        problems += [invalid(path, value, text) for text in label_value(value)]
    return problems


def validate_annotations(annotations: Object | None, path: str) -> list[Problem]:
    problems = []
    size = 0
    for key, value in (annotations or {}).items():
        problems += [invalid(path, key, text) for text in qualified_name(key.lower())]
        size += len(key.encode()) + len(value.encode())
    if size > MAX_ANNOTATION_BYTES:
        problems.append(
            Problem(path, "FieldValueTooLong", f"Too long: may not be more than {MAX_ANNOTATION_BYTES} bytes")
        )
    return problems


def _annotations(meta: Object) -> list[Problem]:
    return validate_annotations(meta.get("annotations"), "metadata.annotations")


def _owners(meta: Object) -> list[Problem]:
    problems: list[Problem] = []
    path = "metadata.ownerReferences"
    controllers = 0
    owners = meta.get("ownerReferences") or []
    for place, one in enumerate(owners):
        here = f"{path}[{place}]"
        version = one.get("apiVersion", "")
        if version.count("/") > 1:
            problems.append(invalid(f"{here}.apiVersion", version, f"unexpected GroupVersion string: {version}"))
        elif not version:
            problems.append(invalid(f"{here}.apiVersion", version, "version must not be empty"))
        for key in ("kind", "name", "uid"):
            if not one.get(key):
                problems.append(required(f"{here}.{key}", "must not be empty"))
        if one.get("kind") == "Event" and version in ("v1", "events.k8s.io/v1"):
            problems.append(invalid(here, one, f"{version}, Kind=Event is disallowed from being an owner"))
        controllers += bool(one.get("controller"))
    if controllers > 1:
        names = [one.get("name") for one in owners if one.get("controller")]
        text = f'Only one reference can have Controller set to true. Found "true" in references for {names[0]} and {names[1]}'
        problems.append(invalid(path, owners, text))
    return problems


def _finalizers(meta: Object) -> list[Problem]:
    problems: list[Problem] = []
    finalizers = meta.get("finalizers") or []
    for place, name in enumerate(finalizers):
        path = f"metadata.finalizers[{place}]"
        found = [invalid(path, name, text) for text in qualified_name(name)]
        if not found and "/" not in name and name not in FINALIZERS:
            found.append(invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified"))
        problems += found
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        problems.append(
            invalid("metadata.finalizers", finalizers, "finalizer orphan and foregroundDeletion cannot be both set")
        )
    return problems


def validate_metadata_update(new: Object, old: Object) -> list[Problem]:
    """Problems of what an update does to the metadata."""
    mine, before = new["metadata"], old["metadata"]
    problems: list[Problem] = []
    for key in ("name", "namespace", "uid", "creationTimestamp"):
        if mine.get(key) != before.get(key):
            problems.append(invalid(f"metadata.{key}", mine.get(key, ""), "field is immutable"))
    for key in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        if before.get(key) is not None and mine.get(key) != before.get(key):
            problems.append(invalid(f"metadata.{key}", mine.get(key), "field is immutable"))
    if before.get("deletionTimestamp"):
        fresh = [one for one in mine.get("finalizers") or () if one not in (before.get("finalizers") or ())]
        if fresh:
            listed = ", ".join(f'"{one}"' for one in fresh)
            text = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
            problems.append(forbidden_field("metadata.finalizers", text))
    if mine.get("generation", 0) < before.get("generation", 0):
        problems.append(invalid("metadata.generation", mine.get("generation", 0), "must not be decremented"))
    return (
        problems
        + validate_labels(mine.get("labels"), "metadata.labels")
        + _annotations(mine)
        + _owners(mine)
        + _finalizers_update(mine, before)
    )


def _finalizers_update(mine: Object, before: Object) -> list[Problem]:
    return _finalizers(mine) if mine.get("finalizers") != before.get("finalizers") else []


# small helpers of the kinds' files


def at_least(path: str, value: Any, least: int = 0) -> list[Problem]:
    if value is not None and value < least:
        return [invalid(path, value, f"must be greater than or equal to {least}")]
    return []


def one_of(path: str, value: Any, allowed: tuple[str, ...], needed: bool = False) -> list[Problem]:
    from ..errors import unsupported

    if value in (None, ""):
        return [required(path)] if needed else []
    return [] if value in allowed else [unsupported(path, value, list(allowed))]


def unique(path: str, values: list[Any]) -> list[Problem]:
    seen: list[Any] = []
    problems = []
    for place, value in enumerate(values):
        if value in seen:
            problems.append(duplicate(f"{path}[{place}]", value))
        seen.append(value)
    return problems


def immutable(path: str, new: Any, old: Any) -> list[Problem]:
    return [] if new == old else [invalid(path, new, "field is immutable")]


PERCENT = re.compile(r"^[0-9]+%\Z")

__all__ = [
    "OMIT", "PERCENT", "Object", "Strategy", "WithStatus", "at_least", "immutable", "one_of", "unique", "validate_annotations",
    "validate_labels", "validate_metadata", "validate_metadata_update",
]  # fmt: skip
