"""String, header, query, path, address and metadata matchers: protos in, predicates out.

A predicate is a plain function made when configuration arrives. Headers are read as `Headers`; a missing header never
matches, whatever is inverted, unless it is treated as empty. Source: envoy.type.matcher.v3, config.route.v3.HeaderMatcher.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import re2

from mizzen.proxy.codec.headers import Headers
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.values import fraction, wrapped

StringPredicate = Callable[[str], bool]
HeaderPredicate = Callable[[Headers], bool]


def regex(pattern: str) -> Any:
    """A compiled RE2 expression; the message of a refusal names the pattern as Envoy's does."""
    try:
        return re2.compile(pattern)
    except Exception as error:  # re2 raises its own error type, which differs between its packages
        raise ConfigError(f"Invalid regex '{pattern}': {error}") from error


def full_match(pattern: str) -> StringPredicate:
    match = regex(pattern).fullmatch
    return lambda text: match(text) is not None


def string_matcher(message: Any, where: str = "StringMatcher") -> StringPredicate:
    """A predicate for an envoy.type.matcher.v3.StringMatcher."""
    kind = message.WhichOneof("match_pattern")
    if kind == "safe_regex":
        return full_match(message.safe_regex.regex)
    if kind == "custom":
        raise Unsupported(f"{where}.custom")
    if kind is None:
        raise ConfigError(f"{where}: match_pattern is required")
    wanted: str = getattr(message, kind)
    if message.ignore_case:
        wanted = wanted.lower()
        folded: dict[str, StringPredicate] = {
            "exact": lambda text: text.lower() == wanted,
            "prefix": lambda text: text.lower().startswith(wanted),
            "suffix": lambda text: text.lower().endswith(wanted),
            "contains": lambda text: wanted in text.lower(),
        }
        return folded[kind]
    plain: dict[str, StringPredicate] = {
        "exact": lambda text: text == wanted,
        "prefix": lambda text: text.startswith(wanted),
        "suffix": lambda text: text.endswith(wanted),
        "contains": lambda text: wanted in text,
    }
    return plain[kind]


def header_value_predicate(message: Any) -> StringPredicate | None:
    """What a HeaderMatcher asks of a value; None when it only asks for presence."""
    kind = message.WhichOneof("header_match_specifier")
    if kind in (None, "present_match"):
        return None
    if kind == "string_match":
        return string_matcher(message.string_match, f"header {message.name}")
    if kind == "range_match":
        low, high = message.range_match.start, message.range_match.end

        def in_range(text: str) -> bool:
            body = text.strip(" \t")
            digits = body[1:] if body[:1] in ("+", "-") else body
            return digits.isascii() and digits.isdigit() and low <= int(body) < high

        return in_range
    if kind == "safe_regex_match":
        return full_match(message.safe_regex_match.regex)
    wanted: str = getattr(message, kind)
    older: dict[str, StringPredicate] = {
        "exact_match": lambda text: text == wanted,
        "prefix_match": lambda text: text.startswith(wanted),
        "suffix_match": lambda text: text.endswith(wanted),
        "contains_match": lambda text: wanted in text,
    }
    return older[kind]


def header_matcher(message: Any) -> HeaderPredicate:
    """A predicate for an envoy.config.route.v3.HeaderMatcher."""
    name = message.name.lower()
    if not name:
        raise ConfigError("HeaderMatcher: name is required")
    invert, as_empty = bool(message.invert_match), bool(message.treat_missing_header_as_empty)
    test = header_value_predicate(message)
    if test is None:
        present = message.present_match if message.WhichOneof("header_match_specifier") else True
        wanted = present != invert
        if as_empty:
            return lambda headers: present != invert
        if name[:1] != ":" and name != "host":
            return lambda headers: (name in headers.d) == wanted
        return lambda headers: (headers.get(name) is not None) == wanted

    def matches(headers: Headers) -> bool:
        value = headers.get(name)
        if value is None:
            if not as_empty:
                return False
            return test("") != invert
        if headers.more is not None and name in headers.more:
            return any(test(each) for each in headers.more[name]) != invert
        return test(value) != invert

    return matches


def all_headers(messages: Any) -> HeaderPredicate | None:
    """One predicate for a list of HeaderMatchers that must all match; None for an empty list."""
    tests = [header_matcher(message) for message in messages]
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda headers: all(test(headers) for test in tests)


def query_parameters(path: str) -> dict[str, str]:
    """The first value of each query parameter, undecoded."""
    _, mark, query = path.partition("?")
    out: dict[str, str] = {}
    if mark:
        for part in query.partition("#")[0].split("&"):
            name, _, value = part.partition("=")
            out.setdefault(name, value)
    return out


def query_matcher(message: Any) -> Callable[[dict[str, str]], bool]:
    """A predicate over query_parameters() for a QueryParameterMatcher."""
    name = message.name
    kind = message.WhichOneof("query_parameter_match_specifier")
    if kind == "string_match":
        test = string_matcher(message.string_match, f"query parameter {name}")
        return lambda query: name in query and test(query[name])
    present = message.present_match if kind == "present_match" else True
    return lambda query: (name in query) == present


def path_matcher(message: Any) -> StringPredicate:
    """A predicate for an envoy.type.matcher.v3.PathMatcher, over a path with its query."""
    test = string_matcher(message.path, "PathMatcher")
    return lambda path: test(path.partition("?")[0].partition("#")[0])


def ip_number(text: str) -> tuple[int, int]:
    """An address as its version and number; IPv4-mapped IPv6 counts as IPv4. Version 0 for no address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return 0, 0
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version, int(address)


class Ranges:
    """A set of CIDR ranges."""

    __slots__ = ("_ranges",)

    def __init__(self, messages: Any) -> None:
        ranges: list[tuple[int, int, int]] = []
        for message in messages:
            version, number = ip_number(message.address_prefix)
            if not version:
                raise ConfigError(f"malformed IP address: {message.address_prefix}")
            bits = 32 if version == 4 else 128
            length = message.prefix_len.value if message.HasField("prefix_len") else 0
            if length > bits:
                raise ConfigError(f"invalid prefix length {length} for {message.address_prefix}")
            shift = bits - length
            ranges.append((version, shift, number >> shift))
        self._ranges = tuple(ranges)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def contains(self, text: str) -> bool:
        version, number = ip_number(text)
        return any(version == v and number >> shift == prefix for v, shift, prefix in self._ranges)

    def longest(self, text: str) -> int:
        """The longest prefix that covers an address, in bits; -1 when none does."""
        version, number = ip_number(text)
        bits = 32 if version == 4 else 128
        return max((bits - s for v, s, prefix in self._ranges if version == v and number >> s == prefix), default=-1)


def value_matcher(message: Any) -> Callable[[Any], bool]:
    """A predicate over JSON-like values for an envoy.type.matcher.v3.ValueMatcher."""
    kind = message.WhichOneof("match_pattern")
    if kind == "string_match":
        test = string_matcher(message.string_match, "ValueMatcher")
        return lambda value: isinstance(value, str) and test(value)
    if kind == "bool_match":
        wanted = message.bool_match
        return lambda value: isinstance(value, bool) and value == wanted
    if kind == "present_match":
        present = message.present_match
        return lambda value: (value is not None) and present
    if kind == "null_match":
        return lambda value: value is None
    if kind == "double_match":
        if message.double_match.WhichOneof("match_pattern") == "exact":
            exact = message.double_match.exact
            return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and value == exact
        low, high = message.double_match.range.start, message.double_match.range.end
        return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value < high
    if kind == "list_match":
        one_of = value_matcher(message.list_match.one_of)
        return lambda value: isinstance(value, list) and any(one_of(item) for item in value)
    if kind == "or_match":
        tests = [value_matcher(each) for each in message.or_match.value_matchers]
        return lambda value: any(test(value) for test in tests)
    raise Unsupported(f"ValueMatcher.{kind}")


def at_path(value: Any, keys: list[str]) -> Any:
    """The member of nested mappings under these keys; None when there is none."""
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def metadata_matcher(message: Any) -> Callable[[dict[str, Any] | None], bool]:
    """A predicate over metadata (namespace → mapping) for an envoy.type.matcher.v3.MetadataMatcher."""
    keys = [segment.key for segment in message.path]
    namespace, invert = message.filter, bool(message.invert)
    test = value_matcher(message.value)
    return lambda metadata: test(at_path((metadata or {}).get(namespace), keys)) != invert


def runtime_number(message: Any, runtime: dict[str, Any]) -> Callable[[], float]:
    """The number that a RuntimeUInt32 or RuntimeDouble stands for; the runtime key, when set, wins."""
    key, default = message.runtime_key, message.default_value

    def current() -> float:
        value = runtime.get(key)
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else default

    return current if key else lambda: default


def runtime_flag(message: Any, runtime: dict[str, Any]) -> Callable[[], bool]:
    """What a RuntimeFeatureFlag says; the runtime key, when set, wins. On when it says nothing."""
    key, default = message.runtime_key, bool(wrapped(message, "default_value", True))

    def current() -> bool:
        value = runtime.get(key)
        return value if isinstance(value, bool) else default

    return current if key else lambda: default


def runtime_fraction(message: Any, runtime: dict[str, Any]) -> Callable[[], float]:
    """The fraction (0 to 1) that a RuntimeFractionalPercent stands for; the runtime key, when set, wins."""
    default = fraction(message.default_value) if message.HasField("default_value") else 0.0
    key = message.runtime_key
    if not key:
        return lambda: default

    def current() -> float:
        value = runtime.get(key)
        if isinstance(value, (int, float)):
            return float(value) / 100
        if isinstance(value, dict) and "numerator" in value:
            scale = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}
            return float(value["numerator"]) / scale[value.get("denominator", "HUNDRED")]
        return default

    return current
