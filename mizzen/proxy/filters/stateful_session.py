"""envoy.filters.http.stateful_session: nothing as configured without a session state, which is how meshes send it by default.

Refused: session states (cookie, header). Source: envoy.extensions.filters.http.stateful_session.v3.
"""

from __future__ import annotations

from typing import Any

from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.filters.base import DISABLED


def http_filter(config: Any, server: Any, hcm: Any) -> None:
    if config.HasField("session_state"):
        raise Unsupported(f"StatefulSession.session_state {config.session_state.name}")


def route_config(config: Any, server: Any) -> Any:
    if config.WhichOneof("override") == "disabled":
        return DISABLED
    http_filter(config.stateful_session, server, None)
    return None
