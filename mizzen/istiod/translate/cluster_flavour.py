"""What of a proxy its outbound clusters depend on, as one hashable value: proxies of one flavour get equal clusters."""

from __future__ import annotations

from typing import NamedTuple

from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.connection_settings import settings_of
from mizzen.istiod.translate.filters import abilities
from mizzen.istiod.translate.filters.context import proxy_config


class Flavour(NamedTuple):
    """exchange: runs TCP metadata exchange; family: V4_ONLY or V6_ONLY; preserve_case: of HTTP/1 header names;
    file_credentials: has a cluster of its own for certificates in files; buffer_limit: bytes per upstream connection."""

    router: bool
    exchange: bool
    family: str
    preserve_case: bool
    file_credentials: bool
    buffer_limit: int | None


def flavour_of(snap: Snapshot, node: Node) -> Flavour:
    """The flavour of a proxy."""
    config = proxy_config(snap, node)
    headers, connection = config.proxy_headers, settings_of(config, node)
    return Flavour(
        router=node.is_router,
        exchange=abilities.can_run(node, abilities.METADATA_EXCHANGE),
        family="V4_ONLY" if node.supports_ipv4 else "V6_ONLY",
        preserve_case=headers is not None and headers.preserve_http1_header_case is True,
        file_credentials=node.text("file-credential") == "true",
        buffer_limit=connection.cluster_per_connection_buffer_limit_bytes if connection is not None else None,
    )
