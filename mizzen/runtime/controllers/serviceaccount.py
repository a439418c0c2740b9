"""Every namespace has the service account "default" and the cluster's root certificate.

Source: core/v1 ServiceAccount; KEP-1205 (the ConfigMap kube-root-ca.crt).
"""

from __future__ import annotations

from mizzen.kube.controller import After, KeysOf, itself
from mizzen.kube.errors import ApiError
from mizzen.kube.resource import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS, Key, Object, Resource
from mizzen.runtime.controllers.writes import Writer

ROOT_CONFIG_MAP = "kube-root-ca.crt"
DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


def _namespace_of(*names: str) -> KeysOf:
    def keys(obj: Object) -> list[Key]:
        metadata = obj["metadata"]
        return [Key("", metadata["namespace"])] if metadata["name"] in names else []

    return keys


class ServiceAccountController:
    """A key is a Namespace's name."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.watches = {NAMESPACES: itself, SERVICE_ACCOUNTS: _namespace_of("default")}

    async def reconcile(self, key: Key) -> After | None:
        if not is_active(self._writer.get(NAMESPACES, key)):
            return None
        if self._writer.get(SERVICE_ACCOUNTS, Key(key.name, "default")) is None:
            account = {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": key.name},
            }
            await create_if_missing(self._writer, SERVICE_ACCOUNTS, account)
        return None


class RootCertificateController:
    """A key is a Namespace's name. root_pem: the certificates that clients verify the API server with."""

    def __init__(self, writer: Writer, root_pem: str) -> None:
        self._writer, self._root_pem = writer, root_pem
        self.watches = {NAMESPACES: itself, CONFIG_MAPS: _namespace_of(ROOT_CONFIG_MAP)}

    async def reconcile(self, key: Key) -> After | None:
        if not is_active(self._writer.get(NAMESPACES, key)):
            return None
        data = {"ca.crt": self._root_pem}
        existing = self._writer.get(CONFIG_MAPS, Key(key.name, ROOT_CONFIG_MAP))
        if existing is None:
            config_map = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": ROOT_CONFIG_MAP,
                    "namespace": key.name,
                    "annotations": {"kubernetes.io/description": DESCRIPTION},
                },
                "data": data,
            }
            await create_if_missing(self._writer, CONFIG_MAPS, config_map)
        elif existing.get("data") != data:
            annotations = {
                **(existing["metadata"].get("annotations") or {}),
                "kubernetes.io/description": DESCRIPTION,
            }
            metadata = {**existing["metadata"], "annotations": annotations}
            await self._writer.update(CONFIG_MAPS, {**existing, "metadata": metadata, "data": data})
        return None


def is_active(namespace: Object | None) -> bool:
    """There, and not going."""
    return namespace is not None and "deletionTimestamp" not in namespace["metadata"]


async def create_if_missing(writer: Writer, resource: Resource, obj: Object) -> None:
    """Creates; that it exists meanwhile, or that its namespace is going, is fine."""
    try:
        await writer.create(resource, obj)
    except ApiError as error:
        if not (error.already_exists or error.not_found or error.code == 403):
            raise
