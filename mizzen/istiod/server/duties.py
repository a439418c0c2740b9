"""What istiod keeps up in its cluster, and which of it only one istiod does, each under an election of its own.

Takes the client and istiod's parts, gives named coroutines to be run. The names of the leases are istiod's; a duty that
is each revision's own has the revision in the name. Not here: the duties.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterator
from typing import Any

from mizzen.istiod.ca.authority import Authority
from mizzen.istiod.config.store import ConfigStore
from mizzen.istiod.objects import Change
from mizzen.istiod.server.cluster import WEBHOOK_RESOURCES, RootCertificates, WebhookBundles
from mizzen.istiod.server.gateways import GatewayClasses, GatewayProxies
from mizzen.istiod.server.injection import InjectionSettings
from mizzen.istiod.server.metrics import Metrics
from mizzen.istiod.server.options import ServerOptions
from mizzen.istiod.status.analysis import Analysis
from mizzen.istiod.status.blame import note
from mizzen.istiod.status.gateway_reporter import GatewayReporter
from mizzen.istiod.status.reporter import IstioReporter
from mizzen.istiod.status.writer import StatusWriter
from mizzen.istiod.xds.connection import Connection
from mizzen.istiod.xds.hub import Hub
from mizzen.istiod.xds.subscription import Watch
from mizzen.kube import Client, Informers, Key, WorkQueue, run_controller
from mizzen.kube.lease import Election

STATUS, GATEWAY_STATUS = "istio-status-leader", "istio-gateway-status-leader"
NAMESPACES, GATEWAY_DEPLOYMENT = "istio-namespace-controller-election", "istio-gateway-deployment"
Task = tuple[Coroutine[Any, Any, None], str]


class Duties:
    """`published` and `refused` are the hub's; `tasks` once."""

    def __init__(
        self,
        client: Client,
        store: ConfigStore,
        hub: Hub,
        authority: Authority,
        options: ServerOptions,
        metrics: Metrics,
        injection: InjectionSettings,
    ) -> None:
        self._injection = injection
        self._client, self._store, self._hub = client, store, hub
        self._authority, self._options, self._metrics = authority, options, metrics
        self._settings_changed: list[Callable[[], None]] = []
        self._writer = StatusWriter(client, store)
        self._status = IstioReporter(hub, store, self._writer)
        self._gateways = GatewayReporter(hub, store, self._writer, options.domain)
        self._analysis = Analysis(store, self._status.analysed)
        hub.published, hub.rejected = self._published, self._refused

    def tasks(self) -> Iterator[Task]:
        """Everything to be run until istiod ends."""
        informers, options = Informers(self._client, missing_ok=True), self._options
        roots: WorkQueue[Key] = WorkQueue()
        certificates = RootCertificates(self._client, informers, self._authority, roots)
        leads = self._election(NAMESPACES)
        yield leads.run(lambda: run_controller(certificates, informers, queue=roots)), "root certificates"
        for resource in WEBHOOK_RESOURCES:
            queue: WorkQueue[Key] = WorkQueue()
            bundles = WebhookBundles(
                self._client, informers, self._authority, queue, resource, options.revision, self._metrics
            )
            yield run_controller(bundles, informers, queue=queue), f"webhooks {resource}"
        yield self._gateway_proxies(informers)
        if options.status:
            yield self._election(STATUS).run(self._keep_status), "status"
            yield self._election(GATEWAY_STATUS).run(self._gateways.run), "status of gateways"
        yield informers.run(), "informers"

    def _gateway_proxies(self, informers: Informers) -> Task:
        o = self._options
        classes: WorkQueue[Key] = WorkQueue()
        proxies: WorkQueue[Key] = WorkQueue()
        kinds = GatewayClasses(self._client, informers, classes)
        made = GatewayProxies(
            self._client,
            informers,
            proxies,
            self._injection.current,
            lambda: frozenset({o.revision}),
            o.system_namespace,
        )
        self._settings_changed.append(made.every)

        async def lead() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(run_controller(kinds, informers, queue=classes), name="istiod gateway classes")
                tasks.create_task(run_controller(made, informers, queue=proxies), name="istiod gateway proxies")

        return self._election(GATEWAY_DEPLOYMENT, each_revision=True).run(lead), "gateway proxies"

    async def _keep_status(self) -> None:
        """What analysis finds is written by who writes statuses, so both are one duty."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._status.run(), name="istiod status reporter")
            if self._options.analysis:
                tasks.create_task(self._analysis.run(), name="istiod analysis")

    def _election(self, name: str, *, each_revision: bool = False) -> Election:
        o = self._options
        name = f"{name}-{o.revision or 'default'}" if each_revision else name
        return Election(self._client, o.system_namespace, name, o.identity, o.leases)

    def _published(self, changes: Collection[Change]) -> None:
        self._status.published(changes)
        self._gateways.published(changes)
        if any(change.kind in ("Mesh", "ConfigMap") for change in changes):
            for told in self._settings_changed:
                told()
        if self._options.analysis:
            self._analysis.published(changes)

    def _refused(self, connection: Connection, watch: Watch) -> None:
        note(self._hub, connection, watch)
        self._status.refused()
