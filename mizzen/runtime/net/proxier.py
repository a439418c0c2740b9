"""kube-proxy's work: keeps the host's iptables in line with Services and EndpointSlices. The rules are in iptables.py."""

from __future__ import annotations

import asyncio
import logging

from mizzen.cni.hostrules import run
from mizzen.kube.informer import Change, Informers
from mizzen.kube.resource import ENDPOINT_SLICES, SERVICES, Object
from mizzen.runtime.net.iptables import jumps, ports_of, rules, stale

log = logging.getLogger("mizzen.kube-proxy")
PAUSE_S = 0.05  # changes within this time of an update wait for the next
RETRY_S = 1.0
RESTORE = ["iptables-restore", "-w", "5", "--noflush"]
SERVICE_NAME = "kubernetes.io/service-name"


class Proxier:
    """One node's Services. `run` until cancelled; informers are run by the caller. prefix: of all its chains."""

    def __init__(self, informers: Informers, prefix: str, node: str) -> None:
        self._services, self._slices = informers.of(SERVICES), informers.of(ENDPOINT_SLICES)
        self._prefix, self._node = prefix, node
        self._changed = asyncio.Event()
        self._applied = ""
        self.synced = asyncio.Event()

    async def run(self) -> None:
        for informer in (self._services, self._slices):
            informer.add_handler(self._note)
            await informer.synced.wait()
        self._slices.ensure_index("service", _service_of)
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await asyncio.to_thread(self._apply, self.text())
                self.synced.set()
            except OSError as error:
                log.error("%s; again in %.0f s", error, RETRY_S)
                self._changed.set()
                await asyncio.sleep(RETRY_S)
            await asyncio.sleep(PAUSE_S)

    def _note(self, change: Change) -> None:
        old, new = change.old, change.new
        if (
            old is None
            or new is None
            or any(old.get(f) != new.get(f) for f in ("spec", "status", "endpoints", "ports"))
        ):
            self._changed.set()

    def text(self) -> str:
        """All rules as they should be now."""
        ports = []
        for service in self._services.all():
            metadata = service["metadata"]
            slices = self._slices.by_index("service", f"{metadata['namespace']}/{metadata['name']}")
            ports += ports_of(service, slices, self._node)
        return rules(ports, self._prefix)

    def _apply(self, text: str) -> None:
        saved = run(["iptables-save"])
        lead = jumps(self._prefix, saved)
        if text == self._applied and not lead:
            return
        if lead:  # first: it names our chains, and naming a chain empties it
            run(RESTORE, lead)
        run(RESTORE, text)
        if old := stale(self._prefix, saved, text):
            run(RESTORE, old)
        self._applied = text


def _service_of(entry: Object) -> list[str]:
    name = (entry["metadata"].get("labels") or {}).get(SERVICE_NAME)
    return [f"{entry['metadata']['namespace']}/{name}"] if name else []
