"""envoy.filters.http.local_ratelimit and envoy.filters.network.local_ratelimit: token buckets of this process.

Not here: descriptors (config/rate_limits.py). Source: envoy.extensions.filters.{http,network}.local_ratelimit.v3.
"""

from __future__ import annotations

import math
import random
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import RequestHeaders, ResponseHeaders
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.header_ops import add_ops
from mizzen.proxy.config.matchers import runtime_flag, runtime_fraction
from mizzen.proxy.config.rate_limits import Descriptor, descriptors, limits
from mizzen.proxy.config.values import seconds, wrapped
from mizzen.proxy.filters.base import HttpFilter
from mizzen.proxy.filters.network import NetworkFilter
from mizzen.proxy.http import info as flags
from mizzen.proxy.http.header_ops import apply
from mizzen.proxy.net.connection import Downstream

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

COUNTERS = ("enabled", "enforced", "ok", "rate_limited", "shadow_mode")


class Bucket:
    """Tokens that flow in evenly, `per_fill` of them every `interval` seconds, up to `max`."""

    __slots__ = ("at", "max", "rate", "tokens")

    def __init__(self, maximum: int, per_fill: int, interval_s: float) -> None:
        self.max = maximum
        self.rate = per_fill / interval_s
        self.tokens = float(maximum)
        self.at = time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        tokens = min(self.max, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if tokens < 1:
            self.tokens = tokens
            return False
        self.tokens = tokens - 1
        return True

    def remaining(self) -> int:
        return int(min(self.max, self.tokens + (time.monotonic() - self.at) * self.rate))

    def reset_s(self) -> int:
        """Seconds until there is a token again."""
        tokens = min(self.max, self.tokens + (time.monotonic() - self.at) * self.rate)
        return 0 if tokens >= 1 else math.ceil((1 - tokens) / self.rate)


def bucket_of(message: Any) -> tuple[int, int, float]:
    """Size, fill and interval of a envoy.type.v3.TokenBucket."""
    interval = seconds(message.fill_interval)
    if interval < 0.05:
        raise ConfigError("local rate limit token bucket fill timer must be >= 50ms")
    return message.max_tokens, wrapped(message, "tokens_per_fill", 1), interval


class Buckets:
    """The default bucket and those of descriptors; of wildcard descriptors one for each value, the oldest forgotten."""

    def __init__(self, settings: Settings) -> None:
        self.default = Bucket(*settings.bucket) if settings.bucket is not None else None
        self.fixed = {entries: Bucket(*shape) for entries, shape in settings.fixed.items()}
        self.wild = [(entries, shape, OrderedDict[Descriptor, Bucket]()) for entries, shape in settings.wild]
        self.most = settings.max_dynamic

    def matching(self, wanted: list[Descriptor]) -> list[Bucket]:
        found = []
        for descriptor in wanted:
            bucket = self.fixed.get(descriptor)
            if bucket is None:
                bucket = self._wild(descriptor)
            if bucket is not None and bucket not in found:
                found.append(bucket)
        found.sort(key=lambda bucket: bucket.rate)
        return found

    def _wild(self, descriptor: Descriptor) -> Bucket | None:
        for entries, shape, made in self.wild:
            if len(entries) == len(descriptor) and all(
                key == name and (not value or value == given)
                for (key, value), (name, given) in zip(entries, descriptor, strict=True)
            ):
                bucket = made.get(descriptor)
                if bucket is None:
                    bucket = made[descriptor] = Bucket(*shape)
                    if len(made) > self.most:
                        made.popitem(last=False)
                else:
                    made.move_to_end(descriptor)
                return bucket
        return None


class Settings:
    """One LocalRateLimit: the filter's own or a route's, with its own buckets."""

    def __init__(self, message: Any, server: Any) -> None:
        if message.HasField("local_cluster_rate_limit"):
            raise Unsupported("LocalRateLimit.local_cluster_rate_limit")
        self.stats: Any = server.stats.group(f"{message.stat_prefix}.http_local_rate_limit", COUNTERS)
        self.code: int = message.status.code if message.status.code >= 400 else 429
        self.enabled = (
            runtime_fraction(message.filter_enabled, server.runtime)
            if message.HasField("filter_enabled")
            else lambda: 0.0
        )
        self.enforced = (
            runtime_fraction(message.filter_enforced, server.runtime)
            if message.HasField("filter_enforced")
            else lambda: 0.0
        )
        self.not_enforced_ops = tuple(add_ops(message.request_headers_to_add_when_not_enforced))
        self.response_ops = tuple(add_ops(message.response_headers_to_add))
        self.bucket = bucket_of(message.token_bucket) if message.HasField("token_bucket") else None
        self.fixed: dict[Descriptor, tuple[int, int, float]] = {}
        self.wild: list[tuple[Descriptor, tuple[int, int, float]]] = []
        for each in message.descriptors:
            entries = tuple((entry.key, entry.value) for entry in each.entries)
            shape = bucket_of(each.token_bucket)
            if all(value for _, value in entries):
                if entries in self.fixed:
                    raise ConfigError(f"duplicate descriptor in the local rate descriptor: {entries}")
                self.fixed[entries] = shape
            else:
                self.wild.append((entries, shape))
        self.max_dynamic = wrapped(message, "max_dynamic_descriptors", 20)
        self.stage: int = message.stage
        self.vhost: int = message.vh_rate_limits
        self.own = limits(message.rate_limits)
        self.per_connection: bool = message.local_rate_limit_per_downstream_connection
        self.headers = message.enable_x_ratelimit_headers == 1
        self.default_too = wrapped(message, "always_consume_default_token_bucket", True)
        self.exhausted = 8 if message.rate_limited_as_resource_exhausted else None
        self.shared = Buckets(self)

    def buckets(self, conn: Downstream) -> Buckets:
        if not self.per_connection:
            return self.shared
        key = f"mizzen.local_ratelimit.{id(self)}"
        found: Buckets | None = conn.filter_state.get(key) if conn.filter_state else None
        if found is None:
            found = Buckets(self)
            conn.set_filter_state(key, found)
        return found


class LocalRateLimit(HttpFilter):
    decodes = encodes = True

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        settings: Settings = self.route_config(stream) or self.settings
        share = settings.enabled()
        if share < 1 and random.random() >= share:
            return True
        stats = settings.stats
        stats.enabled += 1
        buckets = settings.buckets(stream.conn)
        used: list[Bucket] = []
        if settings.fixed or settings.wild:
            wanted = descriptors(stream, settings.stage, settings.vhost, settings.own)
            used = buckets.matching(wanted) if wanted else []
        default = buckets.default
        if default is not None and (settings.default_too or not used):
            used.append(default)
        allowed = all(bucket.take() for bucket in used)
        if settings.headers and used:
            if stream.state is None:
                stream.state = {}
            stream.state[self] = min(used, key=Bucket.remaining)
        if allowed:
            stats.ok += 1
            return True
        stats.rate_limited += 1
        share = settings.enforced()
        if share < 1 and random.random() >= share:
            stats.shadow_mode += 0
            if settings.not_enforced_ops:
                apply(settings.not_enforced_ops, headers, stream)
            return True
        stats.enforced += 1
        ops = settings.response_ops
        stream.local_reply(
            settings.code,
            "local_rate_limited",
            "local_rate_limited",
            flags.RATE_LIMITED,
            grpc_status=settings.exhausted,
            modify=(lambda response: apply(ops, response, stream)) if ops else None,
        )
        return False

    def response_headers(self, stream: Stream, headers: ResponseHeaders, end: bool) -> bool:
        bucket: Bucket | None = stream.state.get(self) if stream.state is not None else None
        if bucket is not None:
            headers.set("x-ratelimit-limit", str(bucket.max))
            headers.set("x-ratelimit-remaining", str(bucket.remaining()))
            headers.set("x-ratelimit-reset", str(bucket.reset_s()))
        return True


class ConnectionLimiter(NetworkFilter):
    """A token for each connection."""

    def __init__(self, config: Any, server: Any) -> None:
        self.stats: Any = server.stats.group(f"local_rate_limit.{config.stat_prefix}", ["rate_limited"])
        if config.share_key:
            raise Unsupported("network LocalRateLimit.share_key")
        self.bucket = Bucket(*bucket_of(config.token_bucket))
        self.enabled = runtime_flag(config.runtime_enabled, server.runtime)

    def allow(self, conn: Downstream) -> bool:
        if not self.enabled() or self.bucket.take():
            return True
        self.stats.rate_limited += 1
        return False


def http_filter(config: Any, server: Any, hcm: Any) -> LocalRateLimit:
    return LocalRateLimit(Settings(config, server))


def route_config(config: Any, server: Any) -> Settings:
    return Settings(config, server)


def network_filter(config: Any, server: Any, listener: Any) -> ConnectionLimiter:
    return ConnectionLimiter(config, server)
