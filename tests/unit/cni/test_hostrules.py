"""The host's rules as text, what is left out when it is there, and what takes exactly ours away."""

from __future__ import annotations

from mizzen.cni.hostrules import host_rules, removal

FRESH = """*nat
:MZ-ab-MASQ - [0:0]
-I POSTROUTING 1 -j MZ-ab-MASQ
-A MZ-ab-MASQ -s 10.9.0.0/24 -d 10.9.0.0/24 -j RETURN
-A MZ-ab-MASQ -s 10.9.0.0/24 -d 224.0.0.0/4 -j RETURN
-A MZ-ab-MASQ -s 10.9.0.0/24 -j MASQUERADE
COMMIT
*filter
:MZ-ab-FWD - [0:0]
-I FORWARD 1 -j MZ-ab-FWD
-A MZ-ab-FWD -i mz-ab -j ACCEPT
-A MZ-ab-FWD -o mz-ab -j ACCEPT
COMMIT
"""
SAVED = """*nat
:POSTROUTING ACCEPT [0:0]
:MZ-ab-MASQ - [0:0]
:MZ-cd-MASQ - [0:0]
-A POSTROUTING -j MZ-cd-MASQ
-A POSTROUTING -j MZ-ab-MASQ
-A MZ-ab-MASQ -s 10.9.0.0/24 -j MASQUERADE
-A MZ-cd-MASQ -s 10.8.0.0/24 -j MASQUERADE
COMMIT
*mangle
:FORWARD ACCEPT [0:0]
-A FORWARD -j ACCEPT
COMMIT
*filter
:FORWARD ACCEPT [0:0]
:MZ-ab-FWD - [0:0]
-A FORWARD -s 10.9.0.7/32 -m comment --comment pod -j MZ-ab-FWD
-A FORWARD -j KUBE-FORWARD
-A MZ-ab-FWD -i mz-ab -j ACCEPT
COMMIT
"""


def test_on_a_bare_host_all_is_made() -> None:
    assert host_rules("MZ-ab-", "mz-ab", "10.9.0.0/24", "") == FRESH


def test_jumps_that_are_there_are_not_made_again() -> None:
    text = host_rules("MZ-ab-", "mz-ab", "10.9.0.0/24", SAVED)
    assert "-I" not in text
    assert [line for line in FRESH.splitlines() if not line.startswith("-I")] == text.splitlines()


def test_anothers_jump_is_not_ours() -> None:
    assert "-I POSTROUTING 1 -j MZ-ef-MASQ" in host_rules("MZ-ef-", "mz-ef", "10.9.0.0/24", SAVED)


def test_removal_takes_our_jumps_and_chains_and_nothing_else() -> None:
    assert removal("MZ-ab-", SAVED) == (
        "*nat\n-D POSTROUTING -j MZ-ab-MASQ\n-F MZ-ab-MASQ\n-X MZ-ab-MASQ\nCOMMIT\n"
        "*filter\n-D FORWARD -s 10.9.0.7/32 -m comment --comment pod -j MZ-ab-FWD\n-F MZ-ab-FWD\n-X MZ-ab-FWD\nCOMMIT\n"
    )


def test_nothing_of_ours_needs_no_removal() -> None:
    assert removal("MZ-ef-", SAVED) == ""
    assert removal("MZ-ab-", "") == ""
