"""`mizzen explain`: where a request of a pod goes, and why. Not here: finding it out (explain.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from mizzen.api import mesh_config
from mizzen.api.errors import Invalid, MizzenError, UsageError
from mizzen.istioctl.explain import Request, explain, node_of_pod
from mizzen.istiod.config.store import decode
from mizzen.istiod.dump import load_objects
from mizzen.istiod.mesh_config import load_mesh_config
from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot

PORTS = {"http": 80, "https": 443}


def explain_request(
    pod: Annotated[str, typer.Argument(metavar="NAME[.NAMESPACE]", help="The pod that sends the request.")],
    url: Annotated[str, typer.Argument(help="What it asks for: http://HOST[:PORT]/PATH, or https://…")],
    method: Annotated[str, typer.Option("-X", "--method", help="The request's method.")] = "GET",
    header: Annotated[list[str] | None, typer.Option("-H", "--header", help="NAME: VALUE; repeatable.")] = None,
    filename: Annotated[
        list[Path] | None,
        typer.Option("-f", "--filename", help="Files or folders with the mesh, instead of a cluster."),
    ] = None,
    mesh_config_file: Annotated[
        Path | None, typer.Option("--mesh-config", help="MeshConfig over the defaults.")
    ] = None,
    gateway: Annotated[
        bool, typer.Option("--gateway", help="The pod is a gateway: the request arrives at it.")
    ] = False,
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Namespace of the pod.")] = "default",
    kubeconfig: Annotated[str, typer.Option("-c", "--kubeconfig", help="Kubernetes configuration file.")] = "",
) -> None:
    """Say where a pod's request goes and why: listener, route, cluster, endpoints, mutual TLS, authorization.

    The answer is made by istiod's own translation and the proxy's own code, from files or the objects of a cluster.
    """
    try:
        objects = load_objects(filename) if filename else _cluster(kubeconfig)
        snap = Snapshot.build(objects, _mesh(mesh_config_file, objects))
        lines = explain(snap, _node(snap, pod, namespace, gateway), _request(method, url, header or []))
    except MizzenError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo("\n".join(lines))


def _cluster(kubeconfig: str) -> list[Any]:
    from mizzen.istioctl.analyze.cluster import objects

    out = []
    for obj in objects(kubeconfig, slices=True):
        try:
            out.append(decode(obj))
        except Invalid:
            continue  # what a control plane would not take either
    return out


def _mesh(file: Path | None, objects: list[Any]) -> Any:
    if file is not None:
        return load_mesh_config(file)
    for obj in objects:
        if obj.kind == "ConfigMap" and (obj.metadata.namespace, obj.metadata.name) == ("istio-system", "istio"):
            return mesh_config.read((obj.data or {}).get("mesh", ""))
    return load_mesh_config(None)


def _node(snap: Snapshot, text: str, namespace: str, gateway: bool) -> Node:
    """The pod's proxy: `name.namespace`, or a name in the namespace. Raises UsageError."""
    name, _, owner = text.rpartition(".")
    for key in ((owner, name), (namespace, text)):
        found = snap.objects.table("Pod").get(key)
        if found is not None:
            return node_of_pod(*key, found, "router" if gateway else "sidecar")
    raise UsageError(f"no pod {text!r} in namespace {namespace}")


def _request(method: str, url: str, headers: list[str]) -> Request:
    """Raises UsageError."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise UsageError(f"{url}: give http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH")
    given = {}
    for one in headers:
        name, colon, value = one.partition(":")
        if not colon:
            raise UsageError(f"{one!r} is no header; give NAME: VALUE")
        given[name.strip().lower()] = value.strip()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Request(method.upper(), parts.scheme, parts.hostname, port or PORTS[parts.scheme], path, given)
