"""What Kubernetes demands of an object's metadata, and Istio of its annotations.

Takes the JSON object. Source: metav1.ObjectMeta, apimachinery's validation. Not here: types, and the spec (shapes.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mizzen.api.errors import Invalid
from mizzen.api.shapes import described

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_NAME_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
ANNOTATIONS_BYTES = 256 * 1024
RESERVED_ANNOTATIONS = (
    "internal.istio.io/webhook-always-reject",
    "internal.istio.io/parents",
    "internal.istio.io/parent-namespace",
)
DRY_RUN = "istio.io/dry-run"
ADMITTED = frozenset({DRY_RUN, *RESERVED_ANNOTATIONS})
"""The annotations that Istio's admission looks at."""


def metadata(obj: Mapping[str, Any], *, namespaced: bool = True) -> Iterator[Invalid]:
    """What a kube-apiserver refuses in the metadata of a custom object."""
    meta = obj.get("metadata")
    if not isinstance(meta, Mapping):
        yield Invalid("metadata", "is required" if meta is None else f"an object is expected, not {described(meta)}")
        return
    name = meta.get("name")
    if name is None or name == "":
        if not meta.get("generateName"):
            yield Invalid("metadata.name", "is required")
    elif isinstance(name, str) and (len(name) > 253 or not _SUBDOMAIN.fullmatch(name)):
        yield Invalid("metadata.name", f"{name!r} is not a name: small letters, digits, - and . are allowed")
    namespace = meta.get("namespace")
    if isinstance(namespace, str) and namespaced and not _namespace(namespace):
        yield Invalid("metadata.namespace", f"{namespace!r} is not a namespace's name")
    yield from _labels(meta.get("labels"))
    yield from _annotations(meta.get("annotations"))


def _namespace(name: str) -> bool:
    return name == "" or (len(name) <= 63 and _LABEL.fullmatch(name) is not None)


def _labels(values: Any) -> Iterator[Invalid]:
    for key, value in values.items() if isinstance(values, Mapping) else ():
        path = f"metadata.labels[{key}]"
        if not is_qualified(str(key)):
            yield Invalid(path, f"{key!r} is not a label's key")
        if not isinstance(value, str):
            continue
        if len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
            yield Invalid(path, f"{value!r} is not a label's value")


def _annotations(values: Any) -> Iterator[Invalid]:
    size = 0
    for key, value in values.items() if isinstance(values, Mapping) else ():
        path = f"metadata.annotations[{key}]"
        if not is_qualified(str(key).lower()):
            yield Invalid(path, f"{key!r} is not an annotation's key")
        if isinstance(value, str):
            size += len(str(key).encode()) + len(value.encode())
    if size > ANNOTATIONS_BYTES:
        yield Invalid("metadata.annotations", f"have {size} bytes, at most {ANNOTATIONS_BYTES} are allowed")


def is_qualified(key: str) -> bool:
    """Whether key is a qualified name: [dns.subdomain/]name."""
    prefix, slash, name = key.rpartition("/")
    if slash and not (0 < len(prefix) <= 253 and _SUBDOMAIN.fullmatch(prefix)):
        return False
    return len(name) <= 63 and _NAME_PART.fullmatch(name) is not None


def istio_annotations(obj: Mapping[str, Any], *, dry_run: bool) -> Iterator[Invalid]:
    """Annotations that Istio's admission refuses. dry_run: whether the kind can be tried dry."""
    annotations = obj.get("metadata", {}).get("annotations") or {}
    if DRY_RUN in annotations and not dry_run:
        yield Invalid(f"metadata.annotations[{DRY_RUN}]", "is for an AuthorizationPolicy alone", "semantic")
    for key in RESERVED_ANNOTATIONS:
        if key in annotations:
            yield Invalid(f"metadata.annotations[{key}]", "may not be set by users", "semantic")
