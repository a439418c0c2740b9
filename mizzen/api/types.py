"""Values that several API groups share: Duration.

Takes text as manifests hold it, gives exact values. Not here: messages
(istio/, gateway_api.py).
"""

from __future__ import annotations

import re
from functools import total_ordering
from typing import Final

UNIT_NANOS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
_MAX_NANOS: Final = 2**63 - 1


@total_ordering
class Duration:
    """A signed span of time, exact to the nanosecond. Immutable.

    Source: google.protobuf.Duration, written in manifests as Go writes durations.
    """

    __slots__ = ("nanos",)
    nanos: int

    def __init__(self, nanos: int = 0) -> None:
        object.__setattr__(self, "nanos", nanos)

    @classmethod
    def of(cls, seconds: float) -> Duration:
        """The duration of that many seconds, rounded to the nanosecond."""
        return cls(round(seconds * 1_000_000_000))

    @classmethod
    def parse(cls, text: str) -> Duration:
        """The duration that text means.

        text: "1.5s", "100ms", "1h15m", ".5s", "-2s", "0": Go's time.ParseDuration.
        Raises ValueError for anything else: "", "5", "1d", "s".
        """
        sign, rest = 1, text
        if rest[:1] in ("+", "-"):
            sign, rest = (-1 if rest[0] == "-" else 1), rest[1:]
        if rest == "0":
            return cls(0)
        total, at = 0, 0
        while at < len(rest):
            part = _PART.match(rest, at)
            if part is None or not (part[1] or part[2]):
                break
            whole, fraction, unit = part[1], part[2] or "", UNIT_NANOS[part[3]]
            total += int(whole or "0") * unit
            if fraction:
                total += int(fraction) * unit // 10 ** len(fraction)
            at = part.end()
        if not rest or at < len(rest) or total > _MAX_NANOS:
            raise ValueError(f"not a duration: {text!r} (a number with a unit is expected, such as 1.5s or 100ms)")
        return cls(sign * total)

    @property
    def seconds(self) -> float:
        """The same span in seconds."""
        return self.nanos / 1_000_000_000

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Duration does not change")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and self.nanos == other.nanos

    def __lt__(self, other: Duration) -> bool:
        return self.nanos < other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __reduce__(self) -> tuple[type[Duration], tuple[int]]:
        return Duration, (self.nanos,)

    def __repr__(self) -> str:
        return f"Duration({str(self)!r})"

    def __str__(self) -> str:
        """The protobuf JSON form: seconds with up to nine decimals and an "s"."""
        sign, nanos = ("-", -self.nanos) if self.nanos < 0 else ("", self.nanos)
        whole, rest = divmod(nanos, 1_000_000_000)
        return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".") + "s" if rest else f"{sign}{whole}s"
