"""A gRPC call as its method sees it, whichever server it came through.

A method is a coroutine function that is given a `Call`; it reads messages, sends messages, and the call ends with it:
OK when it returns, the status of Refused when it raises that. Not here: servers (server.py is our own, grpcio.py the
one of the library).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from mizzen.wire.grpc_status import Status

log = logging.getLogger(__name__)

MAX_RECEIVE = 4 << 20  # bytes of a message; ISTIO_GPRC_MAXRECVMSGSIZE


class Call(Protocol):
    """One call. peer: the caller's address as text; uris: of its verified certificate; metadata: its headers.

    quick: may take a message at once, instead of the reader that waits for it. on_writable: see `writable`.
    """

    path: str
    peer: str
    uris: Sequence[str]
    metadata: Mapping[str, str]
    quick: Callable[[bytes], bool]
    on_writable: Callable[[], None]

    async def read(self) -> bytes | None:
        """The next message that `quick` did not take; None when the caller has said its last or is gone."""

    def writable(self) -> bool:
        """Whether what was sent has all been handed on, and more is welcome; if not, `on_writable` is called once when
        it has become so.
        """

    def send(self, message: bytes) -> None:
        """Queue a message. Nothing happens once the call is over."""

    def finish(self, code: Status, details: str = "") -> None:
        """End the call, behind what has been sent."""


Method = Callable[[Call], Awaitable[None]]


class Refused(Exception):
    """The call is ended with this status."""

    def __init__(self, code: Status, details: str) -> None:
        super().__init__(details)
        self.code, self.details = code, details


async def run(method: Method, call: Call) -> None:
    """A call from beginning to end."""
    try:
        await method(call)
    except Refused as refused:
        call.finish(refused.code, refused.details)
    except asyncio.CancelledError:
        call.finish(Status.UNAVAILABLE, "the server is going away")
        raise
    except Exception:  # our bug, in one call: the others go on
        log.exception("%s of %s", call.path, call.peer)
        call.finish(Status.INTERNAL, "internal error")
    else:
        call.finish(Status.OK)


def address(peername: object) -> str:
    """A peer's address as gRPC writes it: ipv4:127.0.0.1:80, ipv6:%5B::1%5D:80, unix:."""
    if isinstance(peername, tuple) and len(peername) >= 2:
        host, port = peername[0], peername[1]
        return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"
    return "unix:"
