"""ResourceQuotas: counts what a namespace holds and writes it to the status. Pure counting is in runtime/quotas.py.

The admission adds to status.used what it lets in; here it is counted anew when a quota changes or something it counts goes,
so that what was let in and never made, or went, is given back. Source: core/v1 ResourceQuotaStatus.
"""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.kube.controller import After, KeysOf, itself
from mizzen.kube.resource import (
    CONFIG_MAPS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
    Key,
    Object,
    Resource,
    core,
    key_of,
)  # fmt: skip
from mizzen.runtime.controllers.discovery import resources
from mizzen.runtime.controllers.volumes import CLAIMS
from mizzen.runtime.controllers.writes import Writer
from mizzen.runtime.quotas import resource_of, total

QUOTAS = core("resourcequotas", "ResourceQuota")
# Their coming and going is heard of at once; other kinds are counted again every RESYNC_S.
WATCHED = (
    PODS, SERVICES, CLAIMS, SECRETS, CONFIG_MAPS, SERVICE_ACCOUNTS, DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS,
    JOBS, CRON_JOBS,
)  # fmt: skip
AGAIN_S = 2.0  # after a count that changed something: what was let in meanwhile may not have been seen yet
RESYNC_S = 30.0
SETTLE_S = 0.2  # the admission writes the quota before its object is made: a quota that has just changed is left alone
POSTPONED = 5  # times at most


class QuotaController:
    """A key is a quota's."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._found: dict[str, Resource] = {}  # by qualified name
        self._seen: dict[Key, tuple[str, int]] = {}  # the quota's last revision, and how often it was postponed
        self.watches: dict[Resource, KeysOf] = {QUOTAS: itself, **dict.fromkeys(WATCHED, self._of_namespace)}

    def _of_namespace(self, obj: Object) -> Iterable[Key]:
        return [key_of(quota) for quota in self._writer.in_namespace(QUOTAS, obj["metadata"]["namespace"])]

    async def reconcile(self, key: Key) -> After | None:
        quota = self._writer.get(QUOTAS, key)
        if quota is None or "deletionTimestamp" in quota["metadata"]:
            self._seen.pop(key, None)
            return None
        if self._unsettled(key, quota):
            return After(SETTLE_S)
        hard = quota["spec"].get("hard") or {}
        objects = {
            name: await self._objects(name, key.namespace) for name in {resource_of(one) for one in hard} if name
        }
        status, before = {"hard": hard, "used": total(quota, hard, objects)}, quota.get("status") or {}
        if all((before.get(name) or {}) == value for name, value in status.items()):
            return After(RESYNC_S)
        await self._writer.update_status(QUOTAS, quota, status)
        return After(AGAIN_S)

    def _unsettled(self, key: Key, quota: Object) -> bool:
        revision = quota["metadata"]["resourceVersion"]
        last, postponed = self._seen.get(key, ("", 0))
        new_limits = (quota.get("status") or {}).get("hard", {}) != (quota["spec"].get("hard") or {})
        if new_limits or last in ("", revision) or postponed >= POSTPONED:
            self._seen[key] = (revision, 0)
            return False
        self._seen[key] = (revision, postponed + 1)
        return True

    async def _objects(self, qualified: str, namespace: str) -> list[Object]:
        """From the shared caches; a kind that is not served has none."""
        if qualified not in self._found:
            served = await resources(self._writer.client)
            self._found = {str(resource): resource for resource in served if resource.namespaced}
        resource = self._found.get(qualified)
        if resource is None:
            return []
        await self._writer.informers.of(resource).synced.wait()
        return self._writer.in_namespace(resource, namespace)
