"""The conversation between the processes of two epochs: one JSON object each way over a Unix socket, with file descriptors.

A message is four bytes of length (network order), which carry the descriptors (SCM_RIGHTS), and as many bytes of JSON.
Not here: what is asked (child.py) and answered (parent.py).
"""

from __future__ import annotations

import json
import os
import socket
import struct
from dataclasses import dataclass
from typing import Any

VERSION = "mizzen.1"  # of the conversation: what /hot_restart_version tells
DEFAULT_PATH = "@envoy_domain_socket"
MAX_BYTES = 64 << 20
MAX_FDS = 8
PATIENCE_S = 5.0  # how long one side waits for bytes of the other


@dataclass(frozen=True)
class Flags:
    """What the command line says of hot restarts."""

    base_id: int = 0
    epoch: int = 0
    socket_path: str = DEFAULT_PATH  # with @ in front: in the abstract namespace
    socket_mode: int = 0o600
    skip_on_no_parent: bool = False
    skip_parent_stats: bool = False

    def name(self, epoch: int) -> str:
        """The address at which the process of an epoch answers the next one."""
        text = f"{self.socket_path}_{self.base_id}_{epoch}"
        return "\0" + text[1:] if text.startswith("@") else text


def send(sock: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    data = json.dumps(message).encode()
    head = struct.pack("!I", len(data))
    if fds:
        socket.send_fds(sock, [head], list(fds))
        sock.sendall(data)
    else:
        sock.sendall(head + data)


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The next message and its descriptors. Raises ConnectionError at the end, OSError for anything else."""
    head, fds, _, _ = socket.recv_fds(sock, 4, MAX_FDS)
    while head and len(head) < 4:
        head += sock.recv(4 - len(head)) or b"\xff" * 4
    if not head:
        raise ConnectionError("the other process has gone")
    (length,) = struct.unpack("!I", head[:4])
    data = bytearray()
    while length <= MAX_BYTES and len(data) < length:
        part = sock.recv(min(length - len(data), 1 << 20))
        if not part:
            break
        data += part
    if len(data) != length:
        for fd in fds:
            os.close(fd)
        raise ConnectionError("a message was cut off")
    return json.loads(data), fds
