"""How a command that asks others ends: with their answer, or with one line of what went wrong and exit code 1."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer

from mizzen.api.errors import MizzenError
from mizzen.kube import CONNECTION_ERRORS, ApiError

T = TypeVar("T")


def outcome(work: Coroutine[Any, Any, T]) -> T:
    """Runs it. Raises typer.Exit when a peer, the API server or the user's words are at fault."""
    try:
        return asyncio.run(work)
    except (MizzenError, ApiError, *CONNECTION_ERRORS) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
