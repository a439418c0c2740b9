"""Retries: which outcomes of an attempt are tried again, and when.

`RetryPolicy` is a route's policy, `for_request` adds what the request's own headers ask for. Pure: the router acts on it.
Source: envoy.config.route.v3.RetryPolicy, Envoy's router filter documentation (x-envoy-retry-on).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final

from mizzen.proxy.codec.headers import RequestHeaders, ResponseHeaders
from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.config.matchers import header_matcher
from mizzen.proxy.config.values import seconds, unpack, wrapped

(
    R_5XX, R_GATEWAY, R_CONNECT, R_4XX, R_REFUSED, R_CODES, R_HEADERS, R_RESET, R_RATELIMITED, R_BEFORE_REQUEST, R_HTTP3_CONNECT,
    G_CANCELLED, G_DEADLINE, G_EXHAUSTED, G_UNAVAILABLE, G_INTERNAL,
) = (1 << i for i in range(16))  # fmt: skip
WORDS: Final = {
    "5xx": R_5XX,
    "gateway-error": R_GATEWAY,
    "connect-failure": R_CONNECT,
    "retriable-4xx": R_4XX,
    "refused-stream": R_REFUSED,
    "retriable-status-codes": R_CODES,
    "retriable-headers": R_HEADERS,
    "reset": R_RESET,
    "envoy-ratelimited": R_RATELIMITED,
    "reset-before-request": R_BEFORE_REQUEST,
    "http3-post-connect-failure": R_HTTP3_CONNECT,
}
GRPC_WORDS: Final = {
    "cancelled": G_CANCELLED,
    "deadline-exceeded": G_DEADLINE,
    "resource-exhausted": G_EXHAUSTED,
    "unavailable": G_UNAVAILABLE,
    "internal": G_INTERNAL,
}
GRPC_BITS: Final = {1: G_CANCELLED, 4: G_DEADLINE, 8: G_EXHAUSTED, 14: G_UNAVAILABLE, 13: G_INTERNAL}


def bits(text: str, words: dict[str, int]) -> int:
    return sum({words[word] for word in (part.strip() for part in text.split(",")) if word in words})


FIELDS: Final = (
    "base", "codes", "headers", "host_attempts", "max_backoff", "num", "on", "per_try", "per_try_idle", "previous_hosts",
    "previous_priorities", "rate_limited_headers", "rate_limited_max", "request_headers",
)  # fmt: skip


class RetryPolicy:
    """What is retried, how often, after which pauses."""

    __slots__ = (
        "base",
        "codes",
        "headers",
        "host_attempts",
        "max_backoff",
        "num",
        "on",
        "per_try",
        "per_try_idle",
        "previous_hosts",
        "previous_priorities",
        "rate_limited_headers",
        "rate_limited_max",
        "request_headers",
    )

    def __init__(self, message: Any = None) -> None:
        self.on = 0
        self.num = 1
        self.per_try = 0.0
        self.per_try_idle = 0.0
        self.codes: frozenset[int] = frozenset()
        self.headers: tuple[Callable[[Any], bool], ...] = ()
        self.request_headers: tuple[Callable[[Any], bool], ...] = ()
        self.base = 0.025
        self.max_backoff = 0.25
        self.previous_hosts = False
        self.previous_priorities = 0  # update_frequency of previous_priorities; 0: not used
        self.host_attempts = 1
        self.rate_limited_headers: tuple[tuple[str, int], ...] = ()  # (name, 0 SECONDS | 1 UNIX_TIMESTAMP)
        self.rate_limited_max = 300.0
        if message is not None:
            self._read(message)

    def _read(self, message: Any) -> None:
        self.on = bits(message.retry_on, WORDS) | bits(message.retry_on, GRPC_WORDS)
        self.num = wrapped(message, "num_retries", 1)
        self.per_try = seconds(message.per_try_timeout)
        self.per_try_idle = seconds(message.per_try_idle_timeout)
        self.codes = frozenset(message.retriable_status_codes)
        self.headers = tuple(header_matcher(each) for each in message.retriable_headers)
        self.request_headers = tuple(header_matcher(each) for each in message.retriable_request_headers)
        if message.HasField("retry_back_off"):
            self.base = seconds(message.retry_back_off.base_interval)
            self.max_backoff = (
                seconds(message.retry_back_off.max_interval)
                if message.retry_back_off.HasField("max_interval")
                else self.base * 10
            )
        for predicate in message.retry_host_predicate:
            kind = predicate.typed_config.type_url.rpartition(".")[2]
            if kind == "PreviousHostsPredicate" or predicate.name == "envoy.retry_host_predicates.previous_hosts":
                self.previous_hosts = True
            elif kind != "OmitCanaryHostsPredicate" or not kind:
                raise Unsupported(f"RetryPolicy.retry_host_predicate {predicate.name}")
            else:
                raise Unsupported(f"RetryPolicy.retry_host_predicate {predicate.name}")
        if message.HasField("retry_priority"):
            from envoy.extensions.retry.priority.previous_priorities.v3 import previous_priorities_config_pb2

            kind = previous_priorities_config_pb2.PreviousPrioritiesConfig
            name = message.retry_priority.name
            config = unpack(message.retry_priority.typed_config, kind, f"RetryPolicy.retry_priority {name}")
            self.previous_priorities = config.update_frequency
        if message.retry_options_predicates:
            raise Unsupported("RetryPolicy.retry_options_predicates")
        self.host_attempts = message.host_selection_retry_max_attempts or 1
        if message.HasField("rate_limited_retry_back_off"):
            limited = message.rate_limited_retry_back_off
            self.rate_limited_headers = tuple((each.name.lower(), int(each.format)) for each in limited.reset_headers)
            if limited.HasField("max_interval"):
                self.rate_limited_max = seconds(limited.max_interval)

    def copy(self) -> RetryPolicy:
        other = RetryPolicy()
        for name in FIELDS:
            setattr(other, name, getattr(self, name))
        return other


NONE: Final = RetryPolicy()
ASKING: Final = ("x-envoy-retry-on", "x-envoy-retry-grpc-on", "x-envoy-max-retries")
ASKING_SET: Final = frozenset(ASKING)
STRIPPED: Final = (*ASKING, "x-envoy-retriable-status-codes", "x-envoy-retriable-header-names")
STRIPPED_SET: Final = frozenset(STRIPPED)


def for_request(policy: RetryPolicy | None, request: RequestHeaders) -> RetryPolicy | None:
    """The policy with what the request's headers add; None when nothing is retried."""
    d = request.d
    if ASKING_SET.isdisjoint(d):
        if policy is None or not policy.on:
            return None
    else:
        policy = (policy or NONE).copy()
        policy.on |= bits(d.get("x-envoy-retry-on", ""), WORDS) | bits(d.get("x-envoy-retry-grpc-on", ""), GRPC_WORDS)
        text = d.get("x-envoy-max-retries", "")
        if text.isdigit() and policy.on:
            policy.num = int(text)
        codes = d.get("x-envoy-retriable-status-codes", "")
        policy.codes = policy.codes | {int(part) for part in codes.split(",") if part.strip().isdigit()}
        names = [
            name.strip().lower() for name in d.get("x-envoy-retriable-header-names", "").split(",") if name.strip()
        ]
        policy.headers = (
            *policy.headers,
            *((lambda headers, name=name: headers.get(name) is not None) for name in names),
        )
        if not policy.on:
            return None
    if policy.request_headers and not any(test(request) for test in policy.request_headers):
        return None
    return policy


def on_headers(policy: RetryPolicy, response: ResponseHeaders) -> bool:
    """Whether an answer with this head is tried again."""
    on, status = policy.on, response.status
    if "x-envoy-ratelimited" in response.d and not on & R_RATELIMITED:
        return False
    if on & R_RATELIMITED and "x-envoy-ratelimited" in response.d:
        return True
    if on & (R_5XX | R_GATEWAY):
        if on & R_5XX and 500 <= status < 600:
            return True
        if on & R_GATEWAY and status in (502, 503, 504):
            return True
    if on & R_4XX and status == 409:
        return True
    if on & R_CODES and status in policy.codes:
        return True
    if on & R_HEADERS and any(test(response) for test in policy.headers):
        return True
    if on >= G_CANCELLED:
        text = response.d.get("grpc-status")
        if text is not None and text.isdigit():
            return bool(on & GRPC_BITS.get(int(text), 0))
    return False


def on_reset(policy: RetryPolicy, reason: str, request_sent: bool) -> bool:
    """Whether an attempt that ended without an answer is tried again."""
    on = policy.on
    if reason == "overflow":
        return False
    if reason in ("local connection failure", "remote connection failure", "connection timeout"):
        return bool(on & (R_CONNECT | R_5XX | R_GATEWAY | R_RESET | R_BEFORE_REQUEST))
    if on & R_BEFORE_REQUEST and not request_sent:
        return True
    if reason == "remote refused stream reset":
        return bool(on & (R_REFUSED | R_5XX | R_GATEWAY | R_RESET))
    return bool(on & (R_5XX | R_GATEWAY | R_RESET))


def backoff(policy: RetryPolicy, attempt: int) -> float:
    """Seconds to wait before the retry number `attempt` (from 1): full jitter below an exponential bound."""
    bound = min(policy.max_backoff, policy.base * float(2**attempt - 1))
    return random.random() * bound


def rate_limited_backoff(policy: RetryPolicy, response: ResponseHeaders) -> float | None:
    """Seconds that the answer's reset header asks to wait; None when it does not, or too long."""
    for name, kind in policy.rate_limited_headers:
        text = response.get(name)
        if text is None or not text.isdigit():
            continue
        wait = float(text) if kind == 0 else float(text) - time.time()
        if 0 < wait <= policy.rate_limited_max:
            return wait * (1 + random.random() * 0.5)
    return None
