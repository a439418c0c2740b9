"""What each attribute of an AuthorizationPolicy becomes: a principal (whence) or a permission (what).

Each attribute is one row of PRINCIPALS or PERMISSIONS: its name, how a value is matched, whether it needs HTTP.
Takes values, gives envoy.config.rbac.v3 messages. Not here: how rules are put together (rbac.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from envoy.config.core.v3 import extension_pb2
from envoy.config.rbac.v3 import rbac_pb2
from envoy.extensions.path.match.uri_template.v3 import uri_template_match_pb2
from envoy.type.matcher.v3 import path_pb2
from envoy.type.matcher.v3.value_pb2 import ListMatcher

from mizzen.istiod.regex import quote_meta
from mizzen.istiod.translate.messages import pack
from mizzen.istiod.translate.security import matchers

Permission, Principal = rbac_pb2.Permission, rbac_pb2.Principal
SPIFFE = "spiffe://"


class Attribute(NamedTuple):
    """match: values → one message each, to be or-ed; whole: all values → one message that says "one of them" by itself."""

    http: bool
    match: Callable[[str, str, str], Any] | None = None
    whole: Callable[[str, Sequence[str]], Any] | None = None


class Values(NamedTuple):
    """One condition: an attribute, its key as written, and the values that it may and may not have."""

    attribute: Attribute
    key: str
    values: Sequence[str]
    not_values: Sequence[str]


def _authenticated(matcher: Any) -> Any:
    return Principal(authenticated=Principal.Authenticated(principal_name=matcher))


def _principal(key: str, value: str, namespace: str) -> Any:
    return _authenticated(matchers.text(value, SPIFFE))


def _namespace(key: str, value: str, namespace: str) -> Any:
    return _authenticated(matchers.regex(f".*/ns/{'.*'.join(quote_meta(part) for part in value.split('*'))}/.*"))


def _service_account(key: str, value: str, namespace: str) -> Any:
    """value: `[namespace/]account`; the policy's own namespace when none is given."""
    owner, slash, account = value.partition("/")
    if not slash:
        owner, account = namespace, value
    pattern = f"spiffe://.+/ns/{quote_meta(owner)}/(.+/|)sa/{quote_meta(account)}(/.+)?"
    return _authenticated(matchers.regex(pattern))


def _trust_domain(key: str, value: str, namespace: str) -> Any:
    if value == "*":
        return _authenticated(matchers.StringMatcher(prefix=SPIFFE))
    before, star, after = value.partition("*")
    if not star:
        return _authenticated(matchers.StringMatcher(prefix=f"{SPIFFE}{value}/"))
    return _authenticated(matchers.regex(f"{SPIFFE}{quote_meta(before)}[^/]*{quote_meta(after)}/.*"))


def _source_ip(key: str, value: str, namespace: str) -> Any:
    return Principal(direct_remote_ip=matchers.cidr(value))


def _remote_ip(key: str, value: str, namespace: str) -> Any:
    return Principal(remote_ip=matchers.cidr(value))


def _request_header(key: str, value: str, namespace: str) -> Any:
    return Principal(header=matchers.header(bracketed(key)[0], value))


def _request_principal(key: str, values: Sequence[str]) -> Any:
    return one_of_principals([_issuer_and_subject(value) for value in values])


def _issuer_and_subject(value: str) -> Any:
    """`issuer/subject`, split at the last slash. Only one end may have a `*`; what else is there is taken literally."""
    issuer, slash, subject = value.rpartition("/")
    exact, anything = matchers.exact, matchers.regex(".+")
    if value == "*":
        pair = anything, anything
    elif value.startswith("*"):
        if not slash:
            pair = anything, matchers.text(value)
        else:
            pair = matchers.text(issuer), exact(subject)
    elif value.endswith("*"):
        if not slash:
            pair = matchers.text(value), anything
        else:
            pair = exact(issuer), matchers.text(subject)
    else:
        pair = (exact(issuer), exact(subject)) if slash else (exact(value), exact(""))
    both = [
        Principal(metadata=matchers.jwt((name,), matchers.ValueMatcher(string_match=one)))
        for name, one in zip(("iss", "sub"), pair, strict=True)
    ]
    return Principal(and_ids=Principal.Set(ids=both))


def _claim(key: str, values: Sequence[str]) -> Any:
    return Principal(metadata=matchers.claim(bracketed(key), values))


def _audience(key: str, values: Sequence[str]) -> Any:
    return Principal(metadata=matchers.claim(("aud",), values))


def _presenter(key: str, values: Sequence[str]) -> Any:
    return Principal(metadata=matchers.claim(("azp",), values))


def one_of_principals(principals: Sequence[Any]) -> Any:
    if len(principals) == 1:
        return principals[0]
    return Principal(or_ids=Principal.Set(ids=principals))


def bracketed(key: str) -> list[str]:
    """The names in brackets: `request.auth.claims[a][b]` → a, b."""
    return [part.rstrip("]") for part in key.split("[")[1:]]


def _host(key: str, value: str, namespace: str) -> Any:
    return Permission(header=matchers.header(":authority", value, ignore_case=True))


def _method(key: str, value: str, namespace: str) -> Any:
    return Permission(header=matchers.header(":method", value))


def _path(key: str, value: str, namespace: str) -> Any:
    if "{*}" in value or "{**}" in value:
        template = value.replace("{**}", "**").replace("{*}", "*")
        config = uri_template_match_pb2.UriTemplateMatchConfig(path_template=template)
        return Permission(
            uri_template=extension_pb2.TypedExtensionConfig(name="uri-template", typed_config=pack(config))
        )
    return Permission(url_path=path_pb2.PathMatcher(path=matchers.text(value)))


def _port(key: str, value: str, namespace: str) -> Any:
    return Permission(destination_port=int(value))


def _destination_ip(key: str, value: str, namespace: str) -> Any:
    return Permission(destination_ip=matchers.cidr(value))


def _sni(key: str, value: str, namespace: str) -> Any:
    return Permission(requested_server_name=matchers.text(value))


def _filter_metadata(key: str, values: Sequence[str]) -> Any:
    """`experimental.envoy.filters.a.b[c]`: key c of a filter's metadata; a value in brackets = an element of a list."""
    name, _, path = key.removeprefix("experimental.").removesuffix("]").partition("[")
    one = matchers.any_value([_metadata_value(value) for value in values])
    return Permission(metadata=matchers.metadata(name, (path,), one))


def _metadata_value(value: str) -> Any:
    if value.startswith("[") and value.endswith("]"):
        one = matchers.ValueMatcher(string_match=matchers.text(value.strip("[]")))
        return matchers.ValueMatcher(list_match=ListMatcher(one_of=one))
    return matchers.ValueMatcher(string_match=matchers.text(value))


PRINCIPALS: dict[str, Attribute] = {
    "source.principal": Attribute(False, _principal),
    "request.auth.principal": Attribute(True, whole=_request_principal),
    "source.trustDomain": Attribute(False, _trust_domain),
    "source.serviceAccount": Attribute(False, _service_account),
    "source.namespace": Attribute(False, _namespace),
    "remote.ip": Attribute(False, _remote_ip),
    "source.ip": Attribute(False, _source_ip),
    "request.auth.audiences": Attribute(True, whole=_audience),
    "request.auth.presenter": Attribute(True, whole=_presenter),
    "request.auth.claims": Attribute(True, whole=_claim),
    "request.headers": Attribute(True, _request_header),
}
"""Attributes of the caller, those of `from` in the order in which they are evaluated."""
PERMISSIONS: dict[str, Attribute] = {
    "host": Attribute(True, _host),
    "method": Attribute(True, _method),
    "path": Attribute(True, _path),
    "destination.port": Attribute(False, _port),
    "destination.ip": Attribute(False, _destination_ip),
    "connection.sni": Attribute(False, _sni),
    "experimental.envoy.filters": Attribute(False, whole=_filter_metadata),
}
"""Attributes of the request, those of `to` in the order in which they are evaluated."""


def attribute_of(key: str) -> str:
    """The name of the attribute that a `when` key means, "" for an unknown one."""
    if key.startswith("experimental.envoy.filters."):
        return "experimental.envoy.filters"
    name = key.partition("[")[0]
    return name if name in PRINCIPALS or name in PERMISSIONS else ""
