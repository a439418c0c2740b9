"""HTTPMatchRequest → envoy RouteMatch: path, headers, query parameters and JWT claims that a request must have.

Takes one match of a VirtualService, gives the message. Not here: conditions that are settled before a request comes,
such as source labels and gateways (route_virtual_service.py).
Source: envoy.config.route.v3.RouteMatch, HeaderMatcher, QueryParameterMatcher.
"""

from __future__ import annotations

import re

from envoy.config.route.v3 import route_components_pb2 as routes
from envoy.type.matcher.v3 import metadata_pb2, string_pb2, value_pb2
from google.protobuf.wrappers_pb2 import BoolValue

from mizzen.api.istio.virtual_service import HTTPMatchRequest, StringMatch

JWT_FILTER = "envoy.filters.http.jwt_authn"
CLAIMS_PREFIX = "@request.auth.claims"
_BRACKETED = re.compile(r"\[([^\[\]]*)\]")


def route_match(match: HTTPMatchRequest | None, *, path_separated: bool = False) -> routes.RouteMatch:
    """The request conditions of one match; None matches everything.

    path_separated: a prefix means whole path segments (Ingress and Gateway API), not a prefix of the text.
    """
    if match is None:
        return routes.RouteMatch(prefix="/")
    out = routes.RouteMatch(case_sensitive=BoolValue(value=not match.ignore_uri_case))
    _set_path(out, match.uri, path_separated)
    _add_headers(out, match)
    for header, value in ((":method", match.method), (":authority", match.authority), (":scheme", match.scheme)):
        if value is not None:
            out.headers.append(header_matcher(header, value))
    for name in sorted(match.query_params):
        out.query_parameters.append(_query_matcher(name, match.query_params[name]))
    return out


def is_catch_all(route: routes.Route) -> bool:
    """Whether every request that comes to this route takes it."""
    match = route.match
    kind = match.WhichOneof("path_specifier")
    if kind == "prefix":
        every_path = match.prefix == "/"
    elif kind == "path_separated_prefix":
        every_path = match.path_separated_prefix == "/"
    else:
        every_path = kind == "safe_regex" and match.safe_regex.regex == ".*"
    return every_path and not (match.headers or match.query_parameters or match.dynamic_metadata)


def string_matcher(match: StringMatch) -> string_pb2.StringMatcher | None:
    """The envoy form of a StringMatch; None when it names no kind of match."""
    if match.exact is not None:
        return string_pb2.StringMatcher(exact=match.exact)
    if match.prefix is not None:
        return string_pb2.StringMatcher(prefix=match.prefix)
    if match.regex is not None:
        matcher = string_pb2.StringMatcher()
        matcher.safe_regex.regex = match.regex
        return matcher
    return None


def header_matcher(name: str, match: StringMatch) -> routes.HeaderMatcher:
    """A header that must be there (an empty match, or the regex `*`) or whose value must match."""
    matcher = _unless_present(match)
    if matcher is None:
        return routes.HeaderMatcher(name=name, present_match=True)
    return routes.HeaderMatcher(name=name, string_match=matcher)


def _query_matcher(name: str, match: StringMatch) -> routes.QueryParameterMatcher:
    matcher = _unless_present(match)
    if matcher is None:
        return routes.QueryParameterMatcher(name=name, present_match=True)
    return routes.QueryParameterMatcher(name=name, string_match=matcher)


def _unless_present(match: StringMatch) -> string_pb2.StringMatcher | None:
    return None if match.regex == "*" else string_matcher(match)


def _set_path(out: routes.RouteMatch, uri: StringMatch | None, path_separated: bool) -> None:
    if uri is None:
        out.prefix = "/"
    elif uri.exact is not None:
        out.path = uri.exact
    elif uri.regex is not None:
        out.safe_regex.regex = uri.regex
    elif uri.prefix is None:
        out.prefix = "/"
    elif path_separated and uri.prefix != "/":
        out.path_separated_prefix = uri.prefix.removesuffix("/")
    else:
        out.prefix = uri.prefix


def _add_headers(out: routes.RouteMatch, match: HTTPMatchRequest) -> None:
    """Both kinds of header conditions sorted by name; a claim is matched in the filter's metadata instead."""
    conditions = [(name, value, False) for name, value in match.headers.items()]
    conditions += [(name, value, True) for name, value in match.without_headers.items()]
    for name, value, inverted in sorted(conditions, key=lambda condition: (condition[0], condition[2])):
        claims = routing_claims(name)
        if claims:
            metadata = _claim_matcher(claims, value)
            metadata.invert = inverted
            out.dynamic_metadata.append(metadata)
            continue
        matcher = header_matcher(name, value)
        if inverted:
            matcher.invert_match = True
            matcher.treat_missing_header_as_empty = not matcher.present_match
        out.headers.append(matcher)


def routing_claims(name: str) -> tuple[str, ...]:
    """The path to the claim that a header name such as `@request.auth.claims[a][b]` means; empty for a plain header."""
    if not name.lower().startswith(CLAIMS_PREFIX):
        return ()
    rest = name[len(CLAIMS_PREFIX) :]
    if rest.startswith("."):
        return tuple(rest[1:].split(".")) if len(rest) > 1 else ()
    if rest.startswith("[") and rest.endswith("]"):
        return tuple(_BRACKETED.findall(rest))
    return ()


def _claim_matcher(claims: tuple[str, ...], value: StringMatch) -> metadata_pb2.MetadataMatcher:
    """A claim that is a matching string, or a list with one."""
    text = string_matcher(value) or string_pb2.StringMatcher()
    out = metadata_pb2.MetadataMatcher(filter=JWT_FILTER)
    for key in ("payload", *claims):
        out.path.add(key=key)
    choices = out.value.or_match.value_matchers
    choices.add(list_match=value_pb2.ListMatcher(one_of=value_pb2.ValueMatcher(string_match=text)))
    choices.add(string_match=text)
    return out
