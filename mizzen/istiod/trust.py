"""The mesh's trust anchors: an object of the configuration like any other, so that a change is pushed like any other.

Not here: where they come from (ca/trust_bundle.py), how proxies are told (translate/trust_anchors.py).
"""

from __future__ import annotations

import msgspec
from lightkube.models.meta_v1 import ObjectMeta

KIND = "TrustAnchors"
KEY = (KIND, ("", "mesh"))


class TrustAnchors(msgspec.Struct, frozen=True):
    """certificates: PEM, one certificate each, sorted."""

    certificates: tuple[str, ...]
    metadata: ObjectMeta = msgspec.field(default_factory=lambda: ObjectMeta(name=KEY[1][1]))
    kind: str = KIND
