"""What users say about the mesh's own containers, and injection of pods that were injected before.

A user's container with a template's name is laid over it and remembered in an annotation; a container that an earlier
injection put there (annotation sidecar.istio.io/status) is made anew instead.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from mizzen.api.errors import Invalid
from mizzen.istiod.inject.config import Object
from mizzen.istiod.inject.names import INIT, INTERCEPTION_MODE, OVERRIDES, PROXY, STATUS, VALIDATION
from mizzen.istiod.inject.prometheus import asked, clear
from mizzen.istiod.inject.strategic_merge import merge

LISTS = ("containers", "initContainers")
AUTO_IMAGE = "auto"


def status_of(pod: Object) -> dict[str, list[str]] | None:
    """The containers that an earlier injection added, by list; None when there was none that can be read."""
    text = (pod["metadata"].get("annotations") or {}).get(STATUS)
    if text is None:
        return None
    try:
        value = json.loads(text)
        return {field: list(value.get(field) or ()) for field in LISTS}
    except (ValueError, AttributeError, TypeError):
        return None


def stripped(pod: Object, status_port: int) -> Object:
    """A copy of a pod without what an earlier injection added."""
    result = copy.deepcopy(pod)
    status = status_of(pod)
    if status is None:
        return result
    for field in LISTS:
        kept = [entry for entry in result["spec"].get(field) or () if entry["name"] not in status[field]]
        if field in result["spec"]:
            result["spec"][field] = kept
    annotations = result["metadata"]["annotations"]
    if asked(annotations).get("port") == str(status_port):
        clear(annotations)
    del annotations[STATUS]
    return result


def remembered(pod: Object) -> dict[str, list[Object]]:
    """The wishes that an earlier injection wrote down. Raises Invalid."""
    text = (pod["metadata"].get("annotations") or {}).get(OVERRIDES)
    if text is None:
        return {field: [] for field in LISTS}
    try:
        value = json.loads(text)
        return {field: list(value.get(field) or ()) for field in LISTS}
    except (ValueError, AttributeError, TypeError) as error:
        raise Invalid(OVERRIDES, f"cannot be read: {error}", by="semantic") from error


def with_wishes(pod: Object) -> Object:
    """A stripped pod with the remembered containers put back, so that templates see what they saw the first time."""
    wishes = remembered(pod)
    for field in LISTS:
        present = {entry["name"] for entry in pod["spec"].get(field) or ()}
        missing = [entry for entry in wishes[field] if entry.get("name") not in present]
        if missing:
            pod["spec"][field] = [*(pod["spec"].get(field) or ()), *missing]
    return pod


def lay_over(final: Object, original: Object, template: Object, config_mode: str) -> Object:
    """final with the user's containers laid over the template's; original is the pod as it came."""
    status = status_of(original) or {field: [] for field in LISTS}
    wishes = remembered(original)
    taken: dict[str, list[Object]] = {}
    for field in LISTS:
        for entry in template["spec"].get(field) or ():
            name = entry["name"]
            if name in status[field]:
                continue
            wish = named(wishes[field], name) or in_pod(original, name)
            if wish is None:
                continue
            overlay = {key: value for key, value in wish.items() if key != "image" or value != AUTO_IMAGE}
            taken.setdefault(field, []).append(overlay)
            final = merge(final, {"spec": {field: [overlay]}})
    moved = named(template["spec"].get("initContainers") or [], PROXY) is not None
    if moved and not named(template["spec"].get("containers") or [], PROXY):
        others = [entry for entry in final["spec"].get("containers") or () if entry["name"] != PROXY]
        final = {**final, "spec": {**final["spec"], "containers": others}}
    if taken and STATUS not in (original["metadata"].get("annotations") or {}):
        text = json.dumps(taken, separators=(",", ":"))
        final = merge(final, {"metadata": {"annotations": {OVERRIDES: text}}})
    return spared_user(copy.deepcopy(final), original, config_mode)


def spared_user(final: Object, original: Object, config_mode: str) -> Object:
    """Interception spares the user that the proxy runs as; in TPROXY mode that stays root."""
    wish = in_pod(original, PROXY)
    security: dict[str, Any] = (wish or {}).get("securityContext") or {}
    uid, gid = security.get("runAsUser"), security.get("runAsGroup")
    if uid is None and gid is None:
        return final
    proxy = in_pod(final, PROXY)
    if not any(named(final["spec"].get("initContainers") or [], name) for name in (INIT, VALIDATION)):
        return final
    mode = (final["metadata"].get("annotations") or {}).get(INTERCEPTION_MODE) or config_mode
    if proxy is not None and mode == "TPROXY" and uid is not None:
        proxy["securityContext"]["runAsUser"] = 0
    for init in final["spec"].get("initContainers") or ():
        if init["name"] == VALIDATION:
            own = init.setdefault("securityContext", {})
            own |= {key: value for key, value in (("runAsUser", uid), ("runAsGroup", gid)) if value is not None}
        if init["name"] in (INIT, VALIDATION) and uid and "-u" in (init.get("args") or ()):
            init["args"][init["args"].index("-u") + 1] = str(uid)
    return final


def named(containers: list[Object], name: str) -> Object | None:
    return next((entry for entry in containers if entry.get("name") == name), None)


def in_pod(pod: Object, name: str) -> Object | None:
    """A container of either list."""
    return named([entry for field in LISTS for entry in pod["spec"].get(field) or ()], name)
