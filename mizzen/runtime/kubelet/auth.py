"""Who may call the kubelet: a client certificate of the cluster's CA, or a bearer token that the API server vouches for.

Health checks are open. Tokens are reviewed by TokenReview and SubjectAccessReview (nodes/proxy and its kin) and remembered for
a while.
"""

from __future__ import annotations

import time

from mizzen.kube import CONNECTION_ERRORS, ApiError, Client
from mizzen.kube.resource import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS
from mizzen.runtime.cri.streaming.http1 import Request

REMEMBER_S = 60.0
SUBRESOURCES = {"metrics": "metrics", "stats": "stats", "logs": "log", "containerLogs": "proxy"}


class Authorizer:
    """Decides on requests. client: of the API server."""

    def __init__(self, client: Client, node_name: str) -> None:
        self._client, self._node = client, node_name
        self._known: dict[tuple[str, str, str], tuple[bool, float]] = {}

    async def allowed(self, request: Request) -> int:
        """200, or the status to refuse with (401, 403)."""
        tls = request.writer.get_extra_info("ssl_object")
        if tls is not None and tls.getpeercert():
            return 200
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return 401
        verb = {"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}.get(request.method, "get")
        subresource = SUBRESOURCES.get(request.path.split("/")[1], "proxy")
        key = (token, verb, subresource)
        known, until = self._known.get(key, (False, 0.0))
        if until < time.monotonic():
            try:
                known = await self._review(token, verb, subresource)
            except (ApiError, *CONNECTION_ERRORS):
                return 401
            self._known[key] = (known, time.monotonic() + REMEMBER_S)
        return 200 if known else 403

    async def _review(self, token: str, verb: str, subresource: str) -> bool:
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "metadata": {},
            "spec": {"token": token},
        }
        answer = (await self._client.create(TOKEN_REVIEWS, review)).get("status") or {}
        if not answer.get("authenticated"):
            return False
        user = answer.get("user") or {}
        attributes = {
            "verb": verb,
            "resource": "nodes",
            "subresource": subresource,
            "name": self._node,
            "version": "v1",
        }
        spec = {
            "user": user.get("username"),
            "groups": user.get("groups"),
            "uid": user.get("uid"),
            "resourceAttributes": attributes,
        }
        access = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": spec}
        verdict = (await self._client.create(SUBJECT_ACCESS_REVIEWS, access)).get("status") or {}
        return bool(verdict.get("allowed"))
