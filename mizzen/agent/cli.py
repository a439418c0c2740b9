"""The entry of `mizzen agent` in the command line; it hands its arguments on as they are.

Not here: the commands (main.py), which run without typer when started as `python -m mizzen agent`.
"""

from __future__ import annotations

import sys

import typer

from mizzen.agent.main import run


def agent(ctx: typer.Context) -> None:
    """Stand beside a proxy (pilot-agent's commands: proxy, request, wait, version, istio-iptables)."""
    sys.exit(run(ctx.args))


agent.command_options = {  # type: ignore[attr-defined]
    "add_help_option": False,
    "context_settings": {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
}
