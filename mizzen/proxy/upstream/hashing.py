"""Hash policies: the number of a request that consistent hashing places on a ring or in a table.

Not here: rings and tables (ring_hash.py, maglev.py). Source: envoy.config.route.v3.RouteAction.HashPolicy.
"""

from __future__ import annotations

from typing import Any

from mizzen.proxy.config.errors import Unsupported


def hash_policies(messages: Any) -> tuple[Any, ...]:
    """The compiled hash policies of a route."""
    if messages:
        raise Unsupported("RouteAction.hash_policy")
    return ()
