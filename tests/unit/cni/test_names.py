"""Names of one home: stable, apart from another home's, and short enough for the kernel."""

from __future__ import annotations

import os
from ipaddress import IPv4Address
from pathlib import Path

from mizzen.cni.bridge import mac_of
from mizzen.cni.names import bridge_name, cgroup_root, chain_prefix, home_tag, veth_name


def test_every_spelling_of_a_home_has_one_tag(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "link").symlink_to(home)
    spellings: list[str | Path] = [
        home,
        str(home),
        f"{home}/",
        tmp_path / "x" / ".." / "home",
        tmp_path / "link",
        os.path.relpath(home),
    ]
    assert len({home_tag(path) for path in spellings}) == 1
    assert home_tag(home) != home_tag(tmp_path)


def test_names_fit_and_carry_the_tag() -> None:
    tag = home_tag("/somewhere")
    assert len(tag) == 6
    for name in (bridge_name(tag), veth_name(tag, "s" * 64)):
        assert len(name) <= 15
        assert tag in name
    assert len(chain_prefix(tag) + "MASQ") <= 28
    assert tag in chain_prefix(tag)
    assert tag in cgroup_root(tag)


def test_a_sandbox_has_its_own_veth() -> None:
    assert veth_name("abcdef", "one") == veth_name("abcdef", "one")
    assert len({veth_name(tag, box) for tag in ("abcdef", "123456") for box in ("one", "two")}) == 4


def test_the_hardware_address_follows_from_the_ip() -> None:
    assert mac_of(IPv4Address("10.9.0.2")).hex(":") == "0a:58:0a:09:00:02"
