#!/usr/bin/env python3
"""What requests cost our API server, beside what they cost kube-apiserver with etcd: requests per CPU second.

    benchmarks/apiserver.py [--seconds 3] [--connections 8]

Starts `mizzen apiserver` on a SQLite file, fills it with 1,000 EndpointSlices and a Service, and asks over TLS and
keep-alive connections with raw HTTP/1.1, so that the asker costs little. CPU is the server process's own (/proc).
Exit status 1 when a figure is under its bar.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mizzen.kube import Client, load
from mizzen.kube.resource import ENDPOINT_SLICES, SERVICES

# kube-apiserver 1.37.2 with etcd 3.4 (both processes' CPU), 2 cores; and what of it we want at least.
RECORDED = {
    "GET Service, consistent": (1900.0, 2.0),
    "GET Service, resourceVersion=0": (4000.0, 2.0),
    "LIST 1,000 EndpointSlices": (38.0, 3.0),
    "POST ConfigMap": (990.0, 1.5),
}
SERVICE = "/api/v1/namespaces/default/services/s"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def fill(client: Client) -> None:
    """1,000 slices of 10 endpoints, as a Service of that size has them, and one Service."""
    await client.create(
        SERVICES, {"metadata": {"name": "s", "namespace": "default"}, "spec": {"ports": [{"port": 80}]}}
    )
    for number in range(1000):
        endpoints = [{"addresses": [f"10.{number >> 8}.{number & 255}.{one}"]} for one in range(1, 11)]
        meta = {"name": f"s{number}", "namespace": "default", "labels": {"kubernetes.io/service-name": f"s{number}"}}
        ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
        slice_ = {"metadata": meta, "addressType": "IPv4", "endpoints": endpoints, "ports": ports}
        await client.create(ENDPOINT_SLICES, slice_)


async def answered(reader: asyncio.StreamReader) -> None:
    """One answer read to its end; raises for any but a 2xx."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    if not head.startswith("HTTP/1.1 2"):
        raise SystemExit(head)
    lengths = [line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length:")]
    await reader.readexactly(int(lengths[0]))


async def measure(
    client: Client, pid: int, request: Callable[[], bytes], seconds: float, lanes: int
) -> tuple[float, float]:
    """(requests per CPU second of the server, requests per second of the clock)."""
    host, _, port = client.config.server.removeprefix("https://").rpartition(":")
    tls = client.config.ssl_context()
    done = 0
    until = time.monotonic() + seconds

    async def lane() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection(host, int(port), ssl=tls, limit=1 << 22)
        while time.monotonic() < until:
            writer.write(request())
            await answered(reader)
            done += 1
        writer.close()

    cpu, wall = cpu_s(pid), time.monotonic()
    await asyncio.gather(*(lane() for _ in range(lanes)))
    return done / max(cpu_s(pid) - cpu, 0.01), done / (time.monotonic() - wall)


def requests() -> dict[str, Callable[[], bytes]]:
    numbers = itertools.count()

    def get(path: str) -> Callable[[], bytes]:
        text = f"GET {path} HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n".encode()
        return lambda: text

    def post() -> bytes:
        name = f"m{next(numbers)}"
        body = f'{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"k":"{"v" * 100}"}}}}'
        path = "/api/v1/namespaces/default/configmaps"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode()

    return dict(zip(RECORDED, (get(SERVICE), get(SERVICE + "?resourceVersion=0"), get(SLICES), post), strict=True))


async def run(seconds: float, lanes: int) -> bool:
    good = True
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        command = [
            "-m",
            "mizzen",
            "apiserver",
            "--data-dir",
            folder,
            "--secure-port",
            "0",
            "--kubeconfig",
            str(kubeconfig),
        ]
        process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.DEVNULL)
        try:
            while not kubeconfig.exists():
                await asyncio.sleep(0.05)
            async with Client(load(kubeconfig)) as client:
                await fill(client)
                print(f"{'request':32} {'per CPU s':>10} {'recorded':>9} {'ratio':>6} {'bar':>5} {'per s':>8}")
                for name, request in requests().items():
                    rate, wall = await measure(client, process.pid, request, seconds, lanes)
                    recorded, bar = RECORDED[name]
                    good &= rate >= bar * recorded
                    print(f"{name:32} {rate:10,.0f} {recorded:9,.0f} {rate / recorded:6.2f} {bar:5} {wall:8,.0f}")
                print(f"RSS {rss_mb(process.pid):.0f} MB; recorded 930 + 130 MB; bar 0.25 x")
        finally:
            process.terminate()
            await process.wait()
    return good


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=3.0)
    options.add_argument("--connections", type=int, default=8)
    given = options.parse_args()
    sys.exit(0 if asyncio.run(run(given.seconds, given.connections)) else 1)
