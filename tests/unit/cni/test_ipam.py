"""The address book: given once, remembered on disk, safe between processes, honest when it is full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mizzen.cni.ipam import Ipam, NoAddress

SUBNET = "10.9.0.0/29"  # .1 is the gateway, .2 to .6 are given


def give(book: Ipam, *containers: str) -> list[str]:
    return [str(book.add(name, "eth0")) for name in containers]


def test_network_gateway_and_broadcast_are_never_given(tmp_path: Path) -> None:
    book = Ipam(tmp_path, SUBNET)
    assert give(book, *"abcde") == [f"10.9.0.{n}" for n in range(2, 7)]
    with pytest.raises(NoAddress, match=r"no free address in 10\.9\.0\.0/29"):
        book.add("f", "eth0")


def test_the_same_owner_gets_the_same_address(tmp_path: Path) -> None:
    book = Ipam(tmp_path, SUBNET)
    assert give(book, "a", "a") == ["10.9.0.2", "10.9.0.2"]
    assert str(book.add("a", "eth1")) == "10.9.0.3"  # another interface is another owner


def test_a_freed_address_is_given_last(tmp_path: Path) -> None:
    book = Ipam(tmp_path, SUBNET)
    give(book, "a", "b")
    assert [str(ip) for ip in book.release("a")] == ["10.9.0.2"]
    assert give(book, *"cdef") == ["10.9.0.4", "10.9.0.5", "10.9.0.6", "10.9.0.2"]


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    give(Ipam(tmp_path, SUBNET), "a", "b")
    again = Ipam(tmp_path, SUBNET)
    assert str(again.owned("b", "eth0")) == "10.9.0.3"
    assert give(again, "a", "c") == ["10.9.0.2", "10.9.0.4"]


@pytest.mark.parametrize("text", ["", "rubbish", "10.200.0.1", "10.9.0.6"])
def test_a_useless_last_address_starts_at_the_first(tmp_path: Path, text: str) -> None:
    (tmp_path / "last_reserved_ip.0").write_text(text)
    assert give(Ipam(tmp_path, SUBNET), "a") == ["10.9.0.2"]


def test_release_is_idempotent_and_by_interface(tmp_path: Path) -> None:
    book = Ipam(tmp_path / "none", SUBNET)
    assert book.release("a") == [] == book.keep_only(set())
    assert book.owned("a", "eth0") is None
    book.add("a", "eth0")
    book.add("a", "eth1")
    assert [str(ip) for ip in book.release("a", "eth1")] == ["10.9.0.3"]
    assert [str(ip) for ip in book.release("a")] == ["10.9.0.2"]
    assert book.release("a") == []


def test_collection_keeps_the_living(tmp_path: Path) -> None:
    book = Ipam(tmp_path, SUBNET)
    give(book, *"abc")
    assert sorted(map(str, book.keep_only({"b"}))) == ["10.9.0.2", "10.9.0.4"]
    assert str(book.owned("b", "eth0")) == "10.9.0.3"


_TAKE = """
import sys
from pathlib import Path
from mizzen.cni.ipam import Ipam
book = Ipam(Path(sys.argv[1]), "10.9.1.0/24")
print(*(book.add(f"{sys.argv[2]}-{n}", "eth0") for n in range(25)))
"""


def test_processes_at_once_never_share_an_address(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _TAKE, str(tmp_path)]
    takers = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True) for n in range(4)]
    given = [ip for taker in takers for ip in taker.communicate(timeout=60)[0].split()]
    assert len(given) == len(set(given)) == 100
