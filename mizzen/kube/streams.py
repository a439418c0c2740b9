"""Streams into pods: run a command, open a TCP connection to a port.

WebSocket subprotocols v5.channel.k8s.io and v4.channel.k8s.io (KEP-4006): each message is one byte of channel number and data.
Not here: SPDY, which older servers alone need.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import NamedTuple

import aiohttp

from mizzen.kube.client import Client
from mizzen.kube.errors import ApiError
from mizzen.kube.resource import PODS

EXEC_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
FORWARD_PROTOCOLS = ("v4.channel.k8s.io",)
STDIN, STDOUT, STDERR, ERROR = 0, 1, 2, 3
CLOSE = 255  # v5 only: the channel in the next byte is closed
CHUNK = 64 * 1024


class Result(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    stdout: bytes
    stderr: bytes


async def run(
    client: Client,
    pod: str,
    namespace: str,
    command: Sequence[str],
    *,
    container: str = "",
    stdin: bytes | None = None,
    timeout_s: float = 60.0,
) -> Result:
    """Run a command in a container and wait for it. Raises ApiError when it could not be started, TimeoutError."""
    query = [("command", word) for word in command] + [("stdout", "true"), ("stderr", "true")]
    if container:
        query.append(("container", container))
    if stdin is not None:
        query.append(("stdin", "true"))
    path = PODS.path(namespace, pod, "exec")
    output = {STDOUT: bytearray(), STDERR: bytearray(), ERROR: bytearray()}
    async with asyncio.timeout(timeout_s):
        try:
            async with client.websocket(path, EXEC_PROTOCOLS, query) as socket:
                if stdin is not None:
                    await _send_all(socket, stdin)
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.BINARY and message.data and message.data[0] in output:
                        output[message.data[0]] += message.data[1:]
        except aiohttp.WSServerHandshakeError as error:
            raise ApiError(error.status, "", error.message) from error
    return Result(_exit_code(bytes(output[ERROR])), bytes(output[STDOUT]), bytes(output[STDERR]))


async def _send_all(socket: aiohttp.ClientWebSocketResponse, data: bytes) -> None:
    for start in range(0, len(data), CHUNK):
        await socket.send_bytes(bytes([STDIN]) + data[start : start + CHUNK])
    if socket.protocol == "v5.channel.k8s.io":
        await socket.send_bytes(bytes([CLOSE, STDIN]))


def _exit_code(text: bytes) -> int:
    """The exit code in the Status object of the error channel. Raises ApiError when the command did not run at all."""
    if not text:
        raise ApiError(500, "", "the stream ended without a status")
    status = json.loads(text)
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise ApiError(int(status.get("code") or 500), status.get("reason", ""), status.get("message", ""))


class PortForward:
    """A TCP port on loopback that leads to a port of a pod, as long as it is entered: `async with PortForward(…) as port`."""

    def __init__(self, client: Client, pod: str, namespace: str, port: int) -> None:
        self._client, self._path, self._port = client, PODS.path(namespace, pod, "portforward"), port
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with self._client.websocket(self._path, FORWARD_PROTOCOLS, [("ports", str(self._port))]) as socket:
                upload = asyncio.ensure_future(_upload(reader, socket))
                try:
                    await _download(socket, writer)
                finally:
                    upload.cancel()
        except (aiohttp.ClientError, OSError):
            pass  # the local client sees its connection close
        finally:
            writer.close()


async def _upload(reader: asyncio.StreamReader, socket: aiohttp.ClientWebSocketResponse) -> None:
    while data := await reader.read(CHUNK):
        await socket.send_bytes(b"\0" + data)


async def _download(socket: aiohttp.ClientWebSocketResponse, writer: asyncio.StreamWriter) -> None:
    greeted = set()  # each channel's first message is the port number, two bytes
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel not in greeted:
            greeted.add(channel)
            continue
        if channel == 1:
            raise OSError(data.decode(errors="replace"))
        writer.write(data)
        await writer.drain()
