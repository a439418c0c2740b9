"""A gRPC health check: grpc.health.v1.Health/Check. Imported when an application has such a probe."""

from __future__ import annotations

from pathlib import Path

from mizzen.agent.channel import Target
from mizzen.agent.grpc_stream import CallFailed
from mizzen.agent.http1 import bracketed
from mizzen.agent.protowire import field, fields

METHOD = "/grpc.health.v1.Health/Check"
SERVING = 1


async def check(host: str, port: int, service: str, timeout_s: float) -> bool:
    """Whether the service says SERVING."""
    target = Target(f"{bracketed(host)}:{port}", Path(), plaintext=True)
    try:
        answer = await target.unary(METHOD, field(1, service), (), timeout_s)
    except CallFailed:
        return False
    finally:
        await target.renew()
    return any(number == 1 and value == SERVING for number, value in fields(answer))
