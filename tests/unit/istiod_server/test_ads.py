"""The ADS server as a client sees it, over gRPC: both protocols on one engine, with resources that are plain
counters.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterable
from typing import Any

import grpc
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from mizzen.api.istio.mesh import MeshConfig
from mizzen.istiod.node import Node
from mizzen.istiod.objects import Change
from mizzen.istiod.rpc.grpcio import GrpcioServer
from mizzen.istiod.rpc.server import GrpcServer
from mizzen.istiod.server.options import bind
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.xds.hub import Hub
from mizzen.istiod.xds.server import AdsService
from mizzen.istiod.xds.types import CDS, EDS, LDS, SDS
from tests.support.ads_client import AdsClient, names
from tests.support.poll import until

NODE = "sidecar~10.0.0.1~pod.shop~shop.svc.cluster.local"


class World:
    """A generator over two dictionaries: clusters by name, endpoints' ports by cluster. Counts what it is asked."""

    def __init__(self) -> None:
        self.clusters = {"a": 1, "b": 1}
        self.endpoints = {"a": 80, "b": 80}
        self.asked: list[tuple[str, str]] = []
        self.broken = False

    def __call__(
        self, snap: Snapshot, node: Node, type_url: str, names: Collection[str] | None
    ) -> Iterable[tuple[str, Any]]:
        self.asked.append((type_url.rpartition(".")[2], node.name))
        if self.broken:
            raise RuntimeError("a bug")
        if type_url == CDS:
            for name, version in self.clusters.items():
                yield name, cluster_pb2.Cluster(name=name, alt_stat_name=str(version), type=cluster_pb2.Cluster.EDS)
        elif type_url == EDS:
            for name in names or ():
                if name in self.endpoints:
                    yield name, endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
        elif type_url == LDS:
            yield "l", listener_pb2.Listener(name="l", stat_prefix=str(sum(self.clusters.values())))


SERVERS = {"mizzen": GrpcServer, "grpcio": GrpcioServer}


class Server:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.world = World()
        self.hub = Hub(self.world)
        self.snapshot = Snapshot.build([], MeshConfig())
        self.identities: tuple[str, ...] | None = None

    async def start(self) -> str:
        async def who(_: Any) -> tuple[str, ...] | None:
            return self.identities

        self.server = SERVERS[self.kind](AdsService(self.hub, who).methods())
        return f"127.0.0.1:{await self.server.start(bind('grpc', '127.0.0.1:0'))}"

    def publish(self) -> None:
        """A change of something that any resource may depend on."""
        self.hub.publish(self.snapshot, [Change("Sidecar", ("shop", "x"), object())])


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    one = Server(request.param)
    one.address = await one.start()  # type: ignore[attr-defined]
    one.hub.publish(one.snapshot, [])
    yield one
    await one.server.stop()


@pytest.fixture
async def channel(server: Server) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(server.address) as c:  # type: ignore[attr-defined]
        yield c


def client(channel: Any, delta: bool, node: str = NODE, **metadata: Any) -> AdsClient:
    return AdsClient(channel, node, {"NAMESPACE": "shop", **metadata}, delta=delta)


async def refusal(c: AdsClient) -> Any:
    """The status that ends a stream; the server may end it before the request is written."""
    with contextlib.suppress(grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
        await c.ask(CDS)
    return await c.call.code()


async def test_whole_cds_eds_and_a_change(server: Server, channel: Any) -> None:
    c = client(channel, delta=False)
    await c.ask(CDS)
    first = await c.next()
    assert len(first.resources) == 2 and first.version_info and first.nonce.startswith(first.version_info)
    await c.ack(first)
    await c.ask(EDS, "a")
    endpoints = await c.next()
    assert len(endpoints.resources) == 1
    await c.ack(endpoints, "a")
    server.world.clusters["a"] = 2
    server.publish()
    changed = await c.next()
    assert (changed.type_url, len(changed.resources)) == (CDS, 2), "clusters come whole"
    again = await c.next()
    assert (again.type_url, len(again.resources)) == (EDS, 1), "a changed cluster gets its endpoints again"
    await c.quiet()


async def test_delta_sends_only_what_changed(server: Server, channel: Any) -> None:
    c = client(channel, delta=True)
    await c.ask(CDS)
    first = await c.next()
    assert names(first) == ["a", "b"] and first.resources[0].resource.type_url == CDS
    await c.ack(first)
    server.world.clusters = {"a": 1, "b": 2, "c": 1}
    server.publish()
    changed = await c.next()
    assert (names(changed), list(changed.removed_resources)) == (["b", "c"], [])
    del server.world.clusters["a"]
    server.publish()
    assert list((await c.next()).removed_resources) == ["a"]
    server.publish()
    await c.quiet()


async def test_delta_subscribing_to_names(server: Server, channel: Any) -> None:
    c = client(channel, delta=True)
    await c.ask(EDS, "a")
    assert names(await c.next()) == ["a"]
    await c.ask(EDS, "b", "nothing")
    answer = await c.next()
    assert (names(answer), list(answer.removed_resources)) == (["b"], ["nothing"])
    await c.ask(EDS, drop=("b",))
    (connection,) = server.hub.connections.values()
    await until(lambda: "b" not in connection.watches[EDS].names)
    del server.world.endpoints["b"]
    server.publish()
    await c.quiet()


async def test_delta_reconnect_removes_what_is_gone(server: Server, channel: Any) -> None:
    c = client(channel, delta=True)
    await c.send(type_url=CDS, initial_resource_versions={"a": "", "old": ""})
    answer = await c.next()
    assert (names(answer), list(answer.removed_resources)) == (["a", "b"], ["old"])


@pytest.mark.parametrize("delta", [False, True])
async def test_a_nack_is_kept_and_not_answered(server: Server, channel: Any, delta: bool) -> None:
    c = client(channel, delta)
    await c.ask(LDS)
    await c.nack(await c.next(), "no such filter")
    (connection,) = server.hub.connections.values()
    await until(lambda: connection.watches[LDS].status == "ERROR")
    assert connection.watches[LDS].error == "no such filter"
    await c.quiet()
    server.world.clusters["a"] = 7
    server.publish()
    await c.ack(await c.next())
    await until(lambda: connection.watches[LDS].status == "SYNCED")


async def test_equal_proxies_share_the_work(server: Server, channel: Any) -> None:
    clients = [client(channel, True, f"sidecar~10.0.0.{n}~pod-{n}.shop~shop.svc.cluster.local") for n in (1, 2, 3)]
    for c in clients:
        await c.ask(CDS)
        assert names(await c.next()) == ["a", "b"]
    assert server.world.asked == [("Cluster", "pod-1.shop")]
    other = client(channel, True, LABELS={"app": "x"})
    await other.ask(CDS)
    await other.next()
    assert len(server.world.asked) == 2, "another set of labels is another view"
    for c in (*clients, other):
        c.call.cancel()
    await until(lambda: not server.hub.connections)
    assert not server.hub.collections, "nothing is kept for proxies that left"


async def test_a_generator_that_fails_leaves_the_last_good_state(server: Server, channel: Any) -> None:
    c = client(channel, delta=False)
    await c.ask(CDS)
    await c.ack(await c.next())
    server.world.broken = True
    server.publish()
    await c.quiet()
    server.world.broken = False
    server.world.clusters["a"] = 3
    server.publish()
    assert len((await c.next()).resources) == 2


async def test_no_secrets_without_an_identity(server: Server, channel: Any) -> None:
    c = client(channel, delta=True)
    await c.ask(SDS, "kubernetes://cert")
    answer = await c.next()
    assert (list(answer.resources), list(answer.removed_resources)) == ([], ["kubernetes://cert"])
    assert not server.world.asked


@pytest.mark.parametrize(
    ("identities", "allowed"),
    [
        (None, True),
        (("spiffe://cluster.local/ns/shop/sa/web",), True),
        (("spiffe://cluster.local/ns/other/sa/web",), False),
        (("spiffe://cluster.local/ns/shop/sa/other",), False),
        ((), False),
    ],
)
async def test_the_identity_must_fit_the_node(
    server: Server, channel: Any, identities: tuple[str, ...] | None, allowed: bool
) -> None:
    server.identities = identities
    c = client(channel, False, SERVICE_ACCOUNT="web")
    if allowed:
        await c.ask(CDS)
        assert (await c.next()).resources
    else:
        assert await refusal(c) == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("node", ["", "sidecar~10.0.0.1~x", "stranger~10.0.0.1~a.b~b.svc.cluster.local"])
async def test_a_bad_node_is_refused(server: Server, channel: Any, node: str) -> None:
    assert await refusal(AdsClient(channel, node, delta=False)) == grpc.StatusCode.INVALID_ARGUMENT


async def test_before_the_first_snapshot(channel: Any, server: Server) -> None:
    server.hub.snapshot = None
    assert await refusal(client(channel, delta=False)) == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("allowed", [True, False])
async def test_secrets_only_for_those_who_may_list_them(allowed: bool) -> None:
    """Roots in ConfigMaps are no secrets."""
    asked: list[str | None] = []

    async def who(_: Any) -> tuple[str, ...]:
        return ("spiffe://cluster.local/ns/shop/sa/web",)

    async def may(identity: str | None) -> bool:
        asked.append(identity)
        return allowed

    def secrets(_: Any, node: Node, type_url: str, names: Collection[str] | None) -> Iterable[tuple[str, Any]]:
        return [(name, secret_pb2.Secret(name=name)) for name in sorted(names or ())]

    hub = Hub(secrets)
    hub.publish(Snapshot.build([], MeshConfig()), [])
    grpc_server = GrpcServer(AdsService(hub, who, reads_secrets=may).methods())
    port = await grpc_server.start(bind("grpc", "127.0.0.1:0"))
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            c = client(channel, True)
            await c.ask(SDS, "kubernetes://cert", "configmap://shop/roots")
            answer = await c.next()
            expected = ["configmap://shop/roots", "kubernetes://cert"] if allowed else ["configmap://shop/roots"]
            assert names(answer) == expected
            assert list(answer.removed_resources) == ([] if allowed else ["kubernetes://cert"])
            assert asked == ["spiffe://cluster.local/ns/shop/sa/web"]
    finally:
        await grpc_server.stop()


async def test_a_proxy_that_does_not_read_holds_only_itself_back(server: Server, channel: Any) -> None:
    large = "x" * (1 << 20)
    server.world.clusters = {f"{large}{n}": 1 for n in range(8)}  # 8 MB: more than flow control lets through
    options = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    async with grpc.aio.insecure_channel(server.address, options) as sleepy:  # type: ignore[attr-defined]
        sleepers = [
            client(sleepy, True, f"sidecar~10.0.1.{n + 1}~s-{n}.shop~shop.svc.cluster.local") for n in range(20)
        ]
        for sleeper in sleepers:
            await sleeper.ask(CDS)
        await until(lambda: len(server.hub.connections) == 20)
        async with grpc.aio.insecure_channel(server.address, options) as other:  # type: ignore[attr-defined]
            awake = client(other, True)
            await awake.ask(CDS)
            assert len((await awake.next(10.0)).resources) == 8


async def test_what_no_one_watches_is_forgotten(server: Server, channel: Any) -> None:
    c = client(channel, delta=True)
    await c.ask(EDS, "a", "b")
    await c.ack(await c.next())
    await c.ask(EDS, drop=("b",))
    (connection,) = server.hub.connections.values()
    await until(lambda: "b" not in connection.watches[EDS].names)
    (resources,) = server.hub.collections.values()
    assert set(resources.entries) == {"a", "b"}
    server.hub.prune()
    assert set(resources.entries) == {"a"}
    await c.ask(EDS, "b")
    assert names(await c.next()) == ["b"], "made again when it is asked for again"


@pytest.mark.parametrize("delta", [False, True])
async def test_what_was_missing_is_sent_when_it_comes(server: Server, channel: Any, delta: bool) -> None:
    """Whole: a named resource that is not there is not answered for; it must come all the same when it appears."""
    c = client(channel, delta)
    await c.ask(EDS, "late")
    if delta:
        await c.ack(await c.next())  # says that it is not there
    else:
        await c.quiet()
    server.world.endpoints["late"] = 80
    server.publish()
    assert len((await c.next()).resources) == 1


@pytest.mark.parametrize("server", ["mizzen"], indirect=True)  # grpcio copies what waits
async def test_a_slow_proxy_costs_no_memory_and_delays_nobody(server: Server) -> None:
    """What it did not read is merged into what it gets later; what waits for it is the others' bytes, cut."""
    large = "x" * (1 << 20)
    server.world.clusters = {f"{large}{n}": 0 for n in range(8)}
    options = [("grpc.max_receive_message_length", -1), ("grpc.http2.bdp_probe", 0)]
    options += [("grpc.use_local_subchannel_pool", 1)]
    async with (
        grpc.aio.insecure_channel(server.address, options) as sleepy,  # type: ignore[attr-defined]
        grpc.aio.insecure_channel(server.address, options) as other,  # type: ignore[attr-defined]
    ):
        sleeper = client(sleepy, True, "sidecar~10.0.1.1~sleeper.shop~shop.svc.cluster.local")
        await sleeper.ask(CDS)
        await until(lambda: len(server.hub.connections) == 1)
        awake = client(other, True)
        await awake.ask(CDS)
        await awake.ack(await awake.next(10.0))
        held = next(c for c in server.hub.connections.values() if "sleeper" in c.id)
        calls = {call for connection in server.server.connections for call in connection._calls}
        (behind,) = (call for call in calls if call._stream.parts)
        waiting = sum(map(len, behind._stream.parts))
        for version in range(1, 20):
            server.world.clusters = dict.fromkeys(server.world.clusters, version)
            server.publish()
            answer = await awake.next(10.0)
            assert len(answer.resources) == 8, "nobody waits for the sleeper"
            await awake.ack(answer)
            assert sum(map(len, behind._stream.parts)) <= waiting, "nothing more is queued for it"
        assert len(held._sweep) <= 1 and not held._answers
        first, then = await sleeper.next(10.0), await sleeper.next(10.0)
        assert {cluster_pb2.Cluster.FromString(r.resource.value).alt_stat_name for r in first.resources} == {"0"}
        assert {cluster_pb2.Cluster.FromString(r.resource.value).alt_stat_name for r in then.resources} == {"19"}
        await sleeper.quiet()
