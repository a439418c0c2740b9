"""The one ordered list of admission plug-ins; the order is kube-apiserver's."""

from __future__ import annotations

from .base import Base, Chain
from .lifecycle import NamespaceLifecycle


def default_chain() -> Chain:
    plugins: list[Base] = [
        NamespaceLifecycle(),
    ]
    return Chain(plugins)
