"""Unified matchers (xds.type.matcher.v3.Matcher): a tree of predicates over inputs, with an action at each leaf.

`compile_tree(message, action)` gives a function from StreamInfo to what `action(typed_config)` made of the leaf that
matched, or None. Inputs read requests, addresses, TLS names and dynamic metadata.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.matchers import Ranges, at_path, query_parameters, string_matcher
from mizzen.proxy.http.info import StreamInfo

Input = Callable[[StreamInfo], Any]
Tree = Callable[[StreamInfo], Any]


def _names(attribute: str) -> Input:
    def read(info: StreamInfo) -> Any:
        tls = info.conn.tls
        if tls is None or tls.peer is None:
            return None
        value = getattr(tls.peer, attribute)
        return ",".join(value) if isinstance(value, list) else value

    return read


def _request_header(config: Any) -> Input:
    name = config.header_name.lower()
    return lambda info: None if info.request is None else info.request.joined(name)


def _response_header(config: Any) -> Input:
    name = config.header_name.lower()
    return lambda info: None if info.response is None else info.response.joined(name)


def _query(config: Any) -> Input:
    name = config.query_param
    return lambda info: None if info.request is None else query_parameters(info.request.path).get(name)


def _metadata(config: Any) -> Input:
    keys = [segment.key for segment in config.path]
    return lambda info: at_path((info.metadata or {}).get(config.filter), keys)


def _filter_state(config: Any) -> Input:
    return lambda info: info.get_filter_state(config.key) if hasattr(info, "get_filter_state") else None


def _fixed(read: Input) -> Callable[[Any], Input]:
    return lambda config: read


NETWORK = "envoy.extensions.matching.common_inputs.network.v3."
SSL = "envoy.extensions.matching.common_inputs.ssl.v3."
INPUTS: dict[str, Callable[[Any], Input]] = {
    "envoy.type.matcher.v3.HttpRequestHeaderMatchInput": _request_header,
    "envoy.type.matcher.v3.HttpResponseHeaderMatchInput": _response_header,
    "envoy.type.matcher.v3.HttpRequestQueryParamMatchInput": _query,
    NETWORK + "SourceIPInput": _fixed(lambda info: (info.remote or info.conn.remote)[0]),
    NETWORK + "DirectSourceIPInput": _fixed(lambda info: info.conn.direct_remote[0]),
    NETWORK + "SourcePortInput": _fixed(lambda info: str((info.remote or info.conn.remote)[1])),
    NETWORK + "DestinationIPInput": _fixed(lambda info: info.conn.local[0]),
    NETWORK + "DestinationPortInput": _fixed(lambda info: str(info.conn.local[1])),
    NETWORK + "ServerNameInput": _fixed(lambda info: info.conn.server_name or None),
    NETWORK + "TransportProtocolInput": _fixed(lambda info: info.conn.transport_protocol or None),
    NETWORK + "DynamicMetadataInput": _metadata,
    NETWORK + "FilterStateInput": _filter_state,
    SSL + "UriSanInput": _fixed(_names("uris")),
    SSL + "DnsSanInput": _fixed(_names("dns")),
    SSL + "SubjectInput": _fixed(_names("subject")),
}


def data_input(message: Any) -> Input:
    """The reader of a TypedExtensionConfig that names an input."""
    from mizzen.proxy.filters.registry import typed

    kind, config = typed(message.typed_config, message.name)
    if kind not in INPUTS:
        raise Unsupported(f"matcher input {message.name} ({kind})")
    return INPUTS[kind](config)


def predicate(message: Any) -> Callable[[StreamInfo], bool]:
    """A function for an xds Matcher.MatcherList.Predicate."""
    kind = message.WhichOneof("match_type")
    if kind == "single_predicate":
        single = message.single_predicate
        read = data_input(single.input)
        if single.WhichOneof("matcher") != "value_match":
            raise Unsupported(f"matcher predicate {single.custom_match.name}")
        test = string_matcher(single.value_match)

        def matches(info: StreamInfo) -> bool:
            value = read(info)
            return value is not None and test(str(value))

        return matches
    if kind == "not_matcher":
        inner = predicate(message.not_matcher)
        return lambda info: not inner(info)
    if kind in ("or_matcher", "and_matcher"):
        tests = [predicate(each) for each in getattr(message, kind).predicate]
        if kind == "or_matcher":
            return lambda info: any(test(info) for test in tests)
        return lambda info: all(test(info) for test in tests)
    raise ConfigError("Matcher: a predicate is required")


def compile_tree(message: Any, action: Callable[[Any], Any]) -> Tree:
    """The function of a Matcher. `action` compiles a leaf's TypedExtensionConfig."""
    no_match = _on_match(message.on_no_match, action) if message.HasField("on_no_match") else lambda info: None
    kind = message.WhichOneof("matcher_type")
    if kind is None:
        return no_match
    inner = _list(message.matcher_list, action) if kind == "matcher_list" else _map(message.matcher_tree, action)

    def decide(info: StreamInfo) -> Any:
        found = inner(info)
        return no_match(info) if found is None else found

    return decide


def _list(message: Any, action: Callable[[Any], Any]) -> Tree:
    entries = [(predicate(each.predicate), _on_match(each.on_match, action)) for each in message.matchers]

    def decide(info: StreamInfo) -> Any:
        for test, leaf in entries:
            if test(info):
                found = leaf(info)
                if found is not None:
                    return found
        return None

    return decide


def _map(message: Any, action: Callable[[Any], Any]) -> Tree:
    read = data_input(message.input)
    kind = message.WhichOneof("tree_type")
    if kind == "custom_match":
        return _ip_tree(message.custom_match, read, action)
    entries = {key: _on_match(each, action) for key, each in getattr(message, kind).map.items()}
    if kind == "exact_match_map":

        def exact(info: StreamInfo) -> Any:
            leaf = entries.get(str(read(info)))
            return None if leaf is None else leaf(info)

        return exact
    longest_first = sorted(entries.items(), key=lambda item: -len(item[0]))

    def prefix(info: StreamInfo) -> Any:
        value = read(info)
        for start, leaf in longest_first:
            if value is not None and str(value).startswith(start):
                found = leaf(info)
                if found is not None:
                    return found
        return None

    return prefix


def _ip_tree(message: Any, read: Input, action: Callable[[Any], Any]) -> Tree:
    from mizzen.proxy.filters.registry import typed

    kind, config = typed(message.typed_config, message.name)
    if not kind.endswith("IPMatcher"):
        raise Unsupported(f"matcher tree {message.name} ({kind})")
    entries = [(Ranges(each.ranges), _on_match(each.on_match, action)) for each in config.range_matchers]

    def decide(info: StreamInfo) -> Any:
        value = read(info)
        if value is None:
            return None
        scored = [(ranges.longest(value), i) for i, (ranges, _) in enumerate(entries)]
        for length, i in sorted(scored, key=lambda pair: (-pair[0], pair[1])):
            if length < 0:
                break
            found = entries[i][1](info)
            if found is not None:
                return found
        return None

    return decide


def _on_match(message: Any, action: Callable[[Any], Any]) -> Tree:
    if message.WhichOneof("on_match") == "matcher":
        return compile_tree(message.matcher, action)
    made = action(message.action)
    return lambda info: made
