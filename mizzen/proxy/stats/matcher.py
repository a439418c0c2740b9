"""Which statistics exist: the bootstrap's StatsConfig.stats_matcher, asked by name. Source: envoy.config.metrics.v3.StatsMatcher.

Istio's standard metrics are always served: their labels are no part of a name here.
"""

from __future__ import annotations

from typing import Any

from mizzen.proxy.config.matchers import string_matcher


class StatsMatcher:
    """Whether a statistic of a name is kept; what was decided about a name is remembered."""

    def __init__(self, message: Any) -> None:
        kind = message.WhichOneof("stats_matcher")
        self._keep_matching = kind == "inclusion_list"
        patterns = getattr(message, kind).patterns if kind in ("inclusion_list", "exclusion_list") else ()
        self._tests = [string_matcher(each) for each in patterns]
        self._none = kind == "reject_all" and message.reject_all
        self._known: dict[str, bool] = {}

    def __call__(self, name: str) -> bool:
        found = self._known.get(name)
        if found is None:
            matched = any(test(name) for test in self._tests)
            found = self._known[name] = not self._none and matched == self._keep_matching
        return found
