"""Why a resource is refused. The text goes into the NACK or onto standard error, as it is."""

from __future__ import annotations


class ConfigError(Exception):
    """A resource that is wrong: Envoy refuses it too."""


class Unsupported(ConfigError):
    """A field that Envoy knows and this proxy does not; it is never ignored."""

    def __init__(self, field: str) -> None:
        super().__init__(f"not supported: {field}")
        self.field = field
