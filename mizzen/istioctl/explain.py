"""Where a request goes and why: the listener, route, cluster and endpoints at the client, policies at the server.

Takes a snapshot, the client's proxy and a request; gives lines of text. What a proxy is served is made by istiod's own
translation, and read by the proxy's own code: its filter-chain matching, its compiled routes, its authorization engine. So
what is said here is what would happen. Not said: what depends on the moment (health, load, retries), DNS outside the mesh.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2

from mizzen.api.errors import UsageError
from mizzen.istiod import dump
from mizzen.istiod.ca import bundle, pki
from mizzen.istiod.ca.authority import DEFAULT_TTL
from mizzen.istiod.node import Node
from mizzen.istiod.registry.model import Endpoint, Service
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate import generate
from mizzen.istiod.xds.types import CDS, EDS, LDS, RDS, host_of
from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.config.rbac import engine
from mizzen.proxy.config.routes import compile_routes
from mizzen.proxy.http.info import StreamInfo
from mizzen.proxy.listener.match import ChainMatch, choose
from mizzen.proxy.net.connection import Downstream, TlsInfo
from mizzen.proxy.stats.store import Store

RBAC = "rbac.v3.RBAC"
HTTP_ALPN, MESH_ALPN = ("http/1.1",), ("istio-http/1.1", "istio", "istio-peer-exchange")
INBOUND_PORT, CLIENT_PORT = 15006, 40000
SHOWN = 5  # endpoints of a cluster


class Request(msgspec.Struct, frozen=True):
    """An HTTP or HTTPS request; headers in lower case."""

    method: str
    scheme: str
    host: str
    port: int
    path: str
    headers: Mapping[str, str] = {}

    @property
    def authority(self) -> str:
        given = self.headers.get("host")
        default = {"http": 80, "https": 443}[self.scheme]
        return given or (self.host if self.port == default else f"{self.host}:{self.port}")

    def head(self) -> Any:
        plain = {name: value for name, value in self.headers.items() if name != "host"}
        return RequestHeaders(self.method, self.path, self.authority, plain, scheme=self.scheme)


def explain(snap: Snapshot, client: Node, request: Request) -> list[str]:
    """The lines. Raises UsageError for what cannot be asked."""
    placed = snap.place(client)
    service = _service(snap, placed, request.host)
    address = _address(service, request.host)
    out = [f"{client.name} -> {request.method} {request.scheme}://{request.authority}{request.path}"]
    out.append(_resolved(service, request.host, address))
    walk = _Walk(snap, placed)
    out += walk.outbound(request, address)
    for endpoint in walk.reached[:1]:
        server = _node_at(snap, endpoint)
        if server is not None:
            out += walk.inbound(server, endpoint, request)
    return out


def _service(snap: Snapshot, client: Node, host: str) -> Service | None:
    """The service that a name means where the client is."""
    suffix = snap.options.domain
    forms = (host, f"{host}.{client.namespace}.svc.{suffix}", f"{host}.svc.{suffix}", f"{host}.{suffix}")
    known = snap.scope(client).by_host
    return next((known[form] for form in forms if form in known), None)


def _address(service: Service | None, host: str) -> str:
    if service is not None and ":" not in service.address and service.address != "0.0.0.0":
        return service.address
    return host if host.replace(".", "").isdigit() else "192.0.2.255"


def _resolved(service: Service | None, host: str, address: str) -> str:
    if service is None:
        return f"  name      {host} is no service that is seen from there"
    if service.address == "0.0.0.0":
        return f"  name      {service.host}, {service.kind} {service.namespace}/{service.object_name}, without an address of its own"
    return f"  name      {service.host} is {address}, {service.kind} {service.namespace}/{service.object_name}"


class _Walk:
    """One request's way. reached: the endpoints that it may come to; secured: those that are called by mutual TLS."""

    def __init__(self, snap: Snapshot, client: Node) -> None:
        self._snap, self._client = snap, client
        self._server = SimpleNamespace(
            stats=Store(), runtime={}, clusters=SimpleNamespace(known=lambda name: True), secrets=SimpleNamespace()
        )
        self._clusters = _served(snap, client, CDS)
        self.reached: list[Endpoint] = []
        self.secured = False

    # At the client

    def outbound(self, request: Request, address: str) -> Iterator[str]:
        listener = self._listener(address, request.port)
        if listener is None:
            yield "  listener  none: the proxy does not take the connection"
            return
        conn = Downstream((self._client.ips[0], CLIENT_PORT), (address, request.port))
        if request.scheme == "https":
            conn.transport_protocol, conn.server_name = "tls", request.host
        else:
            conn.transport_protocol, conn.alpn = "raw_buffer", HTTP_ALPN
        chain = _chain(listener, conn)
        if chain is None:
            yield f"  listener  {listener.name}, no filter chain fits: the connection is closed"
            return
        yield f"  listener  {listener.name}, chain {chain.name or _describe(chain)}"
        manager, cluster = _terminal(chain)
        if manager is not None:
            yield from self._http(manager, request)
        elif cluster is not None:
            yield from self._layer4(cluster)

    def _listener(self, address: str, port: int) -> Any:
        every = list(_served(self._snap, self._client, LDS).values())
        found: dict[tuple[str, int], Any] = {}
        for listener in every:
            for one in (listener.address, *(extra.address for extra in listener.additional_addresses)):
                found[one.socket_address.address, one.socket_address.port_value] = listener
        if not self._client.is_sidecar:
            return found.get(("0.0.0.0", port))
        caught = next((one for one in every if one.name == "virtualOutbound"), None)
        return found.get((address, port)) or found.get(("0.0.0.0", port)) or caught

    def _layer4(self, cluster: Any) -> Iterator[str]:
        if cluster.cluster:
            yield from self._cluster(cluster.cluster, None)
        for one in cluster.weighted_clusters.clusters:
            yield from self._cluster(one.name, one.weight)

    def _http(self, manager: Any, request: Request) -> Iterator[str]:
        config = manager.route_config
        if manager.HasField("rds"):
            name = manager.rds.route_config_name
            config = _served(self._snap, self._client, RDS, name)[name]
        table = compile_routes(config, self._server, False)
        host = table.virtual_host(request.authority)
        if host is None:
            yield f"  route     {config.name}: no virtual host for {request.authority}: 404"
            return
        yield f"  route     {config.name}, virtual host {host.name}"
        route = host.find(request.head(), _stream(request))
        if route is None:
            yield f"            no route for {request.method} {request.path}: 404"
            return
        proto = _proto(config, host, route)
        source = _source(proto)
        yield f"            {'route ' + route.name if route.name else 'a route without a name'}{source}"
        if route.direct is not None:
            yield f"            answers {route.direct.status if hasattr(route.direct, 'status') else 'at once'} itself"
            return
        if route.redirect is not None:
            yield f"            redirects ({route.redirect.code})"
            return
        yield from self._action(proto)

    def _action(self, proto: Any) -> Iterator[str]:
        action = proto.route
        if action.HasField("timeout") and (action.timeout.seconds or action.timeout.nanos):
            yield f"            timeout {action.timeout.seconds + action.timeout.nanos / 1e9:g} s"
        if action.HasField("retry_policy"):
            policy = action.retry_policy
            yield f"            up to {policy.num_retries.value} retries on {policy.retry_on}"
        for mirror in action.request_mirror_policies:
            yield f"            mirrored to {mirror.cluster}"
        if "envoy.filters.http.fault" in proto.typed_per_filter_config:
            yield "            with a fault injected"
        if action.cluster:
            yield from self._cluster(action.cluster, None)
        for one in action.weighted_clusters.clusters:
            if one.weight.value:
                yield from self._cluster(one.name, one.weight.value)

    def _cluster(self, name: str, weight: int | None) -> Iterator[str]:
        share = f"{weight}% " if weight is not None else ""
        cluster = self._clusters.get(name)
        if cluster is None:
            yield f"  cluster   {share}{name} does not exist: 503"
            return
        yield f"  cluster   {share}{name}{_source(cluster)}"
        endpoints = self._endpoints(name)
        secured = self._mutual_tls(cluster)
        for endpoint in endpoints[:SHOWN]:
            tls = ", mutual TLS" if secured and endpoint.tls_mode == "istio" else ""
            pod = f" ({endpoint.workload})" if endpoint.workload else ""
            yield f"            {endpoint.address}:{endpoint.port}{pod}{tls}"
        if len(endpoints) > SHOWN:
            yield f"            and {len(endpoints) - SHOWN} more"
        if not endpoints and name.startswith("outbound"):
            yield "            no endpoints: 503"
        if endpoints and not self.reached:
            self.secured = secured and endpoints[0].tls_mode == "istio"
        self.reached += endpoints

    def _endpoints(self, name: str) -> list[Endpoint]:
        """The registry's endpoints that the cluster's assignment has."""
        assigned = _served(self._snap, self._client, EDS, name).get(name)
        if assigned is None:
            return []
        wanted = {
            (one.endpoint.address.socket_address.address, one.endpoint.address.socket_address.port_value)
            for locality in assigned.endpoints
            for one in locality.lb_endpoints
        }
        services = self._snap.registry.by_host.get(host_of(name), ())
        found = [e for svc in services for e in self._snap.endpoints(svc)]
        return [e for e in {(e.address, e.port): e for e in found}.values() if (e.address, e.port) in wanted]

    @staticmethod
    def _mutual_tls(cluster: Any) -> bool:
        """Whether a cluster calls endpoints that say they can by the mesh's mutual TLS."""
        matches = [one.transport_socket.typed_config.value for one in cluster.transport_socket_matches]
        own = [cluster.transport_socket.typed_config.value] if cluster.HasField("transport_socket") else []
        return any(b"ROOTCA" in value for value in (*matches, *own))

    # At the server

    def inbound(self, server: Node, endpoint: Endpoint, request: Request) -> Iterator[str]:
        yield f"at {server.name} ({endpoint.address}:{endpoint.port})"
        listener = _served(self._snap, server, LDS).get("virtualInbound")
        if listener is None:
            yield "  listener  none: no sidecar takes the connection"
            return
        conn = self._arriving(endpoint)
        chain = _chain(listener, conn)
        modes = self._snap.peer_authentications.for_workload(server.namespace, server.labels)
        mode = modes.port(endpoint.port)
        how = "mutual TLS" if self.secured else "plaintext"
        if chain is None or chain.name == "virtualInbound-blackhole":
            yield f"  listener  no filter chain for {how}, PeerAuthentication says {mode}: the connection is closed"
            return
        yield f"  listener  {listener.name}, chain {chain.name or _describe(chain)}; {how}, PeerAuthentication says {mode}"
        yield from self._authorized(chain, conn, request)

    def _arriving(self, endpoint: Endpoint) -> Any:
        conn = Downstream((self._client.ips[0], CLIENT_PORT), (endpoint.address, endpoint.port))
        conn.transport_protocol, conn.alpn = "raw_buffer", HTTP_ALPN
        if self.secured:
            conn.transport_protocol, conn.alpn = "tls", MESH_ALPN
            conn.tls = TlsInfo()
            conn.tls.peer_der, conn.tls.validated = _certificate(self._identity()), True
        return conn

    def _identity(self) -> str:
        account = self._client.service_account or "default"
        return f"spiffe://{self._snap.trust_domain}/ns/{self._client.namespace}/sa/{account}"

    def _authorized(self, chain: Any, conn: Any, request: Request) -> Iterator[str]:
        if self.secured:
            yield f"  identity  {self._identity()}"
        asked = False
        for rules in _rbacs(chain):
            judge = engine(rules, "rules", "matcher")
            if judge is None:
                continue
            asked = True
            info = StreamInfo(conn, 0.0)
            info.request = request.head()
            allowed, name = judge.decide(info)
            word = "allowed" if allowed else "DENIED (403)"
            yield f"  policy    {word}{f' by {name}' if name else ', no rule applies'}"
            if not allowed:
                return
        if not asked:
            yield "  policy    no AuthorizationPolicy: allowed"


def _served(snap: Snapshot, node: Node, type_url: str, *names: str) -> dict[str, Any]:
    """What a proxy is served of a type, by name."""
    return dict(generate(snap, node, type_url, names or None))


def _stream(request: Request) -> Any:
    return SimpleNamespace(conn=SimpleNamespace(tls=None), metadata=None, request=request.head())


def _chain(listener: Any, conn: Any) -> Any:
    """The filter chain that the proxy would choose."""
    chains = [SimpleNamespace(match=ChainMatch(one.filter_chain_match), proto=one) for one in listener.filter_chains]
    found = choose(chains, conn)
    if found is not None:
        return found.proto
    return listener.default_filter_chain if listener.HasField("default_filter_chain") else None


def _describe(chain: Any) -> str:
    match = chain.filter_chain_match
    parts = [match.transport_protocol, ",".join(match.application_protocols), ",".join(match.server_names)]
    return "of " + (" ".join(filter(None, parts)) or "everything")


def _terminal(chain: Any) -> tuple[Any, Any]:
    """The HTTP connection manager or the TCP proxy that a chain ends in."""
    for one in chain.filters:
        config = dump.unpack(one.typed_config) if one.HasField("typed_config") else None
        if isinstance(config, hcm_pb2.HttpConnectionManager):
            return config, None
        if config is not None and config.DESCRIPTOR.full_name.endswith("TcpProxy"):
            return None, config
    return None, None


def _rbacs(chain: Any) -> Iterator[Any]:
    """The RBAC filters of a chain, in the order in which they are asked."""
    for one in chain.filters:
        config = dump.unpack(one.typed_config) if one.HasField("typed_config") else None
        if config is None:
            continue
        if config.DESCRIPTOR.full_name.endswith(RBAC):
            yield config
        for inner in getattr(config, "http_filters", ()):
            found = dump.unpack(inner.typed_config) if inner.HasField("typed_config") else None
            if found is not None and found.DESCRIPTOR.full_name.endswith(RBAC):
                yield found


def _proto(config: Any, host: Any, route: Any) -> Any:
    """The message that a compiled route was made of."""
    protos = next(one for one in config.virtual_hosts if one.name == host.name)
    return protos.routes[host.routes.index(route)]


def _source(message: Any) -> str:
    """The object that something was made of, in parentheses."""
    noted = message.metadata.filter_metadata
    value = noted["istio"].fields["config"].string_value if "istio" in noted else ""
    parts = value.split("/")
    if len(parts) != 8:
        return ""
    kind = "".join(word.capitalize() for word in parts[6].split("-"))
    return f" ({kind} {parts[5]}/{parts[7]})"


def _node_at(snap: Snapshot, endpoint: Endpoint) -> Node | None:
    """The sidecar at an endpoint; None where there is no pod."""
    for (namespace, name), pod in snap.objects.table("Pod").items():
        status = pod.status
        if status is not None and status.podIP == endpoint.address:
            return snap.place(node_of_pod(namespace, name, pod))
    return None


def node_of_pod(namespace: str, name: str, pod: Any, kind: str = "sidecar") -> Node:
    """A pod's proxy, as it would say of itself. Raises UsageError for a pod without an address."""
    status = pod.status
    if status is None or not status.podIP:
        raise UsageError(f"the pod {namespace}/{name} has no address yet")
    entry = {
        "type": kind,
        "namespace": namespace,
        "pod": name,
        "ip": status.podIP,
        "labels": dict(pod.metadata.labels or {}),
        "serviceAccount": (pod.spec.serviceAccountName if pod.spec is not None else None) or "default",
    }
    return dump.node_of(entry)


def _certificate(identity: str) -> bytes:
    """A certificate with that name, of a CA of the moment: what the server would have checked."""
    now = datetime.now(UTC)
    ca, key = bundle.self_signed("explain", now), pki.new_key()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    made = pki.workload_certificate(request, [identity], ca.certificate, ca.key, now, DEFAULT_TTL)
    return made.public_bytes(Encoding.DER)
