"""VirtualService: what is refused and what is not, rule by rule."""

import pytest

from tests.unit.api.rules import Rule, holds, report, rows

ROUTE = "route: [{destination: {host: a}}]"

SPECS = rows(
    "VirtualService",
    f"""
    {{hosts: [a.com], http: [{{{ROUTE}}}]}}
    {{http: [{{{ROUTE}}}]}}
    {{hosts: [a.com]}} -> spec
    {{hosts: ["*"], http: [{{{ROUTE}}}]}} -> spec.hosts
    {{hosts: ["*"], gateways: [gw], http: [{{{ROUTE}}}]}}
    {{hosts: ["*.com"], http: [{{{ROUTE}}}]}}
    {{hosts: ["a*.com"], http: [{{{ROUTE}}}]}} -> spec.hosts[0]
    {{hosts: [a_b.com], http: [{{{ROUTE}}}]}} -> spec.hosts[0]
    {{hosts: [10.0.0.1], http: [{{{ROUTE}}}]}}
    {{hosts: [10.0.0.1], gateways: [gw], http: [{{{ROUTE}}}]}}
    {{hosts: [a.com, a.com], http: [{{{ROUTE}}}]}} -> spec.hosts
    {{hosts: [a.com, "*.com"], http: [{{{ROUTE}}}]}} -> spec.hosts
    {{hosts: [""], http: [{{{ROUTE}}}]}} -> spec.hosts[0]
    {{hosts: [a.com], gateways: [ns/gw, mesh], http: [{{{ROUTE}}}]}}
    {{hosts: [a.com], gateways: [a/b/c], http: [{{{ROUTE}}}]}} -> spec.gateways[0]
    {{hosts: [a.com], gateways: [./gw], http: [{{{ROUTE}}}]}} -> spec.gateways[0]
    {{gateways: [gw], http: [{{{ROUTE}}}]}} -> spec
    {{tcp: [{{{ROUTE}}}]}} -> spec
    {{tls: [{{match: [{{sniHosts: [a.com]}}], {ROUTE}}}]}} -> spec
    {{hosts: [a.com], exportTo: [., other], http: [{{{ROUTE}}}]}}
    {{hosts: [a.com], exportTo: [., .], http: [{{{ROUTE}}}]}} -> spec.exportTo
    {{hosts: [a.com], exportTo: ["*", a], http: [{{{ROUTE}}}]}} -> spec.exportTo
    {{hosts: [a.com], exportTo: [A_b], http: [{{{ROUTE}}}]}} -> spec.exportTo
    """,
)

HTTP = rows(
    "http",
    f"""
    {{}} -> ""
    {{{ROUTE}, redirect: {{uri: /}}}} -> ""
    {{{ROUTE}, directResponse: {{status: 200}}}} -> ""
    {{redirect: {{uri: /}}, directResponse: {{status: 200}}}} -> ""
    {{redirect: {{uri: /}}}}
    {{redirect: {{uri: /}}, delegate: {{name: a}}}} -> ""
    {{{ROUTE}, delegate: {{name: a}}}} -> ""
    {{delegate: {{name: a}}}}
    {{redirect: {{uri: /}}, rewrite: {{uri: /}}}} -> ""
    {{redirect: {{uri: /}}, fault: {{abort: {{httpStatus: 500}}}}}} -> ""
    {{{ROUTE}, timeout: 5s}}
    {{{ROUTE}, timeout: 5}} -> timeout
    {{{ROUTE}, timeout: 1500us}} -> timeout
    {{{ROUTE}, timeout: 100us}} -> timeout
    {{{ROUTE}, mirror: {{host: b}}, mirrors: [{{destination: {{host: c}}}}]}} -> ""
    {{{ROUTE}, mirror: {{host: b}}, mirrorPercent: 101}} -> mirror
    {{{ROUTE}, mirror: {{host: b}}, mirrorPercentage: {{value: 101}}}} -> mirrorPercentage
    {{{ROUTE}, mirrors: [{{destination: {{host: c}}, percentage: {{value: -1}}}}]}} -> mirrors[0]
    {{{ROUTE}, mirrors: [{{percentage: {{value: 1}}}}]}} -> mirrors[0].destination
    {{route: [{{destination: {{host: a}}, weight: -1}}]}} -> route[0].weight
    {{route: [{{destination: {{host: a}}, weight: 0}}, {{destination: {{host: b}}, weight: 0}}]}} -> route
    {{route: [{{destination: {{host: a}}, weight: 0}}]}}
    {{route: [{{destination: {{host: "*.a.com"}}}}]}}
    {{route: [{{destination: {{host: "*"}}}}]}} -> route[0].destination.host
    {{route: [{{destination: {{host: a, port: {{number: 0}}}}}}]}} -> route[0].destination.port
    {{route: [{{destination: {{host: a, port: {{number: 65536}}}}}}]}} -> route[0].destination.port
    {{route: [{{destination: {{host: a, subset: A_B}}}}]}} -> route[0].destination.subset
    {{{ROUTE}, match: [{{}}]}}
    {{{ROUTE}, match: [{{uri: {{}}}}]}}
    {{{ROUTE}, match: [{{uri: {{exact: a, prefix: b}}}}]}} -> match[0].uri
    {{{ROUTE}, match: [{{uri: {{regex: "("}}}}]}} -> match[0].uri
    {{{ROUTE}, match: [{{uri: {{regex: "(?=a)"}}}}]}} -> match[0].uri
    {{{ROUTE}, match: [{{uri: {{prefix: ""}}}}]}}
    {{{ROUTE}, match: [{{method: {{prefix: ""}}}}]}} -> match[0].method
    {{{ROUTE}, match: [{{method: {{regex: ""}}}}]}} -> match[0].method
    {{{ROUTE}, match: [{{headers: {{a: {{}}}}}}]}}
    {{{ROUTE}, match: [{{headers: {{"": {{exact: a}}}}}}]}} -> match[0].headers
    {{{ROUTE}, match: [{{headers: {{"a b": {{exact: a}}}}}}]}} -> match[0].headers
    {{{ROUTE}, match: [{{headers: {{"@request.auth.claims.a": {{exact: a}}}}}}]}} -> match[0].headers
    {{{ROUTE}, match: [{{withoutHeaders: {{a: {{regex: "*"}}}}}}]}}
    {{{ROUTE}, match: [{{queryParams: {{a: {{exact: ""}}}}}}]}}
    {{{ROUTE}, match: [{{port: 65536}}]}} -> match[0].port
    {{{ROUTE}, match: [{{sourceNamespace: A_B}}]}} -> match[0].sourceNamespace
    {{{ROUTE}, match: [{{sourceLabels: {{"a/b/c": d}}}}]}} -> match[0].sourceLabels
    {{{ROUTE}, match: [{{port: 80, gateways: [a/b/c]}}]}} -> match[0].gateways
    {{redirect: {{}}}} -> redirect
    {{redirect: {{uri: /, prefixRewrite: /}}}} -> redirect
    {{redirect: {{prefixRewrite: /}}}} -> redirect
    {{redirect: {{prefixRewrite: /}}, match: [{{uri: {{prefix: /a}}}}]}}
    {{redirect: {{uri: /, port: 80, derivePort: FROM_REQUEST_PORT}}}} -> redirect
    {{redirect: {{uri: /, scheme: ftp}}}} -> redirect.scheme
    {{redirect: {{uri: /, redirectCode: 200}}}} -> redirect.redirectCode
    {{redirect: {{uri: /, redirectCode: 308}}}}
    {{directResponse: {{}}}} -> directResponse
    {{directResponse: {{status: 199}}}} -> directResponse.status
    {{directResponse: {{status: 601}}}} -> directResponse.status
    {{directResponse: {{status: 200, body: {{string: a, bytes: YQ==}}}}}} -> directResponse.body
    {{directResponse: {{status: 200, body: {{}}}}}}
    {{directResponse: {{status: 200, body: {{bytes: "a!"}}}}}} -> directResponse.body
    {{{ROUTE}, rewrite: {{}}}} -> rewrite
    {{{ROUTE}, rewrite: {{uri: /, uriRegexRewrite: {{match: a, rewrite: b}}}}}} -> rewrite
    {{{ROUTE}, rewrite: {{uriRegexRewrite: {{match: a}}}}}} -> rewrite
    {{{ROUTE}, rewrite: {{uriRegexRewrite: {{match: "(", rewrite: b}}}}}} -> rewrite
    {{{ROUTE}, rewrite: {{uriRegexRewrite: {{match: "(a)", rewrite: '\\1'}}}}}}
    {{{ROUTE}, retries: {{attempts: -1}}}} -> retries.attempts
    {{{ROUTE}, retries: {{attempts: 0}}}}
    {{{ROUTE}, retries: {{attempts: 0, perTryTimeout: 1s}}}} -> retries
    {{{ROUTE}, retries: {{attempts: 1, retryOn: "5xx,503,reset"}}}}
    {{{ROUTE}, retries: {{attempts: 1, retryOn: "5xx, reset"}}}} -> retries.retryOn
    {{{ROUTE}, retries: {{attempts: 1, retryOn: often}}}} -> retries.retryOn
    {{{ROUTE}, retries: {{attempts: 1, retryOn: "999"}}}} -> retries.retryOn
    {{{ROUTE}, corsPolicy: {{allowOrigins: [{{}}]}}}} -> corsPolicy.allowOrigins[0]
    {{{ROUTE}, corsPolicy: {{allowMethods: [GET, "*"]}}}}
    {{{ROUTE}, corsPolicy: {{allowMethods: [get]}}}} -> corsPolicy.allowMethods
    {{{ROUTE}, corsPolicy: {{allowHeaders: ["a b"]}}}} -> corsPolicy.allowHeaders
    {{{ROUTE}, corsPolicy: {{maxAge: 1500ms}}}} -> corsPolicy.maxAge
    {{{ROUTE}, corsPolicy: {{unmatchedPreflights: IGNORE}}}}
    {{{ROUTE}, corsPolicy: {{unmatchedPreflights: NEVER}}}} -> corsPolicy.unmatchedPreflights
    {{{ROUTE}, fault: {{}}}} -> fault
    {{{ROUTE}, fault: {{delay: {{fixedDelay: 1s, exponentialDelay: 1s}}}}}} -> fault.delay
    {{{ROUTE}, fault: {{delay: {{exponentialDelay: 1s}}}}}} -> fault.delay
    {{{ROUTE}, fault: {{abort: {{httpStatus: 199}}}}}} -> fault.abort
    {{{ROUTE}, fault: {{abort: {{grpcStatus: UNAVAILABLE}}}}}}
    {{{ROUTE}, fault: {{abort: {{grpcStatus: unavailable}}}}}} -> fault.abort
    {{{ROUTE}, fault: {{abort: {{http2Error: a}}}}}} -> fault.abort
    {{{ROUTE}, fault: {{abort: {{httpStatus: 500, percentage: {{value: 0.00001}}}}}}}} -> fault.abort
    {{{ROUTE}, fault: {{abort: {{httpStatus: 500, percentage: {{value: 0}}}}}}}}
    {{{ROUTE}, headers: {{request: {{set: {{":path": /}}}}}}}} -> headers.request
    {{{ROUTE}, headers: {{request: {{set: {{":authority": b}}}}}}}}
    {{{ROUTE}, headers: {{request: {{set: {{host: b}}}}}}, rewrite: {{authority: c}}}} -> ""
    {{{ROUTE}, headers: {{request: {{remove: [Host]}}}}}} -> headers.request
    {{{ROUTE}, headers: {{response: {{remove: [":status"]}}}}}} -> headers.response
    {{{ROUTE}, headers: {{request: {{set: {{a: "%REQ(b)%"}}}}}}}}
    {{{ROUTE}, headers: {{request: {{set: {{a: "%NO_SUCH_THING%"}}}}}}}}
    {{{ROUTE}, headers: {{request: {{set: {{a: '%A(["b", "c"])% 100%%'}}}}}}}}
    {{{ROUTE}, headers: {{request: {{set: {{a: "%A(b"}}}}}}}} -> headers.request
    {{{ROUTE}, headers: {{request: {{set: {{a: "%START_TIME%%"}}}}}}}} -> headers.request
    {{{ROUTE}, headers: {{request: {{set: {{a: "b\\nc"}}}}}}}} -> headers.request
    {{{ROUTE}, headers: {{request: {{set: {{a: "50%"}}}}}}}} -> headers.request
    """,
)

TLS = rows(
    "tls",
    f"""
    {{match: [{{sniHosts: [a.com]}}], {ROUTE}}}
    {{match: [{{sniHosts: [x.a.com]}}], {ROUTE}}} -> match[0].sniHosts
    {{match: [{{sniHosts: []}}], {ROUTE}}} -> match[0]
    {{match: [], {ROUTE}}} -> ""
    {{{ROUTE}}} -> match
    {{match: [{{sniHosts: [a.com]}}]}} -> ""
    {{match: [{{sniHosts: [a.com], destinationSubnets: [10.0.0.0/33]}}], {ROUTE}}} -> match[0].destinationSubnets
    {{match: [{{sniHosts: [a.com], destinationSubnets: [10.0.0.0/8, 1.1.1.1]}}], {ROUTE}}}
    {{match: [{{sniHosts: [a.com], port: 0}}], {ROUTE}}}
    {{match: [{{sniHosts: [a.com], port: 70000}}], {ROUTE}}} -> match[0].port
    """,
)

TCP = rows(
    "tcp",
    f"""
    {{{ROUTE}}}
    {{match: [{{port: 80}}]}} -> ""
    {{match: [{{port: 70000}}], {ROUTE}}} -> match[0].port
    {{match: [{{sourceSubnet: 10.0.0.0/8}}], {ROUTE}}}
    {{match: [{{destinationSubnets: [x]}}], {ROUTE}}} -> match[0].destinationSubnets
    {{match: [{{sourceNamespace: a}}], {ROUTE}}}
    {{match: [{{gateways: [mesh]}}], {ROUTE}}}
    """,
)


def placed(rule: Rule) -> Rule:
    path = None if rule.path is None else f"spec.{rule.kind}[0]" + (f".{rule.path}" if rule.path != '""' else "")
    return Rule("VirtualService", f"{{hosts: [a.com], {rule.kind}: [{rule.spec}]}}", path)


@pytest.mark.parametrize("rule", SPECS + [placed(rule) for rule in HTTP + TLS + TCP], ids=lambda rule: rule.spec[:100])
def test_rule(rule: Rule) -> None:
    holds(rule)


@pytest.mark.parametrize(
    ("spec", "topics"),
    [
        (f"{{hosts: [a.com], http: [{{{ROUTE}}}, {{match: [{{port: 80}}], {ROUTE}}}]}}", {"unreachable"}),
        (
            "{hosts: [a.com], http: ["
            f"{{match: [{{uri: {{prefix: /}}}}], {ROUTE}}}, {{match: [{{uri: {{prefix: /}}}}], {ROUTE}}}]}}",
            {"ineffective", "unreachable"},
        ),
        (
            "{hosts: [a.com], http: ["
            f"{{match: [{{uri: {{prefix: /a}}}}], {ROUTE}}}, "
            f"{{match: [{{uri: {{prefix: /a/b}}}}, {{uri: {{exact: /c}}}}], {ROUTE}}}]}}",
            {"ineffective"},
        ),
        (f"{{hosts: [a.com], http: [{{match: [{{port: 80}}], {ROUTE}}}, {{{ROUTE}}}]}}", set()),
    ],
)
def test_warnings(spec: str, topics: set[str]) -> None:
    found = report("VirtualService", spec)
    assert not found.errors
    assert {warned.topic for warned in found.warnings} == topics


def test_body_size() -> None:
    spec = "{hosts: [a.com], http: [{directResponse: {status: 200, body: {string: %s}}}]}"
    assert report("VirtualService", spec % ("a" * 102_400)).warnings == []
    assert report("VirtualService", spec % ("a" * 102_401)).warnings != []
    assert report("VirtualService", spec % ("a" * 1_048_577)).errors != []
