"""What exec and attach connect a client to: a command by `runc exec`, or a running container through its supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import struct
import termios
from typing import Any

from mizzen.runtime.cri.execution import exec_command, kill
from mizzen.runtime.cri.runtime import Runtime, RuntimeFailed
from mizzen.runtime.cri.shimclient import ShimError
from mizzen.runtime.cri.streaming.http1 import Request
from mizzen.runtime.cri.streaming.remotecommand import RESIZE, STDERR, STDIN, STDOUT, Streams, accept, status

Sizes = list[dict[str, int]]


def channels_of(options: Any) -> set[int]:
    """The channels that an ExecRequest or AttachRequest asks for."""
    wanted = {STDIN: options.stdin, STDOUT: options.stdout, STDERR: options.stderr and not options.tty, RESIZE: False}
    return {channel for channel, asked in wanted.items() if asked}


def set_size(fd: int, size: dict[str, int]) -> None:
    """Tell a terminal its size."""
    with contextlib.suppress(OSError):
        packed = struct.pack("HHHH", size.get("Height", 0), size.get("Width", 0), 0, 0)
        fcntl.ioctl(fd, termios.TIOCSWINSZ, packed)


async def serve_exec(runtime: Runtime, options: Any, request: Request) -> None:
    """Run a command with the client's streams."""
    terminal = [-1]
    pending: Sizes = []

    def resize(size: dict[str, int]) -> None:
        if terminal[0] >= 0:
            set_size(terminal[0], size)
        else:
            pending.append(size)

    streams = await accept(request, channels_of(options), resize)
    if streams is None:
        return
    try:
        argv, pid_file = exec_command(runtime, runtime.container(options.container_id), list(options.cmd), options.tty)
        run = _with_terminal if options.tty else _with_pipes
        code = await run(argv, options, streams, terminal, pending)
    except (RuntimeFailed, OSError) as error:
        await streams.finish(status(1, str(error)))
        return
    finally:
        terminal[0] = -1
    kill(pid_file) if code is None else None
    pid_file.unlink(missing_ok=True)
    await streams.finish(status(code if code is not None else 137))


async def _output(streams: Streams, channel: int, reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 15):
            await streams.write(channel, data)


async def _input(streams: Streams, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await streams.stdin():
            writer.write(data)
            await writer.drain()
        writer.close()


async def _ended(
    process: asyncio.subprocess.Process, streams: Streams, outputs: list[asyncio.Task[None]]
) -> int | None:
    """The exit code once all output is sent; None when the client went away first and the process was ended."""
    gone = asyncio.create_task(streams.gone())
    waiting = asyncio.create_task(process.wait())
    await asyncio.wait([gone, waiting], return_when=asyncio.FIRST_COMPLETED)
    gone.cancel()
    if not waiting.done():
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await waiting
        return None
    await asyncio.wait(outputs, timeout=5) if outputs else None  # a background child may hold the pipe
    code = waiting.result()
    return code if code >= 0 else 128 - code


async def _with_pipes(argv: list[str], options: Any, streams: Streams, terminal: list[int], sizes: Sizes) -> int | None:
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=pipe if options.stdin else null, stdout=pipe if options.stdout else null,
        stderr=pipe if options.stderr else null,
    )  # fmt: skip
    outputs = [
        asyncio.create_task(_output(streams, channel, reader))
        for channel, reader in ((STDOUT, process.stdout), (STDERR, process.stderr))
        if reader is not None
    ]
    feeder = asyncio.create_task(_input(streams, process.stdin)) if process.stdin is not None else None
    try:
        return await _ended(process, streams, outputs)
    finally:
        for task in (*outputs, feeder):
            if task is not None:
                task.cancel()


async def _with_terminal(
    argv: list[str], options: Any, streams: Streams, terminal: list[int], sizes: Sizes
) -> int | None:
    """runc gets a terminal of ours as its own, and copies between it and the container's."""
    ours, theirs = pty.openpty()
    for size in sizes:
        set_size(ours, size)
    terminal[0] = ours
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    reader, writer = await _terminal_streams(ours)
    output = asyncio.create_task(_output(streams, STDOUT, reader))
    feeder = asyncio.create_task(_input(streams, writer)) if options.stdin else None
    try:
        return await _ended(process, streams, [output])
    finally:
        terminal[0] = -1
        for task in (output, feeder):
            if task is not None:
                task.cancel()
        writer.close()


async def _terminal_streams(fd: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0))
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop=loop), os.fdopen(os.dup(fd), "wb", 0)
    )
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)


async def serve_attach(runtime: Runtime, options: Any, request: Request) -> None:
    """Connect the client to a container's own streams, from now on."""
    container = runtime.container(options.container_id)
    try:
        reader, writer = await runtime.shim.attach(container.id)
    except (ShimError, OSError) as error:
        await request.respond(500, str(error).encode())
        return

    def send(channel: int, data: bytes) -> None:
        writer.write(struct.pack(">BI", channel, len(data)) + data)

    def resize(size: dict[str, int]) -> None:
        send(RESIZE, json.dumps({"Height": size.get("Height", 0), "Width": size.get("Width", 0)}).encode())

    wanted = channels_of(options)
    streams = await accept(request, wanted, resize)
    if streams is None:
        writer.close()
        return

    async def outputs() -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                channel, size = struct.unpack(">BI", await reader.readexactly(5))
                data = await reader.readexactly(size)
                if channel in wanted:
                    await streams.write(channel, data)

    async def inputs() -> None:
        while data := await streams.stdin():
            send(STDIN, data)
            await writer.drain()
        send(STDIN, b"")

    output = asyncio.create_task(outputs())
    feeder = asyncio.create_task(inputs()) if options.stdin else None
    gone = asyncio.create_task(streams.gone())
    await asyncio.wait([output, gone], return_when=asyncio.FIRST_COMPLETED)
    for task in (output, feeder, gone):
        if task is not None:
            task.cancel()
    writer.close()
    await streams.finish(status(0))
