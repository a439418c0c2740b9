"""The whole control plane, put together: sources → store → pushes → hub → ports; the CA; what is kept in the cluster.

Takes `ServerOptions`; `start` brings it up in an order that refuses what cannot work before anything is served,
`run` keeps it going, `stop` ends it. Not here: any of the parts.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any

from mizzen.api.errors import UsageError
from mizzen.api.istio.mesh import MeshConfig
from mizzen.api.validation import inspect, validate
from mizzen.istiod.ca import spiffe
from mizzen.istiod.ca.authenticate import ApiTokenReviewer, KeyTokenReviewer, TokenReviewer
from mizzen.istiod.ca.authority import Authority, TrustError, serving_names
from mizzen.istiod.ca.bundle import Bundle
from mizzen.istiod.ca.kubernetes_ra import KubernetesRa
from mizzen.istiod.ca.persist import FolderKeeper, Keeper, NowhereKeeper, SecretKeeper
from mizzen.istiod.ca.secret_access import SecretAccess
from mizzen.istiod.ca.trust_bundle import TrustBundle
from mizzen.istiod.config.files import DirectorySource
from mizzen.istiod.config.jwks import JwksSource
from mizzen.istiod.config.kubernetes import KubernetesSource
from mizzen.istiod.config.sources import ConfigSources
from mizzen.istiod.config.store import ConfigStore
from mizzen.istiod.debug.endpoints import Debug
from mizzen.istiod.debug.http import controlz_routes, debug_routes
from mizzen.istiod.debug.xds import XdsDebug
from mizzen.istiod.gateway_api.gateways import selector
from mizzen.istiod.server.duties import Duties
from mizzen.istiod.server.grpc_ports import GrpcPorts, bind_ports
from mizzen.istiod.server.http_ports import HttpPorts, monitoring_routes, ready_routes
from mizzen.istiod.server.injection import InjectionSettings, inject_routes
from mizzen.istiod.server.metrics import Metrics
from mizzen.istiod.server.observer import VERSION, MetricsObserver, collector
from mizzen.istiod.server.options import ServerOptions
from mizzen.istiod.server.pushes import MeshSource, PushLoop
from mizzen.istiod.server.registration import Registration
from mizzen.istiod.server.tls import https_context
from mizzen.istiod.server.webhooks import validate_routes
from mizzen.istiod.snapshot.snapshot import Options
from mizzen.istiod.status.blame import note
from mizzen.istiod.status.writer import StatusWriter
from mizzen.istiod.translate import generate
from mizzen.istiod.xds.debounce import Debounce
from mizzen.istiod.xds.hub import Hub
from mizzen.kube import (
    CONNECTION_ERRORS,
    ApiError,
    Client,
    KubeConfig,
    kubeconfig,
)
from mizzen.kube.kubeconfig import load_cert_chain

log = logging.getLogger(__name__)

CA_CHECK_S = 10.0
KUBERNETES_RA = "ISTIOD_RA_KUBERNETES_API"


def _kubeconfig(given: str | KubeConfig) -> KubeConfig:
    return given if isinstance(given, KubeConfig) else kubeconfig.load(given or None)


class Istiod:
    """One instance. Call `start`, then `run`; `stop` in any case. `ports`: which port each address got."""

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self.metrics = Metrics()
        self.store = ConfigStore(validate)
        self.store.observe = lambda kind, event: self.metrics.add("pilot_k8s_cfg_events", type=kind, event=event)
        self.hub = Hub(generate, MetricsObserver(self.metrics))
        self.hub.rejected = partial(note, self.hub)
        self.client = Client(_kubeconfig(options.kubeconfig)) if options.kubeconfig is not None else None
        self._mesh = MeshSource(self.store, options.mesh_config, options.system_namespace)
        self._sources: list[DirectorySource | KubernetesSource] = [
            DirectorySource(folder, self.store) for folder in options.config_dir
        ]
        self._cluster: KubernetesSource | None = None
        if self.client is not None:
            self._cluster = KubernetesSource(self.client, self.store, options.system_namespace, options.revision)
            self._sources.append(self._cluster)
            self._membership = self._cluster.membership
            self._select(self._mesh.mesh)
            self._mesh.changed.append(self._select)
        elif not options.config_dir and not self._mesh.mesh.config_sources:
            raise UsageError("nothing to serve: give --config-dir DIR or --kubeconfig FILE (or both)")
        self._pushes = PushLoop(
            self.store,
            self.hub,
            self._mesh,
            Options(
                domain=options.domain,
                config_domain=options.domain,
                cluster_id=options.cluster_id,
                network=options.network,
            ),
            Debounce(options.debounce_after_s, options.debounce_max_s),
            self.metrics,
        )
        self._injection = InjectionSettings(
            self.store, lambda: self._mesh.mesh, options.system_namespace, options.revision
        )
        addresses = {
            "http": options.http_addr,
            "monitoring": options.monitoring_addr,
            "https": options.https_addr,
            "ctrlz": options.ctrlz_addr,
        }
        self._http = HttpPorts(addresses)
        self._grpc: GrpcPorts | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._authority: Authority | None = None
        self._https: ssl.SSLContext | None = None
        self._machines: Registration | None = None
        self._ready = False
        collector(self.metrics, self.hub)

    @property
    def authority(self) -> Authority:
        """The CA; there is none before `start`."""
        if self._authority is None:
            raise UsageError("istiod has not been started")
        return self._authority

    @property
    def ready(self) -> bool:
        """Everything is served; `start` has returned or is about to."""
        return self._not_ready() is None

    @property
    def ports(self) -> dict[str, int]:
        return {**self._http.ports, **(self._grpc.ports if self._grpc is not None else {})}

    async def start(self) -> None:
        """Read everything, then serve. Raises UsageError for what cannot be."""
        self._use(ConfigSources.of(await self._mesh.at_start(self.client)))
        bound = bind_ports(self.options)
        for source in self._sources:
            self._spawn(source.run(), type(source).__name__)
        await self._until_synced()
        self._pushes.first()
        authority = await self._start_ca()
        chain, key = authority.serving(self._names())
        debug = Debug(self.hub, self.store)
        o = self.options
        xds_debug = XdsDebug(debug, o.identity, VERSION, o.revision, o.system_namespace)
        reads_secrets = SecretAccess(self.client).may_list
        if self.client is not None:
            self._writer = StatusWriter(self.client, self.store)
            self._machines = Registration(self.client, self.store, self._writer, o.identity)
        self._grpc = GrpcPorts(
            o,
            self.hub,
            authority,
            self._token_reviewer(),
            self.metrics,
            xds_debug,
            reads_secrets,
            self._ra(authority),
            self._machines,
        )
        by_token = self._grpc.authenticator.by_token
        debugging = debug_routes(debug, by_token, o.system_namespace)
        version = {"version": VERSION, "status": "Clean"}
        await self._grpc.start(bound, chain, key)
        webhooks = self._webhook_routes()
        plain = [*ready_routes(self._not_ready), *debugging]
        await self._http.start("http", plain if o.https_addr else [*plain, *webhooks])
        await self._http.start("monitoring", [*monitoring_routes(self.metrics), *debugging])
        tls = [*webhooks, *ready_routes(self._not_ready)]
        self._https = https_context(chain, key)
        await self._http.start("https", tls, self._https)
        await self._http.start("ctrlz", controlz_routes(version))
        self._spawn(JwksSource(self.store).run(), "key sets")
        self._spawn(self._pushes.run(), "pushes")
        self._spawn(self._pushes.tidy(), "tidying")
        self._spawn(self._keep_ca(authority), "CA")
        if self.client is not None:
            duties = Duties(
                self._writer,
                self.client,
                self.store,
                self.hub,
                authority,
                o,
                self.metrics,
                self._injection,
                self._membership,
            )
            for coroutine, name in duties.tasks():
                self._spawn(coroutine, name)
        self._ready = True
        log.info("istiod is ready: %s", ", ".join(f"{name} {port}" for name, port in self.ports.items()))

    async def run(self) -> None:
        """Until a part fails (its error is raised) or the caller cancels."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._machines is not None:
            await self._machines.stop()
        if self._grpc is not None:
            await self._grpc.stop()
        await self._http.stop()
        if self.client is not None:
            await self.client.close()

    def _use(self, sources: ConfigSources) -> None:
        self._sources += [DirectorySource(folder, self.store, "configSources") for folder in sources.folders]
        if self._cluster is not None and not sources.api_server:
            self._cluster.leave_out_own_kinds()
        started_with = self._mesh.mesh.config_sources

        def warn(mesh: MeshConfig) -> None:
            if mesh.config_sources != started_with:
                log.warning("configSources of the mesh configuration have changed: they count from the next start on")

        self._mesh.changed.append(warn)

    def _select(self, mesh: MeshConfig) -> None:
        self._membership.select([selector(one) for one in mesh.discovery_selectors])

    def _not_ready(self) -> str | None:
        return None if self._ready and self.hub.ready else "configuration has not been read yet"

    def _spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        self._tasks.append(asyncio.create_task(coroutine, name=f"istiod {name}"))

    async def _until_synced(self) -> None:
        """Wait for all sources; a source that fails meanwhile is raised."""
        waiting = asyncio.ensure_future(asyncio.gather(*(source.synced.wait() for source in self._sources)))
        await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks:
            if task.done():
                waiting.cancel()
                task.result()
        await waiting

    async def _start_ca(self) -> Authority:
        keeper: Keeper
        if self.options.ca_dir is not None:
            keeper = FolderKeeper(self.options.ca_dir)
        elif self.client is not None:
            keeper = SecretKeeper(self.client, self.options.system_namespace)
        else:
            keeper = NowhereKeeper()
        trust_domain = spiffe.trust_domain(self._mesh.mesh.trust_domain or "cluster.local")
        authority = Authority(await keeper.load(trust_domain), trust_domain)
        self._authority, self._keeper = authority, keeper
        if self.options.multiroot:
            bundle = TrustBundle(authority, lambda: self._mesh.mesh, self.store)
            await bundle.look(time.monotonic())
            self._spawn(bundle.run(), "trust bundle")
        end = authority.bundle.certificate.not_valid_after_utc
        self.metrics.set("citadel_server_root_cert_expiry_timestamp", end.timestamp())
        return authority

    def _ra(self, authority: Authority) -> KubernetesRa | None:
        """Who is asked to sign in our place. Raises UsageError for a choice that is not built."""
        o = self.options
        if not o.external_ca:
            return None
        if o.external_ca != KUBERNETES_RA:
            raise UsageError(f"EXTERNAL_CA={o.external_ca}: only {KUBERNETES_RA} is supported")
        if self.client is None or not o.k8s_signer:
            raise UsageError(f"EXTERNAL_CA={KUBERNETES_RA} needs an API server and K8S_SIGNER")
        ra = KubernetesRa(self.client, o.k8s_signer, o.cert_signer_domain, lambda: self._mesh.mesh)
        authority.trust(ra.roots())
        self._mesh.changed.append(lambda _: authority.trust(ra.roots()))
        return ra

    def _token_reviewer(self) -> TokenReviewer | None:
        if self.options.token_key is not None:
            try:
                keys = self.options.token_key.read_bytes()
                return KeyTokenReviewer(keys, self.options.token_audiences)
            except (OSError, ValueError) as error:
                raise UsageError(f"--token-key {self.options.token_key}: {error}") from error
        if self.client is not None:
            return ApiTokenReviewer(self.client, self.options.token_audiences)
        return None

    def _names(self) -> list[str]:
        o = self.options
        return serving_names(o.system_namespace, o.revision, (*o.serving_names, "localhost", "127.0.0.1"))

    def _webhook_routes(self) -> list[Any]:
        return [*inject_routes(self._injection, self.store, self.metrics), *validate_routes(inspect, self.metrics)]

    async def _keep_ca(self, authority: Authority) -> None:
        """Follow what is kept of the CA (an operator's change, another istiod's renewal), and renew our own root
        in time.
        """
        while True:
            await asyncio.sleep(CA_CHECK_S)
            try:
                bundle = authority.replacement(await self._keeper.current())
                renewed = authority.renewed(datetime.now(UTC)) if bundle is None else None
                if renewed is not None:
                    await self._keeper.save(renewed)
            except (TrustError, UsageError, ApiError, *CONNECTION_ERRORS) as error:
                log.error("the CA stays as it is: %s", error)
                continue
            self._use_ca(authority, bundle or renewed)

    def _use_ca(self, authority: Authority, bundle: Bundle | None) -> None:
        if bundle is None:
            return
        authority.use(bundle)
        end = bundle.certificate.not_valid_after_utc
        self.metrics.set("citadel_server_root_cert_expiry_timestamp", end.timestamp())
        log.info("signing with another CA certificate, valid until %s", end)
        chain, key = authority.serving(self._names())
        if self._grpc is not None:
            self._grpc.use_certificate(chain, key)
        if self._https is not None:
            load_cert_chain(self._https, chain, key)
