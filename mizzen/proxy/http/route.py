"""Route tables at run time: from a request to its virtual host and route.

`RouteTable.virtual_host` and `VirtualHost.find` are all that a request costs; everything else about a route was resolved when
the table was compiled (config/routes.py). Not here: what is done with a route (filters/router.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.config.matchers import query_parameters
from mizzen.proxy.http.header_ops import Ops

PREFIX: Final = 0
PATH: Final = 1
OTHER: Final = 2
Predicate = Callable[[str], bool]


class Match:
    """What a route asks of a request. `kind` PREFIX and PATH compare `text`; OTHER asks `test`, given the path without query."""

    __slots__ = (
        "connect",
        "fraction",
        "grpc",
        "headers",
        "kind",
        "metadata",
        "plain",
        "query",
        "stream",
        "test",
        "text",
        "tls",
    )

    def __init__(self) -> None:
        self.kind = PREFIX
        self.text = ""
        self.test: Predicate | None = None
        self.headers: tuple[Callable[[Any], bool], ...] = ()
        self.query: tuple[Callable[[dict[str, str]], bool], ...] = ()
        self.grpc = False
        self.fraction: Callable[[], float] | None = None
        self.tls: tuple[bool | None, bool | None] | None = None  # (presented, validated)
        self.metadata: tuple[Callable[[dict[str, Any] | None], bool], ...] = ()
        self.stream: tuple[Callable[[Any], bool], ...] = ()
        self.connect = False
        self.plain = True  # nothing is asked beyond path and headers

    def matches(self, path: str, request: RequestHeaders, stream: Any) -> bool:
        kind = self.kind
        if kind == PREFIX:
            if not path.startswith(self.text):
                return False
        elif kind == PATH:
            if path != self.text:
                return False
        elif self.connect:
            if request.method != "CONNECT" or request.protocol is not None:
                return False
        elif self.test is None or not self.test(path):
            return False
        for header in self.headers:
            if not header(request):
                return False
        return True if self.plain else self._rest(request, stream)

    def _rest(self, request: RequestHeaders, stream: Any) -> bool:
        if self.query:
            query = query_parameters(request.path)
            if not all(test(query) for test in self.query):
                return False
        if self.grpc:
            kind = request.d.get("content-type", "")
            if kind != "application/grpc" and not kind.startswith("application/grpc+"):
                return False
        if self.tls is not None:
            tls = stream.conn.tls
            presented, validated = self.tls
            if tls is None:
                return False
            if presented is not None and (tls.peer_der is not None) != presented:
                return False
            if validated is not None and tls.validated != validated:
                return False
        if not all(test(stream.metadata) for test in self.metadata) or not all(test(stream) for test in self.stream):
            return False
        return self.fraction is None or random.random() < self.fraction()


class Target:
    """One cluster that a route may choose, with what belongs to the choice."""

    __slots__ = (
        "cluster",
        "cluster_header",
        "host_rewrite",
        "metadata_match",
        "per_filter",
        "request_ops",
        "response_ops",
        "weight",
        "weight_key",
    )

    def __init__(self, cluster: str = "", cluster_header: str = "") -> None:
        self.cluster = cluster
        self.cluster_header = cluster_header
        self.weight = 0
        self.weight_key = ""
        self.request_ops: Ops | None = None  # the route's where None
        self.response_ops: Ops | None = None
        self.per_filter: dict[str, Any] | None = None
        self.metadata_match: dict[str, Any] | None = None
        self.host_rewrite: str | None = None


class Mirror:
    """One request_mirror_policy."""

    __slots__ = ("cluster", "cluster_header", "disable_suffix", "fraction", "host_rewrite", "ops")

    def __init__(self, cluster: str, cluster_header: str, fraction: Callable[[], float]) -> None:
        self.cluster = cluster
        self.cluster_header = cluster_header
        self.fraction = fraction
        self.disable_suffix = False
        self.host_rewrite = ""
        self.ops: Ops = ()


class RouteAction:
    """Where and how a request is sent on."""

    __slots__ = (
        "append_x_forwarded_host",
        "auto_host_rewrite",
        "choose_by_header",
        "cluster_not_found_code",
        "grpc_timeout_header_max",
        "grpc_timeout_offset",
        "hash_policies",
        "hedge",
        "host_rewrite",
        "host_rewrite_header",
        "host_rewrite_path",
        "idle_timeout",
        "internal_redirect",
        "max_stream_duration",
        "metadata_match",
        "mirrors",
        "prefix_rewrite",
        "priority",
        "rate_limits",
        "regex_rewrite",
        "retry",
        "targets",
        "template_rewrite",
        "timeout",
        "total_weight",
        "upgrades",
    )

    def __init__(self) -> None:
        self.targets: tuple[Target, ...] = ()
        self.total_weight = 0
        self.choose_by_header = ""
        self.timeout = 15.0
        self.idle_timeout: float | None = None
        self.max_stream_duration: float | None = None
        self.grpc_timeout_header_max: float | None = None
        self.grpc_timeout_offset = 0.0
        self.retry: Any = None
        self.priority = 0
        self.prefix_rewrite = ""
        self.regex_rewrite: Callable[[str], str] | None = None
        self.template_rewrite: Callable[[str], str | None] | None = None
        self.host_rewrite = ""
        self.host_rewrite_header = ""
        self.host_rewrite_path: Callable[[str], str] | None = None
        self.auto_host_rewrite = False
        self.append_x_forwarded_host = False
        self.mirrors: tuple[Mirror, ...] = ()
        self.hash_policies: tuple[Any, ...] = ()
        self.upgrades: dict[str, bool] = {}
        self.metadata_match: dict[str, Any] | None = None
        self.cluster_not_found_code = 503
        self.internal_redirect: Any = None
        self.hedge: Any = None
        self.rate_limits: tuple[Any, ...] = ()

    def choose(self, request: RequestHeaders) -> Target:
        """The target for this request."""
        targets = self.targets
        if len(targets) == 1:
            return targets[0]
        if self.choose_by_header:
            value = request.get(self.choose_by_header)
            if value is not None and value.isdigit():
                return self._at(int(value) % self.total_weight)
        return self._at(int(random.random() * self.total_weight))

    def _at(self, point: int) -> Target:
        for target in self.targets:
            if point < target.weight:
                return target
            point -= target.weight
        return self.targets[-1]


class DirectResponse:
    __slots__ = ("body", "body_format", "content_type", "status")

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body
        self.body_format: Callable[[Any], str] | None = None
        self.content_type = "text/plain"


class Redirect:
    __slots__ = ("code", "host", "https", "path", "port", "prefix_rewrite", "regex_rewrite", "scheme", "strip_query")

    def __init__(self) -> None:
        self.code = 301
        self.host = ""
        self.path = ""
        self.port = 0
        self.prefix_rewrite: str | None = None
        self.regex_rewrite: Callable[[str], str] | None = None
        self.scheme = ""
        self.https = False
        self.strip_query = False


class Route:
    """One route. Exactly one of `action`, `direct`, `redirect` is set; none for a non-forwarding one."""

    __slots__ = (
        "action",
        "buffer_limit",
        "decorator",
        "decorator_propagate",
        "direct",
        "match",
        "metadata",
        "name",
        "per_filter",
        "redirect",
        "request_ops",
        "response_ops",
        "stat_prefix",
        "stats",
        "tracing",
        "vhost",
    )

    def __init__(self, name: str, match: Match) -> None:
        self.name = name
        self.match = match
        self.action: RouteAction | None = None
        self.direct: DirectResponse | None = None
        self.redirect: Redirect | None = None
        self.request_ops: Ops = ()
        self.response_ops: Ops = ()
        self.per_filter: dict[str, Any] = {}
        self.metadata: dict[str, Any] | None = None
        self.decorator = ""
        self.decorator_propagate = True
        self.tracing: Any = None  # a RouteTracing (tracing.filter)
        self.vhost: Any = None
        self.stat_prefix = ""
        self.stats: Any = None
        self.buffer_limit: int | None = None


class VirtualHost:
    __slots__ = (
        "attempt_count",
        "attempt_count_in_response",
        "is_timeout_retry",
        "matcher",
        "metadata",
        "name",
        "per_filter",
        "rate_limits",
        "require_tls",
        "routes",
        "table",
        "table_rows",
        "virtual_clusters",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.routes: tuple[Route, ...] = ()
        self.table_rows: tuple[tuple[Match | None, int, str, Route], ...] = ()
        self.require_tls = 0
        self.attempt_count = False
        self.attempt_count_in_response = False
        self.is_timeout_retry = False
        self.per_filter: dict[str, Any] = {}
        self.virtual_clusters: tuple[tuple[Callable[[Any], bool], Any], ...] = ()
        self.rate_limits: tuple[Any, ...] = ()
        self.metadata: dict[str, Any] | None = None
        self.table: Any = None
        self.matcher: Any = None

    def find(self, request: RequestHeaders, stream: Any) -> Route | None:
        """The first route that matches."""
        path = request.path
        mark = path.find("?")
        if mark >= 0:
            path = path[:mark]
        if self.table.strip_path_parameters and ";" in path:
            path = "/".join(segment.partition(";")[0] for segment in path.split("/"))
        for match, kind, text, route in self.table_rows:
            if kind == PREFIX:
                if not path.startswith(text):
                    continue
                if match is None:
                    return route
            elif kind == PATH:
                if path != text:
                    continue
                if match is None:
                    return route
            if match is not None and match.matches(path, request, stream):
                return route
        return None

    def set_routes(self, routes: tuple[Route, ...]) -> None:
        """The routes, and rows of them for `find`: those that ask for nothing but a path have no match to call."""
        self.routes = routes
        self.table_rows = tuple(
            (
                None if r.match.plain and not r.match.headers and r.match.kind != OTHER else r.match,
                r.match.kind,
                r.match.text,
                r,
            )
            for r in routes
        )


class RouteTable:
    """A RouteConfiguration: virtual hosts by domain, exact before the longest suffix before the longest prefix before "*"."""

    __slots__ = (
        "any",
        "cache",
        "exact",
        "ignore_port",
        "internal_only",
        "metadata",
        "name",
        "prefixes",
        "proto",
        "rate_limits",
        "strip_path_parameters",
        "suffixes",
        "vhost_header",
        "vhosts",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.proto: Any = None
        self.vhosts: tuple[VirtualHost, ...] = ()
        self.exact: dict[str, VirtualHost] = {}
        self.suffixes: list[tuple[str, VirtualHost]] = []  # "*.x": longest first
        self.prefixes: list[tuple[str, VirtualHost]] = []  # "x.*": longest first
        self.any: VirtualHost | None = None
        self.cache: dict[str, VirtualHost | None] = {}
        self.ignore_port = False
        self.vhost_header = ""
        self.internal_only: tuple[str, ...] = ()
        self.strip_path_parameters = False
        self.metadata: dict[str, Any] | None = None
        self.rate_limits: tuple[Any, ...] = ()

    def virtual_host(self, authority: str) -> VirtualHost | None:
        cache = self.cache
        try:
            return cache[authority]
        except KeyError:
            found = self._search(authority)
            if len(cache) > 4096:
                cache.clear()
            cache[authority] = found
            return found

    def _search(self, authority: str) -> VirtualHost | None:
        host = authority.lower()
        if self.ignore_port:
            name, colon, port = host.rpartition(":")
            if colon and port.isdigit():
                host = name
        found = self.exact.get(host)
        if found is not None:
            return found
        for suffix, vhost in self.suffixes:
            if len(host) > len(suffix) and host.endswith(suffix):
                return vhost
        for prefix, vhost in self.prefixes:
            if len(host) > len(prefix) and host.startswith(prefix):
                return vhost
        return self.any
