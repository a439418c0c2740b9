"""The process that workers are forked from: all that a proxy needs is loaded in it, and no loop or thread runs.

Made before the main process starts its loop, so that a worker can be forked at any time, after a crash too, and shares the
memory of what was loaded. It dies with the main process, and its workers with it. Not here: what a worker does (member.py).
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import struct
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # linux/prctl.h
NUMBER = struct.Struct("!I")


class Nursery:
    """The main process's handle of it. `work(number, sock)` is what a worker runs; its answer is the exit code."""

    def __init__(self, work: Callable[[int, socket.socket], int]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        gc.collect()
        gc.freeze()
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            code = 1
            try:
                die_with(parent)
                code = tend(theirs, work)
            finally:
                os._exit(code)
        theirs.close()
        self._sock = ours

    def fork(self, number: int, sock: socket.socket) -> None:
        """Have a worker made that holds this end of a pair. Raises OSError when the nursery is gone."""
        socket.send_fds(self._sock, [NUMBER.pack(number)], [sock.fileno()])

    def close(self) -> None:
        """Its workers live on until their pairs are closed."""
        self._sock.close()
        os.waitpid(self.pid, 0)


def die_with(parent: int) -> None:
    """Be killed when the parent ends, however it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it ended before


def tend(orders: socket.socket, work: Callable[[int, socket.socket], int]) -> int:
    """Fork a worker for each order, until the main process closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's interrupt is the main process's to handle
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for workers
    me = os.getpid()
    while True:
        data, fds, _, _ = socket.recv_fds(orders, NUMBER.size, 1)
        if not data:
            return 0
        sock = socket.socket(fileno=fds[0])
        if os.fork() == 0:
            die_with(me)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            orders.close()
            return work(NUMBER.unpack(data)[0], sock)
        sock.close()
