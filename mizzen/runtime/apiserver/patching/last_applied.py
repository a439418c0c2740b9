"""kubectl's move from client-side to server-side apply: fields of its last-applied annotation are its own already.

Takes objects as JSON, gives objects. Only for the field manager "kubectl", and only where the annotation is there; its value
follows every server-side apply, so that one may go back. Source: KEP-555, "Upgrading from client-side apply".
"""

from __future__ import annotations

import json
from typing import Any

Object = dict[str, Any]
MANAGER = "kubectl"
ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


def configuration(live: Object) -> Object | None:
    """What kubectl last applied by itself; None without an annotation that can be read."""
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(ANNOTATION)
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def renewed(obj: Object, config: Object) -> Object:
    """The object with its annotation telling the configuration that was applied now."""
    metadata = {key: value for key, value in config["metadata"].items() if key != "managedFields"}
    if ANNOTATION in (metadata.get("annotations") or {}):
        metadata["annotations"] = {key: one for key, one in metadata["annotations"].items() if key != ANNOTATION}
    text = (
        json.dumps({**config, "metadata": metadata}, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    )
    annotations = {**((obj.get("metadata") or {}).get("annotations") or {}), ANNOTATION: text}
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}
