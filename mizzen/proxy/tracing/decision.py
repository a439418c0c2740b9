"""Whether a request is traced, and why: from its id, from headers that force it, by sampling.

Pure but for the dice. The reason travels in the request id: its 15th character says it (Envoy's UUID request id extension).
Source: envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing,
envoy.config.route.v3.Tracing, envoy.extensions.request_id.uuid.v3.
"""

from __future__ import annotations

import random
from typing import Any, Final, NamedTuple

from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.config.values import fraction

NOT_TRACEABLE, SAMPLING, SERVICE_FORCED, CLIENT_FORCED = range(4)
MARKS: Final = "49ab"  # of the reasons above, in the request id
PLACE, ID_LENGTH = 14, 36
ALWAYS = 1.0


class Sampling(NamedTuple):
    """Shares of requests, each between 0 and 1: those whose client asks for it, those drawn, the limit of all."""

    client: float = ALWAYS
    random: float = ALWAYS
    overall: float = ALWAYS


def of_manager(message: Any) -> Sampling:
    """Of HttpConnectionManager.Tracing (percents)."""

    def share(field: str) -> float:
        return getattr(message, field).value / 100 if message.HasField(field) else ALWAYS

    return Sampling(share("client_sampling"), share("random_sampling"), share("overall_sampling"))


def of_route(message: Any) -> Sampling:
    """Of config.route.v3.Tracing (fractional percents)."""

    def share(field: str) -> float:
        return fraction(getattr(message, field)) if message.HasField(field) else ALWAYS

    return Sampling(share("client_sampling"), share("random_sampling"), share("overall_sampling"))


class RequestIds(NamedTuple):
    """The request id extension. packs: whether the reason is written into the id; samples: whether the id decides."""

    packs: bool = True
    samples: bool = True


def reason_in(request_id: str) -> int:
    """What a request id says; NOT_TRACEABLE also when it is no UUID."""
    return max(MARKS.find(request_id[PLACE]), 0) if len(request_id) >= ID_LENGTH else NOT_TRACEABLE


def with_reason(request_id: str, reason: int) -> str:
    return request_id[:PLACE] + MARKS[reason] + request_id[PLACE + 1 :]


class Decider:
    """Decides for one connection manager."""

    def __init__(self, ids: RequestIds, runtime: dict[str, Any]) -> None:
        self._ids = ids
        self._runtime = runtime

    def _share(self, key: str, default: float) -> float:
        value = self._runtime.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value / 100
        return default

    def decide(self, headers: RequestHeaders, sampling: Sampling) -> int:
        """The reason; it is written into x-request-id, too."""
        if not self._ids.samples:
            return SAMPLING
        request_id = headers.d.get("x-request-id")
        if request_id is None or len(request_id) < ID_LENGTH:
            return NOT_TRACEABLE
        try:
            drawn = int(request_id[:8], 16) % 10_000
        except ValueError:
            return NOT_TRACEABLE
        found = reason_in(request_id) if self._ids.packs else NOT_TRACEABLE
        reason = found or self._fresh(headers, sampling, drawn)
        if reason and drawn % 100 >= round(self._share("tracing.global_enabled", sampling.overall) * 100):
            reason = NOT_TRACEABLE
        if reason != found and self._ids.packs:
            headers.set("x-request-id", with_reason(request_id, reason))
        return reason

    def _fresh(self, headers: RequestHeaders, sampling: Sampling, drawn: int) -> int:
        d = headers.d
        if "x-client-trace-id" in d and random.random() < self._share("tracing.client_enabled", sampling.client):
            return CLIENT_FORCED
        if "x-envoy-force-trace" in d:
            return SERVICE_FORCED
        if drawn < round(self._share("tracing.random_sampling", sampling.random) * 10_000):
            return SAMPLING
        return NOT_TRACEABLE
