"""How far publications have come at the other istiods: each tells by a ConfigMap, and the one that writes statuses adds up.

An istiod that does not lead writes which of its proxies' objects are still under way, and up to which resourceVersion of
each kind it has published; what is older and not named is everywhere. A report that is not renewed is of an istiod that is
gone. Not here: this istiod's own proxies (distribution.py).
Source: the idea and the label are istiod's distribution reports; resourceVersions of one kind are comparable (KEP-5504).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection

import msgspec

from mizzen.api import kinds
from mizzen.istiod.config.store import ConfigStore, ObjectKey
from mizzen.istiod.objects import Change
from mizzen.istiod.status.distribution import Distribution, Progress, Refusal
from mizzen.istiod.xds.hub import Hub
from mizzen.kube import CONNECTION_ERRORS, ApiError, Client, Informer, Object
from mizzen.kube import Change as ApiChange
from mizzen.kube.resource import CONFIG_MAPS

log = logging.getLogger(__name__)

KINDS = frozenset(kind.kind for kind in kinds.ISTIO_KINDS)
LABEL, FIELD = "internal.istio.io/distribution-report", "distribution-report"
EVERY_S, RENEW_S, STALE_S = 1.0, 10.0, 30.0
MAX_BEHIND = 2000  # objects in one report; more are counted as behind by their kind's version


class Behind(msgspec.Struct, frozen=True):
    """An object that not all proxies of an istiod have."""

    acked: int
    refusals: tuple[Refusal, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """One istiod's word. at: seconds since 1970; published: by kind, the resourceVersion up to which it has published."""

    reporter: str
    at: float
    proxies: int
    revision: str = ""
    published: dict[str, int] = {}
    behind: dict[str, Behind] = {}


def text_of(key: ObjectKey) -> str:
    """An object's key as a report names it."""
    return f"{key[0]}/{key[1][0]}/{key[1][1]}"


def key_of(text: str) -> ObjectKey:
    kind, namespace, name = text.split("/")
    return kind, (namespace, name)


class ReportWriter:
    """`run` beside everything else; writes nothing while `leads` says that this istiod writes the statuses itself."""

    def __init__(
        self,
        client: Client,
        store: ConfigStore,
        hub: Hub,
        namespace: str,
        identity: str,
        revision: str,
        leads: Callable[[], bool],
    ) -> None:
        self._client, self._store, self._hub, self._leads = client, store, hub, leads
        self._namespace, self._identity, self._revision = namespace, identity, revision
        self._distribution = Distribution(hub)
        self._published: dict[str, int] = {}
        self._written: Report | None = None

    def published(self, changes: Collection[Change]) -> None:
        self._distribution.published([change for change in changes if change.kind in KINDS])

    async def run(self) -> None:
        """Until cancelled; then the report is taken back."""
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                report = self._report(time.time())
                if self._leads():
                    await self._withdraw()
                elif self._is_news(report):
                    await self._write(report)
        finally:
            await self._withdraw()

    def _report(self, at: float) -> Report:
        self._distribution.look()
        behind: dict[str, Behind] = {}
        if self._store.idle:  # what was seen has been published, or changed nothing
            self._published = dict(self._store.seen)
        for key in dict.fromkeys((*self._distribution.in_progress, *self._distribution.refused)):
            progress = self._distribution.progress(key)
            if progress.done:
                self._distribution.in_progress.pop(key, None)
            elif len(behind) < MAX_BEHIND:
                behind[text_of(key)] = Behind(progress.acked, progress.refusals)
        return Report(self._identity, at, self._distribution.total, self._revision, self._published, behind)

    def _is_news(self, report: Report) -> bool:
        old = self._written
        if old is None or report.at >= old.at + RENEW_S:
            return True
        return msgspec.structs.replace(report, at=old.at) != old

    @property
    def _name(self) -> str:
        return f"{self._identity.replace('_', '-')}-distribution"

    async def _write(self, report: Report) -> None:
        config_map: Object = {
            "metadata": {"name": self._name, "namespace": self._namespace, "labels": {LABEL: "true"}},
            "data": {FIELD: msgspec.json.encode(report).decode()},
        }
        try:
            await self._client.apply(CONFIG_MAPS, config_map, field_manager="istiod-distribution")
            self._written = report
        except (ApiError, *CONNECTION_ERRORS) as error:
            log.warning("distribution report: %s", error or type(error).__name__)

    async def _withdraw(self) -> None:
        """Take the report back: from now on the statuses themselves say it."""
        if self._written is None:
            return
        self._written = None
        try:
            await self._client.delete(CONFIG_MAPS, self._name, self._namespace)
        except (ApiError, *CONNECTION_ERRORS) as error:
            log.debug("distribution report: %s", error or type(error).__name__)


class Reports:
    """What the other istiods say. changed: called with the objects of which one says something else; `run` beside
    everything else.
    """

    def __init__(
        self, client: Client, namespace: str, identity: str, changed: Callable[[Collection[ObjectKey]], None]
    ) -> None:
        self._identity, self._changed = identity, changed
        self._reports: dict[str, Report] = {}
        self._informer = Informer(client, CONFIG_MAPS, namespace=namespace, label_selector=f"{LABEL}=true")
        self._informer.add_handler(self._take)

    async def run(self) -> None:
        await self._informer.run()

    def _take(self, change: ApiChange) -> None:
        name = change.key.name
        before, after = self._reports.pop(name, None), None
        if change.new is not None:
            try:
                after = msgspec.json.decode((change.new.get("data") or {}).get(FIELD, ""), type=Report)
                self._reports[name] = after
            except msgspec.DecodeError as error:
                log.warning("ConfigMap %s is no distribution report: %s", name, error)
        old, new = (report.behind if report is not None else {} for report in (before, after))
        self._changed([key_of(text) for text in old.keys() | new.keys() if old.get(text) != new.get(text)])

    def combined(self, key: ObjectKey, version: int, own: Progress, at: float, revision: str | None = None) -> Progress:
        """How far a change has come everywhere. version: the resourceVersion that brought it; at: seconds since 1970;
        revision: whose istiods count, None = all.
        """
        acked, total, refusals = own.acked, own.total, list(own.refusals)
        for report in self._reports.values():
            if report.reporter == self._identity or report.at < at - STALE_S:
                continue
            if revision not in (None, report.revision):
                continue
            total += report.proxies
            behind = report.behind.get(text_of(key))
            if behind is not None:
                acked += behind.acked
                refusals += behind.refusals
            elif report.published.get(key[0], 0) >= version:
                acked += report.proxies
        return Progress(acked, total, tuple(refusals))
