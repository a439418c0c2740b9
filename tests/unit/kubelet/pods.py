"""Pods and views for the tables of this folder."""

from __future__ import annotations

from typing import Any

from mizzen.runtime.kubelet.views import View, Views
from mizzen.wire import cri

STATES = {"created": cri.CONTAINER_CREATED, "running": cri.CONTAINER_RUNNING, "exited": cri.CONTAINER_EXITED}


def pod(*containers: str, init: tuple[dict[str, Any], ...] = (), policy: str = "Always", **spec: Any) -> dict[str, Any]:
    """A pod of named containers in namespace `shop`."""
    return {
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1"},
        "spec": {
            "restartPolicy": policy,
            "initContainers": list(init),
            "containers": [{"name": name, "image": "host"} for name in containers],
            **spec,
        },
    }


def once(name: str) -> dict[str, Any]:
    """A plain init container."""
    return {"name": name, "image": "host"}


def sidecar(name: str) -> dict[str, Any]:
    """A native sidecar."""
    return {"name": name, "image": "host", "restartPolicy": "Always"}


def status(state: str, code: int = 0, attempt: int = 0, **fields: Any) -> Any:
    """A CRI ContainerStatus."""
    return cri.ContainerStatus(
        id=f"id{attempt}", state=STATES[state], exit_code=code,
        metadata=cri.ContainerMetadata(name="c", attempt=attempt), **fields,
    )  # fmt: skip


def view(name: str, words: str, **fields: Any) -> View:
    """words: `-` never started, `up` running and started, `starting` running only, `exit N`, `killing`."""
    kind, _, code = words.partition(" ")
    if kind == "-":
        return View(name=name, **fields)
    if kind == "exit":
        return View(name=name, current=status("exited", int(code)), **fields)
    flags: dict[str, Any] = {"started": kind == "up", "ready": kind == "up", "killing": kind == "killing"}
    return View(name=name, current=status("running"), **(flags | fields))


def views(**words: str) -> Views:
    """Views by container name."""
    return {name: view(name, text) for name, text in words.items()}
