"""The server's parts, as handlers and admission see them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .cache import Cache, Item
from .resources import Registry

if TYPE_CHECKING:
    from ..store.base import Store
    from .admission.base import Chain
    from .allocate import Allocators
    from .auth.authn import Authenticator
    from .auth.rbac import Rbac
    from .auth.tokens import Signer
    from .server import ApiServer

Object = dict[str, Any]


class Parts:
    """Everything that answering a request may need."""

    def __init__(self, store: Store, cache: Cache, registry: Registry) -> None:
        self.store, self.cache, self.registry = store, cache, registry
        self.stopping = asyncio.Event()
        self.admission: Chain
        self.authenticator: Authenticator
        self.rbac: Rbac
        self.signer: Signer
        self.allocators: Allocators
        self.kubelet_tls: Any = None  # ssl context towards kubelets, None: plain HTTP

    def started(self, server: ApiServer) -> None:
        """Called once everything above is there."""
        self.server = server

    def item(self, plural: str, namespace: str, name: str, group: str = "") -> Item | None:
        """A cached object of a built-in resource."""
        collection = self.registry.get(plural, group).collection
        return collection.items.get(f"{namespace}/{name}" if namespace else name)

    def lookup(self, plural: str, namespace: str, name: str) -> Object | None:
        item = self.item(plural, namespace, name)
        return item.shared if item else None
