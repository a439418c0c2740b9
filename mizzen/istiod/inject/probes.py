"""Probes and hooks of applications, led through the agent: the kubelet cannot speak mTLS and does not come through it.

Not here: the agent that answers (mizzen.agent), exec probes and sleep hooks, which stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from mizzen.istiod.inject.config import Object
from mizzen.istiod.inject.names import PROXY, REWRITE_PROBERS, STATUS, STATUS_PORT, parse_bool

PROBERS = "ISTIO_KUBE_APP_PROBERS"
PATHS = {"readinessProbe": "readyz", "livenessProbe": "livez", "startupProbe": "startupz"}
HOOKS = {"preStop": "prestopz", "postStart": "poststartz"}


def containers(pod: Object) -> Iterator[Object]:
    yield from pod["spec"].get("initContainers") or ()
    yield from pod["spec"].get("containers") or ()


def find_proxy(pod: Object) -> Object | None:
    return next((container for container in containers(pod) if container.get("name") == PROXY), None)


def wanted(annotations: Mapping[str, str], default: bool) -> bool:
    """The annotation, when it is a boolean; else the default."""
    word = parse_bool(annotations.get(REWRITE_PROBERS, ""))
    return default if word is None else word


def rewrite_probes(pod: Object, mesh_status_port: int, default: bool) -> None:
    """Rewrites probes and hooks in place and tells the proxy's environment where they went."""
    proxy = find_proxy(pod)
    annotations = pod["metadata"].get("annotations") or {}
    if proxy is None or not wanted(annotations, default):
        return
    known = probers(pod, mesh_status_port)
    if known:
        remember(proxy, known, merge=STATUS in annotations)
    port = mesh_status_port
    if annotations.get(STATUS_PORT, "").isdigit():
        port = int(annotations[STATUS_PORT])
    for _, path, holder, key in handlers(pod):
        holder[key] = rewritten(holder[key], path, port)


def handlers(pod: Object) -> Iterator[tuple[Object, str, Object, str]]:
    """(container, the agent's path, the object that holds the probe or hook, its key) of all that are rewritten."""
    for container in containers(pod):
        if container.get("name") == PROXY:
            continue
        for key, word in PATHS.items():
            if rewritable(container.get(key)):
                yield container, f"/app-health/{container['name']}/{word}", container, key
        for key, word in HOOKS.items():
            lifecycle = container.get("lifecycle") or {}
            if rewritable(lifecycle.get(key), grpc=False):
                yield container, f"/app-lifecycle/{container['name']}/{word}", lifecycle, key


def rewritable(probe: Object | None, grpc: bool = True) -> bool:
    return bool(probe) and any(kind in (probe or {}) for kind in ("httpGet", "tcpSocket", *(["grpc"] if grpc else [])))


def probers(pod: Object, status_port: int) -> Object:
    """What the agent must know, by path. Probes of ports that no name leads to, and of the agent's own, are left out."""
    result: Object = {}
    for container, path, holder, key in handlers(pod):
        probe = holder[key]
        names = {port["name"]: port.get("containerPort") for port in container.get("ports") or () if port.get("name")}
        kind = next(kind for kind in ("httpGet", "tcpSocket", "grpc") if kind in probe)
        handler = dict(probe[kind] or {})
        if kind != "grpc":
            if isinstance(handler.get("port"), str):
                handler["port"] = names.get(handler["port"])
            if handler.get("port") in (None, status_port):
                continue
        entry: Object = {kind: handler}
        if key in PATHS and probe.get("timeoutSeconds"):
            entry["timeoutSeconds"] = probe["timeoutSeconds"]
        result[path] = entry
    return result


def rewritten(probe: Object, path: str, port: int) -> Object:
    result = {key: value for key, value in probe.items() if key not in ("tcpSocket", "grpc")}
    get = dict(probe.get("httpGet") or {}) | {"path": path, "port": port}
    if get.get("scheme") == "HTTPS":
        get["scheme"] = "HTTP"
    result["httpGet"] = get
    return result


def remember(proxy: Object, known: Object, *, merge: bool) -> None:
    """Sets ISTIO_KUBE_APP_PROBERS; on re-injection those known before are kept and win."""
    variables = list(proxy.get("env") or ())
    for at, variable in enumerate(variables):
        if merge and variable.get("name") == PROBERS:
            try:
                before = json.loads(variable.get("value") or "{}")
            except ValueError:
                return
            variables[at] = {"name": PROBERS, "value": json.dumps(known | before, separators=(",", ":"))}
            break
    else:
        variables.append({"name": PROBERS, "value": json.dumps(known, separators=(",", ":"))})
    proxy["env"] = variables
