"""One rule, without the words of iptables or nftables.

A rule is a table, a chain, matches in order, and an action; `at` inserts it at a position (1 is first) instead of
appending it. `families` says for which IP versions it holds.
"""

from __future__ import annotations

import msgspec

V4, V6 = 4, 6
BOTH = (V4, V6)


class Match(msgspec.Struct, frozen=True):
    """One condition. Kinds: iif, oif, src, dst, proto, dport, dports, sport, uid, gid, mark, connmark, ctstate."""

    kind: str
    value: str
    negated: bool = False


class Action(msgspec.Struct, frozen=True):
    """What to do. Kinds: return, accept, drop, jump (value: chain), redirect (port), tproxy (port, mark), mark, ctzone,
    savemark, restoremark."""

    kind: str
    value: str = ""
    mark: str = ""


class Rule(msgspec.Struct, frozen=True):
    """See the module."""

    table: str
    chain: str
    matches: tuple[Match, ...]
    action: Action
    families: tuple[int, ...] = BOTH
    at: int | None = None


def match(**conditions: str | int | None) -> tuple[Match, ...]:
    """Matches by name, in the order given; `not_uid="1"` negates, None leaves out."""
    return tuple(
        Match(name.removeprefix("not_"), str(value), name.startswith("not_"))
        for name, value in conditions.items()
        if value is not None
    )


RETURN, ACCEPT, DROP = Action("return"), Action("accept"), Action("drop")


def jump(chain: str) -> Action:
    return Action("jump", chain)


def redirect(port: int) -> Action:
    return Action("redirect", str(port))
