"""AuthorizationPolicy, RequestAuthentication, PeerAuthentication, Telemetry, WasmPlugin, TrafficExtension: rule by rule."""

import pytest

from mizzen.api.validation import inspect
from tests.unit.api.rules import Rule, holds, made, report, rows

GATEWAY = "{kind: Gateway, group: gateway.networking.k8s.io, name: a}"

AUTHORIZATION = rows(
    "AuthorizationPolicy",
    f"""
    {{}}
    {{rules: [{{}}]}}
    {{action: DENY}} -> spec.rules
    {{action: DENY, rules: [{{}}]}}
    {{action: LOG}} -> spec.action
    {{action: CUSTOM, provider: {{name: a}}}} -> spec.rules
    {{action: CUSTOM, rules: [{{}}]}} -> spec.provider
    {{action: CUSTOM, provider: {{name: ""}}, rules: [{{}}]}} -> spec.provider
    {{action: CUSTOM, provider: {{name: a}}, rules: [{{}}]}}
    {{provider: {{name: a}}}} -> spec.provider
    {{action: CUSTOM, provider: {{name: a}}, rules: [{{from: [{{source: {{namespaces: [a]}}}}]}}]}} -> spec.rules[0].from[0]
    {{action: CUSTOM, provider: {{name: a}}, rules: [{{from: [{{source: {{notPrincipals: [a]}}}}]}}]}} -> spec.rules[0].from[0]
    {{action: CUSTOM, provider: {{name: a}}, rules: [{{from: [{{source: {{serviceAccounts: [a]}}}}]}}]}} -> spec.rules[0].from[0]
    {{action: CUSTOM, provider: {{name: a}}, rules: [{{from: [{{source: {{trustDomains: [a]}}}}]}}]}} -> spec.rules[0].from[0]
    {{action: CUSTOM, provider: {{name: a}}, rules: [{{from: [{{source: {{requestPrincipals: [a]}}}}]}}]}} -> spec.rules[0].from[0]
    {{action: CUSTOM, provider: {{name: a}}, rules: [{{from: [{{source: {{ipBlocks: [10.0.0.1]}}}}]}}]}}
    {{action: CUSTOM, provider: {{name: a}}, rules: [{{when: [{{key: source.principal, values: [a]}}]}}]}} -> spec.rules[0].when[0]
    {{action: CUSTOM, provider: {{name: a}}, rules: [{{when: [{{key: request.auth.audiences, values: [a]}}]}}]}} -> spec.rules[0].when
    {{selector: {{matchLabels: {{a: b}}}}, targetRefs: [{GATEWAY}]}} -> spec
    {{targetRefs: [{GATEWAY}]}}
    {{targetRefs: [{{kind: Service, name: a}}]}}
    {{targetRefs: [{{kind: ServiceEntry, group: networking.istio.io, name: a}}]}}
    {{targetRefs: [{{kind: Pod, name: a}}]}} -> spec.targetRefs[0]
    {{targetRefs: [{{kind: Service, name: a, namespace: shop}}]}} -> spec.targetRefs[0].namespace
    {{targetRefs: [{{kind: Service}}]}} -> spec.targetRefs[0].name
    {{selector: {{matchLabels: {{a: "*"}}}}}} -> spec.selector
    {{rules: [{{from: [{{}}]}}]}} -> spec.rules[0].from[0].source
    {{rules: [{{from: [{{source: {{}}}}]}}]}} -> spec.rules[0].from[0].source
    {{rules: [{{from: [{{source: {{principals: [""]}}}}]}}]}} -> spec.rules[0].from[0].source.principals
    {{rules: [{{from: [{{source: {{namespaces: [a], notIpBlocks: [10.0.0.0/8]}}}}]}}]}}
    {{rules: [{{from: [{{source: {{ipBlocks: [x]}}}}]}}]}} -> spec.rules[0].from[0].source.ipBlocks
    {{rules: [{{from: [{{source: {{remoteIpBlocks: [10.0.0.0/33]}}}}]}}]}} -> spec.rules[0].from[0].source.remoteIpBlocks
    {{rules: [{{from: [{{source: {{serviceAccounts: [ns/sa, sa]}}}}]}}]}}
    {{rules: [{{from: [{{source: {{serviceAccounts: ["*"]}}}}]}}]}} -> spec.rules[0].from[0].source.serviceAccounts
    {{rules: [{{from: [{{source: {{serviceAccounts: [a], principals: [b]}}}}]}}]}} -> spec.rules[0].from[0].source
    {{rules: [{{from: [{{source: {{serviceAccounts: [a], namespaces: [b]}}}}]}}]}} -> spec.rules[0].from[0].source
    {{rules: [{{to: [{{}}]}}]}} -> spec.rules[0].to[0].operation
    {{rules: [{{to: [{{operation: {{}}}}]}}]}} -> spec.rules[0].to[0].operation
    {{rules: [{{to: [{{operation: {{ports: ["80", "0"]}}}}]}}]}}
    {{rules: [{{to: [{{operation: {{ports: ["65536"]}}}}]}}]}} -> spec.rules[0].to[0].operation.ports
    {{rules: [{{to: [{{operation: {{notPorts: ["a"]}}}}]}}]}} -> spec.rules[0].to[0].operation.notPorts
    {{rules: [{{to: [{{operation: {{methods: [""]}}}}]}}]}} -> spec.rules[0].to[0].operation.methods
    {{rules: [{{to: [{{operation: {{paths: ["/a/{{*}}/b/{{**}}"]}}}}]}}]}}
    {{rules: [{{to: [{{operation: {{paths: ["/{{**}}/{{*}}"]}}}}]}}]}} -> spec.rules[0].to[0].operation.paths
    {{rules: [{{to: [{{operation: {{notPaths: ["/a{{b}}"]}}}}]}}]}} -> spec.rules[0].to[0].operation.notPaths
    {{rules: [{{when: [{{key: "request.headers[a]", values: [b]}}]}}]}}
    {{rules: [{{when: [{{key: "request.headers[a]"}}]}}]}} -> spec.rules[0].when[0]
    {{rules: [{{when: [{{values: [b]}}]}}]}} -> spec.rules[0].when[0].key
    {{rules: [{{when: [{{key: no.such, values: [b]}}]}}]}} -> spec.rules[0].when[0].key
    {{rules: [{{when: [{{key: source.ip, notValues: [b]}}]}}]}} -> spec.rules[0].when[0].notValues
    {{rules: [{{when: [{{key: destination.port, values: ["65536"]}}]}}]}} -> spec.rules[0].when[0].values
    {{rules: [{{when: [{{key: "request.auth.claims[a][b]", values: [c]}}]}}]}}
    {{rules: [{{when: [{{key: "experimental.envoy.filters.a.b[c]", values: [d]}}]}}]}}
    """,
)

AUTHENTICATION = rows(
    "RequestAuthentication",
    """
    {}
    {jwtRules: [{}]} -> spec.jwtRules[0]
    {jwtRules: [{issuer: a}]}
    {jwtRules: [{jwksUri: "https://a/b"}]}
    {jwtRules: [{issuer: a, jwksUri: "ftp://a"}]} -> spec.jwtRules[0].jwksUri
    {jwtRules: [{issuer: a, jwksUri: "https://a", jwks: '{"keys": []}'}]} -> spec.jwtRules[0]
    {jwtRules: [{issuer: a, jwks: "x"}]} -> spec.jwtRules[0].jwks
    {jwtRules: [{issuer: a, audiences: [""]}]} -> spec.jwtRules[0].audiences
    {jwtRules: [{issuer: a, fromHeaders: [{prefix: a}]}]} -> spec.jwtRules[0].fromHeaders[0].name
    {jwtRules: [{issuer: a, fromParams: [""]}]} -> spec.jwtRules[0].fromParams
    {jwtRules: [{issuer: a, fromCookies: [""]}]} -> spec.jwtRules[0].fromCookies
    {jwtRules: [{issuer: a, outputClaimToHeaders: [{header: "a b", claim: c}]}]} -> spec.jwtRules[0].outputClaimToHeaders[0]
    {jwtRules: [{issuer: a, outputClaimToHeaders: [{header: a}]}]} -> spec.jwtRules[0].outputClaimToHeaders[0]
    {jwtRules: [{issuer: a, timeout: 0s}]} -> spec.jwtRules[0].timeout
    """,
) + rows(
    "PeerAuthentication",
    """
    {}
    {mtls: {mode: STRICT}}
    {mtls: {mode: SOMETIMES}} -> spec.mtls.mode
    {portLevelMtls: {"80": {mode: STRICT}}} -> spec
    {selector: {matchLabels: {a: b}}, portLevelMtls: {"80": {mode: STRICT}}}
    {selector: {matchLabels: {a: b}}, portLevelMtls: {"0": {mode: STRICT}}} -> spec.portLevelMtls
    {selector: {matchLabels: {a: b}}, portLevelMtls: {x: {mode: STRICT}}} -> spec.portLevelMtls
    {selector: {matchLabels: {a: b}}, portLevelMtls: {}} -> spec.portLevelMtls
    """,
)

TELEMETRY = rows(
    "Telemetry",
    """
    {}
    {tracing: [{randomSamplingPercentage: 100.1}]} -> spec.tracing[0].randomSamplingPercentage
    {tracing: [{providers: [{name: ""}]}]} -> spec.tracing[0].providers[0].name
    {tracing: [{customTags: {a: {literal: {value: b}, header: {name: c}}}}]} -> spec.tracing[0].customTags[a]
    {tracing: [{customTags: {a: {literal: {value: ""}}}}]} -> spec.tracing[0].customTags[a]
    {tracing: [{customTags: {a: {environment: {defaultValue: b}}}}]} -> spec.tracing[0].customTags[a]
    {metrics: [{overrides: [{match: {metric: NONE}}]}]} -> spec.metrics[0].overrides[0].match
    {metrics: [{overrides: [{match: {metric: REQUEST_COUNT, customMetric: a}}]}]} -> spec.metrics[0].overrides[0].match
    {metrics: [{overrides: [{tagOverrides: {a: {value: b}}}]}]}
    {metrics: [{overrides: [{tagOverrides: {a: {}}}]}]} -> spec.metrics[0].overrides[0].tagOverrides[a]
    {metrics: [{overrides: [{tagOverrides: {a: {operation: REMOVE, value: b}}}]}]} -> spec.metrics[0].overrides[0].tagOverrides[a]
    {accessLogging: [{filter: {expression: "response.code >= 400"}}]}
    {accessLogging: [{filter: {expression: "response.code >="}}]} -> spec.accessLogging[0].filter.expression
    """,
)

EXTENSIONS = rows(
    "WasmPlugin",
    """
    {url: "oci://a/b:c"}
    {} -> spec.url
    {url: ""} -> spec.url
    {url: "ftp://a"} -> spec.url
    {url: a/b, sha256: x} -> spec.sha256
    {url: a/b, vmConfig: {env: [{name: a, value: b}]}}
    {url: a/b, vmConfig: {env: [{name: a, valueFrom: HOST, value: b}]}} -> spec.vmConfig.env[0]
    {url: a/b, vmConfig: {env: [{name: a}, {name: a}]}} -> spec.vmConfig.env
    {url: a/b, match: [{ports: [{number: 0}]}]} -> spec.match[0].ports[0]
    {url: a/b, phase: LATE} -> spec.phase
    """,
) + rows(
    "TrafficExtension",
    """
    {} -> spec
    {lua: {inlineCode: a}}
    {lua: {inlineCode: ""}} -> spec.lua.inlineCode
    {lua: {inlineCode: a}, wasm: {url: b}} -> spec
    {wasm: {url: "ftp://a"}} -> spec.wasm.url
    {wasm: {url: a/b, failStrategy: FAIL_OPEN}, match: [{mode: CLIENT, ports: [{number: 80}]}]}
    """,
)


@pytest.mark.parametrize(
    "rule",
    AUTHORIZATION + AUTHENTICATION + TELEMETRY + EXTENSIONS,
    ids=lambda rule: f"{rule.kind} {rule.spec[:110]}",
)
def test_rule(rule: Rule) -> None:
    holds(rule)


@pytest.mark.parametrize(
    ("kind", "spec", "annotations", "refused"),
    [
        ("AuthorizationPolicy", "{}", {"istio.io/dry-run": "true"}, False),
        ("AuthorizationPolicy", "{}", {"istio.io/dry-run": "perhaps"}, True),
        ("AuthorizationPolicy", "{action: AUDIT}", {"istio.io/dry-run": "true"}, True),
        ("PeerAuthentication", "{}", {"istio.io/dry-run": "true"}, True),
        ("PeerAuthentication", "{}", {"internal.istio.io/webhook-always-reject": ""}, True),
    ],
)
def test_annotations(kind: str, spec: str, annotations: dict[str, str], refused: bool) -> None:
    assert bool(report(kind, spec, annotations=annotations).errors) is refused


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"metadata": {"name": "A_b", "namespace": "shop"}}, "metadata.name"),
        ({"metadata": {"namespace": "shop"}}, "metadata.name"),
        ({"metadata": {"name": "a", "labels": {"a": 1}}}, "metadata.labels"),
        ({"metadata": {"name": "a", "labels": {"a b": "c"}}}, "metadata.labels"),
        ({"sepc": {}}, "sepc"),
        ({"apiVersion": "security.istio.io/v9"}, "apiVersion"),
        ({"kind": "PeerAuthn"}, "kind"),
    ],
)
def test_outside_spec(wrong: dict[str, object], path: str) -> None:
    errors = inspect({**made("PeerAuthentication", "{}"), **wrong}).errors
    assert any(error.path.startswith(path) for error in errors), errors


def test_deny_by_http_fields_warns() -> None:
    spec = "{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}"
    assert report("AuthorizationPolicy", spec).warnings != []
    spec = '{action: DENY, rules: [{to: [{operation: {methods: [GET], ports: ["80"]}}]}]}'
    assert report("AuthorizationPolicy", spec).warnings == []
