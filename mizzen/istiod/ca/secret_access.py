"""Whether a proxy may be served Secrets: its service account must be allowed to list those of its namespace.

Asks the API server (SubjectAccessReview) and remembers the answer for CACHE_S. Without an API server there is no access
control to ask: whoever may read the files of --config-dir decided that istiod has them, and everything is granted.
Not here: which Secrets a proxy names (translate/secrets.py).
"""

from __future__ import annotations

import logging
import time

from mizzen.istiod.ca import spiffe
from mizzen.kube import CONNECTION_ERRORS, ApiError, Client
from mizzen.kube.resource import SUBJECT_ACCESS_REVIEWS

log = logging.getLogger(__name__)

CACHE_S = 60.0


class SecretAccess:
    """client: None = everything is granted."""

    def __init__(self, client: Client | None) -> None:
        self._client = client
        self._known: dict[str, tuple[float, bool]] = {}

    async def may_list(self, identity: str | None) -> bool:
        """Whether the identity's service account may list the Secrets of its namespace. An error counts as no."""
        if identity is None or self._client is None:
            return identity is not None
        known = self._known.get(identity)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        allowed = await self._ask(self._client, identity)
        self._known[identity] = (time.monotonic() + CACHE_S, allowed)
        return allowed

    async def _ask(self, client: Client, identity: str) -> bool:
        account = spiffe.parse(identity)
        if account is None:
            return False
        namespace = account.namespace
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "metadata": {},
            "spec": {
                "user": f"system:serviceaccount:{namespace}:{account.service_account}",
                "groups": ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"],
                "resourceAttributes": {"verb": "list", "resource": "secrets", "namespace": namespace},
            },
        }
        try:
            status = (await client.create(SUBJECT_ACCESS_REVIEWS, review)).get("status") or {}
        except (ApiError, *CONNECTION_ERRORS) as error:
            log.warning("may %s list secrets? %s", identity, error)
            return False
        if not status.get("allowed"):
            log.warning("%s may not list secrets of %s, so it is served none", identity, namespace)
        return bool(status.get("allowed"))
