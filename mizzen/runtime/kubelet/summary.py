"""Resource figures of the node and its pods: /stats/summary and /metrics/resource.

Source: the kubelet's stats API v1alpha1 and its resource metrics; the figures are the runtime's (CRI statistics).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mizzen.runtime.kubelet import criconfig
from mizzen.runtime.kubelet.kubelet import Kubelet
from mizzen.runtime.kubelet.status import moment
from mizzen.wire import cri


def _cpu(stats: Any) -> dict[str, Any]:
    if not stats.HasField("cpu"):
        return {}
    when = moment(stats.cpu.timestamp / 1e9)
    return {"cpu": {"time": when, "usageCoreNanoSeconds": stats.cpu.usage_core_nano_seconds.value}}


def _memory(stats: Any) -> dict[str, Any]:
    if not stats.HasField("memory"):
        return {}
    memory = stats.memory
    figures = {
        "usageBytes": memory.usage_bytes,
        "workingSetBytes": memory.working_set_bytes,
        "rssBytes": memory.rss_bytes,
    }
    return {"memory": {"time": moment(memory.timestamp / 1e9), **{key: value.value for key, value in figures.items()}}}


async def _stats(kubelet: Kubelet) -> list[Any]:
    listed = await kubelet.runtime.ListPodSandboxStats(cri.ListPodSandboxStatsRequest())
    return list(listed.stats)


async def summary(kubelet: Kubelet) -> dict[str, Any]:
    """The Summary object."""
    pods = []
    for stats in await _stats(kubelet):
        meta = stats.attributes.metadata
        if stats.attributes.labels.get(criconfig.POD_UID) not in kubelet.workers:
            continue
        containers = [{"name": c.attributes.metadata.name, **_cpu(c), **_memory(c)} for c in stats.linux.containers]
        entry: dict[str, Any] = {
            "podRef": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "containers": containers,
            **_cpu(stats.linux),
            **_memory(stats.linux),
        }
        network = stats.linux.network.default_interface
        if network.name:
            entry["network"] = {
                "name": network.name,
                "rxBytes": network.rx_bytes.value,
                "txBytes": network.tx_bytes.value,
            }
        pods.append(entry)
    return {"node": {"nodeName": kubelet.settings.node_name, **_node()}, "pods": pods}


def _node() -> dict[str, Any]:
    words = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        words[name] = int(rest.split()[0]) * 1024
    used = words["MemTotal"] - words["MemFree"]
    working = words["MemTotal"] - words["MemAvailable"]
    jiffies = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    busy = sum(jiffies) - jiffies[3] - jiffies[4]
    return {
        "cpu": {"usageCoreNanoSeconds": busy * 10_000_000},
        "memory": {"usageBytes": used, "workingSetBytes": working, "availableBytes": words["MemAvailable"]},
    }


async def resource_metrics(kubelet: Kubelet) -> str:
    """Prometheus text with Kubernetes' names."""
    lines: list[str] = []
    for stats in await _stats(kubelet):
        meta = stats.attributes.metadata
        for container in stats.linux.containers:
            labels = f'container="{container.attributes.metadata.name}",namespace="{meta.namespace}",pod="{meta.name}"'
            cpu = container.cpu.usage_core_nano_seconds.value / 1e9
            memory = container.memory.working_set_bytes.value
            lines.append(f"container_cpu_usage_seconds_total{{{labels}}} {cpu}")
            lines.append(f"container_memory_working_set_bytes{{{labels}}} {memory}")
    node = _node()
    lines.append(f"node_cpu_usage_seconds_total {node['cpu']['usageCoreNanoSeconds'] / 1e9}")
    lines.append(f"node_memory_working_set_bytes {node['memory']['workingSetBytes']}")
    return "\n".join(lines) + "\n"
