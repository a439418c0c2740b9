"""Strategic merge patch of pods, by Kubernetes' rules.

Objects merge by field, null deletes; lists with a merge key merge by it, all others are replaced. What the patch names
comes first, in the patch's order; other items keep their places among themselves and behind. `$patch: delete|replace`,
`$retainKeys` and `$deleteFromPrimitiveList/…` are obeyed. Source: apimachinery's strategicpatch and the pod's schema.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

# Merge keys by the path of a list below a pod, indices left out.
CONTAINER_LISTS = {"env": "name", "volumeMounts": "mountPath", "volumeDevices": "devicePath", "ports": "containerPort"}
MERGE_KEYS: dict[tuple[str, ...], str] = {
    ("metadata", "ownerReferences"): "uid",
    ("spec", "volumes"): "name",
    ("spec", "imagePullSecrets"): "name",
    ("spec", "hostAliases"): "ip",
    ("spec", "topologySpreadConstraints"): "topologyKey",
    ("spec", "schedulingGates"): "name",
    ("spec", "resourceClaims"): "name",
    **{("spec", kind): "name" for kind in ("containers", "initContainers", "ephemeralContainers")},
    **{
        ("spec", kind, field): key
        for kind in ("containers", "initContainers", "ephemeralContainers")
        for field, key in CONTAINER_LISTS.items()
    },
}
PRIMITIVE_LISTS = {("metadata", "finalizers")}


def merge(target: Object, patch: Object, path: tuple[str, ...] = ()) -> Object:
    """target with patch laid over it; neither is changed. path: where they are below a pod."""
    if patch.get("$patch") == "replace":
        replaced: Object = clean(patch)
        return replaced
    if patch.get("$patch") == "delete":
        return {}
    result = dict(target)
    if "$retainKeys" in patch:
        result = {key: value for key, value in result.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            result[name] = [item for item in result.get(name) or () if item not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = merged_value(result.get(key), value, (*path, key))
    return result


def merged_value(old: Any, new: Any, path: tuple[str, ...]) -> Any:
    if isinstance(new, dict):
        return merge(old if isinstance(old, dict) else {}, new, path)
    if isinstance(new, list):
        key = MERGE_KEYS.get(path)
        if key is not None:
            return merge_list(old if isinstance(old, list) else [], new, key, path)
        if path in PRIMITIVE_LISTS:
            return [*new, *(item for item in old or () if item not in new)]
    return new


def merge_list(old: list[Any], new: list[Any], key: str, path: tuple[str, ...]) -> list[Any]:
    """Items of the patch first, in its order; those of the target that it does not name keep their order."""
    if any(item.get("$patch") == "replace" and key not in item for item in new):
        return [clean(item) for item in new if item.get("$patch") != "replace"]
    merged: dict[Any, Any] = {item.get(key): item for item in old}
    deleted = {item.get(key) for item in new if item.get("$patch") == "delete"}
    named: dict[Any, None] = {}
    for item in new:
        name = item.get(key)
        if name not in deleted:
            merged[name] = merge(merged.get(name, {}), item, path)
            named[name] = None
    rest = [item.get(key) for item in old if item.get(key) not in named and item.get(key) not in deleted]
    return [merged[name] for name in interleaved(rest, list(named), [item.get(key) for item in old])]


def interleaved(rest: list[Any], named: list[Any], order: list[Any]) -> list[Any]:
    """Both lists as one: an item of `rest` goes first only before a named one that stood behind it in the target."""
    place = {name: at for at, name in enumerate(order)}
    result: list[Any] = []
    waiting, coming = list(rest), list(named)
    while waiting and coming:
        before = coming[0] in place and place[waiting[0]] < place[coming[0]]
        result.append((waiting if before else coming).pop(0))
    return result + coming + waiting


def clean(value: Any) -> Any:
    """A value without directives and nulls."""
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items() if item is not None and not key.startswith("$")}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return value
