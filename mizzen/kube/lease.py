"""Leader election by a Lease: of several candidates one leads, and another takes over when it goes silent.

Takes a client and the lease's name; `run` campaigns for ever and keeps a task of the caller running while it leads. The
rules are client-go's: a candidate trusts its own clock only (how long ago it saw the lease change, not what the holder's
clock says), the holder renews every retry_s and gives up when it could not for renew_deadline_s, which is shorter than
the lease_s that others wait; a holder that ends in order lets go at once. Not here: what a leader does.
Source: coordination.k8s.io/v1 Lease; client-go tools/leaderelection.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import msgspec

from mizzen.kube.client import Client
from mizzen.kube.errors import CONNECTION_ERRORS, ApiError
from mizzen.kube.resource import LEASES, Object

log = logging.getLogger(__name__)

JITTER = 1.2
Lead = Callable[[], Coroutine[Any, Any, None]]


class Timing(msgspec.Struct, frozen=True):
    """Seconds; the defaults are istiod's. renew_deadline_s must lie between retry_s and lease_s."""

    lease_s: float = 30.0
    renew_deadline_s: float = 15.0
    retry_s: float = 5.0


class Observed(msgspec.Struct, frozen=True):
    """The lease's spec as last seen, and since when (monotonic seconds) it has been so."""

    spec: Object
    since: float


def may_take(observed: Observed | None, me: str, now: float) -> bool:
    """Whether a candidate may write itself into the lease. observed: None when there is no lease."""
    if observed is None:
        return True
    holder = observed.spec.get("holderIdentity") or ""
    duration_s = float(observed.spec.get("leaseDurationSeconds") or 0)
    return holder in ("", me) or now >= observed.since + duration_s


def taken(spec: Object, me: str, lease_s: float, stamp: str) -> Object:
    """The lease's spec with this candidate as its holder. stamp: the time of now as a MicroTime."""
    held = spec.get("holderIdentity") == me
    transitions = int(spec.get("leaseTransitions") or 0)
    return {
        **spec,
        "holderIdentity": me,
        "leaseDurationSeconds": max(1, round(lease_s)),
        "acquireTime": spec.get("acquireTime") or stamp if held else stamp,
        "renewTime": stamp,
        "leaseTransitions": transitions if held or not spec else transitions + 1,
    }


class Election:
    """One lease, one candidate.

    identity: a name for people, to which a random part is added; own: no other candidate can have that name, so that one
    that comes back after a crash need not wait for itself.
    """

    def __init__(
        self, client: Client, namespace: str, name: str, identity: str, timing: Timing = Timing(), *, own: bool = False
    ) -> None:
        self._client, self.namespace, self.name, self._timing = client, namespace, name, timing
        self.identity = identity if own else f"{identity}_{uuid.uuid4()}"
        self.leads = False
        self._lease: Object | None = None
        self._observed: Observed | None = None

    async def run(self, lead: Lead) -> None:
        """Campaign until cancelled; while it leads, `lead()` runs. An error of `lead` is raised, after the lease is let
        go.
        """
        try:
            while True:
                while not await self._try():
                    await asyncio.sleep(self._timing.retry_s * random.uniform(1.0, JITTER))
                log.info("%s leads by %s/%s", self.identity, self.namespace, self.name)
                await self._lead(lead)
                log.warning("%s no longer leads by %s/%s", self.identity, self.namespace, self.name)
        finally:
            await self._release()

    async def _lead(self, lead: Lead) -> None:
        """Until the lease is lost, or `lead` ends, which is an error to be raised."""
        self.leads = True
        work = asyncio.create_task(lead(), name=f"leader {self.name}")
        renewal = asyncio.create_task(self._renew(), name=f"lease {self.name}")
        try:
            await asyncio.wait([work, renewal], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            for task in (work, renewal):
                task.cancel()
            await asyncio.gather(work, renewal, return_exceptions=True)
            self.leads = False

    async def _renew(self) -> None:
        """Renew until it has failed for too long, or another holds the lease."""
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(self._timing.retry_s)
            left_s = renewed + self._timing.renew_deadline_s - time.monotonic()
            try:
                async with asyncio.timeout(max(left_s, 0.1)):
                    kept = await self._try()
            except TimeoutError:
                kept = False
            now = time.monotonic()
            if kept:
                renewed = now
            elif self._held_by_another() or now >= renewed + self._timing.renew_deadline_s:
                return

    def _held_by_another(self) -> bool:
        return self._observed is not None and self._observed.spec.get("holderIdentity") not in ("", None, self.identity)

    async def _try(self) -> bool:
        """Take or renew the lease; whether it is ours now."""
        try:
            return await self._take()
        except ApiError as error:
            if not (error.conflict or error.already_exists):
                log.warning("lease %s/%s: %s", self.namespace, self.name, error)
        except CONNECTION_ERRORS as error:
            log.warning("lease %s/%s: %s", self.namespace, self.name, error or type(error).__name__)
        return False

    async def _take(self) -> bool:
        if self.leads and self._lease is not None and not self._held_by_another():
            try:  # what we wrote last is most likely what is there: no need to read it first
                spec = taken(self._lease["spec"], self.identity, self._timing.lease_s, _stamp())
                self._see(await self._client.update(LEASES, {**self._lease, "spec": spec}))
                return True
            except ApiError as error:
                if not (error.conflict or error.not_found):
                    raise
        found = await self._client.find(LEASES, self.name, self.namespace)
        self._see(found)
        if not may_take(self._observed, self.identity, time.monotonic()):
            return False
        stamp = _stamp()
        if found is None:
            meta = {"name": self.name, "namespace": self.namespace}
            spec = taken({}, self.identity, self._timing.lease_s, stamp)
            self._see(await self._client.create(LEASES, {"metadata": meta, "spec": spec}))
        else:
            spec = taken(found.get("spec") or {}, self.identity, self._timing.lease_s, stamp)
            self._see(await self._client.update(LEASES, {**found, "spec": spec}))
        return True

    def _see(self, lease: Object | None) -> None:
        """Remember the lease, and when it was seen to change."""
        self._lease = lease
        if lease is None:
            self._observed = None
            return
        spec = lease.get("spec") or {}
        if self._observed is None or self._observed.spec != spec:
            self._observed = Observed(spec, time.monotonic())

    async def _release(self) -> None:
        """Let go of the lease, so that nobody has to wait; when that fails they wait."""
        lease, self._lease = self._lease, None
        if lease is None or (lease.get("spec") or {}).get("holderIdentity") != self.identity:
            return
        spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            async with asyncio.timeout(self._timing.retry_s):
                await self._client.update(LEASES, {**lease, "spec": spec})
        except (ApiError, TimeoutError, *CONNECTION_ERRORS) as error:
            log.info("lease %s/%s was not let go: %s", self.namespace, self.name, error or type(error).__name__)


def _stamp() -> str:
    """This moment as a MicroTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
