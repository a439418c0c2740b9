"""The proxy beside Envoy, with the same bootstrap, in one run: requests per second of proxy CPU, latency, memory.

    python benchmarks/proxy.py [--paths h1,h1-mtls,…] [--rounds N] [--seconds S] [--json FILE] [--interpreted | --tree DIR]

Runs yardstick/bench.py (its README says how it measures) with the proxy of this tree and Envoy in turns, 64 connections, and
prints a table a path with the ratios to the bars. The proxy's hot modules are compiled first, into a folder of their own
(scripts/compile-proxy, a minute or two); --tree DIR takes one that was compiled before, --interpreted takes the sources.
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
BARS = {
    "h1": 2.2,
    "h1-mtls": 1.8,
    "h2": 1.7,
    "h2-mtls": 1.7,
    "grpc": 1.7,
    "tcp": 2.0,
    "tcp-rr": 1.1,
    "mtls-new": 0.45,
}
RSS_BAR = 0.7


def envoy() -> str:
    """The Envoy to compare with: $ENVOY, else the one beside this interpreter."""
    given = os.environ.get("ENVOY")
    return given or str(Path(sys.executable).with_name("envoy"))


def compile_into(folder: Path) -> Path:
    """A copy of the package with its hot modules compiled."""
    print("compiling the hot modules …", flush=True)
    script = HERE.parent / "scripts" / "compile-proxy"
    subprocess.run([script, "into", folder], env={**os.environ, "PYTHON": sys.executable}, check=True, stdout=2)
    return folder


def command_of(tree: Path) -> str:
    """How to start the proxy of a tree: from inside it, as `python -m` looks there first."""
    words = ["env", "-C", str(tree), f"PYTHONPATH={tree}", sys.executable, "-m", "mizzen.proxy"]
    return f"{shlex.join(words)} -c {{bootstrap}} -l warning"


def measure(path: str, tree: Path, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Medians by proxy: per_cpu (requests, or MB, per CPU second), p50 and p99 in ms, rss in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "samples.json"
        command = [
            sys.executable,
            str(HERE / "yardstick" / "bench.py"),
            path,
            "--peers",
            "envoy",
            "--proxy",
            f"mizzen={command_of(tree)}",
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
    parser.add_argument("--paths", default=",".join(BARS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--json", type=Path)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--interpreted", action="store_true", help="measure the sources as they are")
    which.add_argument("--tree", type=Path, help="a tree that scripts/compile-proxy made")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree = HERE.parent if args.interpreted else args.tree or compile_into(Path(folder) / "tree")
        form = "interpreted" if args.interpreted else "compiled"
        print(f"hot modules: {form}; {sys.implementation.cache_tag}, {sys.executable}", flush=True)
        results = {path: measure(path, tree.resolve(), args) for path in args.paths.split(",")}
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    for path, result in results.items():
        print(verdict(path, result))


if __name__ == "__main__":
    main()
