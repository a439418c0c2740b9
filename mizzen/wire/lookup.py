"""Message types by name: the module that defines one is imported when it is first asked for.

Takes full names or type URLs ("type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"), fills the default pool.
Not here: messages without a package of their own (schema.py, istio.py).
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from mizzen.wire.schema import pool


@cache
def ensure(full_name: str) -> bool:
    """Whether a message type is known, after its package's modules were imported."""
    if _known(full_name):
        return True
    package = full_name.rpartition(".")[0]
    while package:
        if _import_all(package) and _known(full_name):
            return True
        package = package.rpartition(".")[0]
    return False


def _known(full_name: str) -> bool:
    try:
        pool().FindMessageTypeByName(full_name)
    except KeyError:
        return False
    return True


def _import_all(package: str) -> bool:
    """Import the message modules of a package; whether there is such a package."""
    root = package.partition(".")[0]
    if root not in ("envoy", "udpa", "xds", "google", "opentelemetry", "validate"):
        return False
    try:
        found = import_module(package)
    except ImportError:
        return False
    for module in pkgutil.iter_modules(getattr(found, "__path__", ())):
        if module.name.endswith("_pb2"):
            import_module(f"{package}.{module.name}")
    return True


def ensure_types(value: Any) -> list[str]:
    """Import every type that a JSON value names with `@type`; gives the names of those that are not known."""
    missing: list[str] = []
    if isinstance(value, Mapping):
        url = value.get("@type")
        if isinstance(url, str) and not ensure(url.rpartition("/")[2]):
            missing.append(url)
        for inner in value.values():
            missing += ensure_types(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            missing += ensure_types(inner)
    return missing
