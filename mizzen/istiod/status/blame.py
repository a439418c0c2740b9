"""Who is to blame for a NACK: from the proxy's words to the resources that it refused and the objects that made them.

Takes the hub's state at the time of the NACK, gives a Blame, which stays on the watch until the proxy accepts again. Of
the objects that made a refused resource, those that changed since the proxy last accepted are to blame when there are
any; else those that the resource itself names. Not here: which objects made a resource (origins.py).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator

import msgspec

from mizzen.istiod.status.origins import ObjectKey, Origins, origins
from mizzen.istiod.xds.collection import ResourceCollection
from mizzen.istiod.xds.connection import Connection
from mizzen.istiod.xds.hub import Hub
from mizzen.istiod.xds.subscription import Watch
from mizzen.istiod.xds.types import short_name

log = logging.getLogger(__name__)

UUID_LENGTH = 36
MAX_RESOURCES = 50  # looked at when the proxy names none of them


class Blame(msgspec.Struct, frozen=True):
    """One refusal. resources: what was refused, as far as the proxy said; objects: what is held to be the cause."""

    type_url: str
    error: str
    resources: tuple[str, ...]
    objects: tuple[ObjectKey, ...]


def blame(hub: Hub, connection: Connection, watch: Watch) -> Blame:
    """What is to blame for the error that `watch` holds."""
    error, held = watch.error or "", watch.collection
    if hub.snapshot is None or not isinstance(held, ResourceCollection):
        return Blame(watch.type_url, error, (), ())
    sent = watch.names_sent if watch.names_sent is not None else held.entries.keys()
    refused = named(error, sent)
    recent = changed_between(hub.history, publication(watch.nonce_acked), publication(watch.nonce_sent))
    looked_at = [name for name in refused or sorted(sent)[:MAX_RESOURCES] if name in held.entries]
    found = [origins(hub.snapshot, connection.node, watch.type_url, name, held.entries[name].any) for name in looked_at]
    return Blame(watch.type_url, error, tuple(refused), causes(found, recent))


def named(error: str, names: Collection[str]) -> list[str]:
    """The names that the text mentions, each only where it stands for itself."""
    words = set(re.split(r"[\s,;'\"()]+", error))
    stripped = words | {word.rstrip(":.") for word in words}
    return sorted(name for name in names if name and name in stripped)


def causes(found: Iterable[Origins], recent: Collection[ObjectKey]) -> tuple[ObjectKey, ...]:
    """Of the origins of refused resources the ones to blame."""
    every = list(found)
    changed = dict.fromkeys(key for one in every for key in one.every if key in recent)
    if changed:
        return tuple(changed)
    sure = dict.fromkeys(key for one in every for key in one.sure)
    return tuple(sure or dict.fromkeys(key for one in every for key in one.possible))


def publication(nonce: str) -> int:
    """The number of the publication that a response with this nonce told of; 0 for no nonce."""
    number = nonce[:-UUID_LENGTH].rpartition("/")[2]
    return int(number) if number.isdigit() else 0


def changed_between(
    history: Iterable[tuple[int, frozenset[ObjectKey]]], after: int, until: int
) -> frozenset[ObjectKey]:
    """Objects changed by the publications in (after, until]; none when the proxy has never accepted anything."""
    if not after:
        return frozenset()
    return frozenset(key for number, keys in history if after < number <= until for key in keys)


def note(hub: Hub, connection: Connection, watch: Watch) -> None:
    """Find the blame for a NACK just taken in, and keep it on the watch."""
    try:
        found = watch.blame = blame(hub, connection, watch)
    except Exception:  # our bug, met by one resource: the refusal itself is noted all the same
        log.exception("looking for the cause of %s's refusal of %s", connection.id, short_name(watch.type_url))
        return
    causes_text = ", ".join(f"{kind} {'/'.join(filter(None, key))}" for kind, key in found.objects)
    log.warning(
        "%s refused %s: caused by %s", connection.id, short_name(watch.type_url), causes_text or "nothing known"
    )


def blames(hub: Hub) -> Iterator[tuple[Connection, Blame]]:
    """Every refusal that stands."""
    for connection in hub.connections.values():
        for watch in connection.watches.values():
            if watch.error is not None and isinstance(watch.blame, Blame):
                yield connection, watch.blame
