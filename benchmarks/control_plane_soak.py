#!/usr/bin/env python3
"""Whether `mizzen istiod` bears churn: how late a change is, what it costs, and that memory does not grow.

    benchmarks/control_plane_soak.py [--services 10000] [--proxies 200] [--rate 100] [--minutes 10] [--skip-cost]

Starts our API server and our istiod, loads Services of 10 endpoints each, connects the proxies (delta), and changes
`--rate` EndpointSlices a second for `--minutes`. One proxy in ten tells when it got each change. Asserts: p99 from the
change's write to its receipt is at most 1 s; istiod's memory in the last fifth of the time is at most 10 % over
that in the second fifth; one change costs at most half as much again as with a tenth of the Services (`--skip-cost`
leaves that out; what istiod does when idle is not counted). Exit status 1 when one does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import control_plane

P99_S, GROWTH, COST = 1.0, 1.10, 1.5
LISTENERS = 10  # one proxy in so many reads what it gets; the others only acknowledge


def yardstick() -> Any:
    """The program that measures, as a module."""
    spec = importlib.util.spec_from_file_location("yardstick", control_plane.YARDSTICK)
    assert spec is not None and spec.loader is not None
    module = sys.modules["yardstick"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument("--proxies", type=int, default=200)
    parser.add_argument("--namespaces", type=int, default=10)
    parser.add_argument("--rate", type=float, default=100.0, help="endpoint changes a second")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds to wait for anything")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--skip-cost", action="store_true")
    options = parser.parse_args()
    ys = yardstick()
    good = True
    costs = {}
    if not options.skip_cost:
        small = argparse.Namespace(**{**vars(options), "services": options.services // 10, "minutes": 0.0})
        costs[small.services] = run(ys, small)["cost"]
    figures = run(ys, options)
    costs[options.services] = figures["cost"]
    for services, cost in costs.items():
        print(f"one endpoint change, {services} services: {cost * 1e3:.1f} ms of istiod's CPU")
    if not options.skip_cost:
        small_cost, large_cost = costs.values()
        good = check("cost, ratio", large_cost / small_cost, COST) and good
    if options.minutes:
        print(f"{figures['changes']:.0f} changes in {options.minutes} minutes; CPU {figures['cpu'] * 100:.0f} %")
        print(f"change to receipt: p50 {figures['p50']:.3f} s, max {figures['max']:.3f} s")
        good = check("p99 s", figures["p99"], P99_S) and good
        print(f"RSS {figures['early']:.0f} MB early, {figures['late']:.0f} MB late")
        good = check("growth", figures["late"] / figures["early"], GROWTH) and good
    return 0 if good else 1


def check(what: str, value: float, bar: float) -> bool:
    print(f"{what}: {value:.2f} (bar {bar:.2f}){'' if value <= bar else '  over'}", flush=True)
    return value <= bar


def run(ys: Any, options: argparse.Namespace) -> dict[str, float]:
    """One mesh of a size, from nothing."""
    with tempfile.TemporaryDirectory() as name:
        api, kubeconfig = control_plane.start_api_server(Path(name))
        try:
            asyncio.run(control_plane.install_crds(kubeconfig))
            mesh = ys.Mesh(ys.Api(kubeconfig), options.services, options.endpoints, options.namespaces)
            print(f"loading {options.services} services", file=sys.stderr)
            mesh.load()
            server = ys.Server("soak", control_plane.OURS, kubeconfig, Path(name) / "log")
            try:
                return asyncio.run(measure(ys, server, mesh, options))
            finally:
                server.stop()
        finally:
            api.terminate()
            api.wait()


async def measure(ys: Any, server: Any, mesh: Any, options: argparse.Namespace) -> dict[str, float]:
    proxies = [ys.Proxy(i, mesh.client_namespace(i), server.port, True) for i in range(options.proxies)]
    tasks = []
    for some in range(0, len(proxies), 20):  # what all would be sent at once does not fit into this process
        group = proxies[some : some + 20]
        tasks += [asyncio.create_task(proxy.run()) for proxy in group]
        await asyncio.wait_for(asyncio.gather(*(proxy.synced.wait() for proxy in group)), options.limit)
    await ys.settle(server)
    idle, start = server.cpu(), time.monotonic()
    await asyncio.sleep(5)
    idle = (server.cpu() - idle) / (time.monotonic() - start)
    before, start = server.cpu(), time.monotonic()
    for n in range(options.rounds):
        await ys.spread(proxies, mesh.change_endpoint(n * 7 % options.services), options.limit)
        await asyncio.sleep(0.15)
    await ys.settle(server)
    took = time.monotonic() - start
    figures = {"cost": (server.cpu() - before - idle * took) / options.rounds}
    print(f"{options.services} services, idle: {idle * 100:.1f} % CPU", file=sys.stderr)
    if options.minutes:
        figures |= await churn(server, mesh, proxies, options)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return figures


async def churn(server: Any, mesh: Any, proxies: list[Any], options: argparse.Namespace) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    lost: list[bytes] = []
    memory: list[float] = []
    seconds, cpu, start = options.minutes * 60, server.cpu(), time.monotonic()
    waiting: set[asyncio.Task[None]] = set()
    writers = ThreadPoolExecutor(1)  # the client has one connection

    async def change(n: int) -> None:
        marker, make = mesh.change_endpoint(n * 7 % options.services)
        listener = proxies[n % (len(proxies) // LISTENERS or 1) * LISTENERS % len(proxies)]
        got = listener.waiting[marker] = loop.create_future()
        written = time.monotonic()
        await loop.run_in_executor(writers, make)
        try:
            latencies.append(await asyncio.wait_for(got, 30.0) - written)
        except TimeoutError:  # the slice was changed again before it was pushed, or the change is lost
            lost.append(marker)

    n = 0
    while (elapsed := time.monotonic() - start) < seconds:
        while n < elapsed * options.rate:
            task = asyncio.create_task(change(n))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
            n += 1
        if len(memory) < elapsed:
            memory.append(server.rss_mb())
        await asyncio.sleep(0.005)
    cpu, elapsed = server.cpu() - cpu, time.monotonic() - start
    await asyncio.gather(*waiting)
    writers.shutdown()
    if lost:
        raise SystemExit(f"{len(lost)} changes never came")
    fifth = len(memory) // 5 or 1
    return {
        "changes": float(n),
        "cpu": cpu / elapsed,
        "p50": statistics.median(latencies),
        "p99": statistics.quantiles(latencies, n=100)[98],
        "max": max(latencies),
        "early": statistics.median(memory[fifth : 2 * fifth] or memory),
        "late": statistics.median(memory[-fifth:]),
    }


if __name__ == "__main__":
    sys.exit(main())
