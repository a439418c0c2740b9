"""What a route does beside choosing its cluster: retries, faults, cross-origin rules, mirroring, hashing.

Takes the parts of an HTTPRoute, gives envoy's messages. Not here: the route's action itself (route_actions.py).
Source: envoy.config.route.v3.RetryPolicy, RouteAction.HashPolicy; extensions.filters.http fault.v3 and cors.v3.
"""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus

from envoy.config.core.v3 import base_pb2 as core
from envoy.config.route.v3 import route_components_pb2 as routes
from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.retry.priority.previous_priorities.v3 import previous_priorities_config_pb2
from envoy.type.matcher.v3 import string_pb2
from envoy.type.v3 import percent_pb2
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from mizzen.api.istio.destination_rule import ConsistentHashLB
from mizzen.api.istio.virtual_service import (
    Abort,
    CorsPolicy,
    Delay,
    HTTPFaultInjection,
    HTTPRetry,
    HTTPRoute,
    Percent,
)
from mizzen.istiod.translate.messages import pack, pb_duration
from mizzen.istiod.translate.route_match import string_matcher
from mizzen.wire.grpc_status import Status

DEFAULT_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
STATUS_CODES = "retriable-status-codes"
_HTTP_CODES = frozenset(int(status) for status in HTTPStatus)
_MILLION = percent_pb2.FractionalPercent.MILLION


_PREVIOUS_HOSTS = routes.RetryPolicy.RetryHostPredicate(
    name="envoy.retry_host_predicates.previous_hosts",
    typed_config=pack(previous_hosts_pb2.PreviousHostsPredicate()),
)
_PREVIOUS_PRIORITIES = routes.RetryPolicy.RetryPriority(
    name="envoy.retry_priorities.previous_priorities",
    typed_config=pack(previous_priorities_config_pb2.PreviousPrioritiesConfig(update_frequency=2)),
)


@lru_cache(maxsize=1024)
def retry_policy(retries: HTTPRetry | None, hashed: bool = False) -> routes.RetryPolicy | None:
    """The retry policy that is asked for, or the built-in one when there is none; None when retries are off.

    hashed: the route has one destination with a consistent hash, so that another host is not looked for by default.
    The answer is shared: never write to it.
    """
    if retries is not None and retries.attempts <= 0:
        return None
    out = routes.RetryPolicy(
        retry_on=DEFAULT_RETRY_ON, num_retries=UInt32Value(value=2), host_selection_retry_max_attempts=5
    )
    other_host = not hashed
    if retries is not None:
        out.num_retries.value = retries.attempts
        if retries.retry_on:
            out.retry_on, codes = split_retry_on(retries.retry_on)
            out.retriable_status_codes.extend(codes)
        if retries.per_try_timeout is not None:
            out.per_try_timeout.CopyFrom(pb_duration(retries.per_try_timeout))
        if retries.retry_remote_localities:
            out.retry_priority.CopyFrom(_PREVIOUS_PRIORITIES)
        if retries.retry_ignore_previous_hosts is not None:
            other_host = retries.retry_ignore_previous_hosts
        if retries.backoff is not None:
            out.retry_back_off.base_interval.CopyFrom(pb_duration(retries.backoff))
    if other_host:
        out.retry_host_predicate.append(_PREVIOUS_HOSTS)
    return out


def split_retry_on(text: str) -> tuple[str, list[int]]:
    """Envoy's retry conditions, and the status codes that stood among them."""
    parts = [part.strip() for part in text.split(",")]
    codes = [int(part) for part in parts if _is_status(part)]
    conditions = ",".join(part for part in parts if part and not _is_status(part))
    if codes and STATUS_CODES not in conditions:
        conditions += "," + STATUS_CODES
    return conditions, codes


def _is_status(part: str) -> bool:
    return part.isascii() and part.isdigit() and int(part) in _HTTP_CODES


def millionths(percent: Percent) -> percent_pb2.FractionalPercent:
    """A percentage in steps of a ten-thousandth of a percent."""
    return percent_pb2.FractionalPercent(numerator=int(percent.value * 10000), denominator=_MILLION)


def hundredths(percent: int) -> percent_pb2.FractionalPercent:
    """A percentage in whole percents."""
    return percent_pb2.FractionalPercent(numerator=percent)


def fault(injection: HTTPFaultInjection) -> fault_pb2.HTTPFault | None:
    """The fault filter's settings for a route; None when nothing can be injected."""
    out = fault_pb2.HTTPFault()
    if injection.delay is not None:
        _set_delay(out, injection.delay)
    if injection.abort is not None:
        _set_abort(out, injection.abort)
    return out if out.HasField("delay") or out.HasField("abort") else None


def _set_delay(out: fault_pb2.HTTPFault, delay: Delay) -> None:
    if delay.fixed_delay is None:
        return
    out.delay.fixed_delay.CopyFrom(pb_duration(delay.fixed_delay))
    share = millionths(delay.percentage) if delay.percentage is not None else hundredths(delay.percent)
    out.delay.percentage.CopyFrom(share)


def _set_abort(out: fault_pb2.HTTPFault, abort: Abort) -> None:
    if abort.http_status is not None:
        out.abort.http_status = abort.http_status
    elif abort.grpc_status is not None:
        out.abort.grpc_status = Status.__members__.get(abort.grpc_status.upper(), Status.OK)
    else:
        return
    if abort.percentage is not None:
        out.abort.percentage.CopyFrom(millionths(abort.percentage))


def cors(policy: CorsPolicy) -> cors_pb2.CorsPolicy:
    """The CORS filter's settings for a route; the filter is always on there."""
    out = cors_pb2.CorsPolicy(
        allow_methods=",".join(policy.allow_methods),
        allow_headers=",".join(policy.allow_headers),
        expose_headers=",".join(policy.expose_headers),
        forward_not_matching_preflights=BoolValue(value=policy.unmatched_preflights != "IGNORE"),
        filter_enabled=core.RuntimeFractionalPercent(default_value=hundredths(100)),
    )
    if policy.allow_origins:
        out.allow_origin_string_match.extend(m for m in map(string_matcher, policy.allow_origins) if m is not None)
    else:
        out.allow_origin_string_match.extend(string_pb2.StringMatcher(exact=o) for o in policy.allow_origin)
    if policy.allow_credentials is not None:
        out.allow_credentials.value = policy.allow_credentials
    if policy.max_age is not None:
        out.max_age = str(int(policy.max_age.seconds))
    return out


def mirror_share(route: HTTPRoute) -> percent_pb2.FractionalPercent | None:
    """The share of requests that `mirror` gets; None for none of them."""
    if route.mirror_percentage is None and route.mirror_percent is not None:
        return hundredths(route.mirror_percent) if route.mirror_percent > 0 else None
    return policy_share(route.mirror_percentage)


def policy_share(percentage: Percent | None) -> percent_pb2.FractionalPercent | None:
    """The share that a mirror's percentage means: all when it is absent, None when it is zero."""
    if percentage is None:
        return hundredths(100)
    return millionths(percentage) if percentage.value > 0 else None


def mirror_policy(cluster: str, share: percent_pb2.FractionalPercent) -> routes.RouteAction.RequestMirrorPolicy:
    """A copy of that share of requests to a cluster, with the Host header as it was."""
    return routes.RouteAction.RequestMirrorPolicy(
        cluster=cluster,
        runtime_fraction=core.RuntimeFractionalPercent(default_value=share),
        trace_sampled=BoolValue(value=False),
        disable_shadow_host_suffix_append=True,
    )


def hash_policy(hash_lb: ConsistentHashLB) -> routes.RouteAction.HashPolicy | None:
    """What of a request is hashed; None when the rule names no key."""
    out = routes.RouteAction.HashPolicy()
    if hash_lb.http_header_name is not None:
        out.header.header_name = hash_lb.http_header_name
    elif hash_lb.http_cookie is not None:
        cookie = hash_lb.http_cookie
        out.cookie.name, out.cookie.path = cookie.name, cookie.path
        if cookie.ttl is not None:
            out.cookie.ttl.CopyFrom(pb_duration(cookie.ttl))
        for attribute in cookie.attributes:
            out.cookie.attributes.add(name=attribute.name, value=attribute.value)
    elif hash_lb.use_source_ip is not None:
        out.connection_properties.source_ip = hash_lb.use_source_ip
    elif hash_lb.http_query_parameter_name is not None:
        out.query_parameter.name = hash_lb.http_query_parameter_name
    else:
        return None
    return out
