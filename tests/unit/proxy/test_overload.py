"""The overload manager: what monitors read, when triggers are pulled, what is refused."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.overload.v3 import overload_pb2
from envoy.extensions.resource_monitors.cgroup_memory.v3 import cgroup_memory_pb2
from envoy.extensions.resource_monitors.cpu_utilization.v3 import cpu_utilization_pb2
from envoy.extensions.resource_monitors.fixed_heap.v3 import fixed_heap_pb2

from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.load import fill
from mizzen.proxy.overload.manager import Overload
from mizzen.proxy.overload.monitors import CgroupMemory, CpuUtilization, FixedHeap
from mizzen.proxy.overload.timeouts import Timeouts
from mizzen.proxy.overload.triggers import Trigger, percent
from mizzen.proxy.server import Options, Server

HEAP = {
    "name": "heap",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
        "max_heap_size_bytes": 1,
    },
}
SCALES = "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig"


def triggers(name: str = "heap", value: float = 0.5) -> list[dict[str, Any]]:
    return [{"name": name, "threshold": {"value": value}}]


async def made(**config: Any) -> Overload:
    whole = {"overload_manager": {"resource_monitors": [HEAP], **config}}
    bootstrap = fill(bootstrap_pb2.Bootstrap(), whole, "bootstrap")
    overload = Server(bootstrap, Options(), asyncio.get_running_loop()).overload
    assert overload is not None
    return overload


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"actions": [{"name": "envoy.overload_actions.reset_high_memory_stream"}]}, "reset_high_memory_stream"),
        ({"loadshed_points": [{"name": "envoy.load_shed_points.hcm_ondata_creating_codec"}]}, "hcm_ondata"),
        ({"buffer_factory_config": {"minimum_account_to_track_power_of_two": 20}}, "buffer_factory_config"),
        (
            {"actions": [{"name": "envoy.overload_actions.shrink_heap", "triggers": triggers("other")}]},
            "Unknown trigger resource other",
        ),
        ({"actions": [{"name": "envoy.overload_actions.shrink_heap"}] * 2}, "Duplicate overload action"),
        ({"resource_monitors": [HEAP, HEAP]}, "Duplicate resource monitor"),
        ({"actions": [{"name": "envoy.overload_actions.reduce_timeouts"}]}, "requires a typed_config"),
        (
            {
                "actions": [
                    {
                        "name": "envoy.overload_actions.reduce_timeouts",
                        "typed_config": {
                            "@type": SCALES,
                            "timer_scale_factors": [{"timer": "TRANSPORT_SOCKET_CONNECT", "min_timeout": "1s"}],
                        },
                    }
                ]
            },
            "TRANSPORT_SOCKET_CONNECT",
        ),
    ],
)
async def test_what_there_is_not_is_refused_by_name(config: dict[str, Any], said: str) -> None:
    with pytest.raises((ConfigError, Unsupported), match=said):
        await made(**config)


async def test_the_data_path_asks_only_under_pressure() -> None:
    name = "envoy.overload_actions.stop_accepting_requests"
    overload = await made(actions=[{"name": name, "triggers": triggers()}])
    conn: Any = SimpleNamespace(listener=SimpleNamespace(bypass_overload=False))
    assert not overload.server.overloaded and not overload.refuses_request(conn)
    overload.refresh()  # more than a byte is in use
    assert overload.server.overloaded and overload.refuses_request(conn)
    conn.listener.bypass_overload = True
    assert not overload.refuses_request(conn)


def test_triggers() -> None:
    scaled = overload_pb2.Trigger(name="a", scaled={"scaling_threshold": 0.5, "saturation_threshold": 0.9})
    assert [percent(Trigger(scaled, "a").pulled(at)) for at in (0.4, 0.5, 0.7, 0.8, 0.9, 1)] == [0, 0, 50, 75, 100, 100]
    threshold = overload_pb2.Trigger(name="a", threshold={"value": 0.5})
    assert [Trigger(threshold, "a").pulled(at) for at in (0.49, 0.5)] == [0, 1]


def test_what_monitors_read(tmp_path: Path) -> None:
    assert 0 < FixedHeap(fixed_heap_pb2.FixedHeapConfig(max_heap_size_bytes=1 << 40)).pressure() < 0.1
    (tmp_path / "memory.current").write_text("50\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert CgroupMemory(cgroup_memory_pb2.CgroupMemoryConfig(), tmp_path).pressure() == 0
    assert CgroupMemory(cgroup_memory_pb2.CgroupMemoryConfig(max_memory_bytes=200), tmp_path).pressure() == 0.25
    (tmp_path / "memory.max").write_text("100\n")
    assert CgroupMemory(cgroup_memory_pb2.CgroupMemoryConfig(max_memory_bytes=200), tmp_path).pressure() == 0.5
    stat = tmp_path / "stat"
    stat.write_text("cpu  10 0 10 80 0 0 0 0 0 0\n")
    cpu = CpuUtilization(cpu_utilization_pb2.CpuUtilizationConfig(), stat)
    stat.write_text("cpu  60 0 60 80 0 0 0 0 0 0\n")
    assert cpu.pressure() == pytest.approx(0.05)


def test_less_time_under_pressure() -> None:
    factors = [
        {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_scale": {"value": 50}},
        {"timer": "HTTP_DOWNSTREAM_STREAM_IDLE", "min_timeout": {"seconds": 2}},
    ]
    timeouts = Timeouts(overload_pb2.ScaleTimersOverloadActionConfig(timer_scale_factors=factors))
    drained: list[str] = []
    hcm = SimpleNamespace(
        idle_timeout=10.0, stream_idle_timeout=10.0, stats=SimpleNamespace(downstream_cx_idle_timeout=0)
    )
    now = time.monotonic()
    connections = {
        SimpleNamespaceOf(
            hcm=hcm, last=now - idle, idle_timer=SimpleNamespace(cancel=int), h2=None, active=busy,
            drain=lambda name=name: drained.append(name),
        )
        for name, idle, busy in (("new", 1, 0), ("old", 7, 0), ("busy", 7, 1))
    }  # fmt: skip
    stream = SimpleNamespaceOf(hcm=hcm, route=None, idle_timeout=10.0, next_deadline=9.0)
    server = SimpleNamespace(connections=connections, active={stream})
    timeouts.apply(server, 0.75)
    assert drained == ["old"] and hcm.stats.downstream_cx_idle_timeout == 1
    assert (stream.idle_timeout, stream.next_deadline) == (4, 0)
    timeouts.apply(server, 0)
    assert stream.idle_timeout == 10


class SimpleNamespaceOf(SimpleNamespace):
    __hash__ = object.__hash__
