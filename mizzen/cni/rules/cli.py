"""The entry of `mizzen iptables` in the command line; it hands its arguments on as they are.

Not here: the flags (commands.py), which are read without typer when the command is started as `python -m mizzen`.
"""

from __future__ import annotations

import sys

import typer

from mizzen.cni.rules.commands import run


def iptables(ctx: typer.Context) -> None:
    """Lead a pod's traffic through its sidecar (istio-iptables' flags and environment)."""
    sys.exit(run(ctx.args))


iptables.command_options = {  # type: ignore[attr-defined]
    "add_help_option": False,
    "context_settings": {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
}
