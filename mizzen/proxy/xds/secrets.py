"""Secrets by name: static ones of the bootstrap, and those that SDS serves. A Secret object is shared by all who use it."""

from __future__ import annotations

from typing import Any

from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.supported import check
from mizzen.proxy.net.tls_context import Secret


class Secrets:
    """All secrets of the process."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.static: dict[str, Secret] = {}
        self.dynamic: dict[tuple[str, bytes], Secret] = {}
        self.protos: dict[str, Any] = {}  # whole Secret messages by name, for the config dump
        self.static_protos: list[Any] = []

    def add_static(self, protos: Any) -> None:
        for proto in protos:
            check(proto, f"Secret {proto.name}")
            kind = proto.WhichOneof("type")
            if kind is None:
                raise ConfigError(f"Secret {proto.name}: type is required")
            if proto.name in self.static:
                raise ConfigError(f"Duplicate static {kind} secret name {proto.name}")
            self.static[proto.name] = Secret(proto.name, getattr(proto, kind))
            self.static_protos.append(proto)

    def certificate(self, config: Any) -> Secret:
        return self._secret(config, "tls_certificate")

    def validation(self, config: Any) -> Secret:
        return self._secret(config, "validation_context")

    def _secret(self, config: Any, kind: str) -> Secret:
        """The secret of an SdsSecretConfig. Raises ConfigError for a static one that does not exist."""
        if not config.HasField("sds_config"):
            found = self.static.get(config.name)
            if found is None:
                raise ConfigError(f"Unknown static secret: {config.name}")
            return found
        key = (config.name, config.sds_config.SerializeToString(deterministic=True))
        secret = self.dynamic.get(key)
        if secret is None:
            secret = self.dynamic[key] = Secret(config.name)
            self.server.xds.secret(config.name, config.sds_config, secret, kind)
        return secret
