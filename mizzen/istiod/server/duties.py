"""What istiod keeps up in its cluster, and which of it only one istiod does, each under an election of its own.

Takes the client and istiod's parts, gives named coroutines to be run. The names of the leases are istiod's; a duty that
is each revision's own has the revision in the name. Not here: the duties.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Collection, Coroutine, Iterator
from functools import partial
from typing import Any

from mizzen.istiod.ca.authority import Authority
from mizzen.istiod.config.membership import Membership
from mizzen.istiod.config.store import ConfigStore, ObjectKey
from mizzen.istiod.objects import Change
from mizzen.istiod.server.cluster import WEBHOOK_RESOURCES, RootCertificates, WebhookBundles
from mizzen.istiod.server.gateways import GatewayClasses, GatewayProxies
from mizzen.istiod.server.injection import InjectionSettings
from mizzen.istiod.server.metrics import Metrics
from mizzen.istiod.server.options import ServerOptions
from mizzen.istiod.server.registration import Sweeper
from mizzen.istiod.status.addresses import AddressAllocator
from mizzen.istiod.status.analysis import Analysis
from mizzen.istiod.status.blame import note
from mizzen.istiod.status.distribution import Progress
from mizzen.istiod.status.gateway_reporter import GatewayReporter
from mizzen.istiod.status.ingresses import IngressReporter
from mizzen.istiod.status.reporter import IstioReporter
from mizzen.istiod.status.reports import Reports, ReportWriter
from mizzen.istiod.status.writer import StatusWriter
from mizzen.istiod.xds.connection import Connection
from mizzen.istiod.xds.hub import Hub
from mizzen.istiod.xds.subscription import Watch
from mizzen.kube import Client, Informers, Key, WorkQueue, run_controller
from mizzen.kube.lease import Election

log = logging.getLogger(__name__)

STATUS, GATEWAY_STATUS = "istio-status-leader", "istio-gateway-status-leader"
NAMESPACES, GATEWAY_DEPLOYMENT = "istio-namespace-controller-election", "istio-gateway-deployment"
ADDRESSES, MACHINES, INGRESSES = "istio-ip-autoallocate", "istio-workload-entry-leader", "istio-leader"
AGAIN_S = 5.0
Task = tuple[Coroutine[Any, Any, None], str]


class Duties:
    """`published` and `refused` are the hub's; `tasks` once."""

    def __init__(
        self,
        writer: StatusWriter,
        client: Client,
        store: ConfigStore,
        hub: Hub,
        authority: Authority,
        options: ServerOptions,
        metrics: Metrics,
        injection: InjectionSettings,
        membership: Membership,
    ) -> None:
        self._membership = membership
        self._injection = injection
        self._client, self._store, self._hub = client, store, hub
        self._authority, self._options, self._metrics = authority, options, metrics
        self._settings_changed: list[Callable[[], None]] = []
        self._writer = writer
        self._addresses = AddressAllocator(store, writer)
        self._ingresses = IngressReporter(hub, store, writer, options.system_namespace)
        # What names a revision is that control plane's to speak of; of what names none one speaks for all.
        self._status = {
            False: IstioReporter(
                hub, store, writer, lambda key: not membership.named(key), partial(self._everywhere, None)
            ),
            True: IstioReporter(hub, store, writer, membership.named, partial(self._everywhere, options.revision)),
        }
        self._elections: list[Election] = []
        reporter = options.identity if options.own_identity else f"{options.identity}-{uuid.uuid4().hex[:8]}"
        self._reports = Reports(client, options.system_namespace, reporter, self._heard)
        self._report_writer = ReportWriter(
            client,
            store,
            hub,
            options.system_namespace,
            reporter,
            options.revision,
            lambda: all(one.leads for one in self._elections),
        )
        self._gateways = {
            False: GatewayReporter(hub, store, self._writer, options.domain, lambda key: not membership.named(key)),
            True: GatewayReporter(hub, store, self._writer, options.domain, membership.named),
        }
        self._analyses = {
            False: Analysis(store, self._status[False].analysed),
            True: Analysis(store, self._status[True].analysed, lambda: membership.any_named),
        }
        hub.published, hub.rejected = self._published, self._refused

    def tasks(self) -> Iterator[Task]:
        """Everything to be run until istiod ends."""
        informers, options = Informers(self._client, missing_ok=True), self._options
        roots: WorkQueue[Key] = WorkQueue()
        certificates = RootCertificates(self._client, informers, self._authority, roots, self._membership)
        leads = self._election(NAMESPACES)
        yield self._lead(leads, lambda: run_controller(certificates, informers, queue=roots)), "root certificates"
        for resource in WEBHOOK_RESOURCES:
            queue: WorkQueue[Key] = WorkQueue()
            bundles = WebhookBundles(
                self._client,
                informers,
                self._authority,
                queue,
                resource,
                options.revision,
                self._metrics,
                options.system_namespace,
            )
            yield run_controller(bundles, informers, queue=queue), f"webhooks {resource}"
        yield self._gateway_proxies(informers)
        for named in (False, True) if options.status else ():
            election = self._election(STATUS, each_revision=named)
            self._elections.append(election)
            yield self._lead(election, partial(self._keep_status, named)), "status"
            election = self._election(GATEWAY_STATUS, each_revision=named)
            yield self._lead(election, self._gateways[named].run), "status of gateways"
        if options.status:
            yield self._reports.run(), "distribution of others"
            yield self._report_writer.run(), "distribution report"
        if options.allocate_addresses:
            yield self._lead(self._election(ADDRESSES), self._addresses.run), "virtual addresses"
        if options.status:
            yield self._lead(self._election(INGRESSES), self._ingresses.run), "status of ingresses"
        yield self._lead(self._election(MACHINES), Sweeper(self._client, self._store).run), "machines that left"
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
            lambda: self._membership.revisions,
            o.system_namespace,
        )
        self._settings_changed.append(made.every)
        self._membership.changed.append(made.every)

        async def lead() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(run_controller(kinds, informers, queue=classes), name="istiod gateway classes")
                tasks.create_task(run_controller(made, informers, queue=proxies), name="istiod gateway proxies")

        return self._lead(self._election(GATEWAY_DEPLOYMENT, each_revision=True), lead), "gateway proxies"

    async def _keep_status(self, named: bool) -> None:
        """What analysis finds is written by who writes statuses, so both are one duty."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._status[named].run(), name="istiod status reporter")
            if self._options.analysis:
                tasks.create_task(self._analyses[named].run(), name="istiod analysis")

    async def _lead(self, election: Election, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A duty under its election; one that fails begins anew after a while, and keeps nothing else from going on."""

        async def kept_up() -> None:
            me = asyncio.current_task()
            while True:
                try:
                    await work()
                except Exception as error:  # our bug, in one duty
                    if (
                        me is not None and me.cancelling()
                    ):  # a TaskGroup tells a task's error before that it was cancelled
                        raise asyncio.CancelledError from error
                    log.exception("%s; again in %.0f s", election.name, AGAIN_S)
                await asyncio.sleep(AGAIN_S)

        await election.run(kept_up)

    def _election(self, name: str, *, each_revision: bool = False) -> Election:
        o = self._options
        name = f"{name}-{o.revision or 'default'}" if each_revision else name
        return Election(self._client, o.system_namespace, name, o.identity, o.leases, own=o.own_identity)

    def _published(self, changes: Collection[Change]) -> None:
        for named in (False, True):
            self._status[named].published(changes)
            self._gateways[named].published(changes)
            if self._options.analysis:
                self._analyses[named].published(changes)
        self._report_writer.published(changes)
        self._addresses.published(changes)
        self._ingresses.published(changes)
        if any(change.kind in ("Mesh", "ConfigMap") for change in changes):
            for told in self._settings_changed:
                told()

    def _everywhere(self, revision: str | None, key: ObjectKey, version: int, own: Progress, at: float) -> Progress:
        return self._reports.combined(key, version, own, at, revision)

    def _heard(self, keys: Collection[ObjectKey]) -> None:
        for reporter in self._status.values():
            reporter.heard(keys)

    def _refused(self, connection: Connection, watch: Watch) -> None:
        note(self._hub, connection, watch)
        for reporter in self._status.values():
            reporter.refused()
