"""Who asks: client certificates, static tokens, service account tokens, anonymous; and impersonation of others.

Takes a request, gives a `User` or raises 401. Whether somebody may is rbac.py's.
Source: kube-apiserver's authentication chain and impersonation filter.
"""

from __future__ import annotations

import base64
import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cryptography import x509
from cryptography.x509.oid import NameOID

from ..context import User
from ..errors import StatusError, bad_request, forbidden
from ..http1 import Request
from .tokens import ISSUER, Claims, Signer

ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
AUTHENTICATED = "system:authenticated"
Lookup = Callable[[str, str, str], dict[str, Any] | None]  # (resource, namespace, name) → object


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized")


def static_tokens(path: Path) -> dict[str, User]:
    """Users of a token file: `token,name,uid[,"group1,group2"]` per line, as kube-apiserver's --token-auth-file."""
    found = {}
    with path.open(newline="") as lines:
        for row in csv.reader(lines):
            if len(row) >= 3:
                groups = tuple(one for one in (row[3].split(",") if len(row) > 3 else ()) if one)
                found[row[0]] = User(row[1], (*groups, AUTHENTICATED), row[2])
    return found


def account_user(namespace: str, name: str, uid: str = "", extra: tuple[tuple[str, tuple[str, ...]], ...] = ()) -> User:
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    return User(f"system:serviceaccount:{namespace}:{name}", groups, uid, extra)


class Authenticator:
    """All ways of knowing a user. Certificates are known to be of our authority: TLS checked that."""

    def __init__(self, tokens: dict[str, User], signer: Signer, lookup: Lookup) -> None:
        self._tokens, self._signer, self._lookup = tokens, signer, lookup
        self._claims: dict[str, Claims] = {}  # of tokens whose signature was checked

    def user(self, request: Request) -> User:
        header = request.headers.get("authorization")
        if header is not None:
            return self._bearer(header)
        connection = request.connection
        if connection.peer_certificate is not None:
            if connection.identity is None:
                connection.identity = _from_certificate(connection.peer_certificate)
            user: User = connection.identity
            return user
        protocols = request.headers.get("sec-websocket-protocol", "")
        if "base64url.bearer.authorization.k8s.io." in protocols:
            return self._websocket(protocols)
        return ANONYMOUS

    def _bearer(self, header: str) -> User:
        scheme, _, token = header.strip().partition(" ")
        if scheme.lower() != "bearer":
            return ANONYMOUS
        user = self._tokens.get(token.strip()) or self.account(token.strip(), None)
        if user is None:
            raise unauthorized()
        return user

    def _websocket(self, protocols: str) -> User:
        for one in protocols.split(","):
            word = one.strip().removeprefix("base64url.bearer.authorization.k8s.io.")
            if word != one.strip():
                token = base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)).decode()
                return self._bearer(f"Bearer {token}")
        return ANONYMOUS

    def review(self, token: str, audiences: list[str]) -> tuple[User, list[str]] | None:
        """The user of a token and the audiences (of those asked for) that it is good for; None when it is not."""
        static = self._tokens.get(token)
        if static:
            return static, [one for one in audiences if one == ISSUER] or ([] if audiences else [ISSUER])
        user = self.account(token, audiences or [ISSUER])
        if user is None:
            return None
        claims = self._claims.get(token) or {}
        mine = claims.get("aud", [ISSUER])
        return user, [one for one in (audiences or [ISSUER]) if one in mine]

    def why_not(self, token: str, audiences: list[str]) -> str:
        """What a TokenReview says of a token that `review` does not take."""
        claims = self._signer.read(token)
        if claims is None:
            return "invalid bearer token"
        wanted, mine = audiences or [ISSUER], claims.get("aud", [ISSUER])
        if claims.get("iss") == ISSUER and time.time() >= claims["exp"]:
            return "[invalid bearer token, service account token has expired]"
        if not set(mine) & set(wanted):
            shown = " is invalid for the target audiences ".join(
                "[" + " ".join(json.dumps(one) for one in some) + "]" for some in (mine, wanted)
            )
            return f"[invalid bearer token, token audiences {shown}]"
        return "[invalid bearer token, service account token has been invalidated]"

    def account(self, token: str, audiences: list[str] | None) -> User | None:
        """The service account of a token; audiences None: those of the API server."""
        claims = self._claims.get(token)
        if claims is None:
            claims = self._signer.read(token)
            if claims is None:
                return None
            if len(self._claims) > 10_000:
                self._claims.clear()
            self._claims[token] = claims
        if claims.get("iss") == ISSUER:
            return self._bound(claims, audiences or [ISSUER])
        return self._from_secret(claims, token)

    def _bound(self, claims: Claims, audiences: list[str]) -> User | None:
        now = time.time()
        if not claims.get("nbf", 0) - 60 <= now < claims["exp"] or not set(claims["aud"]) & set(audiences):
            return None
        about = claims["kubernetes.io"]
        namespace, account = about["namespace"], about["serviceaccount"]
        if not self._alive("serviceaccounts", namespace, account):
            return None
        extra = [("authentication.kubernetes.io/credential-id", (f"JTI={claims['jti']}",))]
        for kind, plural in (("pod", "pods"), ("secret", "secrets"), ("node", "nodes")):
            bound = about.get(kind)
            if not bound:
                continue
            if (kind != "node" or "pod" not in about) and not self._alive(
                plural, "" if kind == "node" else namespace, bound
            ):
                return None
            if kind != "secret":
                extra += [(f"authentication.kubernetes.io/{kind}-name", (bound["name"],))]
                extra += [(f"authentication.kubernetes.io/{kind}-uid", (bound["uid"],))] if bound.get("uid") else []
        return account_user(namespace, account["name"], account["uid"], tuple(sorted(extra)))

    def _alive(self, plural: str, namespace: str, about: dict[str, Any]) -> bool:
        found = self._lookup(plural, namespace, about["name"])
        if found is None or about.get("uid") not in (None, "", found["metadata"]["uid"]):
            return False
        deleted = found["metadata"].get("deletionTimestamp")
        return not deleted or plural != "serviceaccounts"

    def _from_secret(self, claims: Claims, token: str) -> User | None:
        prefix = "kubernetes.io/serviceaccount"
        namespace, name = claims.get(f"{prefix}/namespace", ""), claims.get(f"{prefix}/service-account.name", "")
        account = self._lookup("serviceaccounts", namespace, name)
        secret = self._lookup("secrets", namespace, claims.get(f"{prefix}/secret.name", ""))
        if (
            account is None
            or secret is None
            or (secret.get("data") or {}).get("token") != base64.b64encode(token.encode()).decode()
            or "deletionTimestamp" in secret["metadata"]
            or account["metadata"]["uid"] != claims.get(f"{prefix}/service-account.uid")
        ):
            return None
        return account_user(namespace, name, account["metadata"]["uid"])


def _from_certificate(der: bytes) -> User:
    subject = x509.load_der_x509_certificate(der).subject
    names = [str(one.value) for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [str(one.value) for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    return User(names[0] if names else "", (*groups, AUTHENTICATED))


Allowed = Callable[[User, str, str, str, str, str], bool]  # user, verb, group, resource, namespace, name


def impersonated(request: Request, user: User, allowed: Allowed) -> User:
    """The user that the request's Impersonate-* headers ask for, when `user` may be them. Raises 403."""
    headers = request.headers
    name = headers.get("impersonate-user")
    if name is None:
        if any(key.startswith("impersonate-") for key in headers):
            raise bad_request("requested impersonation without impersonating a user")
        return user
    groups = tuple(one.strip() for one in headers.get("impersonate-group", "").split(",") if one.strip())
    uid = headers.get("impersonate-uid", "")
    extra: dict[str, list[str]] = {}
    for key, value in headers.items():
        if key.startswith("impersonate-extra-"):
            extra.setdefault(unquote(key.removeprefix("impersonate-extra-")), []).extend(
                one.strip() for one in value.split(",")
            )
    account = name.split(":") if name.startswith("system:serviceaccount:") and name.count(":") == 3 else None
    if account:
        _may(user, allowed, "", "serviceaccounts", account[2], account[3], "")
    else:
        _may(user, allowed, "", "users", "", name, "")
    for group in groups:
        _may(user, allowed, "", "groups", "", group, "")
    for key, values in extra.items():
        for value in values:
            _may(user, allowed, "authentication.k8s.io", f"userextras/{key}", "", value, "")
    if uid:
        _may(user, allowed, "authentication.k8s.io", "uids", "", uid, "")
    if not groups and account:
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{account[2]}")
    if name == ANONYMOUS.name:
        groups = groups if "system:unauthenticated" in groups else (*groups, "system:unauthenticated")
    elif AUTHENTICATED not in groups:
        groups = (*groups, AUTHENTICATED)
    return User(name, groups, uid, tuple(sorted((key, tuple(values)) for key, values in extra.items())))


def _may(user: User, allowed: Allowed, group: str, resource: str, namespace: str, name: str, _why: str) -> None:
    if allowed(user, "impersonate", group, resource, namespace, name):
        return
    scope = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
    text = f'User "{user.name}" cannot impersonate resource "{resource}" in API group "{group}"{scope}'
    raise forbidden(group, resource.split("/")[0], name, text)
