"""Restart back-off: how long a container that keeps ending waits before it is started again. No clock inside."""

from __future__ import annotations

BASE_S, LIMIT_S = 10.0, 300.0
FORGIVEN_AFTER_S = 600.0  # a container that ran this long starts from the base again


class Backoff:
    """One container's back-off. Times are seconds, of any clock that goes forward.

    Source: the kubelet's CrashLoopBackOff: 10 s, doubled up to 5 minutes, forgotten after 10 minutes of running.
    """

    def __init__(self, base_s: float = BASE_S, limit_s: float = LIMIT_S) -> None:
        self._base_s, self._limit_s = base_s, limit_s
        self._delay_s = 0.0

    @property
    def delay_s(self) -> float:
        """The wait that holds now; 0 before the first restart."""
        return self._delay_s

    def ended(self, started: float, finished: float) -> float:
        """The container has ended: the time from which it may be started again. The first restart is at once."""
        if finished - started >= FORGIVEN_AFTER_S:
            self._delay_s = 0.0
        ready = finished + self._delay_s
        self._delay_s = min(self._limit_s, self._delay_s * 2 or self._base_s)
        return ready


def words(delay_s: float) -> str:
    """A wait as Go prints durations: `10s`, `1m20s`, `5m0s`."""
    whole = int(delay_s)
    return f"{whole // 60}m{whole % 60}s" if whole >= 60 else f"{whole}s"
