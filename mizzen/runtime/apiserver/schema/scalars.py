"""Scalar types of the API as Kubernetes writes them: quantities, times, durations. Pure text to text.

Not here: arithmetic on quantities for scheduling (that is the scheduler's).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fractions import Fraction

from mizzen.cel.quantity import BINARY, DECIMAL, QUANTITY
from mizzen.cel.quantity import quantity as quantity

_DECIMAL_NAMES = {power: name for name, power in DECIMAL.items()}
_BINARY_NAMES = {power: name for name, power in BINARY.items()}
_NANO = Fraction(1, 10**9)


def canonical_quantity(text: str | int | float) -> str:
    """The quantity as Kubernetes writes it back: largest suffix that leaves an integer, 9 decimals at most (rounded up)."""
    text = str(text)
    value = quantity(text)
    suffix = (QUANTITY.match(text) or [None] * 4)[3] or ""
    units = -((-value) // _NANO)  # rounded up to whole nanos
    value = units * _NANO
    if suffix in BINARY and value.denominator == 1 and abs(value) >= 1024:
        return _scaled(int(value), 1024, 6, _BINARY_NAMES)
    if suffix in BINARY and value.denominator == 1:
        return str(int(value))
    if suffix[:1] in ("e", "E") and len(suffix) > 1:
        return _exponent(value)
    if value == 0:
        return "0"
    power = -9
    number = int(value / _NANO)
    while number % 1000 == 0 and power < 18:
        number, power = number // 1000, power + 3
    return f"{number}{_DECIMAL_NAMES[power]}"


def _scaled(number: int, base: int, most: int, names: dict[int, str]) -> str:
    power = 0
    while number % base == 0 and power < most:
        number, power = number // base, power + 1
    return f"{number}{names.get(power, '')}"


def _exponent(value: Fraction) -> str:
    power, number = 0, value
    while number.denominator != 1:
        number, power = number * 1000, power - 3
    whole = int(number)
    while whole and whole % 1000 == 0:
        whole, power = whole // 1000, power + 3
    return f"{whole}e{power}" if power else str(whole)


def now() -> str:
    """The current time as metav1.Time writes it: whole seconds, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now_micro() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def canonical_time(text: str, micro: bool = False) -> str:
    """An RFC 3339 time in UTC. Raises ValueError."""
    if not re.match(r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)\Z", text):
        raise ValueError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse')
    text = re.sub(r"(\.\d{6})\d+", r"\1", text.upper())
    moment = datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def age(text: str | None, moment: datetime | None = None) -> str:
    """How long ago, as kubectl prints it: 5s, 3m12s, 4h5m, 2d3h, 45d; "<unknown>" for nothing."""
    if not text:
        return "<unknown>"
    return human_duration(((moment or datetime.now(UTC)) - parse_time(text)).total_seconds())


def human_duration(total_s: float) -> str:
    """As apimachinery's HumanDuration: two units at most, the smaller one only while it matters."""
    seconds = int(total_s)
    if seconds < -1:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    if seconds < 120:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 10:
        rest = seconds % 60
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        rest = minutes % 60
        return f"{hours}h{rest}m" if rest else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 24 * 8:
        rest = hours % 24
        return f"{hours // 24}d{rest}h" if rest else f"{hours // 24}d"
    days = hours // 24
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        rest = days % 365
        return f"{days // 365}y{rest}d" if rest else f"{days // 365}y"
    return f"{days // 365}y"
