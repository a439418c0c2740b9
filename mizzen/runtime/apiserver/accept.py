"""In which shape an answer goes out: as it is, as a Table, as metadata alone; JSON or YAML.

Takes the Accept header, gives a `Form` or raises 406.
Source: apiserver's negotiation; meta.k8s.io Table and PartialObjectMetadata.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from .errors import StatusError

JSON, YAML = "application/json", "application/yaml"
KNOWN = (JSON, YAML)


class Form(NamedTuple):
    """`shape`: "" as it is, Table, PartialObjectMetadata or PartialObjectMetadataList; `version` of meta.k8s.io."""

    media: str = JSON
    shape: str = ""
    version: str = "v1"


PLAIN = Form()


class _Clause(NamedTuple):
    media: str
    params: dict[str, str]
    quality: float


def _clauses(header: str) -> list[_Clause]:
    found = []
    for part in header.split(","):
        media, *params = [one.strip() for one in part.split(";")]
        values = dict(one.split("=", 1) for one in params if "=" in one)
        try:
            quality = float(values.pop("q", "1"))
        except ValueError:
            quality = 0.0
        found.append(_Clause(media.lower(), values, quality))
    return sorted(found, key=lambda one: -one.quality)


@lru_cache(maxsize=256)
def negotiate(header: str, shapes: bool = True) -> Form:
    """The first acceptable form of the header's. Raises StatusError 406."""
    if not header:
        return PLAIN
    clauses = _clauses(header)
    if not any(one.media in (JSON, YAML, "*/*", "application/vnd.kubernetes.protobuf") for one in clauses):
        raise StatusError(
            406,
            "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )
    for clause in clauses:
        if clause.media not in (JSON, YAML, "*/*"):
            continue
        media = JSON if clause.media == "*/*" else clause.media
        shape, group = clause.params.get("as", ""), clause.params.get("g", "")
        if not shape:
            return Form(media)
        if (
            shapes
            and group == "meta.k8s.io"
            and shape in ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
        ) and clause.params.get("v") in ("v1", "v1beta1"):
            return Form(media, shape, clause.params["v"])
    raise StatusError(
        406,
        "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf",
    )
