#!/usr/bin/env python3
"""How long a mesh takes to start, and a pod with a sidecar to be ready in it. Needs root.

    benchmarks/up.py [--runs N] [--data-plane mizzen|envoy]

Prints the median and the range in seconds: `mizzen up` from the command to ready (a fresh home each time), and from
`kubectl apply` (the request, not the program) of one pod with a sidecar to its Ready condition.
Bars: 4 s and 1.5 s on a 2-core machine; exit status 1 when a median is above.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from mizzen.kube.client import Client
from mizzen.kube.kubeconfig import load
from mizzen.kube.resource import NAMESPACES, PODS, SERVICE_ACCOUNTS
from mizzen.up.mesh import until
from mizzen.up.process import UpProcess

BARS_S = {"mizzen up to ready": 4.0, "pod with sidecar to Ready": 1.5}


def pod(name: str) -> dict[str, object]:
    container = {"name": "app", "image": "mizzen/samples:0.1.0", "args": ["echo"], "ports": [{"containerPort": 9080}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "bench", "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }


async def pods(home: Path, count: int) -> list[float]:
    """Seconds from the request to Ready, one pod after the other."""
    times = []
    async with Client(load(home / "kubeconfig")) as client:
        labels = {"istio-injection": "enabled"}
        await client.create(
            NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench", "labels": labels}}
        )
        await until(lambda: client.find(SERVICE_ACCOUNTS, "default", "bench"), bool, 10.0)
        for n in range(count):
            start = time.monotonic()
            await client.create(PODS, pod(f"p{n}"))
            await until(lambda n=n: client.get(PODS, f"p{n}", "bench"), is_ready, 60.0, poll_s=0.01)
            times.append(time.monotonic() - start)
    return times


def is_ready(obj: dict[str, object]) -> bool:
    conditions = obj.get("status", {}).get("conditions") or ()  # type: ignore[attr-defined]
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--data-plane", default="mizzen")
    options = parser.parse_args()
    figures: dict[str, list[float]] = {name: [] for name in BARS_S}
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(prefix="mizzen-bench-") as folder:
            home = Path(folder)
            with UpProcess(home, data_plane=options.data_plane) as up:
                figures["mizzen up to ready"].append(up.ready_s)
                figures["pod with sidecar to Ready"] += asyncio.run(pods(home, 3))
    missed = 0
    for name, values in figures.items():
        median = statistics.median(values)
        missed += median > BARS_S[name]
        verdict = "" if median <= BARS_S[name] else "  above the bar"
        print(
            f"{name:28} median {median:5.2f} s  (min {min(values):.2f}, max {max(values):.2f}, bar {BARS_S[name]}){verdict}"
        )
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
