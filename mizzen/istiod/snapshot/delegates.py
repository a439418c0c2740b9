"""Delegates: VirtualServices without hosts whose routes are merged into the roots that name them.

Takes all VirtualServices, oldest first, names resolved; gives those that take part in routing.
"""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.api.istio.networking import VirtualService


def merge_delegates(
    virtual_services: tuple[VirtualService, ...], default_export: Iterable[str]
) -> tuple[VirtualService, ...]:
    """Only VirtualServices with hosts take part on their own."""
    return tuple(vs for vs in virtual_services if vs.spec.hosts)
