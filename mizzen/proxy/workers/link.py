"""A pair of connected sockets between the main process and a worker: messages both ways, and descriptors with them.

A message is a tuple of what `marshal` knows: both ends are forks of one process. Reading and writing are the loop's; nothing
blocks. Not here: what the messages say (main.py, member.py).
"""

from __future__ import annotations

import asyncio
import marshal
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

HEAD = struct.Struct("!I?")  # length of what follows, whether a descriptor came with it
READ_BYTES = 1 << 18


class Link:
    """One end. `took(message, descriptor)` gets each message, `over()` is called once, at the end."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        took: Callable[[tuple[Any, ...], int | None], None],
        over: Callable[[], None],
    ) -> None:
        self._loop, self._sock, self._took, self._over = loop, sock, took, over
        self._in = bytearray()
        self._fds: deque[int] = deque()
        self._out: deque[tuple[memoryview, int | None]] = deque()
        self._writing = self.closed = False
        sock.setblocking(False)
        loop.add_reader(sock.fileno(), self._readable)

    def send(self, message: tuple[Any, ...], descriptor: int | None = None) -> None:
        """Queue a message; a descriptor is duplicated, so that the caller may close its own."""
        if self.closed:
            return
        data = marshal.dumps(message)
        own = None if descriptor is None else os.dup(descriptor)
        self._out.append((memoryview(HEAD.pack(len(data), own is not None) + data), own))
        if not self._writing:
            self._writable()

    def _writable(self) -> None:
        while self._out:
            data, descriptor = self._out.popleft()
            try:
                if descriptor is None:
                    sent = self._sock.send(data)
                else:
                    sent = socket.send_fds(self._sock, [data], [descriptor])
                    os.close(descriptor)
                    descriptor = None
            except BlockingIOError:
                sent = 0
            except OSError:
                self._out.appendleft((data, descriptor))
                self.close()
                return
            if sent < len(data):
                self._out.appendleft((data[sent:], descriptor))
                if not self._writing:
                    self._writing = True
                    self._loop.add_writer(self._sock.fileno(), self._writable)
                return
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, READ_BYTES, 8)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        self._fds.extend(fds)
        if not data:
            self.close()
            return
        self._in += data
        while len(self._in) >= HEAD.size and not self.closed:
            length, with_descriptor = HEAD.unpack_from(self._in)
            end = HEAD.size + length
            if len(self._in) < end:
                return
            message = marshal.loads(self._in[HEAD.size : end])
            del self._in[:end]
            self._took(message, self._fds.popleft() if with_descriptor else None)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._sock.fileno())
        if self._writing:
            self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        for fd in self._fds:
            os.close(fd)
        for _, waiting in self._out:
            if waiting is not None:
                os.close(waiting)
        self._over()
