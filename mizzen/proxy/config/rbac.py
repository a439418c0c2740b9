"""RBAC rules → an engine that decides on a request or a connection: allowed or not, and by which policy.

Everything is compiled to predicates over StreamInfo; a connection without a request (network RBAC) is a StreamInfo whose
request is None. Raises ConfigError, Unsupported. Source: envoy.config.rbac.v3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.matchers import Ranges, header_matcher, metadata_matcher, path_matcher, string_matcher
from mizzen.proxy.config.unified import compile_tree
from mizzen.proxy.http.info import StreamInfo

Test = Callable[[StreamInfo], bool]
Decision = tuple[bool, str]  # allowed, name of the policy that matched or ""
ALLOW, DENY, LOG = 0, 1, 2
NO_HEADERS = RequestHeaders("", "", None)


def always(info: StreamInfo) -> bool:
    return True


def negated(test: Test) -> Test:
    return lambda info: not test(info)


def any_of(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    if always in tests:
        return always
    fixed = tuple(tests)

    def test_any(info: StreamInfo) -> bool:
        return any(test(info) for test in fixed)

    return test_any


def all_of(tests: list[Test]) -> Test:
    left = tuple(test for test in tests if test is not always)
    if not left:
        return always
    if len(left) == 1:
        return left[0]

    def test_all(info: StreamInfo) -> bool:
        return all(test(info) for test in left)

    return test_all


def _header(message: Any) -> Test:
    test = header_matcher(message)
    return lambda info: test(info.request if info.request is not None else NO_HEADERS)


def _path(message: Any) -> Test:
    test = path_matcher(message)
    return lambda info: info.request is not None and test(info.request.path)


def _metadata(message: Any) -> Test:
    test = metadata_matcher(message)
    return lambda info: test(info.metadata)


def _sourced_metadata(message: Any) -> Test:
    test = metadata_matcher(message.metadata_matcher)
    if message.metadata_source == 1:
        return lambda info: test(None if info.route is None else info.route.metadata)
    return lambda info: test(info.metadata)


def _filter_state(message: Any) -> Test:
    key = message.key
    if message.WhichOneof("matcher") == "address_match":
        ranges = Ranges(message.address_match.ranges)
        return lambda info: (value := info.get_filter_state(key)) is not None and ranges.contains(str(value))
    test = string_matcher(message.string_match)
    return lambda info: (value := info.get_filter_state(key)) is not None and test(str(value))


def _server_name(message: Any) -> Test:
    test = string_matcher(message)
    return lambda info: test(info.conn.server_name)


def _template(message: Any) -> Test:
    from mizzen.proxy.config.uri_template import Template
    from mizzen.proxy.filters.registry import typed

    kind, config = typed(message.typed_config, message.name)
    if not kind.endswith("UriTemplateMatchConfig"):
        raise Unsupported(f"Permission.uri_template {kind}")
    template = Template(config.path_template)
    return lambda info: info.request is not None and template.match(info.request.path.partition("?")[0]) is not None


def permission(message: Any) -> Test:
    """A predicate for an envoy.config.rbac.v3.Permission."""
    kind = message.WhichOneof("rule")
    if kind == "any":
        return always
    if kind == "and_rules":
        return all_of([permission(each) for each in message.and_rules.rules])
    if kind == "or_rules":
        return any_of([permission(each) for each in message.or_rules.rules])
    if kind == "not_rule":
        return negated(permission(message.not_rule))
    if kind == "header":
        return _header(message.header)
    if kind == "url_path":
        return _path(message.url_path)
    if kind == "destination_ip":
        ranges = Ranges([message.destination_ip])
        return lambda info: ranges.contains(info.conn.local[0])
    if kind == "destination_port":
        port = message.destination_port
        return lambda info: info.conn.local[1] == port
    if kind == "destination_port_range":
        low, high = message.destination_port_range.start, message.destination_port_range.end
        return lambda info: low <= info.conn.local[1] < high
    if kind == "metadata":
        return _metadata(message.metadata)
    if kind == "sourced_metadata":
        return _sourced_metadata(message.sourced_metadata)
    if kind == "requested_server_name":
        return _server_name(message.requested_server_name)
    if kind == "uri_template":
        return _template(message.uri_template)
    if kind is None:
        raise ConfigError("PermissionValidationError.Rule: value is required")
    raise Unsupported(f"Permission.{kind}")


def _authenticated(message: Any) -> Test:
    """The peer's identity: its URI names, else its DNS names, else its subject; without a name any TLS client fits."""
    if not message.HasField("principal_name"):
        return lambda info: info.conn.tls is not None
    test = string_matcher(message.principal_name)

    def matches(info: StreamInfo) -> bool:
        tls = info.conn.tls
        if tls is None:
            return False
        peer = tls.peer
        if peer is None:
            return test("")
        for name in peer.uris or peer.dns:
            if test(name):
                return True
        return not peer.uris and not peer.dns and test(peer.subject)

    return matches


def principal(message: Any) -> Test:
    """A predicate for an envoy.config.rbac.v3.Principal."""
    kind = message.WhichOneof("identifier")
    if kind == "any":
        return always
    if kind == "and_ids":
        return all_of([principal(each) for each in message.and_ids.ids])
    if kind == "or_ids":
        return any_of([principal(each) for each in message.or_ids.ids])
    if kind == "not_id":
        return negated(principal(message.not_id))
    if kind == "authenticated":
        return _authenticated(message.authenticated)
    if kind == "direct_remote_ip":
        direct = Ranges([message.direct_remote_ip])
        return lambda info: direct.contains(info.conn.direct_remote[0])
    if kind == "source_ip":
        source = Ranges([message.source_ip])
        return lambda info: source.contains(info.conn.remote[0])
    if kind == "remote_ip":
        remote = Ranges([message.remote_ip])
        return lambda info: remote.contains((info.remote or info.conn.remote)[0])
    if kind == "header":
        return _header(message.header)
    if kind == "url_path":
        return _path(message.url_path)
    if kind == "metadata":
        return _metadata(message.metadata)
    if kind == "sourced_metadata":
        return _sourced_metadata(message.sourced_metadata)
    if kind == "filter_state":
        return _filter_state(message.filter_state)
    if kind is None:
        raise ConfigError("PrincipalValidationError.Identifier: value is required")
    raise Unsupported(f"Principal.{kind}")


def policy(name: str, message: Any) -> Test:
    for field in ("condition", "checked_condition", "cel_config"):
        if field in message.DESCRIPTOR.fields_by_name and message.HasField(field):
            raise Unsupported(f"Policy {name}.{field}")
    permissions = any_of([permission(each) for each in message.permissions])
    principals = any_of([principal(each) for each in message.principals])
    return all_of([permissions, principals])


def log_hint(info: StreamInfo, hint: bool) -> None:
    info.dynamic_metadata("envoy.common")["access_log_hint"] = hint


class Rules:
    """A RBAC message: its policies in order of their names, the first that matches decides."""

    def __init__(self, message: Any) -> None:
        self.action = message.action
        self.policies = tuple((name, policy(name, message.policies[name])) for name in sorted(message.policies))

    def decide(self, info: StreamInfo) -> Decision:
        found = ""
        for name, test in self.policies:
            if test(info):
                found = name
                break
        if self.action == LOG:
            log_hint(info, bool(found))
            return True, found
        return bool(found) == (self.action == ALLOW), found


class TreeRules:
    """A matcher tree whose leaves are envoy.config.rbac.v3.Action; no leaf means denied."""

    def __init__(self, message: Any) -> None:
        self._tree = compile_tree(message, self._action)

    @staticmethod
    def _action(message: Any) -> tuple[str, int]:
        from mizzen.proxy.filters.registry import typed

        kind, config = typed(message.typed_config, message.name)
        if kind != "envoy.config.rbac.v3.Action":
            raise ConfigError(f"RBAC matcher: unknown action {kind}")
        return config.name, config.action

    def decide(self, info: StreamInfo) -> Decision:
        found = self._tree(info)
        if found is None:
            return False, ""
        name, action = found
        if action == LOG:
            log_hint(info, True)
        return action != DENY, name


Engine = Rules | TreeRules


def engine(message: Any, rules: str, matcher: str) -> Engine | None:
    """The engine in one of a filter's two pairs of fields; None when neither is set."""
    if message.HasField(matcher):
        return TreeRules(getattr(message, matcher))
    if message.HasField(rules):
        return Rules(getattr(message, rules))
    return None


__all__ = ["Engine", "Rules", "TreeRules", "engine"]
