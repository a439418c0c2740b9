"""`mizzen proxy` as a subcommand: the data plane takes the place of the command line's process.

The command line's libraries cost a sidecar 20 MB that it never needs, so the process image is replaced; the pid stays.
"""

from __future__ import annotations

import os
import sys

import typer


def command(ctx: typer.Context) -> None:
    """The data plane: serve an Envoy bootstrap (Envoy's flags; --help lists them)."""
    os.execv(sys.executable, [sys.executable, "-m", "mizzen.proxy", *ctx.args])


command.command_options = {  # type: ignore[attr-defined]
    "add_help_option": False,
    "context_settings": {"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False},
}
