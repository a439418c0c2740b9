"""Secrets of type kubernetes.io/service-account-token: filled with a token, removed with their account.

Takes the signing of claims as a function, so that the key stays with whoever has it. Source: core/v1 Secret types; the
documented annotations kubernetes.io/service-account.name and .uid.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any

from mizzen.kube.controller import After
from mizzen.kube.resource import SECRETS, SERVICE_ACCOUNTS, Key, Object, key_of
from mizzen.runtime.apiserver.auth.tokens import secret_claims
from mizzen.runtime.controllers.writes import Writer

TYPE = "kubernetes.io/service-account-token"
ACCOUNT, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
Sign = Callable[[dict[str, Any]], str]


def filled(secret: Object, account: Object, root_pem: str, sign: Sign) -> Object | None:
    """The secret with all that belongs in it; None when it has that already."""
    metadata, data = secret["metadata"], dict(secret.get("data") or {})
    annotations = {**(metadata.get("annotations") or {}), UID: account["metadata"]["uid"]}
    if root_pem:
        data["ca.crt"] = _text(root_pem)
    data.setdefault("namespace", _text(metadata["namespace"]))
    if not data.get("token"):
        name, uid = account["metadata"]["name"], account["metadata"]["uid"]
        data["token"] = _text(sign(secret_claims(metadata["namespace"], name, uid, metadata["name"])))
    if data == secret.get("data") and annotations == metadata.get("annotations"):
        return None
    return {**secret, "metadata": {**metadata, "annotations": annotations}, "data": data}


def _text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


class TokenController:
    """A key is a Secret's. root_pem: the certificates that clients verify the API server with."""

    def __init__(self, writer: Writer, root_pem: str, sign: Sign) -> None:
        self._writer, self._root_pem, self._sign = writer, root_pem, sign
        self.watches = {SECRETS: self._token_secrets, SERVICE_ACCOUNTS: self._of_account}

    def _token_secrets(self, secret: Object) -> Iterable[Key]:
        return [key_of(secret)] if secret.get("type") == TYPE else []

    def _of_account(self, account: Object) -> Iterable[Key]:
        metadata = account["metadata"]
        return [
            key_of(secret)
            for secret in self._writer.in_namespace(SECRETS, metadata["namespace"])
            if secret.get("type") == TYPE and _account_of(secret) == metadata["name"]
        ]

    async def reconcile(self, key: Key) -> After | None:
        secret = self._writer.get(SECRETS, key)
        if secret is None or secret.get("type") != TYPE or "deletionTimestamp" in secret["metadata"]:
            return None
        name = _account_of(secret)
        account = await self._writer.client.find(SERVICE_ACCOUNTS, name, key.namespace) if name else None
        uid = (secret["metadata"].get("annotations") or {}).get(UID)
        if account is None or uid not in (None, "", account["metadata"]["uid"]):
            await self._writer.delete(SECRETS, secret)
        elif (full := filled(secret, account, self._root_pem, self._sign)) is not None:
            await self._writer.update(SECRETS, full)
        return None


def _account_of(secret: Object) -> str:
    return str((secret["metadata"].get("annotations") or {}).get(ACCOUNT, ""))
