"""The CNI plugins `mizzen` (bridge), `mizzen-portmap` and `mizzen-istio` (chained) behind the protocol of the CNI specification 1.0 / 1.1.

`call` is one operation as a function, for runtimes that live in our own process; `main` is the executable: environment and
standard input in, JSON out. Both do the same.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mizzen.cni import bridge, istio, portmap
from mizzen.cni.ipam import NoAddress
from mizzen.cni.names import bridge_name

VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
OURS = ("mizzen", "mizzen-portmap", "mizzen-istio")
Conf = Mapping[str, Any]


class CniError(Exception):
    """What the specification's error object carries: code (1–7 its own, 100 and up ours), message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _need(env: Mapping[str, str], *names: str) -> list[str]:
    missing = [name for name in names if not env.get(name)]
    if missing:
        raise CniError(4, f"required environment variables missing: {', '.join(missing)}")
    return [env[name] for name in names]


def _bridge(conf: Conf) -> bridge.Bridge:
    try:
        return bridge.Bridge(conf["tag"], conf["subnet"], conf["dataDir"], conf.get("mtu", 1500))
    except KeyError as error:
        raise CniError(7, f"the network configuration lacks {error}") from error


def _attached(conf: Conf) -> set[str]:
    listed = conf.get("cni.dev/valid-attachments", conf.get("cni.dev/attachments", ()))
    return {item["containerID"] for item in listed}


def _bridge_call(command: str, conf: Conf, env: Mapping[str, str]) -> dict[str, Any] | None:
    net = _bridge(conf)
    if command == "ADD":
        container, netns, ifname = _need(env, "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")
        return bridge.add(net, container, netns, ifname)
    if command == "DEL":
        container, ifname = _need(env, "CNI_CONTAINERID", "CNI_IFNAME")
        bridge.delete(net, container, ifname)
    elif command == "CHECK":
        bridge.verify(net, *_need(env, "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"))
    elif command == "GC":
        bridge.collect(net, _attached(conf))
    elif command == "STATUS":
        bridge.ensure(net)
    return None


def _portmap_call(command: str, conf: Conf, env: Mapping[str, str]) -> dict[str, Any] | None:
    try:
        tag, folder = conf["tag"], Path(conf["dataDir"])
    except KeyError as error:
        raise CniError(7, f"the network configuration lacks {error}") from error
    mappings = (conf.get("runtimeConfig") or {}).get("portMappings") or []
    if command == "GC":
        portmap.collect(tag, _attached(conf), folder)
    if command in ("GC", "STATUS"):
        return None
    (container,) = _need(env, "CNI_CONTAINERID")
    if command == "DEL":
        portmap.delete(tag, container, folder)
        return None
    if "prevResult" not in conf:
        raise CniError(7, "mizzen-portmap is a chained plugin: it needs a prevResult")
    if command == "CHECK":
        if portmap.missing(tag, container, mappings):
            raise CniError(101, f"ports of the host do not lead to {container}")
        return None
    address = next((ip["address"].partition("/")[0] for ip in conf["prevResult"].get("ips") or ()), "")
    if mappings and not address:
        raise CniError(7, "mizzen-portmap: the plugins before gave no address")
    try:
        portmap.add(tag, bridge_name(tag), container, address, mappings, folder)
    except ValueError as error:
        raise CniError(7, str(error)) from error
    return dict(conf["prevResult"])


def _istio_call(command: str, conf: Conf, env: Mapping[str, str]) -> dict[str, Any] | None:
    if command != "ADD":
        return None
    (netns,) = _need(env, "CNI_NETNS")
    if "prevResult" not in conf:
        raise CniError(7, "mizzen-istio is a chained plugin: it needs a prevResult")
    istio.add(conf, netns, istio.args_of(env.get("CNI_ARGS", "")))
    return dict(conf["prevResult"])


OPERATIONS = {"mizzen": _bridge_call, "mizzen-portmap": _portmap_call, "mizzen-istio": _istio_call}


def call(command: str, conf: Conf, env: Mapping[str, str]) -> dict[str, Any] | None:
    """One operation: ADD, DEL, CHECK, GC or STATUS; ADD gives the result. Raises CniError or OSError."""
    if command not in ("ADD", "DEL", "CHECK", "GC", "STATUS"):
        raise CniError(4, f"unknown CNI_COMMAND {command!r}")
    version = conf.get("cniVersion", VERSIONS[-2])
    if version not in VERSIONS:
        raise CniError(1, f"incompatible CNI version {version}; supported: {', '.join(VERSIONS)}")
    if conf.get("type") not in OPERATIONS:
        raise CniError(7, f"type: {conf.get('type')!r} is not one of {', '.join(OURS)}")
    operation = OPERATIONS[conf["type"]]
    try:
        result = operation(command, conf, env)
    except NoAddress as error:
        raise CniError(100, str(error)) from error
    if result is None:
        return None
    return {"cniVersion": version, **{key: value for key, value in result.items() if key != "cniVersion"}}


def main() -> int:
    """The executable; the exit code."""
    env = os.environ
    if env.get("CNI_COMMAND") == "VERSION":
        print(json.dumps({"cniVersion": VERSIONS[-2], "supportedVersions": VERSIONS}))
        return 0
    try:
        try:
            conf = json.load(sys.stdin)
        except ValueError as error:
            raise CniError(6, f"the network configuration is not JSON: {error}") from error
        result = call(env.get("CNI_COMMAND", ""), conf, env)
    except CniError as error:
        print(json.dumps({"cniVersion": VERSIONS[-2], "code": error.code, "msg": str(error)}))
        return 1
    except (OSError, ValueError) as error:
        print(json.dumps({"cniVersion": VERSIONS[-2], "code": 5, "msg": str(error)}))
        return 1
    if result is not None:
        print(json.dumps(result))
    return 0
