"""Rate-limit descriptors: what a route's rate_limits say about a request. Protos in, functions out.

A descriptor is a tuple of (key, value) pairs. Source: envoy.config.route.v3.RateLimit.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.matchers import all_headers, at_path, query_matcher, query_parameters
from mizzen.proxy.config.values import wrapped

Entry = tuple[str, str]
Descriptor = tuple[Entry, ...]
# an entry, None to leave the descriptor out, () to leave only this entry out
Step = Callable[[Any], Entry | tuple[()] | None]


def _request_header(message: Any) -> Step:
    name, key, skip = message.header_name.lower(), message.descriptor_key, message.skip_if_absent

    def step(stream: Any) -> Entry | tuple[()] | None:
        value = stream.request.get(name)
        if value is None:
            return () if skip else None
        return key, value

    return step


def _remote_address(stream: Any) -> Entry | None:
    return "remote_address", (stream.remote or stream.conn.remote)[0]


def _masked(message: Any) -> Step:
    v4, v6 = wrapped(message, "v4_prefix_mask_len", 32), wrapped(message, "v6_prefix_mask_len", 128)

    def step(stream: Any) -> Entry | None:
        try:
            address = ipaddress.ip_address((stream.remote or stream.conn.remote)[0])
        except ValueError:
            return None
        length = v4 if address.version == 4 else v6
        return "masked_remote_address", str(ipaddress.ip_network((address, length), strict=False))

    return step


def _header_match(message: Any) -> Step:
    test = all_headers(message.headers)
    expect = wrapped(message, "expect_match", True)
    entry = (message.descriptor_key or "header_match", message.descriptor_value)
    return lambda stream: entry if (test is None or test(stream.request)) == expect else None


def _query(message: Any) -> Step:
    name, key, skip = message.query_parameter_name, message.descriptor_key, message.skip_if_absent

    def step(stream: Any) -> Entry | tuple[()] | None:
        value = query_parameters(stream.request.path).get(name)
        if value is None:
            return () if skip else None
        return key, value

    return step


def _query_match(message: Any) -> Step:
    tests = [query_matcher(each) for each in message.query_parameters]
    expect = wrapped(message, "expect_match", True)
    entry = (message.descriptor_key or "query_match", message.descriptor_value)

    def step(stream: Any) -> Entry | None:
        query = query_parameters(stream.request.path)
        return entry if all(test(query) for test in tests) == expect else None

    return step


def _metadata(message: Any, route: bool, skip: bool) -> Step:
    namespace, keys = message.metadata_key.key, [segment.key for segment in message.metadata_key.path]
    default = message.default_value

    def step(stream: Any) -> Entry | tuple[()] | None:
        source = (stream.route.metadata if stream.route is not None else None) if route else stream.metadata
        value = at_path((source or {}).get(namespace), keys)
        if not isinstance(value, str) or not value:
            value = default
        if not value:
            return () if skip else None
        return message.descriptor_key, value

    return step


def action(message: Any) -> Step:
    """The function of one RateLimit.Action."""
    kind = message.WhichOneof("action_specifier")
    if kind == "source_cluster":
        return lambda stream: ("source_cluster", stream.hcm.server.node.cluster)
    if kind == "destination_cluster":
        return lambda stream: (
            ("destination_cluster", stream.upstream_cluster_name) if stream.upstream_cluster_name else None
        )
    if kind == "request_headers":
        return _request_header(message.request_headers)
    if kind == "query_parameters":
        return _query(message.query_parameters)
    if kind == "remote_address":
        return _remote_address
    if kind == "masked_remote_address":
        return _masked(message.masked_remote_address)
    if kind == "generic_key":
        entry = (message.generic_key.descriptor_key or "generic_key", message.generic_key.descriptor_value)
        return lambda stream: entry
    if kind == "header_value_match":
        return _header_match(message.header_value_match)
    if kind == "query_parameter_value_match":
        return _query_match(message.query_parameter_value_match)
    if kind == "dynamic_metadata":
        return _metadata(message.dynamic_metadata, False, False)
    if kind == "metadata":
        if message.metadata.source not in (0, 1):
            raise ConfigError("RateLimit.Action.metadata.source is not known")
        return _metadata(message.metadata, message.metadata.source == 1, message.metadata.skip_if_absent)
    raise Unsupported(f"RateLimit.actions.{kind}")


class Limit:
    """One RateLimit: a descriptor made of its actions, or none when one of them has nothing to say."""

    def __init__(self, message: Any) -> None:
        self.stage: int = wrapped(message, "stage", 0)
        self.disable_key: str = message.disable_key
        self._steps = tuple(action(each) for each in message.actions)

    def descriptor(self, stream: Any) -> Descriptor | None:
        out: list[Entry] = []
        for step in self._steps:
            entry = step(stream)
            if entry is None:
                return None
            if entry:
                out.append(entry)
        return tuple(out) or None


Limits = tuple[Limit, ...]


def limits(messages: Iterable[Any]) -> Limits:
    return tuple(Limit(each) for each in messages)


OVERRIDE, INCLUDE, IGNORE = 0, 1, 2  # vh_rate_limits


def descriptors(stream: Any, stage: int, vhost: int, own: Limits = ()) -> list[Descriptor]:
    """The descriptors of a request: the filter's own limits, else the route's, and as `vhost` says its virtual host's."""
    route = stream.route
    if own:
        chosen = [own]
    elif route is None:
        return []
    else:
        of_route: Limits = route.action.rate_limits if route.action is not None else ()
        chosen = [of_route]
        of_host: Limits = stream.vhost.rate_limits if stream.vhost is not None else ()
        if vhost == INCLUDE or (vhost == OVERRIDE and not of_route):
            chosen.append(of_host)
    out = []
    for some in chosen:
        for limit in some:
            if limit.stage == stage:
                found = limit.descriptor(stream)
                if found is not None:
                    out.append(found)
    return out
