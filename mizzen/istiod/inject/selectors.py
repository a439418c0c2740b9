"""Which namespaces and pods the injection webhook's entries select: what an installation and a revision tag write.

Pure. Source: Istio's istio-sidecar-injector and istio-revision-tag-* configurations.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]
REVISION, INJECTION, INJECT = "istio.io/rev", "istio-injection", "sidecar.istio.io/inject"
UNTOUCHED = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")
Entry = tuple[str, list[Object], list[Object]]
"""(name, requirements of the namespace's labels, requirements of the pod's)."""


def _in(key: str, *values: str) -> Object:
    return {"key": key, "operator": "In", "values": list(values)}


def _not_in(key: str, *values: str) -> Object:
    return {"key": key, "operator": "NotIn", "values": list(values)}


def _absent(key: str) -> Object:
    return {"key": key, "operator": "DoesNotExist"}


def entries(name: str, *, default: bool | None = None, every_namespace: bool = False) -> list[Entry]:
    """The entries for a revision or tag. default: whether it also answers for `istio-injection`, by its name when None;
    every_namespace: whether namespaces without a word are injected.
    """
    wanted = _not_in(INJECT, "false")
    out = [
        ("rev.namespace", [_in(REVISION, name), _absent(INJECTION)], [wanted]),
        ("rev.object", [_absent(REVISION), _absent(INJECTION)], [wanted, _in(REVISION, name)]),
    ]
    if name == "default" if default is None else default:
        out += [
            ("namespace", [_in(INJECTION, "enabled")], [wanted]),
            ("object", [_absent(INJECTION), _absent(REVISION)], [_in(INJECT, "true"), _absent(REVISION)]),
        ]
        if every_namespace:
            untouched = _not_in("kubernetes.io/metadata.name", *UNTOUCHED)
            out.append(
                ("auto", [_absent(INJECTION), _absent(REVISION), untouched], [_absent(INJECT), _absent(REVISION)])
            )
    return out
