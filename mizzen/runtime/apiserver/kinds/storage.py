"""PersistentVolumes, claims, StorageClasses, CSI drivers, attachments: defaults and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Problem, duplicate, forbidden_field, invalid, required, show, unsupported
from ..names import qualified_name, subdomain
from ..schema.scalars import now, quantity
from .base import Object, Strategy, WithStatus
from .labelrules import validate_selector
from .poddefaults import default_source
from .podrules import node_selector
from .volumerules import SOURCES, source

if TYPE_CHECKING:
    from ..context import Ask

MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
VOLUME_SOURCES = (
    *(
        one
        for one in SOURCES
        if one
        not in (
            "emptyDir",
            "secret",
            "configMap",
            "downwardAPI",
            "projected",
            "ephemeral",
            "image",
            "persistentVolumeClaim",
            "gitRepo",
            "csi",
        )
    ),
    "local",
    "csi",
)
IMMUTABLE = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


def _modes(given: list[str], path: str, detail: str = "") -> list[Problem]:
    if not given:
        return [required(path, detail)]
    problems = [unsupported(path, one, sorted(MODES)) for one in given if one not in MODES]
    if "ReadWriteOncePod" in given and len(given) > 1:
        problems.append(forbidden_field(path, "may not use ReadWriteOncePod with other access modes"))
    return problems


class PersistentVolumeClaim(WithStatus):
    generations = False
    returns_deleted = True

    def default(self, obj: Object) -> None:
        obj["spec"].setdefault("volumeMode", "Filesystem")

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        obj["status"] = {"phase": "Pending"}
        spec = obj["spec"]
        for key in ("dataSource", "dataSourceRef"):
            data = spec.get(key)
            if key == "dataSource" and data is not None and not _known_source(data):
                spec.pop(key)
        if spec.get("dataSource") is not None and spec.get("dataSourceRef") is None:
            spec["dataSourceRef"] = dict(spec["dataSource"])
        elif (
            spec.get("dataSourceRef") is not None
            and spec.get("dataSource") is None
            and not spec["dataSourceRef"].get("namespace")
        ):
            spec["dataSource"] = dict(spec["dataSourceRef"])

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        problems = _modes(spec.get("accessModes") or [], "spec.accessModes", "at least 1 access mode is required")
        problems += validate_selector(spec.get("selector"), "spec.selector")
        asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
        if asked is None:
            problems.append(required("spec.resources[storage]"))
        elif quantity(asked) <= 0:
            problems.append(invalid("spec.resources[storage]", asked, "must be greater than zero"))
        if spec.get("storageClassName"):
            problems += [
                invalid("spec.storageClassName", spec["storageClassName"], text)
                for text in subdomain(spec["storageClassName"])
            ]
        if spec.get("volumeMode") not in (None, "Block", "Filesystem"):
            problems.append(unsupported("spec.volumeMode", spec["volumeMode"], ["Block", "Filesystem"]))
        return problems

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        problems = self.validate(new)
        mine, before = dict(new["spec"]), dict(old["spec"])
        bound = (old.get("status") or {}).get("phase") == "Bound"
        for spec in (mine, before):
            if not before.get("volumeName"):
                spec.pop("volumeName", None)
            spec.pop("volumeAttributesClassName", None)
            if bound:
                spec.pop("resources", None)
        if mine != before:
            problems.append(forbidden_field("spec", f"{IMMUTABLE}\n"))
        return problems


def _known_source(data: Object) -> bool:
    return (data.get("kind") == "PersistentVolumeClaim" and not data.get("apiGroup")) or (
        data.get("kind") == "VolumeSnapshot" and data.get("apiGroup") == "snapshot.storage.k8s.io"
    )


class PersistentVolume(WithStatus):
    generations = False
    returns_deleted = True

    def default(self, obj: Object) -> None:
        spec = obj["spec"]
        if not spec.get("persistentVolumeReclaimPolicy"):
            spec["persistentVolumeReclaimPolicy"] = "Retain"
        spec.setdefault("volumeMode", "Filesystem")
        if spec.get("hostPath") is not None:
            spec["hostPath"].setdefault("type", "")
        default_source(spec)

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": now()}

    def prepare_status(self, ask: Ask, new: Object, old: Object) -> None:
        super().prepare_status(ask, new, old)
        status, before = new.get("status") or {}, old.get("status") or {}
        if status.get("phase") != before.get("phase") and status.get("lastPhaseTransitionTime") == before.get(
            "lastPhaseTransitionTime"
        ):
            status["lastPhaseTransitionTime"] = now()

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        problems = _modes(spec.get("accessModes") or [], "spec.accessModes")
        capacity = spec.get("capacity") or {}
        if not capacity:
            problems.append(required("spec.capacity"))
        if "storage" not in capacity or len(capacity) > 1:
            problems.append(unsupported("spec.capacity", capacity, ["storage"]))
        elif quantity(capacity["storage"]) <= 0:
            problems.append(invalid("spec.capacity[storage]", capacity["storage"], "must be greater than zero"))
        policy = spec.get("persistentVolumeReclaimPolicy")
        if policy not in ("Delete", "Recycle", "Retain"):
            problems.append(unsupported("spec.persistentVolumeReclaimPolicy", policy, ["Delete", "Recycle", "Retain"]))
        problems += self._source(spec)
        affinity = (spec.get("nodeAffinity") or {}).get("required")
        if spec.get("nodeAffinity") is not None:
            problems += (
                node_selector(affinity, "spec.nodeAffinity.required")
                if affinity is not None
                else [required("spec.nodeAffinity.required", "must specify required node constraints")]
            )
        if spec.get("storageClassName"):
            problems += [
                invalid("spec.storageClassName", spec["storageClassName"], text)
                for text in subdomain(spec["storageClassName"])
            ]
        if spec.get("volumeMode") not in (None, "Block", "Filesystem"):
            problems.append(unsupported("spec.volumeMode", spec["volumeMode"], ["Block", "Filesystem"]))
        return problems

    def _source(self, spec: Object) -> list[Problem]:
        given = {**spec}
        csi = given.pop("csi", None) if spec.get("csi") is not None else None
        if csi is not None:
            problems = [required(f"spec.csi.{key}") for key in ("driver", "volumeHandle") if not csi.get(key)]
            others = [key for key in VOLUME_SOURCES if key != "csi" and spec.get(key) is not None]
            return problems + [
                forbidden_field("spec.csi", "may not specify more than 1 volume type") for _ in others[:1]
            ]
        problems = source(given, "spec", VOLUME_SOURCES)
        if spec.get("local") is not None:
            if not spec["local"].get("path"):
                problems.append(required("spec.local.path"))
            if spec.get("nodeAffinity") is None:
                problems.append(required("spec.nodeAffinity", "Local volume requires node affinity"))
        return problems

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        problems = self.validate(new)
        mine, before = new["spec"], old["spec"]
        changed = [key for key in VOLUME_SOURCES if mine.get(key) != before.get(key)]
        if changed:
            problems.append(
                forbidden_field(
                    "spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation\n"
                )
            )
        if mine.get("volumeMode") != before.get("volumeMode"):
            problems.append(invalid("spec.volumeMode", mine.get("volumeMode"), "field is immutable"))
        if before.get("nodeAffinity") is not None and mine.get("nodeAffinity") != before.get("nodeAffinity"):
            problems.append(invalid("spec.nodeAffinity", mine.get("nodeAffinity"), "field is immutable"))
        return problems


class StorageClass(Strategy):
    def default(self, obj: Object) -> None:
        if obj.get("reclaimPolicy") is None:
            obj["reclaimPolicy"] = "Delete"
        if obj.get("volumeBindingMode") is None:
            obj["volumeBindingMode"] = "Immediate"

    def validate(self, obj: Object) -> list[Problem]:
        problems: list[Problem] = []
        maker = obj.get("provisioner", "")
        if not maker:
            problems.append(required("provisioner"))
        else:
            problems += [invalid("provisioner", maker.lower(), text) for text in qualified_name(maker.lower())]
        problems += [
            invalid("parameters", key, "field can not be empty.") for key in obj.get("parameters") or {} if not key
        ]
        if obj.get("reclaimPolicy") not in ("Delete", "Retain"):
            problems.append(unsupported("reclaimPolicy", obj.get("reclaimPolicy"), ["Delete", "Retain"]))
        if obj.get("volumeBindingMode") not in ("Immediate", "WaitForFirstConsumer"):
            problems.append(
                unsupported("volumeBindingMode", obj.get("volumeBindingMode"), ["Immediate", "WaitForFirstConsumer"])
            )
        for place, term in enumerate(obj.get("allowedTopologies") or ()):
            for number, one in enumerate(term.get("matchLabelExpressions") or ()):
                path = f"allowedTopologies[{place}].matchLabelExpressions[{number}]"
                problems += [
                    invalid(f"{path}.key", one.get("key", ""), text) for text in qualified_name(one.get("key", ""))
                ]
                if not one.get("values"):
                    problems.append(required(f"{path}.values"))
        return problems

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        problems: list[Problem] = []
        if new.get("parameters") != old.get("parameters"):
            problems.append(forbidden_field("parameters", "updates to parameters are forbidden."))
        if new.get("provisioner") != old.get("provisioner"):
            problems.append(invalid("provisioner", None, "field is immutable"))
        if new.get("reclaimPolicy") != old.get("reclaimPolicy"):
            problems.append(forbidden_field("reclaimPolicy", "updates to reclaimPolicy are forbidden."))
        if new.get("volumeBindingMode") != old.get("volumeBindingMode"):
            problems.append(invalid("volumeBindingMode", new.get("volumeBindingMode"), "field is immutable"))
        return problems


class CSIDriver(Strategy):
    generations = False

    def default(self, obj: Object) -> None:
        spec = obj["spec"]
        for key, value in (
            ("attachRequired", True), ("podInfoOnMount", False), ("storageCapacity", False), ("requiresRepublish", False),
            ("fsGroupPolicy", "ReadWriteOnceWithFSType"), ("seLinuxMount", False), ("preventPodSchedulingIfMissing", False),
        ):  # fmt: skip
            if spec.get(key) is None:
                spec[key] = value
        if not spec.get("volumeLifecycleModes"):
            spec["volumeLifecycleModes"] = ["Persistent"]

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        problems: list[Problem] = []
        policy = spec.get("fsGroupPolicy")
        if policy not in ("File", "None", "ReadWriteOnceWithFSType"):
            problems.append(unsupported("spec.fsGroupPolicy", policy, ["File", "None", "ReadWriteOnceWithFSType"]))
        for one in spec.get("volumeLifecycleModes") or ():
            if one not in ("Persistent", "Ephemeral"):
                problems.append(unsupported("spec.volumeLifecycleModes", one, ["Persistent", "Ephemeral"]))
        seen: set[str] = set()
        for place, one in enumerate(spec.get("tokenRequests") or ()):
            if one.get("audience", "") in seen:
                problems.append(duplicate(f"spec.tokenRequests[{place}].audience", one.get("audience", "")))
            seen.add(one.get("audience", ""))
        return problems


class VolumeAttachment(WithStatus):
    generations = False

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        obj["status"] = {"attached": False}

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj.get("spec") or {}
        problems = [required(f"spec.{key}") for key in ("attacher", "nodeName") if not spec.get(key)]
        given = spec.get("source") or {}
        if given.get("persistentVolumeName") is None and given.get("inlineVolumeSpec") is None:
            problems.append(required("spec.source", "must specify one of inlineVolumeSpec and persistentVolumeName"))
        return problems

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        problems = self.validate(new)
        if new.get("spec") != old.get("spec"):
            problems.append(invalid("spec", show(new.get("spec")), "field is immutable"))
        return problems
