"""envoy.filters.http.header_to_metadata and envoy.filters.http.set_filter_state: facts of a request kept for later filters.

Source: envoy.extensions.filters.http.{header_to_metadata,set_filter_state}.v3.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mizzen.proxy.accesslog.format import substitution_format
from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.matchers import regex
from mizzen.proxy.filters.base import HttpFilter

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

NAMESPACE = "envoy.filters.http.header_to_metadata"
STRING, NUMBER, PROTOBUF_VALUE = range(3)
MAX_VALUE = 8 * 1024  # bytes, as Envoy's MAX_HEADER_VALUE_LEN
KNOWN_OBJECTS = ("envoy.string",)


class Write:
    """A KeyValuePair: what is written and where."""

    def __init__(self, message: Any) -> None:
        self.namespace: str = message.metadata_namespace or NAMESPACE
        self.key: str = message.key
        if not self.key:
            raise ConfigError("HeaderToMetadata KeyValuePair.key: value length must be at least 1 characters")
        self.value: str = message.value
        self.kind: int = message.type
        self.encoding: int = message.encode
        self.rewrite: Callable[[str], str] | None = None
        if message.HasField("regex_value_rewrite"):
            pattern = regex(message.regex_value_rewrite.pattern.regex)
            replacement = message.regex_value_rewrite.substitution
            self.rewrite = lambda text: str(pattern.sub(replacement, text))

    def carry_out(self, stream: Stream, given: str) -> None:
        text = self.value or given
        if self.rewrite is not None and not self.value:
            text = self.rewrite(given)
        if not text or len(text) > MAX_VALUE:
            return
        if self.encoding == 1:
            try:
                text = b64decode(text, validate=True).decode("utf-8", "surrogateescape")
            except ValueError:
                return
        value: Any = text
        if self.kind == NUMBER:
            try:
                value = float(text)
            except ValueError:
                return
        elif self.kind == PROTOBUF_VALUE:
            try:
                value = json.loads(text)
            except ValueError:
                return
        stream.dynamic_metadata(self.namespace)[self.key] = value


class Rule:
    """One header or cookie to look at."""

    def __init__(self, message: Any) -> None:
        self.header: str = message.header.lower()
        self.cookie: str = message.cookie
        if bool(self.header) == bool(self.cookie):
            raise ConfigError("One of Cookie or Header option needs to be specified")
        self.present = Write(message.on_header_present) if message.HasField("on_header_present") else None
        self.missing = Write(message.on_header_missing) if message.HasField("on_header_missing") else None
        if self.present is None and self.missing is None:
            raise ConfigError(
                "header to metadata filter: rule for must specify at least one of on_header_present or on_header_missing"
            )
        if self.missing is not None and not self.missing.value:
            raise ConfigError("Cannot specify on_header_missing rule with an empty value")
        self.remove: bool = message.remove

    def carry_out(self, stream: Stream, headers: Headers) -> None:
        value = headers.joined(self.header) if self.header else cookie(headers, self.cookie)
        if value is None:
            if self.missing is not None:
                self.missing.carry_out(stream, "")
            return
        if self.present is not None:
            self.present.carry_out(stream, value)
        if self.remove and self.header:
            headers.remove(self.header)


def cookie(headers: Headers, name: str) -> str | None:
    """The first value of a cookie in a request."""
    for line in headers.values("cookie"):
        for pair in line.split(";"):
            key, mark, value = pair.strip().partition("=")
            if mark and key == name:
                return value.strip('"')
    return None


class Rules:
    def __init__(self, message: Any) -> None:
        self.request = tuple(Rule(each) for each in message.request_rules)
        self.response = tuple(Rule(each) for each in message.response_rules)


class HeaderToMetadata(HttpFilter):
    decodes = encodes = True

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        for rule in (self.route_config(stream) or self.rules).request:
            rule.carry_out(stream, headers)
        return True

    def response_headers(self, stream: Stream, headers: ResponseHeaders, end: bool) -> bool:
        for rule in (self.route_config(stream) or self.rules).response:
            rule.carry_out(stream, headers)
        return True


def header_to_metadata(config: Any, server: Any, hcm: Any) -> HeaderToMetadata:
    return HeaderToMetadata(Rules(config))


def header_to_metadata_route(config: Any, server: Any) -> Rules:
    return Rules(config)


class Value:
    """One object of filter state, made of a format."""

    def __init__(self, message: Any) -> None:
        self.key: str = message.object_key
        factory = message.factory_key or self.key
        if factory not in KNOWN_OBJECTS and not factory.startswith(("envoy.network.", "envoy.tcp_proxy.")):
            raise ConfigError(f"'{factory}' does not have an object factory")
        self.skip_if_empty: bool = message.skip_if_empty
        self.format = substitution_format(message.format_string)

    def carry_out(self, info: Any) -> None:
        text = self.format(info)
        if text or not self.skip_if_empty:
            info.set_filter_state(self.key, text)


class SetFilterState(HttpFilter):
    decodes = True

    def __init__(self, values: tuple[Value, ...]) -> None:
        self.values = values

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        for value in self.route_config(stream) or self.values:
            value.carry_out(stream)
        return True


def set_filter_state(config: Any, server: Any, hcm: Any) -> SetFilterState:
    if getattr(config, "clear_route_cache", False):
        raise Unsupported("SetFilterState.clear_route_cache")
    return SetFilterState(tuple(Value(each) for each in config.on_request_headers))


def set_filter_state_route(config: Any, server: Any) -> tuple[Value, ...]:
    return tuple(Value(each) for each in config.on_request_headers)
