"""How a command asks istiod: its debug types over ADS, at an address or found through the cluster.

Takes what the user named, gives DiscoveryResponses or text. Not here: how they are shown. Source: istioctl's xDS
client: one request a stream, node metadata GENERATOR=event; a token of a service account in the istio namespace,
audience istio-ca.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import grpc
from envoy.service.discovery.v3 import discovery_pb2

from mizzen.api.errors import PeerError, UsageError
from mizzen.kube import ApiError, Client, kubeconfig
from mizzen.kube.resource import CONFIG_MAPS, ENDPOINT_SLICES, PODS, SERVICE_ACCOUNTS
from mizzen.kube.streams import PortForward

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
TIMEOUT_S = 30.0
XDS_PORT = 15012
AUDIENCE = "istio-ca"


class Where(NamedTuple):
    """xds_address: HOST:PORT, "" = found through the kubeconfig. plaintext: no TLS and no token."""

    xds_address: str = ""
    plaintext: bool = False
    istio_namespace: str = "istio-system"
    kubeconfig: str | None = None
    context: str | None = None
    xds_port: int = XDS_PORT
    revision: str = ""
    timeout_s: float = TIMEOUT_S


async def ask(where: Where, type_url: str, names: Sequence[str] = ()) -> list[Any]:
    """Each istiod's first response of the type. Raises PeerError, UsageError, ApiError."""
    responses = []
    async with contextlib.AsyncExitStack() as stack:
        client = None
        if not (where.xds_address and where.plaintext):
            client = await stack.enter_async_context(Client(kubeconfig.load(where.kubeconfig, where.context)))
        async for channel, token in _channels(where, client, stack):
            responses.append(await _one(channel, token, type_url, names, where))
    if not responses:
        raise PeerError("no running Istio pods in namespace " + where.istio_namespace)
    return responses


async def _one(channel: Any, token: str | None, type_url: str, names: Sequence[str], where: Where) -> Any:
    call = channel.stream_stream(
        METHOD,
        request_serializer=discovery_pb2.DiscoveryRequest.SerializeToString,
        response_deserializer=discovery_pb2.DiscoveryResponse.FromString,
    )(metadata=[("authorization", f"Bearer {token}")] if token else None, timeout=where.timeout_s)
    request = discovery_pb2.DiscoveryRequest(type_url=type_url, resource_names=names)
    request.node.id = "sidecar~0.0.0.0~istioctl~cluster.local"
    request.node.metadata.update({"GENERATOR": "event", "NAMESPACE": where.istio_namespace})
    try:
        await call.write(request)
        while (response := await call.read()) is not grpc.aio.EOF:
            if response.type_url == type_url:
                return response
    except grpc.aio.AioRpcError as error:
        raise PeerError(f"istiod: {error.code().name}: {error.details()}") from error
    finally:
        call.cancel()
    raise PeerError("istiod ended the stream without an answer")


async def _channels(
    where: Where, client: Client | None, stack: contextlib.AsyncExitStack
) -> AsyncIterator[tuple[Any, str | None]]:
    """A channel and token for each istiod."""
    if client is None:
        yield await stack.enter_async_context(grpc.aio.insecure_channel(where.xds_address)), None
        return
    addresses = [where.xds_address] if where.xds_address else await _addresses(where, client, stack)
    if where.plaintext:
        for address in addresses:
            yield await stack.enter_async_context(grpc.aio.insecure_channel(address)), None
        return
    roots, token = await _roots(where, client), await _token(where, client)
    # The certificate names the service; the address is wherever the connection is led to.
    name = f"istiod.{where.istio_namespace}.svc"
    for address in addresses:
        credentials = grpc.ssl_channel_credentials(roots)
        options = [("grpc.ssl_target_name_override", name), ("grpc.max_receive_message_length", -1)]
        yield await stack.enter_async_context(grpc.aio.secure_channel(address, credentials, options)), token


async def _addresses(where: Where, client: Client, stack: contextlib.AsyncExitStack) -> list[str]:
    """Port-forwards to istiod's pods; where it runs outside of pods, the addresses of its Service."""
    selector = "app=istiod" + (f",istio.io/rev={where.revision}" if where.revision else "")
    pods = (await client.list(PODS, where.istio_namespace, label_selector=selector)).items
    running = [pod["metadata"]["name"] for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]
    found = []
    for pod in running:
        forward = PortForward(client, pod, where.istio_namespace, where.xds_port)
        found.append(f"127.0.0.1:{await stack.enter_async_context(forward)}")
    if found:
        return found
    slices = await client.list(
        ENDPOINT_SLICES, where.istio_namespace, label_selector="kubernetes.io/service-name=istiod"
    )
    hosts = {a for s in slices.items for e in s.get("endpoints") or () for a in e.get("addresses") or ()}
    return [f"{host}:{where.xds_port}" for host in sorted(hosts)]


async def _roots(where: Where, client: Client) -> bytes:
    found = await client.find(CONFIG_MAPS, "istio-ca-root-cert", where.istio_namespace)
    if found is None:
        raise UsageError(f"no ConfigMap istio-ca-root-cert in namespace {where.istio_namespace}: is istiod running?")
    return str(found["data"]["root-cert.pem"]).encode()


async def _token(where: Where, client: Client) -> str:
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {"name": "default", "namespace": where.istio_namespace},
        "spec": {"audiences": [AUDIENCE], "expirationSeconds": 3600},
    }
    try:
        answer = await client.create(SERVICE_ACCOUNTS, request, subresource="token")
    except ApiError as error:
        raise UsageError(f"no token for service account {where.istio_namespace}/default: {error}") from error
    return str(answer["status"]["token"])
