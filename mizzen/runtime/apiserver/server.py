"""The API server as one object: `ApiServer(config)`, `await start()`, `await stop()`; usable in any event loop.

Puts the parts together: store, cache, registry, admission, authentication, HTTP. Not here: what any of them decides.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mizzen.api.errors import UsageError

from ..store.open import open_store
from . import bootstrap
from .admission.chain import default_chain
from .allocate import Allocators
from .auth.authn import Authenticator, static_tokens
from .auth.rbac import GROUP, Rbac
from .cache import Cache
from .certs import Authority, account_signer, write_private
from .crd.definitions import Definitions
from .handlers import Handlers
from .http1 import Connection, Handler
from .kinds import containerrules, strategies
from .kubeconfig import certificate_user, kubeconfig
from .parts import Parts
from .paths import extra_paths
from .resources import Registry

log = logging.getLogger(__name__)
COMPACT_EVERY_S = 300.0
COMPACT_KEEP = 1000  # revisions kept behind the present one, for watches across a restart


@dataclass(frozen=True)
class Config:
    """How an API server is run. `data_dir` keeps keys, certificates and (by default) the store."""

    data_dir: Path
    store: str = ""  # sqlite:PATH or memory:; "" is sqlite:DATA_DIR/store.db
    bind_address: str = "127.0.0.1"
    secure_port: int = 6443  # 0: any free one
    kubeconfig: Path | None = None  # where admin's is written; None: DATA_DIR/kubeconfig
    token_file: Path | None = None
    service_cidr: str = "10.96.0.0/12"
    node_ports: tuple[int, int] = (30000, 32767)
    extra_hosts: Sequence[str] = field(default_factory=tuple)
    advertise: str = ""  # host of the kubeconfig's server URL; "" is the bind address (127.0.0.1 for 0.0.0.0)
    allow_privileged: bool = False  # whether containers may be privileged


class ApiServer:
    """One API server. `url` and `kubeconfig_path` are there once it has started."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.url = ""
        self.kubeconfig_path = config.kubeconfig or config.data_dir / "kubeconfig"
        self.parts: Parts
        self.authority: Authority
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def sign(self, claims: dict[str, Any]) -> str:
        """A token of those claims, by the key of service account tokens: for controllers in the same process."""
        return self.parts.signer.sign(claims)

    async def start(self) -> None:
        """Opens the store, loads it, creates what a fresh cluster has, listens, writes the kubeconfig."""
        config = self.config
        config.data_dir.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(config.data_dir)
        store = open_store(config.store or f"sqlite:{config.data_dir / 'store.db'}")
        await store.open()
        cache = Cache()
        registry = Registry(cache)
        cache.load(*await store.load())
        store.listen(cache.apply)
        parts = self.parts = Parts(store, cache, registry)
        self._assemble(parts)
        self.definitions = Definitions(parts)
        self.definitions.start()
        await self._listen(Handlers(parts, extra_paths(parts)))
        await bootstrap.ensure(parts, config.service_cidr, self.port)
        self.write_kubeconfig()
        self._tasks.append(asyncio.get_running_loop().create_task(self._compact_for_ever(), name="compaction"))

    def _assemble(self, parts: Parts) -> None:
        config = self.config
        registry = parts.registry
        parts.allocators = Allocators(config.service_cidr, config.node_ports)
        parts.allocators.load(registry.get("services").collection)
        containerrules.allow_privileged = config.allow_privileged
        table = strategies()
        table["services"].allocators = parts.allocators  # type: ignore[attr-defined]
        names = ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
        parts.rbac = Rbac(*(registry.get(name, GROUP).collection for name in names))
        parts.signer = account_signer(config.data_dir)
        tokens = static_tokens(config.token_file) if config.token_file else {}
        parts.authenticator = Authenticator(tokens, parts.signer, parts.lookup)
        parts.admission = default_chain()
        parts.kubelet_tls = self._kubelet_tls()
        parts.started(self)

    def _kubelet_tls(self) -> ssl.SSLContext:
        """Towards kubelets: their certificates are their own (self-signed), ours says who we are."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        certificate, key = self.authority.issue("kube-apiserver-kubelet-client", ["system:masters"])
        folder = self.config.data_dir / "pki"
        write_private(folder / "kubelet-client.pem", certificate + key)
        context.load_cert_chain(folder / "kubelet-client.pem")
        return context

    def _server_tls(self) -> ssl.SSLContext:
        config = self.config
        first = str(self.parts.allocators.text(self.parts.allocators.addresses.low))
        hosts = [
            "localhost", "127.0.0.1", "::1", first, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local", socket.gethostname(), *config.extra_hosts,
        ]  # fmt: skip
        hosts += [one for one in (config.bind_address, config.advertise) if one not in ("", "0.0.0.0", "::")]
        certificate, key = self.authority.issue("kube-apiserver", hosts=hosts, server=True)
        path = config.data_dir / "pki" / "apiserver.pem"
        write_private(path, certificate + self.authority.pem + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        context.load_verify_locations(cadata=self.authority.pem.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        context.set_alpn_protocols(["http/1.1"])
        return context

    async def _listen(self, handler: Handler) -> None:
        loop = asyncio.get_running_loop()
        config = self.config
        try:
            self._server = await loop.create_server(
                lambda: Connection(handler, loop, self._connections),
                config.bind_address,
                config.secure_port,
                ssl=self._server_tls(),
                backlog=512,
            )
        except OSError as error:
            raise UsageError(
                f"cannot listen on {config.bind_address}:{config.secure_port}: {error.strerror or error}; "
                "stop what uses the port, or choose another --secure-port"
            ) from None
        self.port = int(self._server.sockets[0].getsockname()[1])
        host = config.advertise or ("127.0.0.1" if config.bind_address in ("0.0.0.0", "::") else config.bind_address)
        self.url = f"https://{f'[{host}]' if ':' in host else host}:{self.port}"

    port: int = 0

    def write_kubeconfig(self) -> None:
        certificate, key = self.authority.issue("admin", ["system:masters"])
        content = kubeconfig(self.url, self.authority.pem, {"admin": certificate_user(certificate, key)})
        write_private(self.kubeconfig_path, content)

    async def _compact_for_ever(self) -> None:
        while True:
            await asyncio.sleep(COMPACT_EVERY_S)
            revision = self.parts.cache.revision - COMPACT_KEEP
            if revision > 0:
                await self.parts.store.compact(revision)

    async def stop(self) -> None:
        """Ends watches, closes connections and the store. May be called twice."""
        if not hasattr(self, "parts"):
            return
        self.parts.stopping.set()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        if self._server:
            self._server.close()
            await asyncio.sleep(0)
            for connection in tuple(self._connections):
                connection.transport.abort()
            self._server = None
        await self.parts.store.close()
