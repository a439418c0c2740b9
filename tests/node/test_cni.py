"""The CNI plugin as a container runtime calls it: an executable, its environment, JSON on standard input and output.

Source: CNI specification 1.0.0.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mizzen.runtime.cleanup import cleanup
from mizzen.up.leftovers import leftovers

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root"), pytest.mark.timeout(60)]
SUBNET = "10.201.77.0/28"


class Plugin:
    """The installed launchers of one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        command = [sys.executable, "-m", "mizzen", "cni", "--install", str(home), "--subnet", SUBNET]
        subprocess.run(command, check=True, capture_output=True)
        self.conf = json.loads((home / "cni/net.d/10-mizzen.conflist").read_text())

    def call(self, command: str, container: str = "", netns: str = "", **change: Any) -> tuple[int, dict[str, Any]]:
        """(exit status, what was printed) of the bridge plugin."""
        plugin = {**self.conf["plugins"][0], "name": self.conf["name"], "cniVersion": "1.0.0", **change}
        env = {
            **os.environ, "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": netns, "CNI_IFNAME": "eth0",
            "CNI_PATH": str(self.home / "cni/bin"),
        }  # fmt: skip
        done = subprocess.run(
            [str(self.home / "cni/bin/mizzen")],
            input=json.dumps(plugin),
            capture_output=True,
            text=True,
            env=env,
            check=False,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Plugin]:
    yield Plugin(tmp_path)
    cleanup(tmp_path)
    assert leftovers(tmp_path) == []


@pytest.fixture
def namespaces() -> Iterator[list[str]]:
    names = [f"mzcnitest{n}" for n in range(2)]
    for name in names:
        subprocess.run(["ip", "netns", "add", name], check=True)
    yield [f"/run/netns/{name}" for name in names]
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=True)


def test_versions(plugin: Plugin) -> None:
    code, answer = plugin.call("VERSION")
    assert code == 0
    assert "1.0.0" in answer["supportedVersions"]


def test_two_containers_reach_each_other_and_are_gone_after_del(plugin: Plugin, namespaces: list[str]) -> None:
    addresses = []
    for n, netns in enumerate(namespaces):
        code, result = plugin.call("ADD", f"box{n}", netns)
        assert code == 0, result
        assert result["cniVersion"] == "1.0.0"
        assert any(i["name"] == "eth0" and i["sandbox"] == netns for i in result["interfaces"])
        addresses.append(result["ips"][0]["address"].partition("/")[0])
        assert result["routes"][0]["dst"] == "0.0.0.0/0"
    assert addresses[0] != addresses[1]
    ping = ["ip", "netns", "exec", Path(namespaces[0]).name, "python3", "-c", _TALK, addresses[0]]
    server = subprocess.Popen(
        ["ip", "netns", "exec", Path(namespaces[1]).name, "python3", "-c", _LISTEN, addresses[1]],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "listening\n"
    ping[-1] = addresses[1]
    assert subprocess.run(ping, capture_output=True, text=True, check=True, timeout=10).stdout == "hello"
    assert server.wait(10) == 0
    for n, netns in enumerate(namespaces):
        result = {"cniVersion": "1.0.0", "ips": [{"address": f"{addresses[n]}/32"}], "interfaces": []}
        assert plugin.call("CHECK", f"box{n}", netns, prevResult=result)[0] == 0
        assert plugin.call("DEL", f"box{n}", netns)[0] == 0
        assert plugin.call("DEL", f"box{n}", netns)[0] == 0  # again: no error
        links = subprocess.run(
            ["ip", "netns", "exec", Path(netns).name, "ip", "link"], capture_output=True, text=True, check=True
        )
        assert "eth0" not in links.stdout


_LISTEN = """
import socket, sys
s = socket.create_server((sys.argv[1], 9000)); print("listening", flush=True)
c, _ = s.accept(); c.sendall(b"hello"); c.close()
"""
_TALK = """
import socket, sys
print(socket.create_connection((sys.argv[1], 9000), 5).recv(9).decode(), end="")
"""


def test_an_address_is_given_once_and_again_when_it_is_free(plugin: Plugin, namespaces: list[str]) -> None:
    code, first = plugin.call("ADD", "one", namespaces[0])
    assert code == 0
    assert plugin.call("DEL", "one", namespaces[0])[0] == 0
    code, second = plugin.call("ADD", "two", namespaces[1])
    assert code == 0
    # The plugin keeps nothing in memory: each call is a process of its own, and the book is on disk.
    code, third = plugin.call("ADD", "three", namespaces[0])
    assert code == 0
    assert second["ips"][0]["address"] != third["ips"][0]["address"]
    assert first["ips"][0]["gateway"] == second["ips"][0]["gateway"] == "10.201.77.1"


@pytest.mark.parametrize(
    ("command", "change"),
    [
        ("ADD", {"type": "nobody"}),
        ("ADD", {"cniVersion": "9.0.0"}),
        ("ADD", {"subnet": "not a subnet"}),
        ("JUMP", {}),
    ],
    ids=["unknown plugin", "version", "subnet", "command"],
)
def test_what_cannot_be_is_refused_as_the_specification_says(
    plugin: Plugin, namespaces: list[str], command: str, change: dict[str, Any]
) -> None:
    code, error = plugin.call(command, "bad", namespaces[0], **change)
    assert code != 0
    assert isinstance(error["code"], int)
    assert error["msg"]
