"""`mizzen experimental` (`mizzen x`): commands that istioctl keeps under that name.

authz check, check-inject, describe, injector list, internal-debug. Not here: what they show (describe.py, authz.py,
injectors.py).
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from mizzen.istioctl import authz, describe_commands, injectors, istiod_client
from mizzen.istioctl.describe_commands import IstioNamespace, run
from mizzen.istioctl.istiod_client import Where
from mizzen.istioctl.outcome import outcome
from mizzen.istioctl.proxy_config_commands import (
    AdminPort,
    AdminUrl,
    Context,
    File,
    Kubeconfig,
    Namespace,
    dump_of,
    target,
)
from mizzen.istioctl.proxy_status import istiod_name
from mizzen.istioctl.proxy_status_commands import Plaintext, Revision, Timeout, XdsAddress, XdsPort
from mizzen.istioctl.reach import find_pod
from mizzen.istioctl.table import table
from mizzen.kube import Client
from mizzen.kube.resource import MUTATING_WEBHOOKS, NAMESPACES, PODS

DEBUG = "istio.io/debug"

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Commands whose form may still change.")
app.add_typer(describe_commands.app, name="describe")
app.add_typer(describe_commands.app, name="des", hidden=True)
authz_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Authorization policies.")
app.add_typer(authz_app, name="authz")
injector_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Sidecar injectors.")
app.add_typer(injector_app, name="injector")


@authz_app.callback()
def _authz() -> None:
    """Keeps `check` a subcommand."""


@injector_app.callback()
def _injector() -> None:
    """Keeps `list` a subcommand."""


@authz_app.command("check")
def authz_check(
    pod: Annotated[str | None, typer.Argument(metavar="[TYPE/]NAME[.NAMESPACE]")] = None,
    file: File = None,
    admin_url: AdminUrl = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    proxy_admin_port: AdminPort = 15000,
) -> None:
    """The authorization policies that a proxy enforces: ACTION, AuthorizationPolicy, RULES."""
    dump = dump_of(target(pod, file, admin_url, namespace, kubeconfig, context, proxy_admin_port))
    typer.echo(table(authz.HEADER, authz.rows(dump), padding=3), nl=False)


@app.command("check-inject")
def check_inject(
    pod: Annotated[str | None, typer.Argument(metavar="[TYPE/]NAME[.NAMESPACE]")] = None,
    labels: Annotated[str, typer.Option("-l", "--labels", help="Labels of a pod to be: a=b,c=d.")] = "",
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Which webhooks inject a pod, and why: WEBHOOK, REVISION, INJECTED, REASON."""
    if (pod is None) == (not labels):
        raise typer.BadParameter("give a pod or --labels")

    async def ask(client: Client) -> str:
        where, own = namespace or client.config.namespace, injectors.parsed(labels)
        if pod is not None:
            key = await find_pod(client, pod, where)
            where = key.namespace
            own = (await client.get(PODS, key.name, key.namespace))["metadata"].get("labels") or {}
        owner = await client.get(NAMESPACES, where)
        found = (await client.list(MUTATING_WEBHOOKS)).items
        verdicts = injectors.verdicts(found, owner["metadata"].get("labels") or {}, own)
        return table(injectors.HEADER, injectors.rows(verdicts)) + injectors.warning(verdicts)

    run(kubeconfig, context, ask)


@injector_app.command("list")
def injector_list(
    kubeconfig: Kubeconfig = None, context: Context = None, istio_namespace: IstioNamespace = "istio-system"
) -> None:
    """Which namespaces are injected by which revision, and which webhooks there are."""

    async def ask(client: Client) -> str:
        namespaces = (await client.list(NAMESPACES)).items
        pods = (await client.list(PODS)).items
        hooks = (await client.list(MUTATING_WEBHOOKS)).items
        images = await injectors.images(client, istio_namespace)
        return injectors.listing(namespaces, pods, hooks, images, istio_namespace)

    run(kubeconfig, context, ask)


@app.command("internal-debug")
def internal_debug(
    path: Annotated[str, typer.Argument(help="What follows /debug/, e.g. syncz or edsz?proxyID=web.shop.")] = "",
    list_them: Annotated[bool, typer.Option("-L", "--list", help="The paths that there are.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Ask every istiod; answers by their names.")] = False,
    xds_address: XdsAddress = "",
    plaintext: Plaintext = False,
    istio_namespace: IstioNamespace = "istio-system",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    xds_port: XdsPort = istiod_client.XDS_PORT,
    revision: Revision = "",
    timeout: Timeout = istiod_client.TIMEOUT_S,
) -> None:
    """One of istiod's debugging pages, over xDS."""
    if not path and not list_them:
        raise typer.BadParameter("give a path, or --list")
    where = Where(xds_address, plaintext, istio_namespace, kubeconfig, context, xds_port, revision, timeout)
    responses = outcome(istiod_client.ask(where, DEBUG, ["list" if list_them else path]))
    answers = {istiod_name(response.control_plane.identifier): _answer(response) for response in responses}
    shown = answers if every else next(iter(answers.values()))
    typer.echo(shown if isinstance(shown, str) else json.dumps(shown, indent=4))


def _answer(response: Any) -> Any:
    text = response.resources[0].value.decode() if response.resources else ""
    try:
        return json.loads(text)
    except ValueError:
        return text
