"""This machine as a Node: its object, its heartbeat.

`node_object` and `node_status` are made of facts that `machine_facts` reads; `Registration` writes them and renews the Lease.
Source: core/v1 NodeStatus, coordination.k8s.io Lease as the kubelet keeps them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from mizzen.kube import CONNECTION_ERRORS, ApiError, Client
from mizzen.kube.resource import LEASES, NODES, Object
from mizzen.runtime.kubelet.context import Settings
from mizzen.runtime.kubelet.status import moment

log = logging.getLogger("mizzen.kubelet")

LEASE_NAMESPACE, LEASE_SECONDS, RENEW_S, STATUS_S = "kube-node-lease", 40, 10.0, 10.0
KUBELET_VERSION = "v1.37.0+mizzen"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Machine(msgspec.Struct, frozen=True):
    """Facts of the machine; bytes where not told otherwise."""

    cpus: int
    memory: int
    disk: int
    kernel: str
    os_image: str
    architecture: str
    machine_id: str
    boot_id: str


def _word(path: str, key: str) -> str:
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(key):
                return line.removeprefix(key).strip().strip('"')
    except OSError:
        pass
    return ""


def machine_facts(root: Path) -> Machine:
    """Read the facts; disk is that of the file system which holds root."""
    disk = os.statvfs(root)
    machine = platform.machine()
    return Machine(
        cpus=len(os.sched_getaffinity(0)),
        memory=int(_word("/proc/meminfo", "MemTotal:").split()[0]) * 1024,
        disk=disk.f_blocks * disk.f_frsize,
        kernel=platform.release(),
        os_image=_word("/etc/os-release", "PRETTY_NAME="),
        architecture=ARCHITECTURES.get(machine, machine),
        machine_id=_word("/etc/machine-id", ""),
        boot_id=_word("/proc/sys/kernel/random/boot_id", ""),
    )


def capacity(settings: Settings, machine: Machine) -> dict[str, str]:
    """The node's resources as quantities."""
    return {
        "cpu": str(machine.cpus),
        "ephemeral-storage": f"{machine.disk // 1024}Ki",
        "memory": f"{machine.memory // 1024}Ki",
        "pods": str(settings.max_pods),
    }


def node_object(settings: Settings, machine: Machine) -> Object:
    """The Node to be registered, without its status."""
    labels = {
        "beta.kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine.architecture,
        "kubernetes.io/hostname": settings.node_name,
        "kubernetes.io/os": "linux",
        **settings.labels,
    }
    spec: dict[str, Any] = {}
    if settings.pod_cidr:
        spec = {"podCIDR": settings.pod_cidr, "podCIDRs": [settings.pod_cidr]}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": settings.node_name, "labels": labels},
        "spec": spec,
    }


def node_conditions(old: list[dict[str, Any]], problems: list[str], now: float) -> list[dict[str, Any]]:
    """The four conditions; problems: why the node is not ready."""
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
    if problems:
        ready |= {"status": "False", "reason": "KubeletNotReady", "message": "; ".join(problems)}
    calm = (
        ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    )
    made = [{"type": kind, "status": "False", "reason": reason, "message": text} for kind, reason, text in calm]
    by_kind = {item["type"]: item for item in old}
    for item in (*made, ready):
        before = by_kind.get(item["type"])
        same = before is not None and before.get("status") == item["status"]
        item["lastHeartbeatTime"] = moment(now)
        item["lastTransitionTime"] = before["lastTransitionTime"] if same and before is not None else moment(now)
    names = {item["type"] for item in (*made, ready)}
    return [*(item for item in old if item["type"] not in names), *made, ready]


def node_status(
    settings: Settings,
    machine: Machine,
    old: dict[str, Any],
    runtime: str,
    images: list[dict[str, Any]],
    problems: list[str],
    now: float,
) -> dict[str, Any]:
    """The Node's status. runtime: `NAME://VERSION`."""
    resources = capacity(settings, machine)
    return {
        "addresses": [
            {"type": "InternalIP", "address": settings.node_ip},
            {"type": "Hostname", "address": settings.node_name},
        ],
        "capacity": resources,
        "allocatable": resources,
        "conditions": node_conditions(old.get("conditions") or [], problems, now),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": settings.port}},
        "images": images,
        "nodeInfo": {
            "machineID": machine.machine_id,
            "systemUUID": machine.machine_id,
            "bootID": machine.boot_id,
            "kernelVersion": machine.kernel,
            "osImage": machine.os_image or "Linux",
            "containerRuntimeVersion": runtime,
            "kubeletVersion": KUBELET_VERSION,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": machine.architecture,
        },
    }


def micro_time(now: float) -> str:
    """A MicroTime."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def default_node_ip() -> str:
    """The address that this machine would speak from; loopback when it has no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


class Registration:
    """Keeps the Node and its Lease. `problems`, `images`, `runtime` are set by the kubelet; `poke` writes the status now."""

    def __init__(self, settings: Settings, client: Client, machine: Machine) -> None:
        self._settings, self._client, self._machine = settings, client, machine
        self.runtime, self.images, self.problems = "", list[dict[str, Any]](), list[str]()
        self.node: Object = {}
        self._poke = asyncio.Event()

    def poke(self) -> None:
        """Something has changed."""
        self._poke.set()

    async def register(self) -> None:
        """Make or adopt the Node and write its status once; tries until it works."""
        while True:
            try:
                await self._register()
                await self._write_status()
                await self._renew()
                return
            except (ApiError, *CONNECTION_ERRORS) as error:
                log.warning("registering node %s: %s", self._settings.node_name, error)
                await asyncio.sleep(0.5)

    async def _register(self) -> None:
        wanted = node_object(self._settings, self._machine)
        try:
            self.node = await self._client.create(NODES, wanted)
        except ApiError as error:
            if not error.already_exists:
                raise
            patch = {"metadata": {"labels": wanted["metadata"]["labels"]}}
            self.node = await self._client.patch(NODES, self._settings.node_name, patch)

    async def run(self) -> None:
        """Heartbeats until cancelled."""
        due = time.monotonic() + STATUS_S
        while True:
            try:
                await asyncio.wait_for(self._poke.wait(), RENEW_S)
                self._poke.clear()
                due = 0.0
            except TimeoutError:
                pass
            try:
                await self._renew()
                if time.monotonic() >= due:
                    await self._write_status()
                    due = time.monotonic() + STATUS_S
            except ApiError as error:
                log.warning("node %s: %s", self._settings.node_name, error)
                if error.not_found:
                    await self.register()
            except CONNECTION_ERRORS as error:
                log.warning("node %s: %s", self._settings.node_name, error)

    async def _write_status(self) -> None:
        status = node_status(
            self._settings,
            self._machine,
            self.node.get("status") or {},
            self.runtime,
            self.images,
            self.problems,
            time.time(),
        )
        self.node = await self._client.patch(NODES, self._settings.node_name, {"status": status}, subresource="status")

    async def _renew(self) -> None:
        name = self._settings.node_name
        spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": micro_time(time.time())}
        try:
            await self._client.patch(LEASES, name, {"spec": spec}, LEASE_NAMESPACE)
        except ApiError as error:
            if not error.not_found:
                raise
            owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": self.node["metadata"]["uid"]}
            meta = {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
            await self._client.create(LEASES, lease)
