"""`mizzen proxy-config`: what an Envoy-like proxy has, as istioctl shows it.

One command a kind of resource; each reads the proxy's admin (reach.py) and prints rows (show_*.py) or plain resources.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, TypeVar

import typer
import yaml

from mizzen.api.errors import UsageError
from mizzen.istioctl import envoy_dump, show_clusters, show_listeners, show_routes, show_secrets
from mizzen.istioctl.outcome import outcome
from mizzen.istioctl.reach import Admin, Target, admin, as_json
from mizzen.istioctl.table import table

T = TypeVar("T")
Rows = Sequence[Sequence[str]]


class Output(StrEnum):
    """-o"""

    short = "short"
    json = "json"
    yaml = "yaml"


Pod = Annotated[str | None, typer.Argument(metavar="[TYPE/]NAME[.NAMESPACE]", help="The pod whose proxy is asked.")]
File = Annotated[
    str | None, typer.Option("-f", "--file", help="A saved dump instead of a pod; - is the standard input.")
]
AdminUrl = Annotated[str | None, typer.Option("--admin", help="URL of a proxy's admin instead of a pod.")]
Namespace = Annotated[str | None, typer.Option("-n", "--namespace", help="Namespace of the pod.")]
Kubeconfig = Annotated[str | None, typer.Option("-c", "--kubeconfig", help="Kubernetes configuration file.")]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")]
AdminPort = Annotated[int, typer.Option("--proxy-admin-port", help="Port of the proxy's admin.")]
Format = Annotated[Output, typer.Option("-o", "--output", help="Output format.")]
Verbose = Annotated[bool, typer.Option("--verbose/--no-verbose", help="Show more details.")]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="What a proxy has been configured with.")


def aliased(name: str, *aliases: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command under its name, and hidden under istioctl's other ones."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        app.command(name)(function)
        for alias in aliases:
            app.command(alias, hidden=True)(function)
        return function

    return register


def run(target: Target, ask: Callable[[Admin], Awaitable[T]]) -> T:
    """Ask a proxy; what goes wrong is one line and exit code 1."""

    async def main() -> T:
        async with admin(target) as proxy:
            return await ask(proxy)

    return outcome(main())


def dump_of(target: Target, query: str = "") -> dict[str, Any]:
    async def ask(proxy: Admin) -> dict[str, Any]:
        dump = as_json(await proxy.get(f"config_dump{query}"))
        envoy_dump.parts(dump)
        return dump

    return run(target, ask)


def show(output: Output, resources: Any, header: Sequence[str], rows: Rows) -> None:
    """The table, or the resources themselves."""
    if output is Output.short:
        typer.echo(table(header, rows), nl=False)
    else:
        typer.echo(rendered(output, resources), nl=False)


def rendered(output: Output, value: Any) -> str:
    if output is Output.yaml:
        return str(yaml.safe_dump(value, sort_keys=False))
    return json.dumps(value, indent=4) + "\n"


def target(
    pod: str | None, file: str | None, url: str | None, ns: str | None, config: str | None, ctx: str | None, port: int
) -> Target:
    return Target(pod, file, url, ns, config, ctx, port)


@aliased("cluster", "clusters", "c")
def cluster(
    pod: Pod = None,
    file: File = None,
    admin_url: AdminUrl = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    proxy_admin_port: AdminPort = 15000,
    output: Format = Output.short,
    fqdn: Annotated[str, typer.Option("--fqdn", help="Filter by (part of) the FQDN.")] = "",
    direction: Annotated[str, typer.Option("--direction", help="Filter by direction.")] = "",
    subset: Annotated[str, typer.Option("--subset", help="Filter by subset.")] = "",
    port: Annotated[int, typer.Option("--port", help="Filter by port.")] = 0,
) -> None:
    """Clusters: SERVICE FQDN, PORT, SUBSET, DIRECTION, TYPE, DESTINATION RULE."""
    dump = dump_of(target(pod, file, admin_url, namespace, kubeconfig, context, proxy_admin_port))
    wanted = show_clusters.ClusterFilter(fqdn, direction, subset, port)
    found = show_clusters.chosen_clusters(envoy_dump.clusters(dump), wanted)
    show(output, found, show_clusters.CLUSTER_HEADER, show_clusters.cluster_rows(found))


@aliased("listener", "listeners", "l")
def listener(
    pod: Pod = None,
    file: File = None,
    admin_url: AdminUrl = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    proxy_admin_port: AdminPort = 15000,
    output: Format = Output.short,
    address: Annotated[str, typer.Option("--address", help="Filter by address.")] = "",
    port: Annotated[int, typer.Option("--port", help="Filter by port.")] = 0,
    kind: Annotated[str, typer.Option("--type", help="Filter by type: HTTP, TCP, HTTP+TCP.")] = "",
    verbose: Verbose = True,
) -> None:
    """Listeners: ADDRESSES, PORT, MATCH, DESTINATION."""
    dump = dump_of(target(pod, file, admin_url, namespace, kubeconfig, context, proxy_admin_port))
    wanted = show_listeners.ListenerFilter(address, port, kind)
    found = show_listeners.chosen(envoy_dump.listeners(dump), wanted)
    if verbose:
        show(output, found, show_listeners.HEADER, show_listeners.rows(found))
    else:
        show(output, found, show_listeners.SHORT_HEADER, show_listeners.short_rows(found))


@aliased("route", "routes", "r")
def route(
    pod: Pod = None,
    file: File = None,
    admin_url: AdminUrl = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    proxy_admin_port: AdminPort = 15000,
    output: Format = Output.short,
    name: Annotated[str, typer.Option("--name", help="Only the route configuration of this name.")] = "",
    verbose: Verbose = True,
) -> None:
    """Routes: NAME, VHOST NAME, DOMAINS, MATCH, VIRTUAL SERVICE."""
    dump = dump_of(target(pod, file, admin_url, namespace, kubeconfig, context, proxy_admin_port))
    found = show_routes.chosen(envoy_dump.routes(dump), name)
    if verbose:
        show(output, found, show_routes.HEADER, show_routes.rows(found))
    else:
        show(output, found, show_routes.SHORT_HEADER, show_routes.short_rows(found))


@aliased("endpoint", "endpoints", "ep")
def endpoint(
    pod: Pod = None,
    file: File = None,
    admin_url: AdminUrl = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    proxy_admin_port: AdminPort = 15000,
    output: Format = Output.short,
    address: Annotated[str, typer.Option("--address", help="Filter by address.")] = "",
    port: Annotated[int, typer.Option("--port", help="Filter by port.")] = 0,
    cluster_name: Annotated[str, typer.Option("--cluster", help="Filter by cluster.")] = "",
    status: Annotated[str, typer.Option("--status", help="Filter by status.")] = "",
) -> None:
    """Endpoints as the proxy uses them: ENDPOINT, STATUS, OUTLIER CHECK, CLUSTER."""
    where = target(pod, file, admin_url, namespace, kubeconfig, context, proxy_admin_port)

    async def ask(proxy: Admin) -> dict[str, Any]:
        return as_json(await proxy.get("clusters?format=json"))

    clusters = run(where, ask)
    wanted = show_clusters.EndpointFilter(address, port, cluster_name, status)
    found = show_clusters.chosen_endpoints(show_clusters.endpoints(clusters), wanted)
    resources = [c for c in clusters.get("cluster_statuses", ()) if c["name"] in {row.cluster for row in found}]
    show(output, resources, show_clusters.ENDPOINT_HEADER, show_clusters.endpoint_rows(found))


@app.command("eds", hidden=True)
def eds(
    pod: Pod = None,
    file: File = None,
    admin_url: AdminUrl = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    proxy_admin_port: AdminPort = 15000,
    output: Format = Output.short,
    address: Annotated[str, typer.Option("--address", help="Filter by address.")] = "",
    port: Annotated[int, typer.Option("--port", help="Filter by port.")] = 0,
    cluster_name: Annotated[str, typer.Option("--cluster", help="Filter by cluster.")] = "",
    status: Annotated[str, typer.Option("--status", help="Filter by status.")] = "",
) -> None:
    """Endpoints as they were configured: NAME, STATUS, LOCALITY, CLUSTER."""
    dump = dump_of(target(pod, file, admin_url, namespace, kubeconfig, context, proxy_admin_port), "?include_eds=true")
    assignments = envoy_dump.configured_endpoints(dump)
    wanted = show_clusters.EndpointFilter(address, port, cluster_name, status)
    found = show_clusters.chosen_endpoints(show_clusters.configured(assignments), wanted)
    show(output, assignments, show_clusters.EDS_HEADER, show_clusters.eds_rows(found))


@aliased("secret", "secrets", "s")
def secret(
    pod: Pod = None,
    file: File = None,
    admin_url: AdminUrl = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    proxy_admin_port: AdminPort = 15000,
    output: Format = Output.short,
) -> None:
    """Certificates: RESOURCE NAME, TYPE, STATUS, VALID CERT, SERIAL NUMBER, NOT AFTER, NOT BEFORE."""
    dump = dump_of(target(pod, file, admin_url, namespace, kubeconfig, context, proxy_admin_port))
    rows = show_secrets.rows(envoy_dump.secrets(dump), datetime.now(UTC))
    if output is Output.short and not rows:
        typer.echo(show_secrets.NONE, nl=False)
        return
    show(output, envoy_dump.section(dump, "SecretsConfigDump"), show_secrets.HEADER, rows)


@aliased("bootstrap", "b")
def bootstrap(
    pod: Pod = None,
    file: File = None,
    admin_url: AdminUrl = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    proxy_admin_port: AdminPort = 15000,
    output: Format = Output.json,
) -> None:
    """What the proxy was started with."""
    found = envoy_dump.bootstrap(
        dump_of(target(pod, file, admin_url, namespace, kubeconfig, context, proxy_admin_port))
    )
    if output is Output.short:
        typer.echo(show_secrets.bootstrap_lines(found), nl=False)
    else:
        typer.echo(rendered(output, found), nl=False)


@aliased("ecds", "ec")
def ecds(
    pod: Pod = None,
    file: File = None,
    admin_url: AdminUrl = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    proxy_admin_port: AdminPort = 15000,
    output: Format = Output.short,
) -> None:
    """Extension configurations: ECDS NAME, TYPE."""
    dump = dump_of(target(pod, file, admin_url, namespace, kubeconfig, context, proxy_admin_port))
    found = envoy_dump.extensions(dump)
    show(output, found, show_secrets.ECDS_HEADER, show_secrets.extension_rows(found))


LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")


@aliased("log", "o")
def log(
    pod: Pod = None,
    admin_url: AdminUrl = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    proxy_admin_port: AdminPort = 15000,
    level: Annotated[str, typer.Option("--level", help=f"[LOGGER:]LEVEL,…; levels are {', '.join(LEVELS)}.")] = "",
    reset: Annotated[bool, typer.Option("-r", "--reset", help="Set every logger to warning.")] = False,
) -> None:
    """Show or set the proxy's log levels."""
    where = target(pod, None, admin_url, namespace, kubeconfig, context, proxy_admin_port)

    async def ask(proxy: Admin) -> str:
        return "".join([await proxy.post(path) for path in logging_paths("warning" if reset else level)])

    answer = run(where, ask)
    name = pod or admin_url or ""
    if pod and "." not in pod:
        name = f"{pod}.{namespace or 'default'}"
    typer.echo(f"{name}:\n{answer}", nl=False)


def logging_paths(level: str) -> list[str]:
    """The admin paths that set these levels; one that only shows them for "". Raises UsageError."""
    paths = []
    for part in filter(None, level.split(",")):
        logger, colon, wanted = part.rpartition(":")
        if wanted not in LEVELS:
            raise UsageError(f"unrecognized logging level: {wanted}; one of {', '.join(LEVELS)}")
        paths.append(f"logging?{logger}={wanted}" if colon and logger != "level" else f"logging?level={wanted}")
    return paths or ["logging"]


@aliased("all", "a")
def everything(
    pod: Pod = None,
    file: File = None,
    admin_url: AdminUrl = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    proxy_admin_port: AdminPort = 15000,
    output: Format = Output.short,
    with_headers: Annotated[bool, typer.Option("--with-headers", help="A heading above each table.")] = False,
    fqdn: Annotated[str, typer.Option("--fqdn", help="Filter clusters by (part of) the FQDN.")] = "",
    direction: Annotated[str, typer.Option("--direction", help="Filter clusters by direction.")] = "",
    subset: Annotated[str, typer.Option("--subset", help="Filter clusters by subset.")] = "",
    address: Annotated[str, typer.Option("--address", help="Filter listeners and endpoints by address.")] = "",
    port: Annotated[int, typer.Option("--port", help="Filter clusters, listeners and endpoints by port.")] = 0,
    kind: Annotated[str, typer.Option("--type", help="Filter listeners by type.")] = "",
    name: Annotated[str, typer.Option("--name", help="Only the route configuration of this name.")] = "",
    verbose: Verbose = True,
) -> None:
    """Bootstrap, clusters, listeners, routes, secrets and endpoints, one after the other."""
    where = target(pod, file, admin_url, namespace, kubeconfig, context, proxy_admin_port)
    dump = dump_of(where, "?include_eds=true")
    if output is not Output.short:
        typer.echo(rendered(output, dump), nl=False)
        return
    wanted = Wanted(
        show_clusters.ClusterFilter(fqdn, direction, subset, port),
        show_listeners.ListenerFilter(address, port, kind),
        name,
        show_clusters.EndpointFilter(address, port, "", ""),
        verbose,
    )
    tables = all_tables(dump, datetime.now(UTC), wanted)
    if with_headers:
        tables = [f"------ {title} INFO ------\n{text}" for title, text in zip(TITLES, tables, strict=True)]
    typer.echo("\n".join(tables), nl=False)


TITLES = ("BOOTSTRAP", "CLUSTER", "LISTENER", "ROUTE", "SECRET", "ENDPOINTS")


class Wanted(NamedTuple):
    """The filters of `all`, those of its parts together."""

    clusters: show_clusters.ClusterFilter = show_clusters.ClusterFilter()
    listeners: show_listeners.ListenerFilter = show_listeners.ListenerFilter()
    route: str = ""
    endpoints: show_clusters.EndpointFilter = show_clusters.EndpointFilter()
    verbose: bool = True


def all_tables(dump: dict[str, Any], now: datetime, wanted: Wanted = Wanted()) -> list[str]:
    """The sections of `all`, in istioctl's order; names carry their kind."""
    clusters = show_clusters.chosen_clusters(envoy_dump.clusters(dump), wanted.clusters)
    listeners = show_listeners.chosen(envoy_dump.listeners(dump), wanted.listeners)
    routes = show_routes.chosen(envoy_dump.routes(dump), wanted.route)
    cluster_names = [f"cluster/{c.get('name', '')}" for c in clusters]
    endpoints = show_clusters.configured(envoy_dump.configured_endpoints(dump))
    endpoints = show_clusters.chosen_endpoints(endpoints, wanted.endpoints)
    secrets = show_secrets.rows(envoy_dump.secrets(dump), now)
    return [
        show_secrets.bootstrap_lines(envoy_dump.bootstrap(dump)),
        table(("NAME", *show_clusters.CLUSTER_HEADER), _named(cluster_names, show_clusters.cluster_rows(clusters))),
        _all_listeners(listeners, wanted.verbose),
        _all_routes(routes, wanted.verbose),
        table(show_secrets.HEADER, _prefixed("secret", secrets)) if secrets else show_secrets.NONE,
        table(show_clusters.EDS_HEADER, _prefixed("endpoint", show_clusters.eds_rows(sorted(endpoints)))),
    ]


def _all_listeners(listeners: Sequence[dict[str, Any]], verbose: bool) -> str:
    if not verbose:
        names = [f"listener/{x.get('name', '')}" for x in listeners]
        return table(("NAME", *show_listeners.SHORT_HEADER), _named(names, show_listeners.short_rows(listeners)))
    names = [f"listener/{x.get('name', '')}" for x in listeners for _ in show_listeners.chains(x)]
    return table(("NAME", *show_listeners.HEADER), _named(names, show_listeners.rows(listeners)))


def _all_routes(routes: Sequence[dict[str, Any]], verbose: bool) -> str:
    if verbose:
        return table(show_routes.HEADER, _prefixed("route", show_routes.rows(routes)))
    return table(show_routes.SHORT_HEADER, _prefixed("route", show_routes.short_rows(routes)))


def _named(names: Sequence[str], rows: Rows) -> list[tuple[str, ...]]:
    return [(name, *row) for name, row in zip(names, rows, strict=True)]


def _prefixed(kind: str, rows: Rows) -> list[tuple[str, ...]]:
    return [(f"{kind}/{row[0]}", *row[1:]) for row in rows]
