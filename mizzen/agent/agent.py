"""One agent: reads where it is, writes the bootstrap, serves secrets, discovery and status, and minds the proxy.

    environment, pod files → ProxyConfig, node → bootstrap file
    istiod CA ← certificates → SDS socket → proxy        istiod ADS ↔ XDS socket ↔ proxy
    kubelet, Prometheus → status port → proxy, application

Not here: the parts themselves; this file only joins them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from mizzen.agent import trust
from mizzen.agent.addresses import interface_ips
from mizzen.agent.app_probes import AppProbes, read_probers
from mizzen.agent.bootstrap import Paths, bootstrap
from mizzen.agent.certificates import Certificates
from mizzen.agent.channel import Server, Target, call_metadata, plaintext_address
from mizzen.agent.environment import Environment
from mizzen.agent.grpc_bootstrap import grpc_bootstrap
from mizzen.agent.health import HealthReporter
from mizzen.agent.http1 import serve
from mizzen.agent.messages import NAME_TABLE, PROXY_CONFIG, health_request, trust_anchors
from mizzen.agent.metrics import Metrics, dumped_table, read_targets
from mizzen.agent.node import Node, downward, make_node
from mizzen.agent.proxy_config import proxy_config
from mizzen.agent.readiness import Check, EnvoyProbe, Readiness
from mizzen.agent.sds import SecretServer
from mizzen.agent.status import StatusServer
from mizzen.agent.supervisor import Flags, Proxy, proxy_arguments
from mizzen.agent.wasm.rewrite import WasmModules
from mizzen.agent.wasm.settings import Settings
from mizzen.agent.xds_proxy import XdsProxy
from mizzen.api.errors import UsageError

log = logging.getLogger("mizzen.agent")

POD = Path("./etc/istio/pod")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `proxy`. kind: sidecar or router."""

    kind: str = "sidecar"
    domain: str = ""
    mesh_config: str = "./etc/istio/config/mesh"
    service_cluster: str = "istio-proxy"
    outlier_log_path: str = ""
    log_as_json: bool = False
    flags: Flags = Flags()


class Agent:
    """Everything that one pod's agent holds."""

    def __init__(self, options: Options, environment: Environment) -> None:
        self.options, self.environment = options, environment
        self.labels = downward(read_text(POD / "labels"))
        self.annotations = downward(read_text(POD / "annotations"))
        ours = environment.data_plane == "mizzen" and not environment.envoy_binary
        limited = msgspec.structs.replace(environment, cpu_limit=0) if ours else environment  # workers cost memory
        self.config = proxy_config(read_text(Path(options.mesh_config)), limited, self.annotations)
        self.node = self._node()
        self.folder = Path(str(self.config["configPath"]))
        self.targets = read_targets(environment.prometheus_annotations)
        self.probers = read_probers(environment.app_probers)
        self.certificates = self._certificates()
        self.modules = WasmModules(Path("./var/lib/istio/data"), wasm_settings(environment))
        self.xds = self._xds()
        self.names: Any = None  # the DNS proxy, where there is one
        self.stop = asyncio.Event()
        self.at_once = False  # leave without draining
        self.readiness = Readiness([])
        self.proxy: Proxy | None = None
        self.tasks: list[asyncio.Future[None]] = []

    def _node(self) -> Node:
        options, environment = self.options, self.environment
        excluded = self.annotations.get("traffic.sidecar.istio.io/excludeInterfaces", "").split(",")
        return make_node(
            options.kind,
            environment,
            self.config,
            domain=options.domain or f"{environment.pod_namespace or 'default'}.svc.cluster.local",
            service_cluster=options.service_cluster,
            interfaces=interface_ips(excluded),
            labels=self.labels,
            annotations=self.annotations,
            sockets=secret_servers(environment.socket_file),
        )

    def _target(self, address: str, root: Path) -> Target:
        plaintext = plaintext_address(address, str(self.config.get("controlPlaneAuthPolicy", "MUTUAL_TLS")))
        client = trust.client_files(self.environment, self.node.metadata)
        return Target(address, root, plaintext=plaintext, server_name=self.environment.istiod_san, client=client)

    def _certificates(self) -> Certificates:
        environment = self.environment
        files = trust.mounted_files(environment, self.node.metadata)
        if files is not None:
            return Certificates(environment, None, files)
        address = environment.ca_address or str(self.config["discoveryAddress"])
        return Certificates(environment, self._target(address, trust.ca_root(environment)), None)

    def _xds(self) -> XdsProxy:
        environment = self.environment
        target = self._target(str(self.config["discoveryAddress"]), trust.xds_root(environment, self.node.metadata))
        files = trust.client_files(environment, self.node.metadata)

        def metadata() -> tuple[tuple[str, str], ...]:
            bearer = None if files is not None else trust.token()
            return call_metadata(environment.cluster_id, bearer, environment.headers["XDS"])

        own: dict[str, Any] = {}
        if self.with_dns:
            own[NAME_TABLE] = lambda data: self.names.take(data)
        if environment.proxy_config_xds:
            own[PROXY_CONFIG] = self._take_proxy_config
        return XdsProxy(target, metadata, own, self.modules.rewrite)

    def _take_proxy_config(self, data: bytes) -> None:
        anchors = [*self.config.get("caCertificatesPem", ()), *trust_anchors(data)]
        self.tasks.append(asyncio.ensure_future(self.certificates.trust(anchors)))

    @property
    def with_dns(self) -> bool:
        return self.environment.dns_server or (self.environment.dns_capture and self.options.kind == "sidecar")

    @property
    def with_proxy(self) -> bool:
        return not self.environment.disable_envoy

    def counters(self) -> Mapping[str, float]:
        current = self.certificates.current
        return {
            "num_outgoing_requests": self.xds.connections,
            "num_failed_outgoing_requests": self.certificates.failures,
            "istiod_connection_success_total": self.xds.connections,
            "cert_expiry_timestamp_seconds": current.not_after if current else 0,
            **self.modules.counts.all(),
        }

    async def run(self) -> int:
        """Until told to stop, or the proxy ends; the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop.set)
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            self.tasks.append(group.create_task(self.certificates.run(), name="certificates"))
            await self.certificates.trust(self.config.get("caCertificatesPem", ()))
            try:
                if self.with_dns:
                    await self._start_dns(stack)
                await self._start_servers(stack)
                if self.config.get("readinessProbe"):
                    self.tasks.append(group.create_task(self._health().run(), name="health"))
                return await (self._run_proxy() if self.with_proxy else self._run_without())
            finally:
                self.modules.close()
                for task in self.tasks:
                    task.cancel()
        raise AssertionError("unreachable")

    async def _start_dns(self, stack: AsyncExitStack) -> None:
        from mizzen.agent.dns import NameServer  # dnspython: 10 MB, only where DNS is captured

        namespace, domain = self.environment.pod_namespace, self.node.domain
        self.names = NameServer(namespace, domain, self.environment)
        await self.names.start()
        stack.callback(self.names.close)

    async def _start_servers(self, stack: AsyncExitStack) -> None:
        workload = trust.WORKLOAD_SOCKETS / self.environment.socket_file
        secrets = SecretServer(self.certificates)
        served = [(self.xds.services, self.folder / "XDS")]
        if alive(workload):
            log.info("secrets come from the server at %s; only files are served", workload)
            served.append((secrets.services, trust.FILES_SOCKET))
        elif self.environment.socket_file != "socket":
            raise UsageError(f"WORKLOAD_IDENTITY_SOCKET_FILE: nobody listens at {workload}")
        else:
            served.append((secrets.services, workload))
        for services, path in served:
            made = Server(services, path)
            await made.start()
            stack.push_async_callback(made.stop)
        hosts = ["::"] if self.node.ipv6_only else ["0.0.0.0"]
        try:
            status = await serve(self._status().answer, hosts, self.status_port)
        except OSError as error:
            raise UsageError(f"the status port {self.status_port} cannot be had: {error.strerror}") from error
        stack.callback(status.close)

    def _health(self) -> HealthReporter:
        async def report(healthy: bool, why: str) -> None:
            await self.xds.report_health(health_request(self.environment.delta_xds, b"", healthy, why))

        return HealthReporter(self.config["readinessProbe"], self.node.ips[0], self.readiness.check, report)

    @property
    def status_port(self) -> int:
        return int(self.config.get("statusPort", 15020))

    def _status(self) -> StatusServer:
        environment = self.environment
        ip = "localhost" if environment.legacy_localhost_probes else self.node.ips[0]
        checks: list[Check] = []
        if self.with_proxy:
            checks.append(EnvoyProbe(int(self.config.get("proxyAdminPort", 15000))).check)
        else:
            checks.append(self._grpc_ready)
        if self.with_dns:
            checks.append(self.names.check)
        self.readiness = Readiness(checks)
        return StatusServer(
            self.readiness,
            AppProbes(self.probers, ip, self.status_port),
            Metrics(self.targets, environment.prometheus_port if self.with_proxy else None, ip, self.counters),
            {"/quitquitquit": self._quit, "/drain": self._drain},
            self._table,
            metrics_local_only=environment.metrics_localhost_only,
        )

    def _table(self) -> bytes | None:
        table = self.names.table if self.names is not None else None
        return None if table is None else dumped_table(msgspec.to_builtins(table))

    async def _grpc_ready(self) -> str | None:
        return None if self.certificates.ready.is_set() else "no certificate yet"

    async def _quit(self) -> None:
        self.at_once = True
        self.stop.set()

    async def _drain(self) -> None:
        if self.proxy is not None:
            await self.proxy.drain(skip_exit=True)

    async def _run_proxy(self) -> int:
        file = self.folder / "envoy-rev.json"
        write_json(file, self._bootstrap())
        command = proxy_arguments(
            self.environment, self.config, file, self.options.flags, ipv6_only=self.node.ipv6_only
        )
        admin_port = int(self.config.get("proxyAdminPort", 15000))
        self.proxy = Proxy(command, admin_port, router=self.options.kind == "router")
        running = asyncio.ensure_future(self.proxy.run())
        stopping = asyncio.ensure_future(self.stop.wait())
        await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        self.readiness.stopping = True
        if running.done():
            status = running.result()
            log.error("the proxy ended with status %d", status)
            return status if status > 0 else 128 - status
        if self.at_once:
            await self.proxy.kill()
        else:
            await self.proxy.terminate(self.environment, self.config)
        await running
        return 0

    def _bootstrap(self) -> dict[str, Any]:
        files = str(trust.FILES_SOCKET) if self.node.metadata.get("file-credential") else ""
        paths = Paths(
            xds=os.path.abspath(self.folder / "XDS"),
            sds=os.path.abspath(trust.WORKLOAD_SOCKETS / self.environment.socket_file),
            files_sds=files,
        )
        return bootstrap(
            self.node,
            self.config,
            self.environment,
            paths,
            annotations=self.annotations,
            log_as_json=self.options.log_as_json,
            outlier_log_path=self.options.outlier_log_path,
            lean=self.environment.data_plane == "mizzen" and not self.environment.envoy_binary,
        )

    def _grpc_bootstrap(self) -> tuple[Path, dict[str, Any]]:
        certificates = os.path.abspath(self.environment.output_certs or "./var/lib/istio/data")
        made = grpc_bootstrap(self.node, os.path.abspath(self.folder / "XDS"), certificates)
        return Path(self.environment.raw.get("GRPC_XDS_BOOTSTRAP") or self.folder / "grpc-bootstrap.json"), made

    async def _run_without(self) -> int:
        """Proxyless gRPC: the application reads our bootstrap and certificates, and speaks to our socket."""
        write_json(*self._grpc_bootstrap())
        await self.stop.wait()
        self.readiness.stopping = True
        return 0


def wasm_settings(environment: Environment) -> Settings:
    """What the environment says of Wasm modules."""
    return Settings(
        insecure=frozenset(filter(None, map(str.strip, environment.wasm_insecure_registries.split(",")))),
        expiry_s=environment.wasm_expiry_s,
        purge_every_s=environment.wasm_purge_every_s,
        request_timeout_s=environment.wasm_request_timeout_s,
        attempts=environment.wasm_attempts,
        most_bytes=environment.wasm_most_bytes,
    )


def read_text(path: Path) -> str:
    """A file's text; "" when there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(value, indent=1))
    fresh.replace(path)


def secret_servers(name: str) -> dict[str, str]:
    """Node metadata about secret servers of others: for gateways' credentials, and in place of our own."""
    result = {"credential": "true"} if alive(trust.CREDENTIAL_SOCKET) else {}
    return result | ({"file-credential": "true"} if alive(trust.WORKLOAD_SOCKETS / name) else {})


def alive(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
