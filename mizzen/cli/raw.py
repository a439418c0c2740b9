"""Commands that read their own arguments, started without typer: they run in every pod, where 100 ms and 10 MB count.

A target is `module:function`; the function takes the arguments after the command's name and returns the exit status.
Their entries in mizzen.cli.main lead to the same functions. Not here: what the commands do.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

RAW = {
    "agent": "mizzen.agent.main:run",
    "iptables": "mizzen.cni.rules.commands:run",
}


def run_raw(argv: Sequence[str]) -> None:
    """Runs the raw command that argv names and exits the process; returns when argv names none."""
    target = RAW.get(argv[0]) if argv else None
    if target is not None:
        module, _, name = target.partition(":")
        sys.exit(getattr(import_module(module), name)(argv[1:]))
