"""security.istio.io: AuthorizationPolicy, PeerAuthentication, RequestAuthentication.

Source: istio.security.v1beta1 of these names. Not here: what makes one valid (mizzen.api.validation).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from lightkube.models.meta_v1 import ObjectMeta
from msgspec import Meta

from mizzen.api.istio.meta import IstioStatus, Message, NonEmpty, PolicyTargetReference, TargetRefs, WorkloadSelector
from mizzen.api.types import Duration

ServiceAccounts = Annotated[tuple[Annotated[str, Meta(max_length=320)], ...], Meta(max_length=16)]


class Source(Message):
    """Whence a request comes; all fields have to hold."""

    principals: tuple[str, ...] = ()
    not_principals: tuple[str, ...] = ()
    request_principals: tuple[str, ...] = ()
    not_request_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()
    service_accounts: ServiceAccounts = ()
    not_service_accounts: ServiceAccounts = ()
    ip_blocks: tuple[str, ...] = ()
    not_ip_blocks: tuple[str, ...] = ()
    remote_ip_blocks: tuple[str, ...] = ()
    not_remote_ip_blocks: tuple[str, ...] = ()
    trust_domains: tuple[str, ...] = ()
    not_trust_domains: tuple[str, ...] = ()


class Operation(Message):
    """What a request wants; all fields have to hold."""

    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    not_ports: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()


class Condition(Message):
    """A further attribute and its values."""

    key: str
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()


class From(Message):
    """Rule.From."""

    source: Source | None = None


class To(Message):
    """Rule.To."""

    operation: Operation | None = None


class Rule(Message):
    """from, to and when have to hold together."""

    from_: Annotated[tuple[From, ...], Meta(max_length=512)] = ()
    to: tuple[To, ...] = ()
    when: tuple[Condition, ...] = ()


class ExtensionProvider(Message):
    """AuthorizationPolicy.ExtensionProvider: by its name in MeshConfig."""

    name: str = ""


class AuthorizationPolicySpec(Message):
    """istio.security.v1beta1.AuthorizationPolicy."""

    selector: WorkloadSelector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: TargetRefs = ()
    rules: Annotated[tuple[Rule, ...], Meta(max_length=512)] = ()
    action: Literal["ALLOW", "DENY", "AUDIT", "CUSTOM"] = "ALLOW"
    provider: ExtensionProvider | None = None


class AuthorizationPolicy(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: AuthorizationPolicySpec = AuthorizationPolicySpec()
    status: IstioStatus | None = None


class MutualTLS(Message):
    """PeerAuthentication.MutualTLS."""

    mode: Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"] = "UNSET"


class PeerAuthenticationSpec(Message):
    """istio.security.v1beta1.PeerAuthentication. The keys of portLevelMtls are port numbers."""

    selector: WorkloadSelector | None = None
    mtls: MutualTLS | None = None
    port_level_mtls: Annotated[Mapping[str, MutualTLS], Meta(min_length=1)] = {}


class PeerAuthentication(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: PeerAuthenticationSpec = PeerAuthenticationSpec()
    status: IstioStatus | None = None


class JWTHeader(Message):
    """A header that holds a token, after a prefix."""

    name: NonEmpty
    prefix: str = ""


class ClaimToHeader(Message):
    """A claim that is copied into a header."""

    header: Annotated[str, Meta(min_length=1, pattern=r"^[-_A-Za-z0-9]+$")]
    claim: NonEmpty


class JWTRule(Message):
    """One issuer of tokens and where they are found."""

    issuer: NonEmpty | None = None
    audiences: tuple[NonEmpty, ...] = ()
    jwks_uri: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    jwks: str = ""
    from_headers: tuple[JWTHeader, ...] = ()
    from_params: tuple[NonEmpty, ...] = ()
    from_cookies: tuple[NonEmpty, ...] = ()
    output_payload_to_header: str = ""
    forward_original_token: bool = False
    output_claim_to_headers: tuple[ClaimToHeader, ...] = ()
    timeout: Duration | None = None
    space_delimited_claims: Annotated[tuple[NonEmpty, ...], Meta(max_length=64)] = ()


class RequestAuthenticationSpec(Message):
    """istio.security.v1beta1.RequestAuthentication."""

    selector: WorkloadSelector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: TargetRefs = ()
    jwt_rules: Annotated[tuple[JWTRule, ...], Meta(max_length=4096)] = ()


class RequestAuthentication(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: RequestAuthenticationSpec = RequestAuthenticationSpec()
    status: IstioStatus | None = None
