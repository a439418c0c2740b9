"""Virtual addresses of ServiceEntries: who gets some, who keeps theirs, who must give them up."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from mizzen.istiod.config.store import decode
from mizzen.istiod.status.addresses import plan, status_with, wants


def entry(name: str, *hosts: str, created: int = 1, status: dict[str, str] | None = None, **spec: Any) -> Any:
    text = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: shop, creationTimestamp: "2026-01-0{created}T00:00:00Z"}}
"""
    obj = yaml.load(text, yaml.BaseLoader)
    obj["spec"] = {"hosts": list(hosts), "ports": [{"number": 80, "name": "tcp"}], "resolution": "DNS", **spec}
    if status:
        obj["status"] = {"addresses": [{"value": value, "host": host} for value, host in status.items()]}
    return decode(obj)


def given(*entries: Any) -> dict[str, dict[str, tuple[str, ...]]]:
    return {key[1]: addresses for key, addresses in plan(entries, ("240.240.0.0/29", "2001:2::/48")).items()}


def test_in_sequence_one_of_each_family() -> None:
    assert given(entry("a", "b.test", "a.test"), entry("b", "c.test", created=2)) == {
        "a": {"a.test": ("240.240.0.1", "2001:2::1"), "b.test": ("240.240.0.2", "2001:2::2")},
        "b": {"c.test": ("240.240.0.3", "2001:2::3")},
    }


def test_what_is_there_stays() -> None:
    old = entry("b", "b.test", created=2, status={"240.240.0.1": "b.test", "2001:2::1": "b.test"})
    assert given(entry("a", "a.test"), old) == {
        "a": {"a.test": ("240.240.0.2", "2001:2::2")},
        "b": {"b.test": ("240.240.0.1", "2001:2::1")},
    }


def test_the_older_keeps_a_contested_address() -> None:
    status = {"240.240.0.1": "x.test"}
    found = given(entry("young", "x.test", created=2, status=status), entry("old", "x.test", status=status))
    assert (found["old"]["x.test"][0], found["young"]["x.test"][0]) == ("240.240.0.1", "240.240.0.2")


def test_an_exhausted_family_gives_none() -> None:
    found = given(entry("a", *(f"h{n}.test" for n in range(7))))
    assert found["a"]["h6.test"] == ("", "2001:2::7")
    assert status_with({}, found["a"])["addresses"][-1] == {"value": "2001:2::7", "host": "h6.test"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, True),
        ({"resolution": "NONE"}, False),
        ({"addresses": ["192.0.2.1"]}, False),
        ({"resolution": "STATIC"}, True),
    ],
)
def test_who_gets_addresses(spec: dict[str, Any], expected: bool) -> None:
    assert wants(entry("a", "a.test", **spec)) is expected


def test_wildcards_and_those_who_do_not_want_any() -> None:
    assert given(entry("a", "*.test")) == {"a": {}}
    labelled = entry("a", "a.test")
    labelled.metadata.labels = {"networking.istio.io/enable-autoallocate-ip": "false"}
    assert given(labelled) == {}
    assert status_with({"addresses": [1], "conditions": []}, {}) == {"conditions": []}
