"""RouteConfiguration → RouteTable. All that can be resolved before a request comes is resolved here.

Raises ConfigError for what Envoy refuses (unknown clusters, duplicate domains, bad expressions), Unsupported for what is not built.
Source: envoy.config.route.v3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envoy.config.route.v3 import route_pb2

from mizzen.proxy.accesslog.format import struct_value
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.header_ops import in_order, level
from mizzen.proxy.config.matchers import (
    full_match,
    header_matcher,
    metadata_matcher,
    query_matcher,
    runtime_fraction,
    string_matcher,
)
from mizzen.proxy.config.rate_limits import limits
from mizzen.proxy.config.route_answers import direct_response, redirect, substitution
from mizzen.proxy.config.supported import check
from mizzen.proxy.config.values import optional_seconds, seconds, unpack, wrapped
from mizzen.proxy.http.header_ops import Ops
from mizzen.proxy.http.retry import RetryPolicy
from mizzen.proxy.http.route import (
    OTHER,
    PATH,
    PREFIX,
    Match,
    Mirror,
    Route,
    RouteAction,
    RouteTable,
    Target,
    VirtualHost,
)
from mizzen.proxy.stats.names import VCLUSTER_COUNTERS
from mizzen.proxy.tracing.filter import route_tracing
from mizzen.proxy.upstream.hashing import hash_policies


def all_of(tests: list[Callable[[Any], bool]]) -> Callable[[Any], bool]:
    return lambda request: all(test(request) for test in tests)


def layered(outer: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    """Filters' settings of two levels: the inner one's, which some filters complete from the outer one (`merged`)."""
    out = dict(outer)
    for name, config in inner.items():
        before = outer.get(name)
        complete = getattr(config, "merged", None)
        out[name] = complete(before) if complete is not None and type(before) is type(config) else config
    return out


class RouteCompiler:
    """Compiles one RouteConfiguration. `clusters` is asked which clusters exist when they must."""

    def __init__(self, proto: Any, server: Any, validate: bool) -> None:
        self.proto = proto
        self.server = server
        self.validate = wrapped(proto, "validate_clusters", validate)
        self.most_specific = bool(proto.most_specific_header_mutations_wins)
        self.config_request: Ops = level(proto.request_headers_to_add, proto.request_headers_to_remove)
        self.config_response: Ops = level(proto.response_headers_to_add, proto.response_headers_to_remove)

    def compile(self) -> RouteTable:
        proto = self.proto
        check(proto, f"RouteConfiguration {proto.name}")
        table = RouteTable(proto.name)
        table.proto = proto
        table.ignore_port = proto.ignore_port_in_host_matching
        table.vhost_header = proto.vhost_header.lower()
        table.internal_only = tuple(name.lower() for name in proto.internal_only_headers)
        table.strip_path_parameters = proto.ignore_path_parameters_in_path_matching
        self.table = table
        self.config_filters = self._per_filter(proto.typed_per_filter_config)
        self.config_mirrors = [self._mirror(policy) for policy in proto.request_mirror_policies]
        names: set[str] = set()
        vhosts = []
        for message in proto.virtual_hosts:
            if message.name in names:
                raise ConfigError(
                    f"Only unique names for virtual hosts are permitted. Duplicate entry of virtual host {message.name} in route {proto.name}"  # noqa: E501
                )
            names.add(message.name)
            vhost = self._vhost(message)
            vhosts.append(vhost)
            self._domains(message, vhost)
        table.vhosts = tuple(vhosts)
        table.suffixes.sort(key=lambda item: -len(item[0]))
        table.prefixes.sort(key=lambda item: -len(item[0]))
        return table

    def _domains(self, message: Any, vhost: VirtualHost) -> None:
        table = self.table
        if not message.domains:
            raise ConfigError(f"VirtualHost {message.name}: domains must contain at least one item")
        for sent in message.domains:
            domain = sent.lower()
            duplicate = ConfigError(
                f"Only unique values for domains are permitted. Duplicate entry of domain {sent} in route {self.proto.name}"
            )
            if domain == "*":
                if table.any is not None:
                    raise ConfigError(f"Only a single wildcard domain is permitted in route {self.proto.name}")
                table.any = vhost
            elif domain.startswith("*"):
                if any(text == domain[1:] for text, _ in table.suffixes):
                    raise duplicate
                table.suffixes.append((domain[1:], vhost))
            elif domain.endswith("*"):
                if any(text == domain[:-1] for text, _ in table.prefixes):
                    raise duplicate
                table.prefixes.append((domain[:-1], vhost))
            else:
                if domain in table.exact:
                    raise duplicate
                table.exact[domain] = vhost

    def _per_filter(self, messages: Any) -> dict[str, Any]:
        from mizzen.proxy.filters.registry import route_filter_config

        return {name: route_filter_config(name, any_message, self.server) for name, any_message in messages.items()}

    def _vhost(self, message: Any) -> VirtualHost:
        vhost = VirtualHost(message.name)
        vhost.table = self.table
        vhost.require_tls = message.require_tls
        vhost.attempt_count = message.include_request_attempt_count
        vhost.attempt_count_in_response = message.include_attempt_count_in_response
        vhost.is_timeout_retry = message.include_is_timeout_retry_header
        vhost.per_filter = layered(self.config_filters, self._per_filter(message.typed_per_filter_config))
        vhost.rate_limits = limits(message.rate_limits)
        vhost.metadata = {
            name: struct_value(struct) for name, struct in message.metadata.filter_metadata.items()
        } or None
        self.vhost_retry = RetryPolicy(message.retry_policy) if message.HasField("retry_policy") else None
        self.vhost_request: Ops = level(message.request_headers_to_add, message.request_headers_to_remove)
        self.vhost_response: Ops = level(message.response_headers_to_add, message.response_headers_to_remove)
        self.vhost_mirrors = [self._mirror(policy) for policy in message.request_mirror_policies]
        if message.HasField("matcher"):
            raise Unsupported(f"VirtualHost {message.name}.matcher")
        clusters: list[tuple[Callable[[Any], bool], Any]] = []
        for cluster in message.virtual_clusters:
            tests = [header_matcher(each) for each in cluster.headers]
            group = self.server.stats.group(
                f"vhost.{message.name}.vcluster.{cluster.name}", VCLUSTER_COUNTERS, (), ["upstream_rq_time"]
            )
            clusters.append((all_of(tests), group))
        if clusters:
            other = self.server.stats.group(
                f"vhost.{message.name}.vcluster.other", VCLUSTER_COUNTERS, (), ["upstream_rq_time"]
            )
            clusters.append((lambda request: True, other))
        vhost.virtual_clusters = tuple(clusters)
        vhost.set_routes(tuple(self._route(each, vhost) for each in message.routes))
        return vhost

    def _route(self, message: Any, vhost: VirtualHost) -> Route:
        where = f"route {message.name or vhost.name}"
        if not message.HasField("match"):
            raise ConfigError(f"{where}: match is required")
        route = Route(message.name, self._match(message.match, where))
        route.vhost = vhost
        route.metadata = {
            name: struct_value(struct) for name, struct in message.metadata.filter_metadata.items()
        } or None
        route.decorator = message.decorator.operation
        if message.HasField("tracing"):
            route.tracing = route_tracing(message.tracing)
        route.decorator_propagate = wrapped(message.decorator, "propagate", True)
        route.per_filter = layered(vhost.per_filter, self._per_filter(message.typed_per_filter_config))
        if message.stat_prefix:
            route.stats = self.server.stats.group(
                f"vhost.{vhost.name}.route.{message.stat_prefix}", VCLUSTER_COUNTERS, (), ["upstream_rq_time"]
            )
        if message.HasField("per_request_buffer_limit_bytes"):
            route.buffer_limit = message.per_request_buffer_limit_bytes.value
        own_request = level(message.request_headers_to_add, message.request_headers_to_remove)
        own_response = level(message.response_headers_to_add, message.response_headers_to_remove)
        self.request_levels: list[Ops] = [own_request, self.vhost_request, self.config_request]
        self.response_levels: list[Ops] = [own_response, self.vhost_response, self.config_response]
        route.request_ops = in_order(self.request_levels, self.most_specific)
        route.response_ops = in_order(self.response_levels, self.most_specific)
        kind = message.WhichOneof("action")
        if kind == "route":
            route.action = self._action(message.route, route, where)
        elif kind == "redirect":
            route.redirect = redirect(message.redirect, where)
        elif kind == "direct_response":
            most = wrapped(self.proto, "max_direct_response_body_size_bytes", 4096)
            route.direct = direct_response(message.direct_response, most)
        elif kind == "non_forwarding_action":
            pass
        else:
            raise Unsupported(f"{where}.{kind}") if kind else ConfigError(f"{where}: action is required")
        return route

    def _match(self, message: Any, where: str) -> Match:
        match = Match()
        kind = message.WhichOneof("path_specifier")
        folded = message.HasField("case_sensitive") and not message.case_sensitive.value
        if kind in ("prefix", "path", "path_separated_prefix"):
            self._text_match(match, kind, getattr(message, kind), folded)
        elif kind == "safe_regex":
            match.kind = OTHER
            match.test = full_match(message.safe_regex.regex)
        elif kind == "connect_matcher":
            match.kind = OTHER
            match.connect = True
        elif kind == "path_match_policy":
            match.kind = OTHER
            match.test = self._template(message.path_match_policy, where)
        else:
            raise ConfigError(f"{where}: match.path_specifier is required")
        match.headers = tuple(header_matcher(each) for each in message.headers)
        match.query = tuple(query_matcher(each) for each in message.query_parameters)
        match.metadata = tuple(metadata_matcher(each) for each in message.dynamic_metadata)
        match.grpc = message.HasField("grpc")
        if message.HasField("tls_context"):
            tls = message.tls_context
            match.tls = (wrapped(tls, "presented", None), wrapped(tls, "validated", None))
        if message.HasField("runtime_fraction"):
            match.fraction = runtime_fraction(message.runtime_fraction, self.server.runtime)
        match.stream = tuple(self._filter_state(each) for each in message.filter_state)
        match.plain = not (match.query or match.metadata or match.grpc or match.tls or match.fraction or match.stream)
        return match

    @staticmethod
    def _filter_state(message: Any) -> Callable[[Any], bool]:
        key = message.key
        if message.WhichOneof("matcher") != "string_match":
            raise Unsupported("RouteMatch.filter_state.address_match")
        test = string_matcher(message.string_match, "filter_state")
        return lambda stream: (value := stream.get_filter_state(key)) is not None and test(str(value))

    @staticmethod
    def _text_match(match: Match, kind: str, text: str, folded: bool) -> None:
        match.text = text
        if kind == "path_separated_prefix":
            if not text.startswith("/") or text.endswith("/") or "?" in text or "#" in text:
                raise ConfigError(f'path_separated_prefix: value does not match regex pattern "^[^?#]+[^?#/]$": {text}')
            match.kind = OTHER
            wanted = text.lower() if folded else text
            with_slash = wanted + "/"
            if folded:
                match.test = lambda path: path.lower() == wanted or path.lower().startswith(with_slash)
            else:
                match.test = lambda path: path == wanted or path.startswith(with_slash)
        elif not folded:
            match.kind = PREFIX if kind == "prefix" else PATH
        else:
            match.kind = OTHER
            wanted = text.lower()
            if kind == "prefix":
                match.test = lambda path: path.lower().startswith(wanted)
            else:
                match.test = lambda path: path.lower() == wanted

    def _template(self, policy: Any, where: str) -> Callable[[str], bool]:
        from envoy.extensions.path.match.uri_template.v3 import uri_template_match_pb2

        from mizzen.proxy.config.uri_template import Template

        where = f"{where}.match.path_match_policy {policy.name}"
        typed = unpack(policy.typed_config, uri_template_match_pb2.UriTemplateMatchConfig, where)
        template = self.last_template = Template(typed.path_template)
        return lambda path: template.match(path) is not None

    def _exists(self, name: str, where: str) -> None:
        if self.validate and name and not self.server.clusters.known(name):
            raise ConfigError(f"route: unknown cluster '{name}'")

    def _target(self, message: Any, where: str) -> Target:
        target = Target(
            message.cluster if hasattr(message, "cluster") else message.name, message.cluster_header.lower()
        )
        if not target.cluster_header:
            self._exists(target.cluster, where)
        return target

    def _weighted(self, message: Any, action: RouteAction, route: Route, where: str) -> None:
        targets = []
        for each in message.clusters:
            target = Target(each.name, each.cluster_header.lower())
            if not each.name and not each.cluster_header:
                raise ConfigError(f"{where}: at least one of name or cluster_header need to be specified")
            if not target.cluster_header:
                self._exists(each.name, where)
            target.weight = wrapped(each, "weight", 0)
            own_request = level(each.request_headers_to_add, each.request_headers_to_remove)
            own_response = level(each.response_headers_to_add, each.response_headers_to_remove)
            if own_request:
                target.request_ops = (*own_request, *route.request_ops)
            if own_response:
                target.response_ops = (*own_response, *route.response_ops)
            if each.typed_per_filter_config:
                target.per_filter = layered(route.per_filter, self._per_filter(each.typed_per_filter_config))
            target.metadata_match = self._metadata_match(each)
            target.host_rewrite = each.host_rewrite_literal or None
            targets.append(target)
        action.targets = tuple(targets)
        action.total_weight = sum(target.weight for target in targets)
        if not action.total_weight:
            raise ConfigError(f"{where}: Sum of weights in the weighted_cluster must be greater than 0.")
        if message.HasField("total_weight") and message.total_weight.value != action.total_weight:
            raise ConfigError(
                f"{where}: Sum of weights in the weighted_cluster should add up to {message.total_weight.value}"
            )
        action.choose_by_header = message.header_name.lower()

    @staticmethod
    def _metadata_match(message: Any) -> dict[str, Any] | None:
        struct = message.metadata_match.filter_metadata.get("envoy.lb") if message.HasField("metadata_match") else None
        return struct_value(struct) if struct is not None else None

    def _action(self, message: Any, route: Route, where: str) -> RouteAction:
        action = RouteAction()
        kind = message.WhichOneof("cluster_specifier")
        if kind == "weighted_clusters":
            self._weighted(message.weighted_clusters, action, route, where)
        elif kind == "cluster":
            self._exists(message.cluster, where)
            action.targets = (Target(message.cluster),)
        elif kind == "cluster_header":
            action.targets = (Target("", message.cluster_header.lower()),)
        else:
            raise ConfigError(f"{where}: cluster_specifier is required")
        action.metadata_match = self._metadata_match(message)
        action.timeout = seconds(message.timeout) if message.HasField("timeout") else 15.0
        action.idle_timeout = optional_seconds(message, "idle_timeout")
        self._durations(message, action)
        action.retry = RetryPolicy(message.retry_policy) if message.HasField("retry_policy") else self.vhost_retry
        action.priority = int(message.priority)
        self._rewrites(message, action, where)
        mirrors = [self._mirror(policy) for policy in message.request_mirror_policies]
        action.mirrors = tuple(mirrors or self.vhost_mirrors or self.config_mirrors)
        action.hash_policies = hash_policies(message.hash_policy)
        for upgrade in message.upgrade_configs:
            action.upgrades[upgrade.upgrade_type.lower()] = wrapped(upgrade, "enabled", True)
            if upgrade.HasField("connect_config"):
                action.upgrades["connect terminate"] = True
        action.cluster_not_found_code = {0: 503, 1: 404, 2: 500}[message.cluster_not_found_response_code]
        if message.HasField("internal_redirect_policy"):
            action.internal_redirect = message.internal_redirect_policy
            if message.internal_redirect_policy.predicates:
                raise Unsupported(f"{where}.internal_redirect_policy.predicates")
        if message.HasField("hedge_policy"):
            hedge = message.hedge_policy
            if wrapped(hedge, "initial_requests", 1) > 1:
                raise Unsupported(f"{where}.hedge_policy")
        action.rate_limits = limits(message.rate_limits)
        return action

    @staticmethod
    def _durations(message: Any, action: RouteAction) -> None:
        if message.HasField("max_stream_duration"):
            durations = message.max_stream_duration
            action.max_stream_duration = optional_seconds(durations, "max_stream_duration")
            action.grpc_timeout_header_max = optional_seconds(durations, "grpc_timeout_header_max")
            action.grpc_timeout_offset = seconds(durations.grpc_timeout_header_offset)
        elif message.HasField("max_grpc_timeout"):
            action.grpc_timeout_header_max = seconds(message.max_grpc_timeout)
            action.grpc_timeout_offset = seconds(message.grpc_timeout_offset)
            action.max_stream_duration = -1.0  # the older fields bound the route's timeout, not the stream's life

    def _rewrites(self, message: Any, action: RouteAction, where: str) -> None:
        action.prefix_rewrite = message.prefix_rewrite
        if message.HasField("regex_rewrite"):
            if message.prefix_rewrite:
                raise ConfigError(f"{where}: Specify only one of prefix_rewrite, regex_rewrite or path_rewrite_policy")
            action.regex_rewrite = substitution(message.regex_rewrite)
        if message.HasField("path_rewrite_policy"):
            action.template_rewrite = self._template_rewrite(message.path_rewrite_policy, where)
        kind = message.WhichOneof("host_rewrite_specifier")
        if kind == "host_rewrite_literal":
            action.host_rewrite = message.host_rewrite_literal
        elif kind == "auto_host_rewrite":
            action.auto_host_rewrite = message.auto_host_rewrite.value
        elif kind == "host_rewrite_header":
            action.host_rewrite_header = message.host_rewrite_header.lower()
        elif kind == "host_rewrite_path_regex":
            action.host_rewrite_path = substitution(message.host_rewrite_path_regex)
        elif kind is not None:
            raise Unsupported(f"{where}.{kind}")
        action.append_x_forwarded_host = message.append_x_forwarded_host

    def _template_rewrite(self, policy: Any, where: str) -> Callable[[str], str | None]:
        from envoy.extensions.path.rewrite.uri_template.v3 import uri_template_rewrite_pb2

        from mizzen.proxy.config.uri_template import Template, rewriter

        kind = uri_template_rewrite_pb2.UriTemplateRewriteConfig
        typed = unpack(policy.typed_config, kind, f"{where}.path_rewrite_policy {policy.name}")
        template = self.last_template
        if not isinstance(template, Template):
            raise ConfigError(f"{where}: path_rewrite_policy needs a path_match_policy of the same kind")
        return rewriter(template, typed.path_template_rewrite)

    last_template: Any = None

    def _mirror(self, message: Any) -> Mirror:
        if message.cluster:
            self._exists(message.cluster, "request_mirror_policies")
        fraction = (
            runtime_fraction(message.runtime_fraction, self.server.runtime)
            if message.HasField("runtime_fraction")
            else (lambda: 1.0)
        )
        mirror = Mirror(message.cluster, message.cluster_header.lower(), fraction)
        mirror.disable_suffix = message.disable_shadow_host_suffix_append
        return mirror


def compile_routes(proto: Any, server: Any, validate: bool) -> RouteTable:
    """The table of a RouteConfiguration; `validate` is whether its clusters must exist where it does not say so itself."""
    return RouteCompiler(proto, server, validate).compile()


def route_match(proto: Any, server: Any, where: str) -> Callable[[Any], bool]:
    """The predicate over streams of a RouteMatch that stands outside a route table."""
    match = RouteCompiler(route_pb2.RouteConfiguration(), server, False)._match(proto, where)
    return lambda stream: match.matches(stream.request.path.partition("?")[0], stream.request, stream)
