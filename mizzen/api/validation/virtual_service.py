"""What Istio's admission demands of a VirtualService beyond its schema.

Takes the typed object, reports errors and warnings by path. Not here: rules that never match (reachability.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.api import text
from mizzen.api.istio.networking import (
    Headers,
    HTTPMatchRequest,
    HTTPRedirect,
    HTTPRetry,
    HTTPRewrite,
    HTTPRoute,
    HTTPRouteDestination,
    L4MatchAttributes,
    RouteDestination,
    StringMatch,
    TLSMatchAttributes,
    VirtualService,
    VirtualServiceSpec,
)
from mizzen.api.validation.common import destination, export_to, source_labels
from mizzen.api.validation.fault_cors import cors, direct_response, fault
from mizzen.api.validation.report import Report

RETRY_ON = frozenset(
    [
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "envoy-ratelimited",
        "http3-post-connect-failure",
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    ]
)
# Statuses that Go's net/http has a text for.
HTTP_STATUSES = frozenset(
    int(status)
    for status in [
        "100",
        "101",
        "102",
        "103",
        "200",
        "201",
        "202",
        "203",
        "204",
        "205",
        "206",
        "207",
        "208",
        "226",
        "300",
        "301",
        "302",
        "303",
        "304",
        "305",
        "307",
        "308",
        "400",
        "401",
        "402",
        "403",
        "404",
        "405",
        "406",
        "407",
        "408",
        "409",
        "410",
        "411",
        "412",
        "413",
        "414",
        "415",
        "416",
        "417",
        "418",
        "421",
        "422",
        "423",
        "424",
        "425",
        "426",
        "428",
        "429",
        "431",
        "451",
        "500",
        "501",
        "502",
        "503",
        "504",
        "505",
        "506",
        "507",
        "508",
        "510",
        "511",
    ]
)


def virtual_service(obj: VirtualService, report: Report) -> None:
    """Checks the whole object."""
    spec = obj.spec
    if not spec.hosts:
        for field, present in (("gateways", spec.gateways), ("tls", spec.tls), ("tcp", spec.tcp)):
            report.need(not present, f"spec.{field}", "a delegate (a VirtualService without hosts) has none")
    gateway_names(spec.gateways, "spec.gateways", report)
    hosts(spec, report)
    report.need(bool(spec.http or spec.tls or spec.tcp), "spec", "at least one of http, tls and tcp is needed")
    for at, route in enumerate(spec.http):
        http_route(route, f"spec.http[{at}]", spec, report)
    for at, tls in enumerate(spec.tls):
        path = f"spec.tls[{at}]"
        report.need(bool(tls.match), f"{path}.match", "at least one match is needed")
        for number, match in enumerate(tls.match):
            tls_match(match, f"{path}.match[{number}]", spec, report)
        destinations(tls.route, path, report, required=True)
    for at, tcp in enumerate(spec.tcp):
        path = f"spec.tcp[{at}]"
        for number, l4 in enumerate(tcp.match):
            l4_match(l4, f"{path}.match[{number}]", report)
        destinations(tcp.route, path, report, required=True)
    export_to(spec.export_to, obj.metadata.namespace or "default", "spec.exportTo", report)


def for_gateways(spec: VirtualServiceSpec) -> bool:
    """Whether no gateway of the object is the mesh."""
    return bool(spec.gateways) and "mesh" not in spec.gateways


def hosts(spec: VirtualServiceSpec, report: Report) -> None:
    """Each host on its own, then against the others."""
    sni = any(match.sni_hosts for tls in spec.tls for match in tls.match)
    valid = True
    for at, host in enumerate(spec.hosts):
        wrong = sni_domain(host, sni) if for_gateways(spec) else text.wildcard_domain(host)
        if wrong and not text.is_address(host):
            report.error(f"spec.hosts[{at}]", wrong)
            valid = False
        elif not wrong and host == "*" and not for_gateways(spec):
            report.error(f"spec.hosts[{at}]", "the host * is only for gateways, not for the mesh")
            valid = False
    if valid:
        for at, host in enumerate(spec.hosts):
            if any(text.matches(other, host) for other in spec.hosts[:at]):
                report.error(f"spec.hosts[{at}]", f"{host!r} overlaps with a host before it")


def sni_domain(host: str, sni: bool) -> str:
    """A host at a gateway, where SNI hosts may be Istio's own "outbound_.<port>_._.<host>"."""
    if not (sni and host.startswith("outbound_")) or len(host) > 255:
        return text.wildcard_domain(host)
    parts = host.split("_")
    if len(parts) < 4 or not any(char.isdigit() for char in parts[1]) or not any(map(str.isalpha, parts[3])):
        return f"{host!r} is not of the form outbound_.<port>_._.<host>"
    return ""


def gateway_names(names: Iterable[str], path: str, report: Report) -> None:
    """Names of gateways; what follows the first one without a slash is not looked at."""
    for at, name in enumerate(names):
        here = f"{path}[{at}]"
        namespace, slash, gateway = name.partition("/")
        if not slash:
            if "." in name:
                report.warn(here, f"{name!r} is written in the old way, use <namespace>/<name>")
            report.take(here, text.fqdn(name))
            return
        for part in (namespace, gateway):
            report.need(text.label(part), here, f"{part!r} is not a DNS label (<namespace>/<name> is expected)")


def http_route(route: HTTPRoute, path: str, spec: VirtualServiceSpec, report: Report) -> None:
    """One HTTP rule."""
    actions(route, path, not spec.hosts, report)
    for at, match in enumerate(route.match):
        http_match(match, f"{path}.match[{at}]", spec, report)
    headers(route.headers, f"{path}.headers", report)
    cors(route.cors_policy, f"{path}.corsPolicy", report)
    fault(route.fault, f"{path}.fault", report)
    if route.mirror_percent is not None:
        report.need(route.mirror_percent <= 100, f"{path}.mirrorPercent", "is more than 100")
        report.warn(f"{path}.mirrorPercent", "is deprecated, use mirrorPercentage")
    if route.mirror_percentage is not None:
        report.take(f"{path}.mirrorPercentage.value", text.percent(route.mirror_percentage.value))
    destination(route.mirror, f"{path}.mirror", report)
    for at, mirror in enumerate(route.mirrors):
        destination(mirror.destination, f"{path}.mirrors[{at}].destination", report)
        if mirror.percentage is not None:
            report.take(f"{path}.mirrors[{at}].percentage.value", text.percent(mirror.percentage.value))
    redirect(route.redirect, route.match, f"{path}.redirect", report)
    direct_response(route.direct_response, f"{path}.directResponse", report)
    retries(route.retries, f"{path}.retries", report)
    rewrite(route.rewrite, f"{path}.rewrite", report)
    authority_once(route, path, report)
    destinations(route.route, path, report)
    if route.timeout is not None:
        report.take(f"{path}.timeout", text.duration(route.timeout))


def actions(route: HTTPRoute, path: str, delegated: bool, report: Report) -> None:
    """A rule does exactly one thing."""
    if route.delegate is not None and not delegated:
        if route.redirect is not None or route.route:
            report.error(path, "a rule that delegates has neither route nor redirect")
        return
    if route.delegate is not None:
        report.error(f"{path}.delegate", "a delegate (a VirtualService without hosts) delegates no further")
    action = "redirect" if route.redirect is not None else "directResponse" if route.direct_response is not None else ""
    if action:
        others = {"route": bool(route.route), "fault": route.fault is not None, "rewrite": route.rewrite is not None}
        others["directResponse"] = action == "redirect" and route.direct_response is not None
        for other, present in others.items():
            if present:
                report.error(path, f"{other} and {action} exclude each other")
    else:
        report.need(bool(route.route), path, "one of route, redirect and directResponse is needed")
    if route.mirror is not None and route.mirrors:
        report.error(path, "mirror and mirrors exclude each other")


def http_match(match: HTTPMatchRequest, path: str, spec: VirtualServiceSpec, report: Report) -> None:
    """The conditions of one match."""
    for field, values in (("headers", match.headers), ("withoutHeaders", match.without_headers)):
        for name, value in values.items():
            here = f"{path}.{field}[{name}]"
            report.take(here, text.header_match_name(name))
            if text.claim_route(name) and not for_gateways(spec):
                report.error(here, "routing on claims is only possible at gateways")
            if field == "headers" or value.regex != "*":
                string_match(value, here, report)
    regex_match(match.uri, f"{path}.uri", report)
    for field, single in (("scheme", match.scheme), ("method", match.method), ("authority", match.authority)):
        string_match(single, f"{path}.{field}", report)
    for name, value in match.query_params.items():
        string_match(value, f"{path}.queryParams[{name}]", report)
    if match.port:
        report.take(f"{path}.port", text.port(match.port))
    source_labels(match.source_labels, f"{path}.sourceLabels", report)
    gateway_names(match.gateways, f"{path}.gateways", report)
    if match.source_namespace:
        report.need(text.label(match.source_namespace), f"{path}.sourceNamespace", "is not a DNS label")


def string_match(match: StringMatch | None, path: str, report: Report) -> None:
    """A prefix is not empty, an expression can be read."""
    if match is not None and match.prefix is not None:
        report.need(match.prefix != "", f"{path}.prefix", "a prefix must not be empty")
    regex_match(match, path, report)


def regex_match(match: StringMatch | None, path: str, report: Report) -> None:
    """An expression is not empty and can be read."""
    if match is None or match.regex is None:
        return
    if report.need(match.regex != "", f"{path}.regex", "an expression must not be empty"):
        report.take(f"{path}.regex", text.regex(match.regex))


def headers(value: Headers | None, path: str, report: Report) -> None:
    """Header operations of both directions."""
    if value is None:
        return
    for direction, operations in (("request", value.request), ("response", value.response)):
        if operations is None:
            continue
        name_check = text.request_header if direction == "request" else text.other_header
        for field, entries in (("add", operations.add), ("set", operations.set)):
            for name, content in entries.items():
                here = f"{path}.{direction}.{field}[{name}]"
                report.take(here, name_check(name))
                report.take(here, text.header_value(content))
        for at, name in enumerate(operations.remove):
            report.take(f"{path}.{direction}.remove[{at}]", text.other_header(name))


def authority_once(route: HTTPRoute, path: str, report: Report) -> None:
    """The authority is written in one place at most."""
    current = route.rewrite.authority if route.rewrite is not None else ""
    request = route.headers.request if route.headers is not None else None
    if request is None:
        return
    for field, entries in (("set", request.set), ("add", request.add)):
        for name, value in entries.items():
            if text.is_authority(name):
                if current:
                    report.error(f"{path}.headers.request.{field}[{name}]", "the authority is written twice")
                current = value


def redirect(value: HTTPRedirect | None, match: tuple[HTTPMatchRequest, ...], path: str, report: Report) -> None:
    """A redirect changes something and answers with a 3xx."""
    if value is None:
        return
    changed = value.uri or value.prefix_rewrite or value.authority or value.scheme
    port_set = value.port is not None or value.derive_port is not None
    report.need(bool(changed) or port_set, path, "one of uri, prefixRewrite, authority, port and scheme is needed")
    report.need(not (value.uri and value.prefix_rewrite), path, "uri and prefixRewrite exclude each other")
    if value.prefix_rewrite:
        prefixes = bool(match) and all(m.uri is not None and m.uri.prefix is not None for m in match)
        report.need(prefixes, f"{path}.prefixRewrite", "every match of the rule has to have a uri prefix")
    if value.redirect_code:
        report.need(300 <= value.redirect_code <= 399, f"{path}.redirectCode", f"{value.redirect_code} is not a 3xx")
    report.need(value.scheme in ("", "http", "https"), f"{path}.scheme", "is neither http nor https")
    if value.port:
        report.take(f"{path}.port", text.port(value.port))


def retries(value: HTTPRetry | None, path: str, report: Report) -> None:
    """Attempts, and the conditions on which to try again."""
    if value is None:
        return
    report.need(value.attempts >= 0, f"{path}.attempts", "is negative")
    others = value.per_try_timeout is not None or value.retry_on or value.retry_remote_localities is not None
    if value.attempts == 0 and others:
        report.error(f"{path}.attempts", "0 switches retries off; nothing else may be set then")
    for field, span in (("perTryTimeout", value.per_try_timeout), ("backoff", value.backoff)):
        if span is not None:
            report.take(f"{path}.{field}", text.duration(span))
    for condition in value.retry_on.split(",") if value.retry_on else ():
        if condition not in RETRY_ON and not _is_status(condition):
            report.error(f"{path}.retryOn", f"unknown condition {condition!r}")


def _is_status(condition: str) -> bool:
    digits = condition.removeprefix("+")
    return digits.isascii() and digits.isdigit() and int(digits) in HTTP_STATUSES


def rewrite(value: HTTPRewrite | None, path: str, report: Report) -> None:
    """A rewrite rewrites something, and the path in one way."""
    if value is None:
        return
    regex = value.uri_regex_rewrite
    if value.uri and regex is not None:
        report.error(path, "uri and uriRegexRewrite exclude each other")
    elif not value.uri and regex is None and not value.authority:
        report.error(path, "one of uri, uriRegexRewrite and authority is needed")
    elif regex is not None:
        for field, content in (("match", regex.match), ("rewrite", regex.rewrite)):
            report.need(content != "", f"{path}.uriRegexRewrite.{field}", "is required")
        if regex.match:
            report.take(f"{path}.uriRegexRewrite.match", text.regex(regex.match))


def destinations(
    routes: Iterable[HTTPRouteDestination | RouteDestination], path: str, report: Report, *, required: bool = False
) -> None:
    """Weighted destinations: at least one where required, with weights that make a sum."""
    routes = tuple(routes)
    report.need(bool(routes) or not required, f"{path}.route", "a destination is required")
    for at, route in enumerate(routes):
        here = f"{path}.route[{at}]"
        if isinstance(route, HTTPRouteDestination):
            headers(route.headers, f"{here}.headers", report)
        destination(route.destination, f"{here}.destination", report)
        report.need(route.weight >= 0, f"{here}.weight", "is negative")
    if len(routes) > 1 and sum(route.weight for route in routes) == 0:
        report.error(f"{path}.route", "the weights sum up to 0")


def tls_match(match: TLSMatchAttributes, path: str, spec: VirtualServiceSpec, report: Report) -> None:
    """SNI hosts lie within the hosts of the object."""
    report.need(bool(match.sni_hosts), f"{path}.sniHosts", "at least one is needed")
    for at, host in enumerate(match.sni_hosts):
        here = f"{path}.sniHosts[{at}]"
        in_gateway = "mesh" not in spec.gateways
        wrong = sni_domain(host, sni=True) if in_gateway else text.wildcard_domain(host)
        if wrong and text.is_address(host):
            report.warn(here, f"{host!r} is an address; most clients send none as SNI")
        elif wrong:
            report.error(here, wrong)
        elif not any(text.subset_of(host, own) for own in spec.hosts):
            report.error(here, f"{host!r} is not within the hosts of this VirtualService")
    l4_match(match, path, report)


def l4_match(match: TLSMatchAttributes | L4MatchAttributes, path: str, report: Report) -> None:
    """Subnets, port, source labels and gateways."""
    for at, value in enumerate(match.destination_subnets):
        report.take(f"{path}.destinationSubnets[{at}]", text.subnet(value))
    if match.port:
        report.take(f"{path}.port", text.port(match.port))
    source_labels(match.source_labels, f"{path}.sourceLabels", report)
    gateway_names(match.gateways, f"{path}.gateways", report)
