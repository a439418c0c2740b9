"""The supervisor: a small process that outlives the runtime server and holds the containers.

It is the subreaper below which runc leaves the containers' first processes: it collects their exit codes
(`exit.json` in the bundle's directory), copies their output into CRI logs, and serves attach. One for all containers of a
home; standard library only, so that it starts in 20 ms and stays small.
Speaks JSON lines on a unix socket: {"op": "run"|"list"|"reopen"|"watch"|"attach"|"quit", …}; after the answer to `attach` the
connection carries frames: channel (0 stdin, 1 stdout, 2 stderr, 4 resize as JSON), length (4 bytes, big endian), data;
an empty frame on channel 0 closes stdin.
Not here: bundles, cgroups, networks, policies of any kind (server.py and its neighbours).
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[3])] if __name__ == "__main__" else []

from mizzen.runtime.cri.crilog import LogLines  # noqa: E402

PR_SET_CHILD_SUBREAPER = 36
READ_SIZE = 65536
ATTACH_BACKLOG = 4 << 20  # bytes an attached client may lag behind before it is dropped


class Peer:
    """One connection; writes what does not fit later."""

    def __init__(self, shim: Shim, sock: socket.socket) -> None:
        self.shim, self.sock = shim, sock
        self.inbox, self.outbox = bytearray(), bytearray()
        self.container: Container | None = None
        self.watching = False
        sock.setblocking(False)
        shim.loop.register(sock, selectors.EVENT_READ, self.ready)

    def ready(self, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self.flush()
        if mask & selectors.EVENT_READ:
            try:
                data = self.sock.recv(READ_SIZE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            self.inbox += data
            self.consume()

    def consume(self) -> None:
        while self.container is None and (end := self.inbox.find(b"\n")) >= 0:
            line = bytes(self.inbox[:end])
            del self.inbox[: end + 1]
            self.shim.request(self, json.loads(line))
        while self.container is not None and len(self.inbox) >= 5:
            channel, size = struct.unpack_from(">BI", self.inbox)
            if len(self.inbox) < 5 + size:
                break
            data = bytes(self.inbox[5 : 5 + size])
            del self.inbox[: 5 + size]
            self.container.input(channel, data)

    def answer(self, **fields: Any) -> None:
        self.send(json.dumps(fields).encode() + b"\n")

    def frame(self, channel: int, data: bytes) -> None:
        if len(self.outbox) > ATTACH_BACKLOG:
            self.close()
        else:
            self.send(struct.pack(">BI", channel, len(data)) + data)

    def send(self, data: bytes) -> None:
        self.outbox += data
        self.flush()

    def flush(self) -> None:
        try:
            while self.outbox:
                del self.outbox[: self.sock.send(self.outbox)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self.sock.fileno() >= 0:
            mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.outbox else 0)
            self.shim.loop.modify(self.sock, mask, self.ready)

    def close(self) -> None:
        if self.sock.fileno() < 0:
            return
        self.shim.loop.unregister(self.sock)
        self.sock.close()
        self.shim.peers.discard(self)
        if self.container is not None:
            self.container.left(self)


class Container:
    """One running container: its pipes or terminal, its log, its attached clients."""

    def __init__(self, shim: Shim, spec: dict[str, Any], peer: Peer) -> None:
        self.shim, self.peer = shim, peer
        self.id: str = spec["id"]
        self.directory = Path(spec["dir"])
        self.stdin_once: bool = spec.get("stdin_once", False)
        self.clients: set[Peer] = set()
        self.lines = {1: LogLines("stdout"), 2: LogLines("stderr")}
        self.outputs: dict[int, int] = {}  # channel: file descriptor
        self.stdin_fd = -1
        self.pending = bytearray()
        self.pid, self.started_ns = 0, 0
        self.exited: tuple[int, int] | None = None
        self.log = self.open_log(spec.get("log"))
        self.console: socket.socket | None = None
        self.tty: bool = spec.get("tty", False)
        self.runc = self.start(spec)

    @staticmethod
    def open_log(path: str | None) -> int:
        if not path:
            return -1
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def start(self, spec: dict[str, Any]) -> subprocess.Popen[bytes]:
        command = [*spec["runc"], "run", "--detach", "--bundle", spec["dir"], "--pid-file", str(self.directory / "pid")]
        stdin: int = subprocess.DEVNULL
        stdout = stderr = -1
        ends: list[int] = []
        if self.tty:
            stdout = stderr = os.open(self.directory / "runc.out", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            ends.append(stdout)
            path = str(self.directory / "tty.sock")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            self.console = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.console.bind(path)
            self.console.listen(1)
            self.shim.loop.register(self.console, selectors.EVENT_READ, self.take_console)
            command += ["--console-socket", path]
        else:
            out, stdout = os.pipe()
            err, stderr = os.pipe()
            ends += [stdout, stderr]
            self.watch_output(1, out)
            self.watch_output(2, err)
            if spec.get("stdin"):
                stdin, self.stdin_fd = os.pipe()
                os.set_blocking(self.stdin_fd, False)
                ends.append(stdin)
        process = subprocess.Popen(
            [*command, self.id], stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
        )
        for end in ends:
            os.close(end)
        return process

    def watch_output(self, channel: int, fd: int) -> None:
        os.set_blocking(fd, False)
        self.outputs[channel] = fd
        self.shim.loop.register(fd, selectors.EVENT_READ, lambda mask: self.output(channel))

    def take_console(self, mask: int) -> None:
        assert self.console is not None
        connection, _ = self.console.accept()
        fds = array.array("i")
        _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_LEN(fds.itemsize))
        for _, kind, data in ancillary:
            if kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: fds.itemsize])
        connection.close()
        self.drop_console()
        if fds:
            self.watch_output(1, fds[0])
            self.stdin_fd = os.dup(fds[0])

    def drop_console(self) -> None:
        if self.console is not None:
            self.shim.loop.unregister(self.console)
            self.console.close()
            self.console = None

    def output(self, channel: int) -> bool:
        """Copy what is readable; False at the end."""
        fd = self.outputs[channel]
        try:
            data = os.read(fd, READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the terminal's other side is gone
            data = b""
        now = time.time_ns()
        records = self.lines[channel].feed(data, now) if data else self.lines[channel].end(now)
        if records and self.log >= 0:
            os.write(self.log, records)
        if not data:
            self.shim.loop.unregister(fd)
            os.close(fd)
            del self.outputs[channel]
            self.finish()
            return False
        for client in tuple(self.clients):
            client.frame(channel, data)
        return True

    def input(self, channel: int, data: bytes) -> None:
        if channel == 4 and self.tty and self.stdin_fd >= 0:
            size = json.loads(data)
            packed = struct.pack("HHHH", size["Height"], size["Width"], 0, 0)
            fcntl.ioctl(self.stdin_fd, termios.TIOCSWINSZ, packed)
        elif channel == 0 and self.stdin_fd >= 0:
            if data:
                self.pending += data
                self.push()
            elif not self.tty and self.stdin_once:
                self.close_stdin()

    def push(self) -> None:
        try:
            while self.pending:
                del self.pending[: os.write(self.stdin_fd, self.pending)]
        except BlockingIOError:
            self.shim.stuck.add(self)
        except OSError:
            self.pending.clear()

    def close_stdin(self) -> None:
        if self.stdin_fd >= 0:
            os.close(self.stdin_fd)
            self.stdin_fd = -1

    def left(self, peer: Peer) -> None:
        self.clients.discard(peer)
        if self.stdin_once and not self.clients and not self.tty:
            self.close_stdin()

    def started(self, code: int) -> None:
        """runc has ended: the container runs, or there is an error to tell."""
        self.drop_console()
        if code == 0:
            self.pid = int((self.directory / "pid").read_text())
            self.started_ns = time.time_ns()
            self.shim.by_pid[self.pid] = self
            self.peer.answer(id=self.id, pid=self.pid, started_at=self.started_ns)
            return
        for channel in tuple(self.outputs):
            while channel in self.outputs and self.output(channel):
                pass
        text = (self.directory / "runc.log").read_text() if (self.directory / "runc.log").exists() else ""
        self.shim.containers.pop(self.id, None)
        self.peer.answer(id=self.id, error=runc_error(text) or f"runc: exit code {code}")

    def dead(self, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        self.exited = (code if code >= 0 else 128 - code, time.time_ns())
        for channel in tuple(self.outputs):
            while channel in self.outputs and self.output(channel):
                pass
        self.finish()
        # A child that inherited the pipes may hold them open; the exit is told all the same.
        self.report()

    def finish(self) -> None:
        if not self.outputs and self.exited is not None:
            for client in tuple(self.clients):
                client.close()
            self.close_stdin()
            if self.log >= 0:
                os.close(self.log)
                self.log = -1

    def report(self) -> None:
        assert self.exited is not None
        code, at = self.exited
        fresh = self.directory / "exit.json.new"
        with contextlib.suppress(FileNotFoundError):  # the directory is gone: nobody wants to know
            fresh.write_text(json.dumps({"exit_code": code, "finished_at": at, "started_at": self.started_ns}))
            fresh.rename(self.directory / "exit.json")
        self.shim.containers.pop(self.id, None)
        for peer in tuple(self.shim.peers):
            if peer.watching:
                peer.answer(exit=self.id, exit_code=code, finished_at=at)


def runc_error(text: str) -> str:
    """The message of the last error in runc's JSON log."""
    for line in reversed(text.splitlines()):
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if entry.get("level") == "error":
                return str(entry.get("msg", ""))
    return ""


class Shim:
    """The event loop and what it knows."""

    def __init__(self, path: str) -> None:
        self.loop = selectors.DefaultSelector()
        self.peers: set[Peer] = set()
        self.containers: dict[str, Container] = {}
        self.by_pid: dict[int, Container] = {}
        self.stuck: set[Container] = set()
        self.orphans: dict[int, int] = {}
        self.running = True
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(path)
        os.chmod(path, 0o600)
        self.server.listen(64)
        self.loop.register(self.server, selectors.EVENT_READ, self.accept)
        wake, write = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.loop.register(wake, selectors.EVENT_READ, lambda mask: self.reap(wake))

    def accept(self, mask: int) -> None:
        sock, _ = self.server.accept()
        self.peers.add(Peer(self, sock))

    def request(self, peer: Peer, message: dict[str, Any]) -> None:
        operations: dict[str, Callable[[Peer, dict[str, Any]], None]] = {
            "run": self.run,
            "list": self.list,
            "reopen": self.reopen,
            "attach": self.attach,
            "watch": self.watch,
            "quit": self.quit,
        }
        try:
            operations[message["op"]](peer, message)
        except (OSError, KeyError, ValueError) as error:
            peer.answer(id=message.get("id"), error=f"{type(error).__name__}: {error}")

    def run(self, peer: Peer, message: dict[str, Any]) -> None:
        self.containers[message["id"]] = Container(self, message, peer)

    def list(self, peer: Peer, message: dict[str, Any]) -> None:
        peer.answer(containers={c.id: [c.pid, c.started_ns] for c in self.containers.values() if c.pid})

    def reopen(self, peer: Peer, message: dict[str, Any]) -> None:
        container = self.containers[message["id"]]
        fresh = container.open_log(message["log"])
        if container.log >= 0:
            os.close(container.log)
        container.log = fresh
        peer.answer(id=container.id)

    def attach(self, peer: Peer, message: dict[str, Any]) -> None:
        container = self.containers[message["id"]]
        peer.answer(id=container.id, tty=container.tty)
        peer.container = container
        container.clients.add(peer)

    def watch(self, peer: Peer, message: dict[str, Any]) -> None:
        peer.watching = True
        peer.answer(watching=True)

    def quit(self, peer: Peer, message: dict[str, Any]) -> None:
        self.running = False

    def reap(self, wake: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 4096)
        starting = {c.runc.pid: c for c in self.containers.values() if c.runc.returncode is None}
        ended: list[tuple[int, int]] = []
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                ended.append(found)
        # runc before the container that it left behind: the container may have ended already.
        ended.sort(key=lambda item: item[0] not in starting)
        for pid, status in ended:
            if (container := starting.get(pid)) is not None:
                container.runc.returncode = os.waitstatus_to_exitcode(status)
                container.started(container.runc.returncode)
                if container.pid in self.orphans:
                    self.by_pid.pop(container.pid).dead(self.orphans.pop(container.pid))
            elif (container := self.by_pid.pop(pid, None)) is not None:
                container.dead(status)
            elif any(c.runc.returncode is None for c in self.containers.values()):
                self.orphans[pid] = status
        if not any(c.runc.returncode is None for c in self.containers.values()):
            self.orphans.clear()

    def serve(self) -> None:
        while self.running:
            for key, mask in self.loop.select(0.05 if self.stuck else None):
                if self.loop.get_map().get(key.fd) is not key:
                    continue  # an event before it in this round has closed or replaced it
                try:
                    key.data(mask)
                except Exception:  # the one place: one container's trouble must not end all others' supervisor
                    traceback.print_exc()
            for container in tuple(self.stuck):
                self.stuck.discard(container)
                container.push()


def main(path: str) -> None:
    """Serve on the unix socket at path until told to quit."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    Shim(path).serve()


if __name__ == "__main__":
    main(sys.argv[1])
