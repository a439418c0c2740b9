"""What istiod keeps up to date in a cluster: the root certificate in every namespace, its own in the webhooks'
caBundle.

Two controllers over informers. Not here: injecting or validating anything. Source: ConfigMap
`istio-ca-root-cert` {root-cert.pem}, label istio.io/config=true; webhooks labelled istio.io/rev of our revision.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Mapping

from mizzen.istiod.ca.authority import Authority
from mizzen.istiod.config.membership import Membership
from mizzen.istiod.server.metrics import Metrics
from mizzen.istiod.server.webhooks import ALWAYS_REJECT
from mizzen.kube import After, ApiError, Client, Informers, Key, Object, Resource, WorkQueue, itself, key_of
from mizzen.kube.controller import KeysOf
from mizzen.kube.resource import CONFIG_MAPS, MUTATING_WEBHOOKS, NAMESPACES, VALIDATING_WEBHOOKS

log = logging.getLogger(__name__)

ROOT_CERT, ROOT_CERT_KEY = "istio-ca-root-cert", "root-cert.pem"
SKIPPED_NAMESPACES = frozenset({"kube-public", "kube-node-lease", "local-path-storage"})
CONFIG_LABEL = {"istio.io/config": "true"}
REVISION_LABEL = "istio.io/rev"
ISTIO_GATEWAYS = Resource("networking.istio.io", "v1", "gateways", True, "Gateway")
VALIDATION, HARDEN_AGAIN_S = "validation.istio.io", 2.0


class RootCertificates:
    """Every namespace that is looked at has the current roots in ConfigMap istio-ca-root-cert."""

    watches: Mapping[Resource, KeysOf]

    def __init__(
        self,
        client: Client,
        informers: Informers,
        authority: Authority,
        queue: WorkQueue[Key],
        membership: Membership,
    ) -> None:
        self._client, self._informers, self._authority, self._membership = client, informers, authority, membership
        membership.changed.append(lambda: _add_all(queue, informers, NAMESPACES))
        self.watches = {NAMESPACES: itself, CONFIG_MAPS: _namespace_of_root_cert}
        authority.roots_changed.append(lambda: _add_all(queue, informers, NAMESPACES))

    async def reconcile(self, key: Key) -> After | None:
        namespace = self._informers.get(NAMESPACES, key)
        if namespace is None or key.name in SKIPPED_NAMESPACES or namespace["metadata"].get("deletionTimestamp"):
            return None
        if not self._membership.selects(key.name):
            return None
        data = {ROOT_CERT_KEY: self._authority.roots}
        known = self._informers.get(CONFIG_MAPS, Key(key.name, ROOT_CERT))
        if known is None:
            await self._client.create(CONFIG_MAPS, _root_cert(key.name, data))
        elif known.get("data") != data:
            await self._client.patch(CONFIG_MAPS, ROOT_CERT, {"data": data}, key.name)
        return None


def _add_all(queue: WorkQueue[Key], informers: Informers, resource: Resource) -> None:
    for obj in informers.of(resource).all():
        queue.add(key_of(obj))


def _root_cert(namespace: str, data: dict[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": ROOT_CERT, "namespace": namespace, "labels": dict(CONFIG_LABEL)},
        "data": data,
    }


def _namespace_of_root_cert(obj: Object) -> Iterable[Key]:
    meta = obj["metadata"]
    return (Key("", meta["namespace"]),) if meta["name"] == ROOT_CERT else ()


class WebhookBundles:
    """The webhook configurations of our revision trust our roots; one controller a kind of webhook.

    A validating webhook that starts out with failurePolicy Ignore gets Fail once it is seen to refuse what it should: from
    then on nothing slips past it.
    """

    watches: Mapping[Resource, KeysOf]

    def __init__(
        self,
        client: Client,
        informers: Informers,
        authority: Authority,
        queue: WorkQueue[Key],
        resource: Resource,
        revision: str,
        metrics: Metrics,
        system_namespace: str = "istio-system",
    ) -> None:
        self._client, self._informers, self._authority, self._metrics = client, informers, authority, metrics
        self._resource, self._revision, self._system = resource, revision, system_namespace
        self.watches = {resource: itself}
        authority.roots_changed.append(lambda: _add_all(queue, informers, resource))

    async def reconcile(self, key: Key) -> After | None:
        configuration = self._informers.get(self._resource, key)
        if configuration is None or not self._ours(configuration):
            return None
        bundle = base64.b64encode(self._authority.roots.encode()).decode()
        webhooks = configuration.get("webhooks") or []
        operations = [
            {"op": "add", "path": f"/webhooks/{n}/clientConfig/caBundle", "value": bundle}
            for n, webhook in enumerate(webhooks)
            if webhook["clientConfig"].get("caBundle") != bundle
        ]
        if operations:
            await self._patch(key, operations)
            log.info("patched the caBundle of %s %s", self._resource.kind, key.name)
        return await self._harden(key, webhooks)

    async def _patch(self, key: Key, operations: list[Object]) -> None:
        self._metrics.add("webhook_patch_attempts", name=key.name)
        try:
            changed = await self._client.patch(self._resource, key.name, operations, type="json")
        except ApiError as error:
            self._metrics.add("webhook_patch_failures", name=key.name, reason=error.reason or str(error.code))
            raise
        self._informers.of(self._resource).observe(changed)

    async def _harden(self, key: Key, webhooks: list[Object]) -> After | None:
        soft = [
            n
            for n, webhook in enumerate(webhooks)
            if self._resource == VALIDATING_WEBHOOKS
            and str(webhook.get("name", "")).endswith(VALIDATION)
            and webhook.get("failurePolicy") == "Ignore"
        ]
        if not soft:
            return None
        if not await self._refuses():
            return After(HARDEN_AGAIN_S)
        await self._patch(
            key, [{"op": "replace", "path": f"/webhooks/{n}/failurePolicy", "value": "Fail"} for n in soft]
        )
        log.info("%s refuses what it should; it may not be passed by any more", key.name)
        return None

    async def _refuses(self) -> bool:
        """Whether an object that must be refused is: asked without its being made."""
        meta = {
            "name": "invalid-gateway",
            "namespace": self._system,
            "labels": {REVISION_LABEL: self._revision},
            "annotations": {ALWAYS_REJECT: "true"},
        }
        server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
        try:
            await self._client.create(ISTIO_GATEWAYS, {"metadata": meta, "spec": {"servers": [server]}}, dry_run=True)
        except ApiError as error:
            if error.not_found:  # no such kind yet
                return False
            return "denied the request" in error.message
        return False

    def _ours(self, configuration: Object) -> bool:
        labels = configuration["metadata"].get("labels") or {}
        return bool(labels.get(REVISION_LABEL) == self._revision)


WEBHOOK_RESOURCES = (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS)
