"""`mizzen tag set|generate|list|remove`. Not here: what a tag is made of (tags.py)."""

from __future__ import annotations

import json
from typing import Annotated

import typer
import yaml

from mizzen.api.errors import UsageError
from mizzen.istioctl import tags
from mizzen.istioctl.describe_commands import IstioNamespace, run
from mizzen.istioctl.proxy_config_commands import Context, Kubeconfig
from mizzen.istioctl.table import table
from mizzen.kube import ApiError, Client, Object, Resource
from mizzen.kube.resource import MUTATING_WEBHOOKS, NAMESPACES, SERVICES, VALIDATING_WEBHOOKS

MANAGER = "mizzen-tag"
RESOURCES = {
    "MutatingWebhookConfiguration": MUTATING_WEBHOOKS,
    "ValidatingWebhookConfiguration": VALIDATING_WEBHOOKS,
    "Service": SERVICES,
}

Revision = Annotated[str, typer.Option("-r", "--revision", help="The revision that the tag points at.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Let a tag that exists point elsewhere.")]
WebhookName = Annotated[str, typer.Option("--webhook-name", help="Name of the webhook configuration.")]
EveryNamespace = Annotated[
    bool, typer.Option("--auto-inject-namespaces", help="Inject namespaces that say nothing (tag default only).")
]
Yes = Annotated[bool, typer.Option("-y", "--skip-confirmation", help="Do not ask.")]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Second names of revisions.")


@app.command("set")
def set_tag(
    tag: Annotated[str, typer.Argument(metavar="TAG")],
    revision: Revision,
    overwrite: Overwrite = False,
    webhook_name: WebhookName = "",
    auto_inject_namespaces: EveryNamespace = False,
    skip_confirmation: Yes = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    istio_namespace: IstioNamespace = tags.SYSTEM,
) -> None:
    """Make a tag, or let one point at another revision with --overwrite."""

    async def ask(client: Client) -> str:
        made = await _made(client, tag, revision, overwrite, webhook_name, auto_inject_namespaces, istio_namespace)
        for obj in made:
            await client.apply(RESOURCES[obj["kind"]], obj, field_manager=MANAGER)
        say = f'Revision tag "{tag}" created, referencing control plane revision "{revision}".'
        label = "istio-injection=enabled" if tag == tags.DEFAULT else f"istio.io/rev={tag}"
        return (
            f"{say} To enable injection using this\nrevision tag, use 'kubectl label namespace <NAMESPACE> {label}'\n"
        )

    run(kubeconfig, context, ask)


@app.command("generate")
def generate(
    tag: Annotated[str, typer.Argument(metavar="TAG")],
    revision: Revision,
    overwrite: Overwrite = False,
    webhook_name: WebhookName = "",
    auto_inject_namespaces: EveryNamespace = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    istio_namespace: IstioNamespace = tags.SYSTEM,
) -> None:
    """Print what `set` would apply."""

    async def ask(client: Client) -> str:
        made = await _made(client, tag, revision, overwrite, webhook_name, auto_inject_namespaces, istio_namespace)
        return str(yaml.safe_dump_all(made, sort_keys=False))

    run(kubeconfig, context, ask)


@app.command("list")
@app.command("show", hidden=True)
def list_tags(
    output: Annotated[str, typer.Option("-o", "--output", help="table or json.")] = "table",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """The tags, what they point at, and who uses them."""
    if output not in ("table", "json"):
        raise typer.BadParameter(f"{output!r} is none of table, json", param_hint="--output")

    async def ask(client: Client) -> str:
        found = tags.rows((await client.list(MUTATING_WEBHOOKS)).items, (await client.list(NAMESPACES)).items)
        if output == "json":
            plain = [{"tag": t, "revision": r, "namespaces": n.split(",") if n else []} for t, r, n in found]
            return json.dumps(plain, indent=2) + "\n"
        return table(tags.HEADER, found)

    run(kubeconfig, context, ask)


@app.command("remove")
@app.command("delete", hidden=True)
def remove(
    tag: Annotated[str, typer.Argument(metavar="TAG")],
    skip_confirmation: Yes = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    istio_namespace: IstioNamespace = tags.SYSTEM,
) -> None:
    """Remove a tag; asks when namespaces use it."""

    async def ask(client: Client) -> str:
        selector = f"{tags.TAG}={tag}"
        found = (await client.list(MUTATING_WEBHOOKS, label_selector=selector)).items
        if not found:
            raise UsageError(f"revision tag {tag!r} does not exist")
        using = tags.users(tag, (await client.list(NAMESPACES)).items)
        if using and not skip_confirmation:
            raise UsageError(
                f"revision tag {tag!r} is used by namespaces {', '.join(using)}; give -y to remove it all the same"
            )
        for resource in RESOURCES.values():
            where = istio_namespace if resource.namespaced else None
            for obj in (await client.list(resource, where, label_selector=selector)).items:
                await _delete(client, resource, obj)
        return f"Revision tag {tag} removed\n"

    run(kubeconfig, context, ask)


async def _delete(client: Client, resource: Resource, obj: Object) -> None:
    try:
        await client.delete(resource, obj["metadata"]["name"], obj["metadata"].get("namespace"))
    except ApiError as error:
        if not error.not_found:
            raise


async def _made(
    client: Client, tag: str, revision: str, overwrite: bool, name: str, every: bool, namespace: str
) -> list[Object]:
    """The objects of a tag. Raises UsageError."""
    configurations = (await client.list(MUTATING_WEBHOOKS)).items
    tags.check(configurations, tag, overwrite)
    injector = tags.injector_of(configurations, revision)
    out = [tags.tag_webhook(injector, tag, namespace, name=name, every_namespace=every)]
    service = (injector["webhooks"][0]["clientConfig"].get("service") or {}).get("name")
    found = await client.find(SERVICES, service, namespace) if service else None
    if found is not None:
        out.append(tags.tag_service(found, tag, namespace))
    if tag == tags.DEFAULT:
        out.append(tags.default_validator(injector))
    return out
