"""ECDS: filters whose configuration comes by itself, and may change while their listener and its connections stay.

One `Extension` per filter name and source, shared by all places in filter chains that name it; each place (filters/discovered.py)
compiles the configuration for itself. Source: envoy.config.core.v3.ExtensionConfigSource and Envoy's extension config discovery.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from typing import Any

from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.stats.names import xds_group

log = logging.getLogger("envoy.config")
HTTP, NETWORK = "http_filter", "network_filter"


class Extension:
    """The consumer of one TypedExtensionConfig. A place has `compiled(config)`, raising ConfigError, and `put(filter)`."""

    def __init__(self, name: str, kind: str, stats: Any) -> None:
        self.name, self.kind, self.stats = name, kind, stats
        self.places: weakref.WeakSet[Any] = weakref.WeakSet()
        self.config: Any = None  # the TypedExtensionConfig in force
        self.settled = asyncio.Event()  # it has come, or will not for now: listeners need not wait any longer

    def update(self, message: Any) -> None:
        """In force in every place, or, when one of them refuses it, in none. Raises ConfigError."""
        if message == self.config:
            return
        places = list(self.places)
        made = [place.compiled(message.typed_config) for place in places]
        for place, filter_ in zip(places, made, strict=True):
            place.put(filter_)
        self.config = message
        self.stats.config_reload += 1
        self.settled.set()

    def gone(self) -> None:
        """Back to the default, or to none."""
        if self.config is not None:
            for place in list(self.places):
                place.put(place.default)
            self.config = None
            self.stats.config_reload += 1
        self.settled.set()

    def failed(self) -> None:
        """A response was refused, or none came in time."""
        self.stats.config_fail += 1
        self.settled.set()

    timed_out = failed


class Extensions:
    """All of them. subscribe: makes and starts a subscription at a ConfigSource for a consumer."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.resources: dict[tuple[str, str, bytes], Any] = {}

    def join(self, place: Any, kind: str, name: str, source: Any, start: Any) -> Extension:
        """A place in a filter chain: with what is known, or its default, at once. Raises ConfigError, Unsupported."""
        key = (kind, name, source.SerializeToString(deterministic=True))
        resource = self.resources.get(key)
        if resource is None:
            prefix = f"extension_config_discovery.{kind}.{name}"
            stats = xds_group(self.server.stats, prefix, ("config_conflict", "config_fail", "config_reload"))
            resource = start(name, Extension(name, kind, stats), stats, source)
            self.resources[key] = resource
        extension: Extension = resource.consumer
        place.put(place.default if extension.config is None else self._known(place, extension))
        extension.places.add(place)
        weakref.finalize(place, self._later, key).atexit = False
        return extension

    @staticmethod
    def _known(place: Any, extension: Extension) -> Any:
        """What is in force elsewhere; a place that cannot have it has its default."""
        try:
            return place.compiled(extension.config.typed_config)
        except ConfigError as error:
            log.warning("extension %s: %s", extension.name, error)
            extension.stats.config_conflict += 1
            return place.default

    def _later(self, key: tuple[str, str, bytes]) -> None:
        """A replacement may join in the same turn: what is known stays until then."""
        if not self.server.loop.is_closed():
            self.server.loop.call_soon_threadsafe(self._left, key)

    def _left(self, key: tuple[str, str, bytes]) -> None:
        """A place is no more: without any, nobody needs the subscription."""
        resource = self.resources.get(key)
        if resource is not None and not resource.consumer.places:
            del self.resources[key]
            resource.cancel()
