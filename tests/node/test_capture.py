"""Interception with real packets: a pod's network namespace, a neighbour's, and who really gets each connection."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import msgspec
import pytest

from mizzen.cni.rules import CaptureConfig, apply, cleanup

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("iptables-restore"), reason="needs root and iptables"),
]

POD, PEER = "10.213.7.2", "10.213.7.1"
POD6, PEER6 = "fd00:213:7::2", "fd00:213:7::1"
PREFIX = f"agt{os.getpid()}"

# Inside a namespace: listeners that answer with their name, then one connection per probe, as its user.
SERVE = """
import socket, sys, threading
for address, port, name in {listeners}:
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if name == "transparent":
        listener.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
    if ":" in address:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind((address, port)); listener.listen()
    def loop(listener=listener, name=name):
        while True:
            connection, peer = listener.accept()
            if name == "transparent":
                name = "%s -> %s:%d" % (peer[0], *connection.getsockname()[:2])
            connection.sendall(name.encode()); connection.close()
    threading.Thread(target=loop, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""
PROBE = """
import json, os, socket
answers = dict()
for name, user, source, host, port in {probes}:
    read, write = os.pipe()
    if not os.fork():
        os.setgroups([]); os.setgid(user); os.setuid(user)
        try:
            with socket.create_connection((host, port), 3, source_address=(source, 0) if source else None) as made:
                text = made.recv(100)
        except OSError as error:
            text = repr(error).encode()
        os.write(write, text or b"?"); os._exit(0)
    os.wait(); answers[name] = os.read(read, 200).decode()
print(json.dumps(answers))
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def python(namespace: str, code: str) -> list[str]:
    return ["ip", "netns", "exec", namespace, sys.executable, "-c", textwrap.dedent(code)]


@contextlib.contextmanager
def serving(namespace: str, listeners: list[tuple[str, int, str]]) -> Iterator[None]:
    with subprocess.Popen(
        python(namespace, SERVE.format(listeners=listeners)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "ready\n"
        yield
        process.terminate()


def ask(namespace: str, probes: list[tuple[str, int, str, str, int]]) -> dict[str, str]:
    code = PROBE.format(probes=probes)
    done = subprocess.run(python(namespace, code), check=True, capture_output=True, text=True)
    answers: dict[str, str] = json.loads(done.stdout)
    return answers


@pytest.fixture
def pod() -> Iterator[str]:
    """A pod's namespace, wired to a neighbour's; its path is /run/netns/NAME."""
    mine, other = f"{PREFIX}p", f"{PREFIX}n"
    try:
        for name in (mine, other):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "eth0", "netns", mine, "type", "veth", "peer", "name", "eth0", "netns", other)
        for name, address, address6 in ((mine, POD, POD6), (other, PEER, PEER6)):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "-6", "addr", "add", f"{address6}/64", "dev", "eth0", "nodad")
            ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", mine, "route", "add", "default", "via", PEER)
        yield mine
    finally:
        for name in (mine, other):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


CONFIG = CaptureConfig(
    mode="REDIRECT",
    inbound_ports=("*",),
    inbound_ports_exclude=("15020",),
    outbound_ranges=("*",),
    outbound_ranges_exclude=("10.99.0.0/16",),
    outbound_ports_exclude=("9001",),
)
LISTENERS = [
    ("0.0.0.0", 15001, "outbound"),
    ("0.0.0.0", 15006, "inbound"),
    ("0.0.0.0", 8080, "application"),
    ("0.0.0.0", 15020, "agent"),
]
NEIGHBOUR = [("0.0.0.0", 9000, "neighbour"), ("0.0.0.0", 9001, "neighbour")]
FROM_INSIDE = [
    ("an application calls out", 1000, "", PEER, 9000, "outbound"),
    ("a port that is left alone", 1000, "", PEER, 9001, "neighbour"),
    ("the proxy calls out", 1337, "", PEER, 9000, "neighbour"),
    ("an application calls itself by the pod's address", 1000, "", POD, 8080, "application"),
    ("an application calls itself by loopback", 1000, "", "127.0.0.1", 8080, "application"),
    ("the proxy calls its own pod, as through a Service", 1337, "", POD, 8080, "inbound"),
    ("inbound passthrough reaches the application", 1337, "127.0.0.6", POD, 8080, "application"),
]
FROM_OUTSIDE = [
    ("a neighbour calls the application", 0, "", POD, 8080, "inbound"),
    ("a neighbour calls the agent", 0, "", POD, 15020, "agent"),
]


@pytest.mark.parametrize("native_nftables", [False, True], ids=["iptables", "nftables"])
def test_who_gets_a_connection(pod: str, native_nftables: bool) -> None:
    other, path = f"{PREFIX}n", f"/run/netns/{pod}"
    apply(CONFIG, path, native_nftables=native_nftables)
    with serving(pod, LISTENERS), serving(other, NEIGHBOUR):
        got = ask(pod, [row[:5] for row in FROM_INSIDE]) | ask(other, [row[:5] for row in FROM_OUTSIDE])
    assert got == {row[0]: row[5] for row in FROM_INSIDE + FROM_OUTSIDE}


def save(pod: str) -> str:
    done = subprocess.run(["ip", "netns", "exec", pod, "iptables-save"], check=True, capture_output=True, text=True)
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith(("#", ":")))


def test_applying_again_changes_nothing_and_cleanup_removes_all(pod: str) -> None:
    path = f"/run/netns/{pod}"
    tproxy = CaptureConfig(mode="TPROXY", inbound_ports=("*",), outbound_ranges=("*",), exclude_interfaces=("eth7",))
    for config in (CONFIG, tproxy):
        apply(config, path)
        first = save(pod)
        apply(config, path)
        assert save(pod) == first
        assert "ISTIO_OUTPUT" in first
        cleanup(config, path)
        assert "ISTIO" not in save(pod)
        assert "-A" not in save(pod)


def test_reconcile_replaces_other_rules(pod: str) -> None:
    path = f"/run/netns/{pod}"
    apply(CaptureConfig(inbound_ports=("80",)), path)
    apply(CONFIG, path, reconcile=True)
    replaced = save(pod)
    assert "--dport 80 " not in replaced
    assert "DROP" not in replaced
    cleanup(CONFIG, path)
    apply(CONFIG, path)
    assert save(pod) == replaced


def test_the_command_validates_its_own_rules(pod: str) -> None:
    words = ["-u", "1337", "-m", "REDIRECT", "-b", "*", "-i", "*"]
    command = ["ip", "netns", "exec", pod, sys.executable, "-m", "mizzen", "iptables"]
    proxy = ["setpriv", "--reuid=1337", "--regid=1337", "--clear-groups"]
    check = [*command[:4], *proxy, *command[4:], *words, "--run-validation", "--skip-rule-apply", "--probe-timeout=1s"]
    assert subprocess.run(check, check=False, capture_output=True).returncode == 126
    subprocess.run([*command, *words], check=True)
    assert subprocess.run(check, check=False).returncode == 0


FROM_INSIDE_6 = [
    ("an application calls out", 1000, "", PEER6, 9000, "outbound"),
    ("a port that is left alone", 1000, "", PEER6, 9001, "neighbour"),
    ("the proxy calls out", 1337, "", PEER6, 9000, "neighbour"),
    ("an application calls itself by the pod's address", 1000, "", POD6, 8080, "application"),
    ("an application calls itself by loopback", 1000, "", "::1", 8080, "application"),
    ("the proxy calls its own pod, as through a Service", 1337, "", POD6, 8080, "inbound"),
    ("inbound passthrough reaches the application", 1337, "::6", POD6, 8080, "application"),
]
FROM_OUTSIDE_6 = [
    ("a neighbour calls the application", 0, "", POD6, 8080, "inbound"),
    ("a neighbour calls the agent", 0, "", POD6, 15020, "agent"),
]


@pytest.mark.parametrize("native_nftables", [False, True], ids=["iptables", "nftables"])
def test_who_gets_a_connection_by_ipv6(pod: str, native_nftables: bool) -> None:
    other = f"{PREFIX}n"
    apply(msgspec.structs.replace(CONFIG, ipv6=True), f"/run/netns/{pod}", native_nftables=native_nftables)
    listeners = [("::", port, name) for _, port, name in LISTENERS]
    with serving(pod, listeners), serving(other, [("::", port, name) for _, port, name in NEIGHBOUR]):
        got = ask(pod, [row[:5] for row in FROM_INSIDE_6]) | ask(other, [row[:5] for row in FROM_OUTSIDE_6])
    assert got == {row[0]: row[5] for row in FROM_INSIDE_6 + FROM_OUTSIDE_6}


@pytest.mark.parametrize("native_nftables", [False, True], ids=["iptables", "nftables"])
def test_tproxy_keeps_both_addresses(pod: str, native_nftables: bool) -> None:
    other = f"{PREFIX}n"
    config = msgspec.structs.replace(CONFIG, mode="TPROXY")
    apply(config, f"/run/netns/{pod}", native_nftables=native_nftables)
    listeners = [entry if entry[1] != 15006 else ("0.0.0.0", 15006, "transparent") for entry in LISTENERS]
    outside = [("application", 0, "", POD, 8080), ("agent", 0, "", POD, 15020)]
    inside = [("out", 1000, "", PEER, 9000), ("itself", 1000, "", POD, 8080)]
    with serving(pod, listeners), serving(other, NEIGHBOUR):
        got = ask(other, outside) | ask(pod, inside)
    expected = {"application": f"{PEER} -> {POD}:8080", "agent": "agent", "out": "outbound", "itself": "application"}
    assert got == expected
