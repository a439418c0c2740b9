"""The proxy beside Envoy, with the same bootstrap, in one run: requests per second of proxy CPU, latency, memory.

    python benchmarks/proxy.py [--paths h1,h1-mtls,…] [--rounds N] [--seconds S] [--json FILE]

Runs yardstick/bench.py (its README says how it measures) with the proxy of this tree and Envoy in turns, 64 connections, and
prints a table a path with the ratios to the bars. Says whether the hot modules are compiled (scripts/compile-proxy).
Needs nginx, wrk, h2load, iperf3, openssl, a C compiler for the mTLS paths, and two cores of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
# path → the least ratio of requests per CPU second to Envoy's that is aimed at
BARS = {"h1": 1.5, "h1-mtls": 1.8, "h2": 1.7, "grpc": 1.7, "tcp": 2.0, "tcp-rr": 1.1, "mtls-new": 0.45, "h1-new": 1.0}
RSS_BAR = 0.7


def envoy() -> str:
    """The Envoy to compare with: $ENVOY, else the one beside this interpreter."""
    given = os.environ.get("ENVOY")
    return given or str(Path(sys.executable).with_name("envoy"))


def compiled() -> bool:
    from mizzen.proxy.http import stream

    return not str(stream.__file__).endswith(".py")


def measure(path: str, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Medians by proxy: per_cpu (requests, or MB, per CPU second), p50 and p99 in ms, rss in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "samples.json"
        ours = f"{shlex.quote(sys.executable)} -m mizzen.proxy -c {{bootstrap}} -l warning"
        command = [
            sys.executable,
            str(HERE / "yardstick" / "bench.py"),
            path,
            "--peers",
            "envoy",
            "--proxy",
            f"mizzen={ours}",
        ]
        command += [
            "--rounds",
            str(args.rounds),
            "--seconds",
            str(args.seconds),
            "--connections",
            "64",
            "--json",
            str(out),
        ]
        done = subprocess.run(
            command, env={**os.environ, "ENVOY": envoy()}, check=False, text=True, capture_output=True
        )
        print(done.stdout.strip() or done.stderr.strip(), flush=True)
        if done.returncode or not out.exists():
            raise SystemExit(f"{path}: the yardstick failed")
        lines = [json.loads(line) for line in out.read_text().splitlines()]
    return {line["proxy"]: summary(line) for line in lines}


def summary(line: dict[str, Any]) -> dict[str, float]:
    samples = line["samples"]
    out = {key: median(sample[key] for sample in samples) for key in ("p50", "p99")}
    out["per_cpu"] = median(sample["work"] / sample["cpu"] for sample in samples if sample["cpu"])
    return {**out, "rss": line["rss"]}


def verdict(path: str, result: dict[str, dict[str, float]]) -> str:
    ours, theirs = result["mizzen"], result["envoy"]
    ratios = {key: ours[key] / theirs[key] for key in ("per_cpu", "p50", "p99", "rss") if theirs[key]}
    bar = BARS.get(path, 1.0)
    state = "reached" if ratios.get("per_cpu", 0) >= bar else "not reached"
    shown = ", ".join(f"{key} {value:.2f}" for key, value in ratios.items())
    return f"{path}: ratios to Envoy: {shown}; bar {bar:.2f} {state}, memory bar {RSS_BAR:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--paths", default="h1,h1-mtls")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    print(
        f"hot modules: {'compiled' if compiled() else 'interpreted'}; {sys.implementation.cache_tag}, {sys.executable}"
    )
    results = {path: measure(path, args) for path in args.paths.split(",")}
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    for path, result in results.items():
        print(verdict(path, result))


if __name__ == "__main__":
    main()
