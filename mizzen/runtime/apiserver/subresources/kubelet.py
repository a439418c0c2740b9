"""Ways to a pod's kubelet: logs, exec, attach, port-forward and proxies; upgrades pass through as bare bytes.

Takes an `Ask`; finds the node's address and kubelet port, asks there, hands the answer on. SPDY and WebSocket are not read here:
after the head of the request both sides' bytes are tunnelled.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import urlencode

from ..context import Ask
from ..errors import Problem, StatusError, bad_request, forbidden_field, invalid, not_found, refused
from ..http1 import Response, Stream
from ..parts import Parts

log_ = logging.getLogger(__name__)
Object = dict[str, Any]
HEAD_LIMIT = 65536


def _pod(ask: Ask, parts: Parts) -> Object:
    pod = parts.lookup("pods", ask.info.namespace, ask.info.name)
    if pod is None:
        raise not_found("", "pods", ask.info.name)
    return pod


def container_of(pod: Object, name: str) -> str:
    """The container that is meant; "" may be left out only when there is one. Raises 400."""
    spec = pod.get("spec") or {}
    groups = [
        [one["name"] for one in spec.get(key) or ()] for key in ("containers", "initContainers", "ephemeralContainers")
    ]
    pod_name = pod["metadata"]["name"]
    if not name:
        annotated = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container", "")
        if annotated and annotated in groups[0]:
            return str(annotated)
        if len(groups[0]) == 1:
            return str(groups[0][0])
        text = f"a container name must be specified for pod {pod_name}, choose one of: [{' '.join(groups[0])}]"
        if groups[1]:
            text += f" or one of the init containers: [{' '.join(groups[1])}]"
        raise bad_request(text)
    if not any(name in group for group in groups):
        raise bad_request(f"container {name} is not valid for pod {pod_name}")
    return name


def address_of(parts: Parts, node_name: str) -> tuple[str, int]:
    node = parts.lookup("nodes", "", node_name)
    if node is None:
        raise not_found("", "nodes", node_name)
    status = node.get("status") or {}
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or 10250
    addresses = status.get("addresses") or []
    for kind in ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS"):
        for one in addresses:
            if one.get("type") == kind:
                return one["address"], int(port)
    raise StatusError(500, f"Internal error occurred: no preferred addresses found; known addresses: {addresses}")


_LOG_FIELDS = (
    "follow",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "timestamps",
    "tailLines",
    "limitBytes",
    "insecureSkipTLSVerifyBackend",
    "stream",
)


def _log_options(ask: Ask) -> dict[str, str]:
    found = {key: ask.info.first(key) for key in _LOG_FIELDS if ask.info.first(key) != ""}
    problems: list[Problem] = []
    for key, least in (("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)):
        if key not in found:
            continue
        try:
            number = int(found[key])
        except ValueError:
            raise bad_request(f'strconv.ParseInt: parsing "{found[key]}": invalid syntax') from None
        if number < least:
            problems.append(
                invalid(key, number, "must be greater than or equal to 0" if least == 0 else "must be greater than 0")
            )
    if "sinceSeconds" in found and "sinceTime" in found:
        problems.append(forbidden_field("[]", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    if problems:
        raise refused("", "PodLogOptions", ask.info.name, problems)
    return found


async def log(ask: Ask, parts: Parts) -> Response | None:
    pod = _pod(ask, parts)
    found = _log_options(ask)
    container = container_of(pod, ask.info.first("container"))
    node = (pod.get("spec") or {}).get("nodeName")
    if not node:
        return Response(204, b"", "")
    query = f"?{urlencode(found)}" if found else ""
    path = f"/containerLogs/{ask.info.namespace}/{ask.info.name}/{container}{query}"
    return await _forward(ask, parts, address_of(parts, node), "GET", path)


async def connect(ask: Ask, parts: Parts) -> Response | None:
    """exec, attach and portforward."""
    pod = _pod(ask, parts)
    kind = ask.info.subresource
    query = [(key, value) for key, values in ask.info.query.items() for value in values]
    path = f"/{'portForward' if kind == 'portforward' else kind}/{ask.info.namespace}/{ask.info.name}"
    if kind != "portforward":
        path += f"/{container_of(pod, ask.info.first('container'))}"
    node = (pod.get("spec") or {}).get("nodeName")
    if not node:
        raise bad_request(f"pod {ask.info.name} does not have a host assigned")
    names = {"command": "command", "stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
    if kind == "portforward":
        kept = [("port", one) for key, value in query if key == "ports" for one in value.split(",")]
    else:
        kept = [
            (names[key], "1" if value == "true" else value) for key, value in query if key in names and value != "false"
        ]
    target = f"{path}?{urlencode(kept)}" if kept else path
    return await _forward(ask, parts, address_of(parts, node), ask.request.method, target)


async def proxy(ask: Ask, parts: Parts) -> Response | None:
    """The proxies of nodes, pods and services."""
    info = ask.info
    rest = "/" + "/".join(info.rest)
    _, _, raw = ask.request.target.partition("?")
    target = f"{rest}?{raw}" if raw else rest
    if info.resource == "nodes":
        return await _forward(ask, parts, address_of(parts, info.name.split(":")[0]), info.method, target)
    scheme, name, port = _named(info.name)
    if info.resource == "pods":
        return await _forward(
            ask, parts, _pod_address(ask, parts, name, port), info.method, target, tls=scheme == "https"
        )
    return await _forward(
        ask, parts, _service_address(ask, parts, name, port), info.method, target, tls=scheme == "https"
    )


def _named(text: str) -> tuple[str, str, str]:
    """scheme, name and port of `[scheme:]name[:port]`."""
    parts = text.split(":")
    if len(parts) == 3:
        return parts[0], parts[1], parts[2]
    return "", parts[0], parts[1] if len(parts) == 2 else ""


def _pod_address(ask: Ask, parts: Parts, name: str, port: str) -> tuple[str, int]:
    pod = parts.lookup("pods", ask.info.namespace, name)
    if pod is None:
        raise not_found("", "pods", name)
    ip = (pod.get("status") or {}).get("podIP")
    if not ip:
        raise bad_request("address not allowed")
    if not port:
        ports = [
            one["containerPort"]
            for container in pod["spec"].get("containers") or ()
            for one in container.get("ports") or ()
        ]
        return ip, ports[0] if ports else 80
    return ip, int(port)


def _service_address(ask: Ask, parts: Parts, name: str, port: str) -> tuple[str, int]:
    slices = parts.registry.get("endpointslices", "discovery.k8s.io").collection
    for item in slices.select(ask.info.namespace):
        tree = item.shared
        if (tree["metadata"].get("labels") or {}).get("kubernetes.io/service-name") != name:
            continue
        for one in tree.get("ports") or ():
            if port in ("", one.get("name", ""), str(one.get("port"))):
                for endpoint in tree.get("endpoints") or ():
                    if (endpoint.get("conditions") or {}).get("ready") is not False and endpoint.get("addresses"):
                        return endpoint["addresses"][0], one["port"]
    raise StatusError(503, f'no endpoints available for service "{name}"')


_DROPPED = ("authorization", "host", "connection", "content-length", "transfer-encoding", "accept-encoding")


async def _forward(
    ask: Ask, parts: Parts, address: tuple[str, int], method: str, target: str, *, tls: bool | None = None
) -> Response | None:
    """Sends the request there and hands the answer back; an upgrade becomes a tunnel."""
    context = parts.kubelet_tls if tls is None else (parts.kubelet_tls if tls else None)
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(*address, ssl=context, limit=1 << 20), 10)
    except (OSError, TimeoutError) as error:
        text = f"error dialing backend: dial tcp {address[0]}:{address[1]}: {error}"
        raise StatusError(500, text, "", {}) from None
    request = ask.request
    headers = {key: value for key, value in request.headers.items() if key not in _DROPPED}
    upgrade = "upgrade" in request.headers
    protocols = headers.get("sec-websocket-protocol")
    if protocols:
        kept = [one.strip() for one in protocols.split(",") if "bearer.authorization" not in one]
        headers["sec-websocket-protocol"] = ", ".join(kept)
    headers |= {"host": f"{address[0]}:{address[1]}", "connection": "Upgrade" if upgrade else "close"}
    if not upgrade:
        headers["content-length"] = str(len(request.body))
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in headers.items()) + "\r\n"
    writer.write(head.encode() + (b"" if upgrade else request.body))
    try:
        answer = await reader.readuntil(b"\r\n\r\n")
        status = int(answer.split(b" ", 2)[1])
        if status == 101:
            await _tunnel(ask, reader, writer, answer)
            return None
        return await _relay(ask, reader, answer, status)
    except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
        raise StatusError(500, f"error dialing backend: {error}", "") from None
    finally:
        writer.close()


def _headers(answer: bytes) -> dict[str, str]:
    found = {}
    for line in answer.decode("latin-1").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            found[name.strip().lower()] = value.strip()
    return found


async def _relay(ask: Ask, reader: asyncio.StreamReader, answer: bytes, status: int) -> Response | None:
    headers = _headers(answer)
    media = headers.get("content-type", "text/plain")
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"])) if ask.request.method != "HEAD" else b""
        return Response(status, body, media)
    stream = ask.request.stream(status, media)
    chunked = headers.get("transfer-encoding", "").lower() == "chunked"
    pump = asyncio.ensure_future(_pump(reader, stream, chunked))
    try:
        await asyncio.wait([pump, stream.closed], return_when=asyncio.FIRST_COMPLETED)
    finally:
        pump.cancel()
        stream.end()
    return None


async def _pump(reader: asyncio.StreamReader, stream: Stream, chunked: bool) -> None:
    while True:
        if chunked:
            line = await reader.readline()
            size = int(line.split(b";")[0] or b"0", 16)
            if size == 0:
                return
            data = await reader.readexactly(size)
            await reader.readline()
        else:
            data = await reader.read(65536)
            if not data:
                return
        stream.write(data)
        await stream.drained()


async def _tunnel(ask: Ask, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """Both sides' bytes, until one of them ends."""
    side = ask.request.hijack()
    client = side.transport
    client.write(answer)
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def receive(data: bytes) -> None:
        writer.write(data)

    def closed() -> None:
        if not gone.done():
            gone.set_result(None)

    side.receive, side.closed = receive, closed
    if side.rest:
        writer.write(side.rest)

    async def back() -> None:
        while data := await reader.read(65536):
            client.write(data)
            await ask.request.connection.writable()

    pump = asyncio.ensure_future(back())
    try:
        await asyncio.wait([pump, gone], return_when=asyncio.FIRST_COMPLETED)
    finally:
        pump.cancel()
        client.close()
