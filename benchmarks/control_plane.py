#!/usr/bin/env python3
"""What `mizzen istiod` pays for a mesh and for one change in it, beside what Istio's istiod pays.

    benchmarks/control_plane.py [--services 1000] [--proxies 200] [--sotw] [--kubeconfig FILE] [--istiod 'COMMAND']

Starts our API server (or uses --kubeconfig's), installs the CRDs, and runs yardstick/control_plane.py with our
istiod: one plaintext ADS stream a proxy. --istiod gives the command of Istio's own control plane ({kubeconfig},
{grpc_port}, {port1}… are filled in) to measure both in one run; without it our figures stand beside those
recorded on a 2-core machine, and the ratio is to them. Exit status 1 when a figure is over its bar (only with
the sizes that the records were taken at).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from mizzen.kube import ApiError, Client, Resource, load
from mizzen.kube.resource import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES

YARDSTICK = Path(__file__).parent / "yardstick" / "control_plane.py"
CRDS = Path(__file__).parents[1] / "mizzen" / "api" / "crd"
OURS = (
    f"{sys.executable} -m mizzen istiod --kubeconfig {{kubeconfig}} --grpc-addr 127.0.0.1:{{grpc_port}}"
    " --http-addr 127.0.0.1:{port1} --secure-grpc-addr 127.0.0.1:{port2} --https-addr 127.0.0.1:{port3}"
    " --monitoring-addr 127.0.0.1:{port4} --ctrlz-addr 127.0.0.1:{port5} --log-level warning"
)
# istiod (Istio 1.32 development, August 2026), 1,000 Services × 10 endpoints, 200 proxies in 10 namespaces; 2 cores.
RECORDED = {
    False: {
        "sync s": 11.0,
        "sync CPU s": 17.0,
        "endpoint p50 ms": 123.0,
        "endpoint p99 ms": 139.0,
        "endpoint CPU ms": 29.0,
        "route p50 ms": 856.0,
        "route p99 ms": 1022.0,
        "route CPU ms": 1297.0,
        "burst s": 0.58,
        "burst CPU ms": 1.5,
        "RSS MB": 691.0,
    },
    True: {
        "sync s": 10.6,
        "sync CPU s": 17.3,
        "endpoint p50 ms": 150.0,
        "endpoint p99 ms": 217.0,
        "endpoint CPU ms": 102.0,
        "route p50 ms": 1347.0,
        "route p99 ms": 2113.0,
        "route CPU ms": 1499.0,
        "burst s": 0.49,
        "burst CPU ms": 2.0,
        "RSS MB": 736.0,
    },
}
# Ratios to istiod that must not be exceeded, in delta with the recorded sizes.
BARS = {
    "sync CPU s": 0.2,
    "endpoint CPU ms": 0.7,
    "endpoint p50 ms": 0.3,
    "route CPU ms": 0.1,
    "route p50 ms": 0.1,
    "burst CPU ms": 1.0,
    "RSS MB": 0.3,
}
WORST = 3.0  # nothing may cost more than this many times istiod's


def start_api_server(folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """Our API server with its store in a folder; its kubeconfig."""
    kubeconfig = folder / "kubeconfig"
    command = [sys.executable, "-m", "mizzen", "apiserver", "--data-dir", str(folder), "--secure-port", "0"]
    process = subprocess.Popen([*command, "--kubeconfig", str(kubeconfig)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # one line when it answers
    return process, kubeconfig


async def install_crds(kubeconfig: Path) -> None:
    """The CRDs of Istio's kinds, until each is served, and the namespace where istiod keeps its own objects."""
    async with Client(load(kubeconfig)) as client:
        await client.create(NAMESPACES, {"metadata": {"name": "istio-system"}})
        for file in sorted(CRDS.glob("*.istio.io_*.yaml")):
            crd = yaml.safe_load(file.read_text())
            await client.create(CUSTOM_RESOURCE_DEFINITIONS, crd)
            spec = crd["spec"]
            version = next(v["name"] for v in spec["versions"] if v["served"])
            resource = Resource(spec["group"], version, spec["names"]["plural"], True, spec["names"]["kind"])
            async with asyncio.timeout(30):
                while True:
                    try:
                        await client.list(resource)
                        break
                    except ApiError as error:
                        if not error.not_found:
                            raise
                    await asyncio.sleep(0.02)


def measure(kubeconfig: Path, options: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    """Figures by server."""
    out = folder / "figures.json"
    command = [sys.executable, str(YARDSTICK), "--kubeconfig", str(kubeconfig), "--json", str(out)]
    command += ["--services", str(options.services), "--proxies", str(options.proxies), "--rounds", str(options.rounds)]
    command += ["--server", f"mizzen={OURS}"] + (["--sotw"] if options.sotw else [])
    if options.istiod:
        command += ["--server", f"istiod={options.istiod}"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    figures: dict[str, dict[str, float]] = json.loads(out.read_text().splitlines()[-1])["results"]
    return figures


def report(ours: dict[str, float], theirs: dict[str, float], where: str, judged: bool) -> bool:
    """Print the table; whether every bar is kept."""
    good = True
    print(f"{'':18}{'mizzen':>10}{where:>20}{'ratio':>8}{'bar':>8}")
    for row, value in ours.items():
        if row not in theirs:
            continue
        ratio = value / theirs[row]
        bar = BARS.get(row, WORST) if judged else WORST
        kept = ratio <= bar
        good = good and kept
        print(f"{row:18}{value:10.2f}{theirs[row]:20.2f}{ratio:8.2f}{bar:8.2f}{'' if kept else '  over'}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--proxies", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--sotw", action="store_true")
    parser.add_argument("--kubeconfig", type=Path, help="another API server with Istio's CRDs")
    parser.add_argument("--istiod", help="command of Istio's istiod, to measure it in the same run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mizzen-bench-") as name:
        folder, process, kubeconfig = Path(name), None, options.kubeconfig
        try:
            if kubeconfig is None:
                process, kubeconfig = start_api_server(folder)
                asyncio.run(install_crds(kubeconfig))
            figures = measure(kubeconfig, options, folder)
        finally:
            if process is not None:
                process.terminate()
                process.wait()
    recorded_sizes = (options.services, options.proxies) == (1000, 200)
    theirs = figures.get("istiod", RECORDED[options.sotw])
    where = "istiod" if "istiod" in figures else "istiod (recorded)"
    return 0 if report(figures["mizzen"], theirs, where, recorded_sizes and not options.sotw) else 1


if __name__ == "__main__":
    sys.exit(main())
