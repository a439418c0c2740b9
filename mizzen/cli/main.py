"""The command `mizzen`: one ordered list of subcommands, each imported only when it is called.

A target is `module:name`; the name is a typer.Typer, or a function that typer turns into a command.
Not here: what the commands do; each room has its own commands module.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Entry(NamedTuple):
    """One subcommand: its name, where it is, one line of help, and the heading it is listed under."""

    name: str
    target: str
    help: str
    panel: str


MESH, INSPECT, PARTS = "The mesh on this machine", "Check and inspect", "Parts, each on its own"

COMMANDS: tuple[Entry, ...] = (
    Entry("up", "mizzen.up.commands:up", "Start a mesh on this machine", MESH),
    Entry("down", "mizzen.up.commands:down", "Stop it and remove what it made", MESH),
    Entry("status", "mizzen.up.commands:status", "Say whether it runs", MESH),
    Entry("analyze", "mizzen.istioctl.analyze.command:analyze", "Check a mesh's objects against each other", INSPECT),
    Entry("validate", "mizzen.istioctl.validate:validate", "Check manifests by schema and admission rules", INSPECT),
    Entry("xds", "mizzen.istiod.commands:xds", "What proxies are served", INSPECT),
    Entry("kube-inject", "mizzen.istiod.inject.commands:kube_inject", "Inject the proxy into a manifest", INSPECT),
    Entry(
        "proxy-status",
        "mizzen.istioctl.proxy_status_commands:proxy_status",
        "Which proxies are connected, and whether each is in sync",
        INSPECT,
    ),
    Entry(
        "proxy-config", "mizzen.istioctl.proxy_config_commands:app", "What a proxy has been configured with", INSPECT
    ),
    Entry("describe", "mizzen.istioctl.describe_commands:app", "What the mesh does with a pod or a Service", INSPECT),
    Entry("explain", "mizzen.istioctl.explain_command:explain_request", "Where a pod's request goes, and why", INSPECT),
    Entry("tag", "mizzen.istioctl.tag_commands:app", "Second names of a control plane's revisions", INSPECT),
    Entry("experimental", "mizzen.istioctl.experimental:app", "istioctl's experimental commands", INSPECT),
    Entry("x", "mizzen.istioctl.experimental:app", "The same", INSPECT),
    Entry(
        "version",
        "mizzen.istioctl.proxy_status_commands:version",
        "Versions of this program, the control plane and the proxies",
        INSPECT,
    ),
    Entry("agent", "mizzen.agent.cli:agent", "Stand beside a proxy in a pod (pilot-agent)", PARTS),
    Entry(
        "iptables", "mizzen.cni.rules.cli:iptables", "Lead a pod's traffic through its sidecar (istio-iptables).", PARTS
    ),
    Entry(
        "istiod", "mizzen.istiod.server.commands:istiod", "Run the control plane: xDS, certificates, webhooks", PARTS
    ),
    Entry("apiserver", "mizzen.runtime.apiserver.commands:apiserver", "Run the Kubernetes API server", PARTS),
    Entry("node", "mizzen.runtime.node_command:node", "Run a node: runtime, kubelet, Services, DNS", PARTS),
    Entry("cni", "mizzen.cni.commands:cni", "Be a CNI plugin, or install them", PARTS),
    Entry("controller-manager", "mizzen.runtime.commands:controller_manager", "Run the controllers", PARTS),
    Entry("scheduler", "mizzen.runtime.commands:scheduler", "Run the scheduler", PARTS),
    Entry("proxy", "mizzen.proxy.cli:command", "The data plane: serve an Envoy bootstrap", PARTS),
)

BY_NAME = {entry.name: entry for entry in COMMANDS}


def load(entry: Entry) -> Any:
    """The command (typer's, of its own copy of click) behind an entry's target."""
    module, _, name = entry.target.partition(":")
    target = getattr(import_module(module), name)
    if not isinstance(target, typer.Typer):
        app = typer.Typer(add_completion=False)
        # Envoy's and istioctl's flags may have one dash or unknown companions; each command says so itself.
        app.command(name=entry.name, **getattr(target, "command_options", {}))(target)
        target = app
    command = typer.main.get_command(target)
    command.name = entry.name
    return command


class LazyGroup(TyperGroup):
    """A group that knows its commands' names without importing them."""

    listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        return [entry.name for entry in COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = BY_NAME.get(cmd_name)
        if entry is None:
            return None
        if self.listing:
            return TyperCommand(entry.name, help=entry.help, rich_help_panel=entry.panel)
        return load(entry)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self.listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self.listing = False


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="mizzen: Istio's APIs, Envoy's xDS and Kubernetes' API on one machine, in seconds.",
)


@app.callback()
def _root() -> None:
    """The root of the commands; it has no options of its own."""


def main(argv: list[str] | None = None) -> Any:
    """Run the command line; argv without the program's name, sys.argv's when None. Exits the process."""
    return app(args=argv, prog_name="mizzen")
