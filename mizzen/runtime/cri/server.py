"""The CRI server: the runtime and its gRPC services on a unix socket."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc

from mizzen.runtime.cri.runtime import Runtime
from mizzen.runtime.cri.service import CriService
from mizzen.runtime.cri.streaming.server import StreamingServer
from mizzen.wire import cri

MAX_MESSAGE = 32 << 20


def socket_path(home: Path) -> Path:
    """Where a home's CRI server listens."""
    return home / "cri" / "cri.sock"


@contextlib.asynccontextmanager
async def serving(home: Path, *, runc: str = "runc") -> AsyncIterator[Runtime]:
    """A runtime that serves CRI on `socket_path(home)` for as long as the block lasts. Containers outlive it."""
    runtime = Runtime(home, runc=runc)
    await runtime.start()
    streaming = StreamingServer(runtime)
    await streaming.start()
    options = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.so_reuseport", 0)]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers(cri.handlers(CriService(runtime, streaming)))
    path = socket_path(runtime.home)
    path.unlink(missing_ok=True)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    path.chmod(0o600)
    try:
        yield runtime
    finally:
        await server.stop(0.5)
        await streaming.close()
        await runtime.close()
