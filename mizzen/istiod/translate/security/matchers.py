"""Values of AuthorizationPolicies as Envoy matchers: exact, `prefix*`, `*suffix`, `*`, CIDR blocks, headers, metadata.

Takes strings as policies write them, gives matcher messages. Not here: which attribute they are matched against (rbac.py).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from envoy.config.core.v3 import address_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import metadata_pb2, regex_pb2, string_pb2, value_pb2
from google.protobuf import wrappers_pb2

from mizzen.istiod.regex import quote_meta

StringMatcher = string_pb2.StringMatcher
ValueMatcher = value_pb2.ValueMatcher
JWT_FILTER, PAYLOAD = "envoy.filters.http.jwt_authn", "payload"


def regex(pattern: str) -> Any:
    return StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=pattern))


def exact(value: str) -> Any:
    return StringMatcher(exact=value)


def text(value: str, before: str = "", ignore_case: bool = False) -> Any:
    """A policy's value as a StringMatcher. before: what stands before the value in the attribute (`spiffe://`)."""
    if value == "*":
        return regex(".+")
    if value.startswith("*"):
        if before:
            return regex(f"{before}.*{quote_meta(value[1:])}")
        return StringMatcher(suffix=value[1:], ignore_case=ignore_case)
    if value.endswith("*"):
        return StringMatcher(prefix=before + value[:-1], ignore_case=ignore_case)
    return StringMatcher(exact=before + value, ignore_case=ignore_case)


def header(name: str, value: str, ignore_case: bool = False) -> Any:
    """A header that is there (`*`) or has a value."""
    if value == "*":
        return route_components_pb2.HeaderMatcher(name=name, present_match=True)
    return route_components_pb2.HeaderMatcher(name=name, string_match=text(value, ignore_case=ignore_case))


def cidr(block: str) -> Any:
    """An address or block as a CidrRange. Raises ValueError for anything else."""
    network = ipaddress.ip_network(block, strict=False)
    address = block.partition("/")[0]
    return address_pb2.CidrRange(address_prefix=address, prefix_len=wrappers_pb2.UInt32Value(value=network.prefixlen))


def metadata(filter_name: str, path: Sequence[str], value: Any) -> Any:
    """A value in a filter's dynamic metadata."""
    segments = [metadata_pb2.MetadataMatcher.PathSegment(key=key) for key in path]
    return metadata_pb2.MetadataMatcher(filter=filter_name, path=segments, value=value)


def jwt(path: Sequence[str], value: Any) -> Any:
    """A value in the payload of a verified token."""
    return metadata(JWT_FILTER, (PAYLOAD, *path), value)


def any_text(values: Sequence[str]) -> Any:
    """A ValueMatcher for a string that is one of these."""
    matchers = [ValueMatcher(string_match=text(value)) for value in values]
    return any_value(matchers)


def any_value(matchers: Sequence[Any]) -> Any:
    if len(matchers) == 1:
        return matchers[0]
    return ValueMatcher(or_match=value_pb2.OrMatcher(value_matchers=matchers))


def claim(path: Sequence[str], values: Sequence[str]) -> Any:
    """A claim that is one of the values, or a list that holds one."""
    one = any_text(values)
    listed = ValueMatcher(list_match=value_pb2.ListMatcher(one_of=one))
    return jwt(path, any_value([listed, one]))
