"""Rows of volumes, claims and storage.k8s.io."""

from __future__ import annotations

from typing import Any

from .text import NONE, UNSET, age_text, spec_of, status_of

Object = dict[str, Any]
_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(modes: list[str] | None) -> str:
    given = set(modes or ())
    return ",".join(short for mode, short in _MODES.items() if mode in given)


def _class(tree: Object) -> str:
    annotated: str = (tree["metadata"].get("annotations") or {}).get("volume.beta.kubernetes.io/storage-class", "")
    return annotated or spec_of(tree).get("storageClassName") or ""


def volume(tree: Object) -> list[Any]:
    spec, status, meta = spec_of(tree), status_of(tree), tree["metadata"]
    claim = spec.get("claimRef") or {}
    state = "Terminating" if meta.get("deletionTimestamp") else status.get("phase", "")
    return [
        (spec.get("capacity") or {}).get("storage", ""),
        _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        state,
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class(tree),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason", ""),
        age_text(tree),
        spec.get("volumeMode", UNSET),
    ]


def claim(tree: Object) -> list[Any]:
    spec, status, meta = spec_of(tree), status_of(tree), tree["metadata"]
    bound = bool(spec.get("volumeName"))
    return [
        "Terminating" if meta.get("deletionTimestamp") else status.get("phase", ""),
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "") if bound else "",
        _modes(status.get("accessModes")) if bound else "",
        _class(tree),
        spec.get("volumeAttributesClassName") or UNSET,
        age_text(tree),
        spec.get("volumeMode", UNSET),
    ]


def storage_class(tree: Object) -> list[Any]:
    return [
        tree.get("provisioner", ""),
        tree.get("reclaimPolicy", "Delete"),
        tree.get("volumeBindingMode", "Immediate"),
        bool(tree.get("allowVolumeExpansion", False)),
        age_text(tree),
    ]


def csi_driver(tree: Object) -> list[Any]:
    spec = spec_of(tree)
    tokens = ",".join(one.get("audience", "") for one in spec.get("tokenRequests") or ()) or UNSET
    return [
        spec.get("attachRequired", True),
        spec.get("podInfoOnMount", False),
        spec.get("storageCapacity", False),
        tokens,
        spec.get("requiresRepublish", False),
        ",".join(spec.get("volumeLifecycleModes") or ()) or NONE,
        age_text(tree),
    ]


def csi_node(tree: Object) -> list[Any]:
    return [len(spec_of(tree).get("drivers") or ()), age_text(tree)]


def volume_attachment(tree: Object) -> list[Any]:
    spec = spec_of(tree)
    name = (spec.get("source") or {}).get("persistentVolumeName", "")
    return [
        spec.get("attacher", ""),
        name,
        spec.get("nodeName", ""),
        status_of(tree).get("attached", False),
        age_text(tree),
    ]


def attributes_class(tree: Object) -> list[Any]:
    return [tree.get("driverName", ""), age_text(tree)]


def storage_capacity(tree: Object) -> list[Any]:
    return [tree.get("storageClassName", ""), tree.get("capacity", "")]
