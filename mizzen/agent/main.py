"""The commands of pilot-agent: proxy, request, wait, version, istio-iptables.

Flags that are unknown to `proxy` are passed over, as pilot-agent does. Not here: what the commands do.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Sequence

from mizzen import __version__
from mizzen.api.errors import MizzenError

DEBUG_PORTS = (15000, 15004, 15020, 15021)
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
LEVELS |= {"none": logging.CRITICAL + 1, "fatal": logging.CRITICAL}


def run(argv: Sequence[str]) -> int:
    """The whole command line after `mizzen agent`; the exit status."""
    words = list(argv)
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if words else 2
    name, rest = words[0], words[1:]
    command = COMMANDS.get(name)
    if command is None:
        print(f"mizzen agent: there is no command {name!r}; known are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        return command(rest)
    except MizzenError as error:
        print(f"mizzen agent {name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def proxy(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="mizzen agent proxy", allow_abbrev=False)
    parser.add_argument("kind", nargs="?", choices=("sidecar", "router"), default="sidecar")
    parser.add_argument("--domain", default="")
    parser.add_argument("--meshConfig", default="./etc/istio/config/mesh")
    parser.add_argument("--serviceCluster", default="istio-proxy")
    parser.add_argument("--proxyLogLevel", default="warning")
    parser.add_argument("--proxyComponentLogLevel", default="")
    parser.add_argument("--concurrency", type=int, default=0)
    parser.add_argument("--outlierLogPath", default="")
    parser.add_argument("--log_output_level", default="default:info")
    parser.add_argument("--log_as_json", action="store_true")
    parser.add_argument("--envoy", default="", help="an Envoy binary to start instead of our proxy")
    parser.add_argument("--stsPort", type=int, default=0)
    parser.add_argument("--templateFile", default="")
    given, _ = parser.parse_known_args(list(argv))
    return asyncio.run(run_proxy(given))


async def run_proxy(given: argparse.Namespace) -> int:
    from mizzen.agent.agent import Agent, Options
    from mizzen.agent.environment import read_environment
    from mizzen.agent.supervisor import Flags
    from mizzen.api.errors import Unsupported

    for flag in ("stsPort", "templateFile"):
        if getattr(given, flag):
            raise Unsupported(f"--{flag}")
    set_logging(given.log_output_level, as_json=given.log_as_json)
    raw = dict(os.environ)
    if given.envoy:
        raw["ENVOY_BIN"] = given.envoy
    raw["ENVOY_BIN"] = raw.get("ENVOY_BIN", "") if given.envoy or raw.get("MIZZEN_DATA_PLANE") == "envoy" else ""
    flags = Flags(
        log_level=given.proxyLogLevel, component_log_level=given.proxyComponentLogLevel, concurrency=given.concurrency
    )
    options = Options(
        kind=given.kind,
        domain=given.domain,
        mesh_config=given.meshConfig,
        service_cluster=given.serviceCluster,
        outlier_log_path=given.outlierLogPath,
        log_as_json=given.log_as_json,
        flags=flags,
    )
    try:
        return await Agent(options, read_environment(raw)).run()
    except ExceptionGroup as group:
        raise first_of(group) from group


def first_of(group: ExceptionGroup[Exception]) -> Exception:
    """The error of ours in a group, or the group."""
    for error in group.exceptions:
        if isinstance(error, MizzenError):
            return error
    return group


def set_logging(levels: str, *, as_json: bool) -> None:
    """Istio's `scope:level,…` (or one level); the scope `default` is the root."""
    text = '{"time":"%(asctime)s","level":"%(levelname)s","scope":"%(name)s","msg":"%(message)s"}' if as_json else (
        "%(asctime)s\t%(levelname)s\t%(name)s\t%(message)s"
    )  # fmt: skip
    logging.basicConfig(level=logging.INFO, format=text, stream=sys.stderr)
    for word in filter(None, levels.split(",")):
        scope, _, level = word.rpartition(":")
        number = LEVELS.get(level, LEVELS.get(word, logging.INFO))
        logging.getLogger("" if scope in ("", "default", "all") else f"mizzen.agent.{scope}").setLevel(number)


def request(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="mizzen agent request", allow_abbrev=False)
    parser.add_argument("--debug-port", type=int, default=15000)
    parser.add_argument("method")
    parser.add_argument("path")
    parser.add_argument("body", nargs="?", default="")
    given = parser.parse_args(list(argv))
    if given.debug_port not in DEBUG_PORTS:
        print(f"--debug-port: one of {', '.join(map(str, DEBUG_PORTS))} is expected", file=sys.stderr)
        return 1
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", given.debug_port, timeout=60)
    try:
        connection.request(given.method.upper(), "/" + given.path.lstrip("/"), given.body or None)
        answer = connection.getresponse()
        sys.stdout.write(answer.read().decode(errors="replace"))
    except OSError as error:
        print(f"mizzen agent request: port {given.debug_port}: {error}", file=sys.stderr)
        return 1
    return 0 if answer.status == 200 else 1


def wait(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="mizzen agent wait", allow_abbrev=False)
    parser.add_argument("--url", default="http://localhost:15021/healthz/ready")
    parser.add_argument("--timeoutSeconds", type=int, default=60)
    parser.add_argument("--requestTimeoutMillis", type=int, default=500)
    parser.add_argument("--periodMillis", type=int, default=500)
    given = parser.parse_args(list(argv))
    import urllib.request

    end, why = time.monotonic() + given.timeoutSeconds, ""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end:
        try:
            with opener.open(given.url, timeout=given.requestTimeoutMillis / 1000):
                return 0
        except OSError as error:
            why = str(error)
        time.sleep(given.periodMillis / 1000)
    print(f"timeout waiting for {given.url}: {why}", file=sys.stderr)
    return 1


def version(argv: Sequence[str]) -> int:
    from mizzen.agent.node import ISTIO_VERSION

    print(f"mizzen {__version__} (speaks Istio {ISTIO_VERSION})")
    return 0


def istio_iptables(argv: Sequence[str]) -> int:
    from mizzen.cni.rules.commands import run as run_rules

    return run_rules(argv, os.environ, "istio-iptables")


COMMANDS = {
    "proxy": proxy,
    "request": request,
    "wait": wait,
    "version": version,
    "istio-iptables": istio_iptables,
}
