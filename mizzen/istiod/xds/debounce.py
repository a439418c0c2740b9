"""When to act on a stream of changes: the first after a quiet period at once, a storm when it pauses, never too late.

Takes the times of changes (`changed`) and of acting (`acted`), says when to act (`due`). Seconds, monotonic; no
clock inside. istiod waits PILOT_DEBOUNCE_AFTER (100 ms) before every push and PILOT_DEBOUNCE_MAX (10 s) at most;
here only a storm waits, and one of endpoints alone, which is cheap to push and must not be late, only for a moment.
"""

from __future__ import annotations

QUIET_S = 0.1
MAX_S = 10.0
ENDPOINTS_S = 0.3


class Debounce:
    """quiet_s: a pause this long ends a storm. max_s: the longest that a change waits in a storm without a pause;
    endpoints_s: the longest in one of endpoints alone.
    """

    def __init__(self, quiet_s: float = QUIET_S, max_s: float = MAX_S, endpoints_s: float = ENDPOINTS_S) -> None:
        self.quiet_s, self.max_s, self.endpoints_s = quiet_s, max_s, min(endpoints_s, max_s)
        self._first: float | None = None  # the oldest change not acted on
        self._last = float("-inf")  # the newest change
        self._calm = True  # the pending change came after a quiet period
        self._endpoints = True  # nothing else is pending
        self._acted = float("-inf")

    @property
    def pending(self) -> bool:
        return self._first is not None

    def changed(self, now: float, endpoints: bool = False) -> None:
        """Something has changed; endpoints: it is where a service's endpoints are."""
        if self._first is None:
            self._first, self._endpoints = now, True
            self._calm = now - max(self._last, self._acted) >= self.quiet_s
        self._last = now
        self._endpoints = self._endpoints and endpoints

    def due(self) -> float | None:
        """When to act: a time that may have passed already; None while nothing is pending."""
        if self._first is None:
            return None
        if self._calm:
            return self._first
        return min(self._last + self.quiet_s, self._first + (self.endpoints_s if self._endpoints else self.max_s))

    def acted(self, now: float) -> None:
        """All changes so far have been acted on."""
        self._first, self._acted = None, now
