"""What one ADS stream is subscribed to, and what it must be answered: the rules of both protocols, without I/O.

Takes requests (`Request`, whichever protocol they came by), gives an `Answer` to make or None; is told what was
sent (`sent`). Keeps for each type the names, the nonces, the last error. State of the world and delta share the
state and differ in two small functions. Not here: what the resources are (collection.py), when to push
(connection.py). Source: xDS protocol, "ACK/NACK and resource type instance version", "Unsubscribing",
"Incremental xDS"; and istiod's choices where the protocol leaves one.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable

import msgspec

from mizzen.istiod.xds.types import CDS, EDS, NAMED

WILDCARD = "*"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A discovery request of either protocol.

    names: state of the world's full list; subscribe, unsubscribe, initial: delta's (initial: the names of
    resources that the client holds already). error: the text of a NACK; error_code: its google.rpc.Code.
    """

    type_url: str
    nonce: str = ""
    error: str | None = None
    error_code: int = 0
    names: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """A response to make. names: only these (newly subscribed ones); None = everything that the watch covers.

    forced: send it even when it would say nothing new.
    """

    type_url: str
    names: frozenset[str] | None = None
    forced: bool = True


class Watch:
    """One type on one stream.

    names: the subscribed names (for a wildcard watch in delta: those asked for by name besides). nonce_sent,
    nonce_acked, nonce_nacked: the last of each. held: names that the client holds of a wildcard type, for
    deletions; only kept in delta. seen: the collection's serial up to which this watch has been sent. names_sent: the
    names in the last response, None = everything. blame: what is held to be the cause of `error`.
    """

    __slots__ = (
        "always_respond",
        "blame",
        "collection",
        "error",
        "held",
        "last_sent",
        "names",
        "names_sent",
        "nonce_acked",
        "nonce_nacked",
        "nonce_sent",
        "seen",
        "type_url",
        "wildcard",
    )

    def __init__(self, type_url: str, names: Iterable[str], wildcard: bool) -> None:
        self.type_url = type_url
        self.names: set[str] = {sys.intern(name) for name in names}
        self.wildcard = wildcard
        self.held: set[str] = set()
        self.nonce_sent = self.nonce_acked = self.nonce_nacked = ""
        self.error: str | None = None
        self.last_sent: float | None = None
        self.always_respond = False
        self.seen = -1
        self.collection: object = None
        self.names_sent: Collection[str] | None = None
        self.blame: object = None

    @property
    def status(self) -> str:
        """ConfigStatus as istioctl shows it: NOT_SENT, ERROR, SYNCED or STALE."""
        if not self.nonce_sent:
            return "NOT_SENT"
        if self.error is not None:
            return "ERROR"
        return "SYNCED" if self.nonce_acked == self.nonce_sent else "STALE"


class Subscriptions:
    """All watches of one stream, by type URL. `counters`: what a metric is kept of, per type."""

    def __init__(self, delta: bool) -> None:
        self.delta = delta
        self.watches: dict[str, Watch] = {}
        self.rejects: dict[str, int] = {}
        self.expired: dict[str, int] = {}

    def request(self, request: Request) -> Answer | None:
        """Take one request in; the answer that it asks for, if any."""
        watch = self.watches.get(request.type_url)
        if request.error is not None:
            self._nack(watch, request)
            return None
        return self._delta(watch, request) if self.delta else self._whole(watch, request)

    def plain_ack(self, type_url: str, nonce: str) -> bool:
        """Take in a delta request that only acknowledges the last response; False when it is not that simple.

        The same as `request` with such a request, for what comes most often.
        """
        watch = self.watches.get(type_url)
        if watch is None or watch.always_respond or nonce != watch.nonce_sent:
            return False
        watch.nonce_acked, watch.error = nonce, None
        return True

    def sent(self, type_url: str, nonce: str, now: float) -> None:
        """A response has been handed to the transport. now: seconds since 1970."""
        watch = self.watches.get(type_url)
        if watch is not None:
            watch.nonce_sent, watch.last_sent = nonce, now

    def _nack(self, watch: Watch | None, request: Request) -> None:
        self.rejects[request.type_url] = self.rejects.get(request.type_url, 0) + 1
        if watch is not None and request.nonce in ("", watch.nonce_sent):
            watch.error, watch.nonce_nacked = request.error, request.nonce

    def _expired(self, watch: Watch, request: Request) -> bool:
        """Whether the request speaks about a response that is not the last one."""
        if not request.nonce or request.nonce == watch.nonce_sent:
            return False
        self.expired[request.type_url] = self.expired.get(request.type_url, 0) + 1
        return True

    def _start(self, type_url: str, names: Iterable[str], wildcard: bool) -> Answer:
        """A new watch, answered in full. A new CDS watch makes the client warm its clusters, so EDS must come again."""
        self.watches[type_url] = Watch(type_url, names, wildcard)
        if type_url == CDS and EDS in self.watches:
            self.watches[EDS].always_respond = True
        return Answer(type_url)

    def _acked(self, watch: Watch, nonce: str) -> None:
        if nonce:
            watch.nonce_acked, watch.error = nonce, None

    # State of the world

    def _whole(self, watch: Watch | None, request: Request) -> Answer | None:
        named = request.type_url in NAMED
        if named and not request.names:
            self.watches.pop(request.type_url, None)
            return None
        if watch is None or not request.nonce:
            wildcard = not named and (not request.names or WILDCARD in request.names)
            return self._start(request.type_url, request.names, wildcard)
        if self._expired(watch, request):
            return None
        self._acked(watch, request.nonce)
        return self._changed_names(watch, set(request.names))

    def _changed_names(self, watch: Watch, names: set[str]) -> Answer | None:
        added, removed = names - watch.names, watch.names - names
        always, watch.always_respond = watch.always_respond, False
        if added or removed:
            watch.names = {sys.intern(name) for name in names}
        if always:
            return Answer(watch.type_url)
        if watch.type_url not in NAMED:
            return Answer(watch.type_url) if added or removed else None
        return Answer(watch.type_url, frozenset(added)) if added else None

    # Delta

    def _delta(self, watch: Watch | None, request: Request) -> Answer | None:
        if watch is None:
            named = request.type_url in NAMED
            asked = {*request.subscribe, *request.initial} - set(request.unsubscribe)
            wildcard = WILDCARD in asked or (not named and not request.subscribe)
            answer = self._start(request.type_url, asked - {WILDCARD}, wildcard)
            self.watches[request.type_url].held = set(request.initial) if wildcard else set()
            return answer
        if self._expired(watch, request):
            return None
        self._acked(watch, request.nonce)
        return self._resubscribed(watch, request)

    def _resubscribed(self, watch: Watch, request: Request) -> Answer | None:
        always, watch.always_respond = watch.always_respond, False
        subscribe, unsubscribe = set(request.subscribe), set(request.unsubscribe)
        widened = WILDCARD in subscribe and not watch.wildcard
        if WILDCARD in unsubscribe:
            watch.wildcard = False
        watch.wildcard = watch.wildcard or widened
        # A name that is subscribed again is answered again: the client may have dropped what it had.
        added = subscribe - unsubscribe - {WILDCARD}
        watch.names.difference_update(unsubscribe)
        watch.names.update(map(sys.intern, added))
        if not watch.wildcard and not watch.names and request.type_url in NAMED:
            del self.watches[request.type_url]
            return None
        if always or widened:
            return Answer(watch.type_url)
        return Answer(watch.type_url, frozenset(added)) if added else None
