"""Proves that the rules work: a connection to a loopback address must arrive at the inbound port, with its destination.

Source: Istio's `istio-iptables --run-validation`; failing is exit status 126, which istio-cni's repair looks for.
"""

from __future__ import annotations

import os
import socket
import struct
import threading

SO_ORIGINAL_DST = 80
FAILED_STATUS = 126


def original_destination(sock: socket.socket) -> tuple[str, int]:
    """Where a redirected IPv4 connection was going; raises OSError without a NAT entry."""
    raw = sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
    port, address = struct.unpack_from("!2xH4s", raw)
    return socket.inet_ntoa(address), port


def validate(
    *, proxy_port: int, inbound_port: int, probe_port: int, timeout_s: float, host: str = "127.0.0.6"
) -> str | None:
    """None when a connection to host:probe_port came to the inbound listener; else why not."""
    listeners = [socket.create_server(("127.0.0.1", port)) for port in (proxy_port, inbound_port)]
    seen: list[tuple[str, int]] = []
    arrived = threading.Event()

    def accept(listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            try:
                seen.append(original_destination(connection))
            except OSError:
                return
            arrived.set()

    threads = [threading.Thread(target=accept, args=(listener,), daemon=True) for listener in listeners]
    for thread in threads:
        thread.start()
    try:
        with socket.create_connection((host, probe_port), timeout_s):
            arrived.wait(timeout_s)
    except OSError as error:
        return f"no connection to {host}:{probe_port}: {os.strerror(error.errno) if error.errno else error}"
    finally:
        for listener in listeners:
            listener.close()
    if (host, probe_port) not in seen:
        return f"the connection to {host}:{probe_port} did not arrive with its destination (saw {seen or 'none'})"
    return None
