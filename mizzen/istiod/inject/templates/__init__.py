"""The built-in templates: functions from a pod's Context to a patch of the pod, merged strategically.

One file per template; `BUILT_IN` is the list. A user's own templates are plain patches (config.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mizzen.istiod.inject.config import Object
from mizzen.istiod.inject.templates.context import Context
from mizzen.istiod.inject.templates.gateway import gateway
from mizzen.istiod.inject.templates.grpc import grpc_agent, grpc_simple
from mizzen.istiod.inject.templates.sidecar import sidecar

BUILT_IN: Mapping[str, Callable[[Context], Object]] = {
    "sidecar": sidecar,
    "gateway": gateway,
    "grpc-agent": grpc_agent,
    "grpc-simple": grpc_simple,
}

__all__ = ["BUILT_IN", "Context"]
