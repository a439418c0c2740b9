"""Connecting to a host: a socket, TLS on it when the cluster asks, within the connect timeout.

`dial` starts and returns at once; the protocol hears `connection_made(transport)` or `connect_failed(reason, text)`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any, NamedTuple

from mizzen.proxy.net.addresses import Address

TASKS: set[asyncio.Task[None]] = set()


class Keepalive(NamedTuple):
    """TCP keepalive: probes, seconds to the first, seconds between; 0 leaves the system's value."""

    probes: int = 0
    time_s: int = 0
    interval_s: int = 0


def keepalive_on(sock: Any, keepalive: Keepalive) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPCNT, keepalive.probes),
        (socket.TCP_KEEPIDLE, keepalive.time_s),
        (socket.TCP_KEEPINTVL, keepalive.interval_s),
    ):
        if value:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


class Attempt:
    """Stands between the socket and the protocol until the connection is usable, so that failures have one place."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.done = False
        self.transport: Any = None

    def fail(self, reason: str, text: str | None) -> None:
        if not self.done:
            self.done = True
            self.protocol.connect_failed(reason, text)
            if self.transport is not None:
                self.transport.abort()

    def established(self, transport: Any) -> bool:
        if self.done:
            return False
        self.done = True
        self.protocol.connection_made(transport)
        return True


class Plain:
    """The first protocol of a plaintext connection: hands over to the real one."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt

    def connection_made(self, transport: Any) -> None:
        attempt = self.attempt
        attempt.transport = transport
        if attempt.done:
            transport.abort()
            return
        transport.set_protocol(attempt.protocol)
        attempt.established(transport)

    def connection_lost(self, error: BaseException | None) -> None:
        pass

    def data_received(self, data: bytes) -> None:
        pass

    def eof_received(self) -> bool:
        return False


def dial(
    loop: asyncio.AbstractEventLoop,
    address: Address,
    protocol: Any,
    timeout_s: float,
    tls: Any = None,
    source: Address | None = None,
    keepalive: Keepalive | None = None,
    preamble: bytes = b"",
) -> Attempt:
    """Begin to connect. `tls` is a factory of a TLS layer: tls(attempt) → first protocol. `preamble` goes out before all."""
    attempt = Attempt(protocol)
    first = Plain(attempt) if tls is None else tls(attempt)
    task = loop.create_task(
        _connect(loop, address, attempt, first, timeout_s, source, keepalive, preamble), name=f"dial {address[0]}"
    )
    TASKS.add(task)
    task.add_done_callback(TASKS.discard)
    return attempt


async def _connect(
    loop: asyncio.AbstractEventLoop,
    address: Address,
    attempt: Attempt,
    first: Any,
    timeout_s: float,
    source: Address | None,
    keepalive: Keepalive | None,
    preamble: bytes,
) -> None:
    host, port = address
    if tls_timer_needed := not isinstance(first, Plain):
        timer = loop.call_later(timeout_s, attempt.fail, "connection timeout", None)
    try:
        async with asyncio.timeout(timeout_s):
            if port < 0:
                transport, _ = await loop.create_unix_connection(
                    lambda: first, "\0" + host[1:] if host.startswith("@") else host
                )
            elif preamble or keepalive or source:
                sock = await _socket(loop, host, port, source, keepalive)
                if preamble:
                    await loop.sock_sendall(sock, preamble)
                transport, _ = await loop.create_connection(lambda: first, sock=sock)  # noqa: RUF059
            else:
                _transport, _ = await loop.create_connection(lambda: first, host, port)
        if tls_timer_needed:
            first.timer = timer
    except TimeoutError:
        attempt.fail("connection timeout", None)
    except OSError as error:
        number = error.errno
        if number is None and isinstance(error.__cause__, OSError):
            number = error.__cause__.errno
        if isinstance(error, socket.gaierror):
            attempt.fail("local connection failure", f"immediate connect error: {error.strerror}")
            return
        text = os.strerror(number) if number else str(error)
        at_once = number in (101, 99, 22, 97, 13)  # no network, no such address …: connect() itself failed
        reason = "local connection failure" if at_once else "remote connection failure"
        attempt.fail(reason, f"{'immediate' if at_once else 'delayed'} connect error: {text}")
    finally:
        if tls_timer_needed and attempt.done:
            timer.cancel()


async def _socket(
    loop: Any, host: str, port: int, source: Address | None, keepalive: Keepalive | None
) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if keepalive is not None:
            keepalive_on(sock, keepalive)
        if source is not None:
            if source[1] == 0:
                sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: the port is chosen at connect
            sock.bind(source)
        await loop.sock_connect(sock, (host, port))
    except BaseException:
        sock.close()
        raise
    return sock
