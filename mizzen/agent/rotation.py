"""When a certificate is renewed: pure, so that time can be anything.

Source: Istio's secret cache (grace ratio with jitter).
"""

from __future__ import annotations


def renewal_delay(not_before: float, not_after: float, now: float, ratio: float, jitter: float, chance: float) -> float:
    """Seconds until renewal; 0 when it is due. chance: from -1 to 1, spreads the moment by the jitter."""
    part = min(1.0, max(0.0, ratio + jitter * chance))
    return max(0.0, not_after - (not_after - not_before) * part - now)


def retry_delay(attempt: int, chance: float) -> float:
    """Seconds before the next try of a certificate request: 0.1 doubling, with 10 % jitter. attempt counts from 0."""
    return float(0.1 * 2**attempt * (1 + 0.1 * chance))
