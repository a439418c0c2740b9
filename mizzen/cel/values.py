"""Values of CEL that Python has no type of its own for, and how values are told apart and shown."""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from urllib.parse import SplitResult


class EvaluationError(ValueError):
    """An expression that has no value for these variables; the message is CEL's."""


class Uint(int):
    """An unsigned integer."""


class Optional:
    """optional.of(x), or optional.none()."""

    __slots__ = ("there", "value")

    def __init__(self, there: bool, value: Any = None) -> None:
        self.there, self.value = there, value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Optional) and (self.there, self.value) == (other.there, other.value)

    __hash__ = None  # type: ignore[assignment]


NOTHING = Optional(False)


class Quantity:
    __slots__ = ("amount",)

    def __init__(self, amount: Fraction) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.amount == other.amount

    def __hash__(self) -> int:
        return hash(self.amount)


class Url:
    __slots__ = ("parts", "text")

    def __init__(self, text: str, parts: SplitResult) -> None:
        self.text, self.parts = text, parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


class Semver:
    """major.minor.patch[-pre][+build]"""

    __slots__ = ("key", "major", "minor", "patch")
    FORM = re.compile(r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?\Z")

    def __init__(self, text: str) -> None:
        found = self.FORM.match(text)
        if not found:
            raise EvaluationError(f"semver: invalid version {text}")
        self.major, self.minor, self.patch = int(found[1]), int(found[2]), int(found[3])
        pre = (
            tuple((0, int(one), "") if one.isdigit() else (1, 0, one) for one in found[4].split("."))
            if found[4]
            else None
        )
        self.key = (self.major, self.minor, self.patch, pre is None, pre or ())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Semver) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}


def duration(text: str) -> timedelta:
    sign = -1 if text.startswith("-") else 1
    rest, total, place = text.lstrip("+-"), 0.0, 0
    if rest == "0":
        return timedelta(0)
    while place < len(rest):
        found = _DURATION.match(rest, place)
        if not found:
            raise EvaluationError(f'time: invalid duration "{text}"')
        total += float(found[1]) * _SECONDS[found[2]]
        place = found.end()
    if not rest:
        raise EvaluationError(f'time: invalid duration "{text}"')
    return timedelta(seconds=sign * total)


def timestamp(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
    except ValueError:
        raise EvaluationError(f'parsing time "{text}"') from None


def type_name(value: Any) -> str:
    if isinstance(value, Uint):
        return "uint"
    for kind, name in _NAMES:
        if isinstance(value, kind):
            return name
    return "null_type" if value is None else type(value).__name__.lower()


_NAMES: tuple[tuple[Any, str], ...] = (
    (bool, "bool"), (int, "int"), (float, "double"), (str, "string"), (bytes, "bytes"), (list, "list"), (dict, "map"),
    (datetime, "google.protobuf.Timestamp"), (timedelta, "google.protobuf.Duration"), (Optional, "optional_type"),
    (Quantity, "kubernetes.Quantity"), (Url, "kubernetes.URL"), (Semver, "kubernetes.Semver"),
    ((ipaddress.IPv4Address, ipaddress.IPv6Address), "net.IP"), ((ipaddress.IPv4Network, ipaddress.IPv6Network), "net.CIDR"),
)  # fmt: skip
