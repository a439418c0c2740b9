"""`mizzen describe pod|service`: fetches what describe.py speaks of.

Takes names as istioctl does; objects come from the API server, the rules in force from the pod's proxy. Not here: the text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

from mizzen.api.errors import PeerError, UsageError
from mizzen.istioctl.describe import World, describe_pod, describe_service, has_proxy
from mizzen.istioctl.outcome import outcome
from mizzen.istioctl.proxy_config_commands import AdminPort, Context, Kubeconfig, Namespace
from mizzen.istioctl.reach import Target, admin, as_json, find_pod
from mizzen.kube import ApiError, Client, Key, Object, Resource, load
from mizzen.kube.resource import PODS, SERVICES

NETWORKING, SECURITY = "networking.istio.io", "security.istio.io"
RULES = {
    "destination_rules": Resource(NETWORKING, "v1", "destinationrules", True, "DestinationRule"),
    "virtual_services": Resource(NETWORKING, "v1", "virtualservices", True, "VirtualService"),
    "gateways": Resource(NETWORKING, "v1", "gateways", True, "Gateway"),
    "peer_authentications": Resource(SECURITY, "v1", "peerauthentications", True, "PeerAuthentication"),
}
IstioNamespace = Annotated[str, typer.Option("-i", "--istioNamespace", help="Namespace of the control plane.")]
IgnoreUnmeshed = Annotated[bool, typer.Option("--ignoreUnmeshed", help="Do not warn about pods without a proxy.")]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="What the mesh does with a pod or a Service.")


def run(kubeconfig: str | None, context: str | None, ask: Callable[[Client], Awaitable[str]]) -> None:
    """Print what is answered; what goes wrong is one line and exit code 1."""

    async def main() -> str:
        async with Client(load(kubeconfig, context)) as client:
            return await ask(client)

    typer.echo(outcome(main()), nl=False)


@app.command("pod")
def pod(
    name: Annotated[str, typer.Argument(metavar="[TYPE/]NAME[.NAMESPACE]")],
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    proxy_admin_port: AdminPort = 15000,
    istio_namespace: IstioNamespace = "istio-system",
    ignore_unmeshed: IgnoreUnmeshed = False,
) -> None:
    """A pod: its ports and Services, the rules for them, and how it is reached."""
    target = Target(None, None, None, namespace, kubeconfig, context, proxy_admin_port)

    async def ask(client: Client) -> str:
        own = namespace or client.config.namespace
        key = await find_pod(client, name, own)
        found = await client.get(PODS, key.name, key.namespace)
        world = await _world(client, own, istio_namespace)
        if has_proxy(found):
            world.dump = await _dump(target, key)
        return describe_pod(found, world, ignore_unmeshed=ignore_unmeshed)

    run(kubeconfig, context, ask)


@app.command("service")
@app.command("svc", hidden=True)
def service(
    name: Annotated[str, typer.Argument(metavar="NAME[.NAMESPACE]")],
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    proxy_admin_port: AdminPort = 15000,
    istio_namespace: IstioNamespace = "istio-system",
) -> None:
    """A Service: its ports, the rules for it, and how it is reached."""
    target = Target(None, None, None, namespace, kubeconfig, context, proxy_admin_port)

    async def ask(client: Client) -> str:
        own = namespace or client.config.namespace
        front, _, back = name.partition(".")
        key = Key(back or own, front)
        found = await client.find(SERVICES, key.name, key.namespace)
        if found is None:
            raise UsageError(f"no Service {key.name!r} in namespace {key.namespace}")
        world = await _world(client, own, istio_namespace)
        selector = (found.get("spec") or {}).get("selector") or {}
        labels = ",".join(f"{label}={value}" for label, value in selector.items())
        world.pods = (await client.list(PODS, key.namespace, label_selector=labels)).items if labels else []
        running = [p for p in world.pods if has_proxy(p) and (p.get("status") or {}).get("phase") == "Running"]
        if running:
            world.dump = await _dump(target, Key(key.namespace, running[0]["metadata"]["name"]))
        return describe_service(found, world)

    run(kubeconfig, context, ask)


async def _world(client: Client, namespace: str, root: str) -> World:
    services, *rules = await asyncio.gather(
        _list(client, SERVICES), *(_list(client, resource) for resource in RULES.values())
    )
    world = World(namespace=namespace, services=services, root_namespace=root)
    for name, found in zip(RULES, rules, strict=True):
        setattr(world, name, found)
    return world


async def _list(client: Client, resource: Resource) -> list[Object]:
    """All objects of a kind; none when the cluster does not have it."""
    try:
        return (await client.list(resource)).items
    except ApiError as error:
        if error.not_found:
            return []
        raise


async def _dump(target: Target, key: Key) -> dict[str, Any]:
    where = target._replace(pod=f"{key.name}.{key.namespace}")
    try:
        async with admin(where) as proxy:
            return as_json(await proxy.get("config_dump"))
    except PeerError as error:
        raise PeerError(f"the proxy of {key}: {error}") from error
