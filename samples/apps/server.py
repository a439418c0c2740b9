"""A small threaded HTTP/1.1 server: JSON answers, keep-alive, a count of requests, SIGTERM finishes what it began.

Every server answers, beside its own paths: /healthz, /headers (what arrived), /count (requests so far, but for these three).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]
App = Callable[[str, Mapping[str, str]], Answer]


class Server(ThreadingHTTPServer):
    """Listens on IPv4, all addresses."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port: int, app: App, status: int) -> None:
        self.app, self.status = app, status
        self.count = 0
        self.lock = threading.Lock()
        super().__init__(("0.0.0.0", port), Handler)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart must not wait for TIME_WAIT
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "samples", self.server_address[1]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server
    wbufsize = 65536

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        if length:
            self.rfile.read(length)
        path = self.path.partition("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        if path == "/healthz":
            return self._answer(200, "ok")
        if path == "/headers":
            return self._answer(200, {"headers": headers, "pod": socket.gethostname()})
        if path == "/count":
            return self._answer(200, {"count": self.server.count, "pod": socket.gethostname()})
        with self.server.lock:
            self.server.count += 1
        if self.server.status != 200:
            return self._answer(self.server.status, {"error": "told to fail", "pod": socket.gethostname()})
        return self._answer(*self.server.app(path, headers))

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        if os.environ.get("SAMPLES_LOG"):
            super().log_message(format, *args)


def serve(port: int, app: App, status: int = 200) -> None:
    """Serves until SIGTERM or SIGINT."""
    server = Server(port, app, status)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    server.server_close()
