"""Makes what Gateways of the Gateway API need in the cluster: the classes, and a proxy for each Gateway of class `istio`.

Controllers over informers, run under an election of the revision. What is made is applied by server-side apply and owned
by the Gateway, so that it goes with it; an object of that name which is somebody else's is left alone. Not here: what
is made (gateway_api/deployment.py), the Gateway's status.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from mizzen.istiod.gateway_api import deployment
from mizzen.istiod.gateway_api.deployment import GATEWAY_NAME
from mizzen.istiod.gateway_api.gateways import BUILT_IN_CLASSES, CONTROLLER, UNMANAGED_CONTROLLER
from mizzen.istiod.gateway_api.parameters import DEFAULTS_LABEL, BadParameters, patches
from mizzen.istiod.inject import Settings
from mizzen.kube import After, ApiError, Client, Informers, Key, Object, Resource, WorkQueue, itself, key_of
from mizzen.kube.controller import KeysOf
from mizzen.kube.resource import CONFIG_MAPS, DEPLOYMENTS, SERVICE_ACCOUNTS, SERVICES

log = logging.getLogger(__name__)

GATEWAYS = Resource("gateway.networking.k8s.io", "v1", "gateways", True, "Gateway")
CLASSES = Resource("gateway.networking.k8s.io", "v1", "gatewayclasses", False, "GatewayClass")
MADE = {"ServiceAccount": SERVICE_ACCOUNTS, "Deployment": DEPLOYMENTS, "Service": SERVICES}
REVISION = "istio.io/rev"
NO_KIND_S = 30.0
CLASS_TEXTS = {
    "istio": (CONTROLLER, "The default Istio GatewayClass"),
    "istio-remote": (UNMANAGED_CONTROLLER, "Remote to this cluster. Does not deploy or affect configuration."),
}


class GatewayClasses:
    """The classes that istiod serves are there, when the kind is; one that a user changed stays as it is."""

    watches: Mapping[Resource, KeysOf] = {CLASSES: itself}

    def __init__(self, client: Client, informers: Informers, queue: WorkQueue[Key]) -> None:
        self._client, self._informers = client, informers
        for name in BUILT_IN_CLASSES:
            queue.add(Key("", name))

    async def reconcile(self, key: Key) -> After | None:
        if key.name not in CLASS_TEXTS or self._informers.get(CLASSES, key) is not None:
            return None
        controller, description = CLASS_TEXTS[key.name]
        spec = {"controllerName": controller, "description": description}
        try:
            await self._client.create(CLASSES, {"metadata": {"name": key.name}, "spec": spec})
        except ApiError as error:
            if error.not_found:  # the cluster has no Gateway API
                return After(NO_KIND_S)
            if not error.already_exists:
                raise
        return None


class GatewayProxies:
    """Each Gateway whose class is ours has its ServiceAccount, Deployment and Service."""

    watches: Mapping[Resource, KeysOf]

    def __init__(
        self,
        client: Client,
        informers: Informers,
        queue: WorkQueue[Key],
        settings: Callable[[], Settings],
        revisions: Callable[[], frozenset[str]],
        system_namespace: str,
    ) -> None:
        self._client, self._informers, self._queue = client, informers, queue
        self._settings, self._revisions, self._system = settings, revisions, system_namespace
        self._applied: dict[tuple[str, Key], bytes] = {}
        for resource in MADE.values():
            informers.of(resource, label_selector=GATEWAY_NAME)
        self.watches = {
            GATEWAYS: itself,
            CLASSES: self._of_class,
            CONFIG_MAPS: self._of_parameters,
            **dict.fromkeys(MADE.values(), _owner),
        }

    def every(self) -> None:
        """Look at all Gateways: what they are made from has changed."""
        for gateway in self._informers.of(GATEWAYS).store.all():
            self._queue.add(key_of(gateway))

    async def reconcile(self, key: Key) -> After | None:
        gateway = self._informers.get(GATEWAYS, key)
        if gateway is None or gateway["metadata"].get("deletionTimestamp") or not self._ours(gateway):
            return None
        try:
            parameters = [*self._class_parameters(gateway), *self._own_parameters(gateway)]
        except BadParameters as error:
            log.warning("Gateway %s: %s", key, error)  # the status says so, too
            return None
        for obj in deployment.objects(gateway, self._settings(), parameters):
            await self._apply(gateway, obj)
        return None

    def _ours(self, gateway: Object) -> bool:
        name = gateway["spec"]["gatewayClassName"]
        found = self._informers.get(CLASSES, Key("", name))
        controller = found["spec"]["controllerName"] if found is not None else CLASS_TEXTS.get(name, ("", ""))[0]
        revision = (gateway["metadata"].get("labels") or {}).get(REVISION, "default")
        return controller == CONTROLLER and revision in self._revisions() and deployment.is_managed(gateway)

    def _class_parameters(self, gateway: Object) -> Iterator[Mapping[str, Object]]:
        name = gateway["spec"]["gatewayClassName"]
        for config_map in self._informers.of(CONFIG_MAPS).store.all():
            meta = config_map["metadata"]
            if meta.get("namespace") == self._system and (meta.get("labels") or {}).get(DEFAULTS_LABEL) == name:
                yield patches(config_map.get("data") or {})

    def _own_parameters(self, gateway: Object) -> Iterator[Mapping[str, Object]]:
        ref = (gateway["spec"].get("infrastructure") or {}).get("parametersRef")
        if ref is None:
            return
        if (ref.get("group"), ref.get("kind")) != ("", "ConfigMap"):
            raise BadParameters(f"parametersRef to {ref.get('kind')}; only ConfigMap is supported")
        found = self._informers.get(CONFIG_MAPS, Key(gateway["metadata"]["namespace"], ref["name"]))
        if found is None:
            raise BadParameters(f"ConfigMap {ref['name']} with parameters not found")
        yield patches(found.get("data") or {})

    async def _apply(self, gateway: Object, obj: Object) -> None:
        resource, key = MADE[obj["kind"]], key_of(obj)
        content = msgspec.json.encode(obj)
        existing = self._informers.get(resource, key)
        if existing is None:
            # The informer knows what is labelled as ours; anything else of the name is not ours to change.
            foreign = await self._client.find(resource, key.name, key.namespace)
            labels = (foreign["metadata"].get("labels") or {}) if foreign is not None else {}
            if foreign is not None and labels.get(GATEWAY_NAME) != gateway["metadata"]["name"]:
                log.warning("%s %s is there and belongs to no Gateway; it is left alone", obj["kind"], key)
                return
        elif self._applied.get((obj["kind"], key)) == content and deployment.covers(existing, obj):
            return
        await self._client.apply(resource, obj, field_manager=CONTROLLER)
        self._applied[obj["kind"], key] = content
        log.info("applied %s %s for Gateway %s", obj["kind"], key, gateway["metadata"]["name"])

    def _of_class(self, obj: Object) -> Iterable[Key]:
        name = obj["metadata"]["name"]
        gateways = self._informers.of(GATEWAYS).store.all()
        return [key_of(gateway) for gateway in gateways if gateway["spec"].get("gatewayClassName") == name]

    def _of_parameters(self, obj: Object) -> Iterable[Key]:
        """The Gateways whose parameters a ConfigMap holds."""
        meta, out = obj["metadata"], []
        for gateway in self._informers.of(GATEWAYS).store.all():
            ref = (gateway["spec"].get("infrastructure") or {}).get("parametersRef") or {}
            own = ref.get("name") == meta["name"] and gateway["metadata"].get("namespace") == meta.get("namespace")
            if own or (meta.get("labels") or {}).get(DEFAULTS_LABEL) == gateway["spec"].get("gatewayClassName"):
                out.append(key_of(gateway))
        return out


def _owner(obj: Object) -> Iterable[Key]:
    meta = obj["metadata"]
    name = (meta.get("labels") or {}).get(GATEWAY_NAME)
    return (Key(meta.get("namespace") or "", name),) if name else ()
