"""`mizzen proxy-status` and `mizzen version`.

Not here: reaching istiod (istiod_client.py), rows (proxy_status.py).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
import yaml
from google.protobuf import json_format

import mizzen
from mizzen.api.errors import MizzenError
from mizzen.istioctl import envoy_dump, istiod_client
from mizzen.istioctl.compare import comparison
from mizzen.istioctl.istiod_client import Where
from mizzen.istioctl.outcome import outcome
from mizzen.istioctl.proxy_status import HEADER, istiod_name, rows, statuses, verbose_table
from mizzen.istioctl.reach import Target, admin, as_json, find_pod
from mizzen.istioctl.table import table
from mizzen.kube import CONNECTION_ERRORS, ApiError, Client, load
from mizzen.wire.as_json import as_json as as_json_message

SYNCZ, CONFIG_DUMP = "istio.io/debug/syncz", "istio.io/debug/config_dump"

XdsAddress = Annotated[str, typer.Option("--xds-address", help="HOST:PORT of istiod's xDS; else found in the cluster.")]
Plaintext = Annotated[bool, typer.Option("--plaintext", help="No TLS, no token.")]
IstioNamespace = Annotated[str, typer.Option("-i", "--istioNamespace", help="Namespace of the control plane.")]
Kubeconfig = Annotated[str | None, typer.Option("-c", "--kubeconfig", help="Kubernetes configuration file.")]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")]
XdsPort = Annotated[int, typer.Option("--xds-port", help="istiod's port.")]
Revision = Annotated[str, typer.Option("-r", "--revision", help="Revision of the control plane.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait for an answer.")]


class Output(StrEnum):
    """-o"""

    table = "table"
    json = "json"
    yaml = "yaml"


def ask(where: Where) -> list[Any]:
    """Each istiod's syncz; what goes wrong is one line and exit code 1."""
    return outcome(istiod_client.ask(where, SYNCZ))


def proxy_status(
    pod: Annotated[
        str | None,
        typer.Argument(
            metavar="[TYPE/]NAME[.NAMESPACE]", help="Compare what this pod's proxy has with what it was sent."
        ),
    ] = None,
    xds_address: XdsAddress = "",
    plaintext: Plaintext = False,
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Only proxies of this namespace.")] = "",
    istio_namespace: IstioNamespace = "istio-system",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    xds_port: XdsPort = istiod_client.XDS_PORT,
    revision: Revision = "",
    timeout: Timeout = istiod_client.TIMEOUT_S,
    file: Annotated[str, typer.Option("--file", help="A saved config dump instead of asking the proxy.")] = "",
    proxy_admin_port: Annotated[int, typer.Option("--proxy-admin-port", help="Port of the proxy's admin.")] = 15000,
    verbosity: Annotated[int, typer.Option("-v", "--verbosity", min=0, max=1, help="1 = a column a type.")] = 0,
    output: Annotated[Output, typer.Option("-o", "--output", help="Output format.")] = Output.table,
) -> None:
    """Which proxies are connected, and whether each has what it was sent."""
    where = Where(xds_address, plaintext, istio_namespace, kubeconfig, context, xds_port, revision, timeout)
    if pod is not None or file:
        target = Target(pod, file or None, None, namespace or None, kubeconfig, context, proxy_admin_port)
        typer.echo(compare_one(where, target), nl=False)
        return
    responses = ask(where)
    if output is not Output.table:
        plain = [json_format.MessageToDict(response) for response in responses]
        text = yaml.safe_dump(plain, sort_keys=False) if output is Output.yaml else json.dumps(plain, indent=4) + "\n"
        typer.echo(text, nl=False)
        return
    found = [one for one in statuses(responses, datetime.now(UTC)) if namespace in ("", one.namespace)]
    header, body = (HEADER, rows(found)) if verbosity == 0 else verbose_table(found)
    typer.echo(table(header, body), nl=False)
    for one in found:
        for kind, error in one.errors.items():
            typer.echo(f"{one.name} refuses {kind}: {error}", err=True)


def compare_one(where: Where, target: Target) -> str:
    """What one proxy has beside what it was sent; what goes wrong is one line and exit code 1."""

    async def main() -> str:
        name = target.pod or ""
        async with admin(target._replace(pod=None) if target.file else target) as proxy:
            envoy = as_json(await proxy.get("config_dump"))
        if not name:
            node = envoy_dump.bootstrap(envoy).get("bootstrap", {}).get("node", {})
            name = str(node.get("id", "~~")).split("~")[2]
        elif not target.file:
            async with Client(load(target.kubeconfig, target.context)) as client:
                key = await find_pod(client, name, target.namespace or client.config.namespace)
            name = f"{key.name}.{key.namespace}"
        responses = await istiod_client.ask(where, CONFIG_DUMP, [name])
        sent = {"configs": [as_json_message(r) for r in responses[0].resources]}
        return comparison(sent, envoy)

    return outcome(main())


def version(
    short: Annotated[bool, typer.Option("-s/-S", "--short/--no-short", help="Only versions, no build details.")] = True,
    remote: Annotated[bool, typer.Option("--remote/--no-remote", help="Ask the control plane, too.")] = True,
    xds_address: XdsAddress = "",
    plaintext: Plaintext = False,
    istio_namespace: IstioNamespace = "istio-system",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    revision: Revision = "",
    output: Annotated[str, typer.Option("-o", "--output", help="json or yaml.")] = "",
) -> None:
    """Versions of this program, the control plane and the data plane."""
    where = Where(xds_address, plaintext, istio_namespace, kubeconfig, context, revision=revision)
    responses: list[Any] = []
    if remote:
        try:
            responses = asyncio.run(istiod_client.ask(where, SYNCZ))
        except (MizzenError, ApiError, *CONNECTION_ERRORS) as error:
            typer.echo(f"Istio is not present in the cluster: {error}", err=True)
    info = described(responses)
    if output == "json":
        typer.echo(json.dumps(info, indent=2))
    elif output == "yaml":
        typer.echo(yaml.safe_dump(info, sort_keys=False), nl=False)
    elif output:
        raise typer.BadParameter(f"{output!r} is none of json, yaml", param_hint="--output")
    else:
        typer.echo("".join(lines(info, short, bool(responses))), nl=False)


def described(responses: list[Any]) -> dict[str, Any]:
    """Client, control planes and proxies, as `version -o json` has them."""
    mesh = []
    for response in responses:
        try:
            mesh.append(
                json.loads(response.control_plane.identifier)["Info"]
                | {"ID": istiod_name(response.control_plane.identifier)}
            )
        except (json.JSONDecodeError, KeyError, TypeError):
            continue
    proxies = statuses(responses, datetime.now(UTC))
    return {
        "clientVersion": {"version": mizzen.__version__},
        "meshVersion": [{"Component": "pilot", "Revision": i.get("revision", ""), "Info": i} for i in mesh],
        "dataPlaneVersion": [{"ID": p.name, "IstioVersion": p.version} for p in proxies],
    }


def lines(info: dict[str, Any], short: bool, present: bool) -> list[str]:
    out = [f"client version: {info['clientVersion']['version']}\n"]
    if not present:
        return out
    versions = sorted({m["Info"].get("version", "unknown") for m in info["meshVersion"]})
    if short and len(versions) == 1:
        out.append(f"control plane version: {versions[0]}\n")
    else:
        out += [f"{m['Component']} version: {json.dumps(m['Info'])}\n" for m in info["meshVersion"]]
    counts = Counter(p["IstioVersion"] for p in info["dataPlaneVersion"])
    shown = ", ".join(f"{v} ({n} {'proxy' if n == 1 else 'proxies'})" for v, n in sorted(counts.items()))
    out.append(f"data plane version: {shown or 'none'}\n")
    return out
