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
from mizzen.istiod.server.metrics import Metrics
from mizzen.kube import After, Client, Informers, Key, Object, Resource, WorkQueue, itself, key_of
from mizzen.kube.controller import KeysOf
from mizzen.kube.resource import CONFIG_MAPS, MUTATING_WEBHOOKS, NAMESPACES, VALIDATING_WEBHOOKS

log = logging.getLogger(__name__)

ROOT_CERT, ROOT_CERT_KEY = "istio-ca-root-cert", "root-cert.pem"
SKIPPED_NAMESPACES = frozenset({"kube-public", "kube-node-lease", "local-path-storage"})
CONFIG_LABEL = {"istio.io/config": "true"}
REVISION_LABEL = "istio.io/rev"


class RootCertificates:
    """Every namespace has the current roots in ConfigMap istio-ca-root-cert."""

    watches: Mapping[Resource, KeysOf]

    def __init__(self, client: Client, informers: Informers, authority: Authority, queue: WorkQueue[Key]) -> None:
        self._client, self._informers, self._authority = client, informers, authority
        self.watches = {NAMESPACES: itself, CONFIG_MAPS: _namespace_of_root_cert}
        authority.roots_changed.append(lambda: _add_all(queue, informers, NAMESPACES))

    async def reconcile(self, key: Key) -> After | None:
        namespace = self._informers.get(NAMESPACES, key)
        if namespace is None or key.name in SKIPPED_NAMESPACES or namespace["metadata"].get("deletionTimestamp"):
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
    """The webhook configurations of our revision trust our roots. One controller a kind of webhook."""

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
    ) -> None:
        self._client, self._informers, self._authority, self._metrics = client, informers, authority, metrics
        self._resource, self._revision = resource, revision
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
            self._metrics.add("webhook_patch_attempts", name=key.name)
            await self._client.patch(self._resource, key.name, operations, type="json")
            log.info("patched the caBundle of %s %s", self._resource.kind, key.name)
        return None

    def _ours(self, configuration: Object) -> bool:
        labels = configuration["metadata"].get("labels") or {}
        return bool(labels.get(REVISION_LABEL) == self._revision)


WEBHOOK_RESOURCES = (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS)
