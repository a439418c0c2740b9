"""Limits of local storage: what is over, in words; and resources of a running pod, which do not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mizzen.runtime.cri.runtime import _set_sysctls
from mizzen.runtime.kubelet.status import admitted, resized
from mizzen.runtime.kubelet.storage import Used, disk_bytes, excess, limited
from tests.unit.kubelet.pods import pod

MI = 1 << 20


def made(limits: tuple[str | None, ...], size_limit: str | None = None) -> dict[str, Any]:
    names = [f"c{place}" for place in range(len(limits))]
    source = {} if size_limit is None else {"sizeLimit": size_limit}
    found = pod(*names, volumes=[{"name": "v", "emptyDir": source}])
    for container, limit in zip(found["spec"]["containers"], limits, strict=True):
        if limit is not None:
            container["resources"] = {"limits": {"ephemeral-storage": limit}}
    return found


@pytest.mark.parametrize(
    ("limits", "size_limit", "volume", "containers", "expected"),
    [
        ((None,), "1Mi", MI, (0,), ""),
        ((None,), "1Mi", MI + 1, (0,), 'EmptyDir volume "v" exceeds the limit "1Mi"'),
        (("1Mi",), None, 0, (MI,), ""),
        (("1Mi", None), None, 9 * MI, (MI + 1, 0), 'Container c0 exceeded its local ephemeral storage limit "1Mi"'),
        (("1Mi", None), None, 9 * MI, (MI, 9 * MI), ""),
        (("1Mi", "1Mi"), None, 2 * MI, (1, 0), f"total limit of containers {2 * MI}"),
    ],
)
def test_excess(
    limits: tuple[str | None, ...], size_limit: str | None, volume: int, containers: tuple[int, ...], expected: str
) -> None:
    spec = made(limits, size_limit)
    found = excess(spec, Used({"v": volume}, {f"c{place}": size for place, size in enumerate(containers)}))
    assert bool(found) == bool(expected) and expected in found


def test_only_what_has_limits_is_measured() -> None:
    assert not limited(made((None,)))
    assert limited(made((None,), "1Mi")) and limited(made(("1Mi",)))
    assert not limited(pod("a", volumes=[{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]))


def test_bytes_on_disk(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(b"x" * 100_000)
    (tmp_path / "link").hardlink_to(tmp_path / "below" / "file")
    assert 100_000 <= disk_bytes(tmp_path) < 150_000


def test_a_running_pod_keeps_the_resources_it_was_admitted_with() -> None:
    before, after = {"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}
    spec = pod("a")
    spec["spec"]["containers"][0]["resources"] = before
    assert admitted(spec, "a", before) == before and resized(spec) == ""
    spec["status"] = {"containerStatuses": [{"name": "a", "resources": before}]}
    assert resized(spec) == ""
    spec["spec"]["containers"][0]["resources"] = after
    assert admitted(spec, "a", after) == before and resized(spec) == "a"


@pytest.mark.parametrize(
    ("name", "own", "reason"),
    [
        ("kernel.hostname", {"net", "ipc"}, "does not belong"),
        ("net.ipv4.ip_forward", {"ipc"}, "is the host's"),
        ("kernel.shmmax", {"net"}, "is the host's"),
        ("net../../kernel/x", {"net"}, "does not belong"),
    ],
)
def test_a_sysctl_that_would_be_the_hosts_is_refused(name: str, own: set[str], reason: str) -> None:
    with pytest.raises(OSError, match=reason):
        _set_sysctls({name: "1"}, own)
