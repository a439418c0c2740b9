"""What a Python filter costs: CPU time of the proxy for a request with and without one, beside Envoy with and without a Lua filter.

    python benchmarks/python_filter.py [--seconds S] [--rounds N] [--interpreted]

One proxy process, one listener for each case, an upstream that answers 200 bytes of JSON (nginx), wrk with 64 connections; the
cases take turns. Prints microseconds of the proxy's CPU for a request, medians over the rounds. Needs nginx, wrk, a C compiler.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import proxy as proxy_benchmark

TYPES = "type.googleapis.com/"
SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "filters"
ASYNC = """
from mizzen.http_filter import HttpFilter

class Waits(HttpFilter):
    async def on_request(self, request):
        request.headers["x-served-by"] = "mizzen"
"""
LUA = """
function envoy_on_request(h) h:headers():add("x-served-by", "envoy") end
function envoy_on_response(h) h:headers():add("x-served-by", "envoy") end
"""
TICKS = os.sysconf("SC_CLK_TCK")


def python_filter(name: str, **config: Any) -> dict[str, Any]:
    value = {"filter": name, "config": config}
    kind = TYPES + "mizzen.filters.http.python.v1.Python"
    return {"@type": TYPES + "xds.type.v3.TypedStruct", "type_url": kind, "value": value}


OURS: dict[str, list[dict[str, Any]]] = {
    "without a filter": [],
    "stamp.py: two headers each way": [python_filter("stamp:Stamp")],
    "a coroutine that sets a header": [python_filter("waits:Waits")],
    "redact.py: the answer's JSON read and written": [python_filter("redact:Redact", fields=["card"])],
}
THEIRS: dict[str, list[dict[str, Any]]] = {
    "without a filter": [],
    "Lua: a header each way": [
        {"@type": TYPES + "envoy.extensions.filters.http.lua.v3.Lua", "default_source_code": {"inline_string": LUA}}
    ],
}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def bootstrap(cases: dict[str, list[dict[str, Any]]], ports: dict[str, int], upstream: int) -> dict[str, Any]:
    def listener(name: str) -> dict[str, Any]:
        router = {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}
        filters = [*cases[name], router]
        manager = {
            "@type": TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "h",
            "http_filters": [{"name": f"f{n}", "typed_config": config} for n, config in enumerate(filters)],
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "up"}}],
                    }
                ]
            },
        }
        chains = [{"filters": [{"name": "http", "typed_config": manager}]}]
        return {"name": name, "address": address(ports[name]), "filter_chains": chains}

    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}]
    cluster = {"name": "up", "load_assignment": {"cluster_name": "up", "endpoints": endpoints}}
    return {"static_resources": {"listeners": [listener(name) for name in cases], "clusters": [cluster]}}


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def load(port: int, seconds: int) -> int:
    """Requests that were answered."""
    command = ["wrk", "-t1", "-c64", f"-d{seconds}s", f"http://127.0.0.1:{port}/"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    if "Non-2xx" in done.stdout:
        raise RuntimeError(done.stdout)
    found = re.search(r"(\d+) requests in", done.stdout)
    assert found is not None, done.stdout
    return int(found[1])


def nginx(folder: Path, port: int) -> subprocess.Popen[bytes]:
    body = json.dumps({"card": "1234", "name": "x" * 160})
    text = f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 10000000; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; default_type application/json; location / {{ return 200 '{body}'; }} }} }}
"""
    (folder / "nginx.conf").write_text(text)
    return subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)])


def ready(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {port}")


def measured(command: str, cases: dict[str, Any], folder: Path, upstream: int, options: Any) -> dict[str, float]:
    """Microseconds of CPU a request by case."""
    ports = {name: free_port() for name in cases}
    file = folder / "bootstrap.json"
    file.write_text(json.dumps(bootstrap(cases, ports, upstream)))
    process = subprocess.Popen(shlex.split(command.format(bootstrap=file)))
    try:
        for port in ports.values():
            ready(port)
            load(port, 1)
        found: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(options.rounds):
            for name, port in ports.items():
                before = cpu_s(process.pid)
                requests = load(port, options.seconds)
                found[name].append((cpu_s(process.pid) - before) / requests * 1e6)
        return {name: median(values) for name, values in found.items()}
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--interpreted", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "waits.py").write_text(ASYNC)
        tree = Path(__file__).resolve().parents[1]
        if not options.interpreted:
            tree = proxy_benchmark.compile_into(folder / "tree")
        upstream = free_port()
        server = nginx(folder, upstream)
        try:
            ready(upstream)
            places = f"--python-filters {SAMPLES} --python-filters {folder}"
            ours = f"{proxy_benchmark.command_of(tree)} {places}"
            theirs = f"{proxy_benchmark.envoy()} -c {{bootstrap}} --concurrency 1 --use-dynamic-base-id -l error"
            for title, command, cases in (("mizzen", ours, OURS), ("Envoy", theirs, THEIRS)):
                figures = measured(command, cases, folder, upstream, options)
                base = figures["without a filter"]
                for case, value in figures.items():
                    print(f"{title:7} {case:48} {value:6.1f} us  {value - base:+6.1f}", flush=True)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
