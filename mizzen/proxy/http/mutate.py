"""What a connection manager adds to, corrects in and removes from every request and response.

Pure but for the headers it is given: client addresses, forwarded headers, internal headers, request ids, paths.
Source: Envoy's conn_manager_utility (x-forwarded-for, use_remote_address, path normalisation).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mizzen.proxy.codec.headers import RequestHeaders, ResponseHeaders
from mizzen.proxy.config.matchers import ip_number
from mizzen.proxy.http.identity import request_id
from mizzen.proxy.net.local import local_address

if TYPE_CHECKING:
    from mizzen.proxy.config.hcm import Hcm
    from mizzen.proxy.http.stream import Stream
    from mizzen.proxy.http.stream_response import ResponseSide

EXTERNAL_STRIPPED: Final = (
    "x-envoy-retriable-status-codes", "x-envoy-retriable-header-names", "x-envoy-retry-on", "x-envoy-retry-grpc-on",
    "x-envoy-max-retries", "x-envoy-upstream-alt-stat-name", "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms", "x-envoy-upstream-rq-timeout-alt-response", "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace", "x-envoy-ip-tags", "x-envoy-original-url", "x-envoy-hedge-on-per-try-timeout", "x-envoy-internal",
)  # fmt: skip
EDGE_STRIPPED: Final = (
    "x-envoy-decorator-operation", "x-envoy-downstream-service-cluster", "x-envoy-downstream-service-node", "x-envoy-original-path",
    "x-envoy-original-host",
)  # fmt: skip
EXTERNAL_SET: Final = frozenset(EXTERNAL_STRIPPED)
HOP_SET: Final = frozenset(("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"))
SPECIAL_SET: Final = EXTERNAL_SET | HOP_SET  # most requests have none of them
HOP_REQUEST: Final = (
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "te",
    "x-envoy-internal",
)
HOP_RESPONSE: Final = ("connection", "transfer-encoding", "keep-alive", "proxy-connection", "upgrade")
HOP_RESPONSE_SET: Final = frozenset(HOP_RESPONSE)


def last_address(xff: str, hops: int) -> tuple[str | None, bool]:
    """The address `hops` from the right of an X-Forwarded-For, and whether it is the only one there."""
    parts = xff.split(",")
    if len(parts) <= hops:
        return None, False
    text = parts[-1 - hops].strip()
    if not ip_number(text)[0]:
        return None, False
    return text, len(parts) == 1


def mutate_request(hcm: Hcm, stream: Stream, request: RequestHeaders) -> None:
    """Correct a request's head as a proxy must before it is routed."""
    d = request.d
    special = not SPECIAL_SET.isdisjoint(d)
    if special and not HOP_SET.isdisjoint(d):
        te = d.get("te")
        for name in HOP_REQUEST[:5]:
            if name in d:
                request.remove(name)
        if te is not None:
            if "trailers" in [part.split(";")[0].strip().lower() for part in (request.joined("te") or "").split(",")]:
                request.set("te", "trailers")
            else:
                request.remove("te")
    conn = stream.conn
    xff = d.get("x-forwarded-for")
    address: str | None = None
    single = False
    if hcm.use_remote_address:
        single = xff is None
        remote = conn.remote[0]
        address = remote
        if hcm.xff_hops > 0 and xff is not None:
            hop, _ = last_address(request.joined("x-forwarded-for") or "", hcm.xff_hops - 1)
            if hop is not None:
                address = hop
        if not hcm.skip_xff_append:
            own = local_address() if remote in ("127.0.0.1", "::1") else remote
            request.set("x-forwarded-for", own if xff is None else f"{request.joined('x-forwarded-for')},{own}")
        if hcm.xff_hops == 0 or "x-forwarded-proto" not in d:
            request.set("x-forwarded-proto", "http" if conn.tls is None else "https")
        if hcm.append_x_forwarded_port and (hcm.xff_hops == 0 or "x-forwarded-port" not in d):
            request.set("x-forwarded-port", str(conn.local[1]))
    else:
        if xff is not None:
            address, single = last_address(request.joined("x-forwarded-for") or "", hcm.xff_hops)
        if "x-forwarded-proto" not in d:
            d["x-forwarded-proto"] = "http" if conn.tls is None else "https"
        if hcm.append_x_forwarded_port and "x-forwarded-port" not in d:
            d["x-forwarded-port"] = str(conn.local[1])
    proto = d.get("x-forwarded-proto", "").lower()
    if not request.scheme or hcm.scheme_match_upstream is None:
        request.scheme = proto if proto in ("http", "https") else ("http" if conn.tls is None else "https")
    if address is not None:
        if xff is not None and address != conn.remote[0]:
            stream.remote = (address, 0)
        internal = single and hcm.internal is not None and hcm.internal.contains(address)
    else:
        internal = False
    stream.internal = internal
    edge = not internal and hcm.use_remote_address
    if internal:
        d["x-envoy-internal"] = "true"
    else:
        if edge:
            for name in EDGE_STRIPPED:
                d.pop(name, None)
            request.set("x-envoy-external-address", address or conn.remote[0])
        if special and not EXTERNAL_SET.isdisjoint(d):
            for name in EXTERNAL_STRIPPED:
                if name in d:
                    request.remove(name)
        table = hcm.routes.table
        for name in table.internal_only if table is not None else ():
            if name in d:
                request.remove(name)
    if hcm.user_agent:
        d.setdefault("user-agent", hcm.user_agent)
        request.set("x-envoy-downstream-service-cluster", hcm.user_agent)
        if hcm.service_node:
            request.set("x-envoy-downstream-service-node", hcm.service_node)
    if hcm.via:
        via = d.get("via")
        request.set("via", hcm.via if via is None else f"{via}, {hcm.via}")
    sent_id = d.get("x-request-id")
    if hcm.generate_request_id and (sent_id is None or (edge and not hcm.preserve_request_id)):
        if request.more is None:
            d["x-request-id"] = request_id()
        else:
            request.set("x-request-id", request_id())
    if hcm.xfcc_active:
        mutate_xfcc(hcm, stream, request)


def mutate_xfcc(hcm: Hcm, stream: Stream, request: RequestHeaders) -> None:
    """x-forwarded-client-cert by the configured mode. Modes: 0 SANITIZE, 1 FORWARD_ONLY, 2 APPEND_FORWARD, 3 SANITIZE_SET, 4 ALWAYS_FORWARD_ONLY."""  # noqa: E501
    mode, name = hcm.xfcc_mode, "x-forwarded-client-cert"
    tls = stream.conn.tls
    if mode == 4:
        return
    if mode == 0 or tls is None or (mode != 1 and not (tls.peer_der is not None)):
        request.remove(name)
        return
    if mode == 1:
        return
    peer = tls.peer
    if peer is None:
        request.remove(name)
        return
    parts: list[str] = []
    local = tls.local
    if local is not None and local.uris:
        parts += [f"By={uri}" for uri in local.uris[:1]]
    elif local is not None and local.dns:
        parts += []
    parts.append(f"Hash={peer.fingerprint_256}")
    current = hcm.xfcc_details
    if "cert" in current:
        parts.append(f'Cert="{url_pem(peer.der)}"')
    if "chain" in current:
        parts.append(f'Chain="{url_pem(peer.der)}"')
    if "subject" in current:
        subject = peer.subject.replace('"', '\\"')
        parts.append(f'Subject="{subject}"')
    if "uri" in current:
        parts += [f"URI={uri}" for uri in peer.uris] or ["URI="]
    if "dns" in current:
        parts += [f"DNS={dns}" for dns in peer.dns]
    text = ";".join(parts)
    before = request.joined(name)
    request.set(name, f"{before},{text}" if mode == 2 and before else text)


def url_pem(der: bytes) -> str:
    import ssl
    from urllib.parse import quote

    return quote(ssl.DER_cert_to_PEM_cert(der), safe="")


def mutate_response(hcm: Hcm, stream: ResponseSide, response: ResponseHeaders) -> None:
    """Hop-by-hop fields out, server and request id in."""
    d = response.d
    if not HOP_RESPONSE_SET.isdisjoint(d):
        upgrade = response.status == 101 and stream.upgrade
        for name in HOP_RESPONSE:
            if name in d and not (upgrade and name in ("connection", "upgrade")):
                response.remove(name)
    if hcm.request_id_in_response and stream.request is not None:
        sent = stream.request.d.get("x-request-id")
        if sent is not None:
            d["x-request-id"] = sent
    if hcm.via:
        via = d.get("via")
        d["via"] = hcm.via if via is None else f"{via}, {hcm.via}"


# --- paths ---

KEEP: Final = 1
REJECT: Final = 2
REDIRECT: Final = 3
FORWARD: Final = 4
ESCAPED_SLASH: Final = re.compile(r"%2[fF]|%5[cC]")
HEX: Final = set("0123456789abcdefABCDEF")
UNRESERVED: Final = re.compile(r"%([2-7][0-9a-fA-F])")


def normalise_path(hcm: Any, request: RequestHeaders) -> str:
    """Normalise request.path in place. Gives "" when it may go on, "reject" or "redirect" otherwise."""
    path = request.path
    if path[:1] != "/" or (not hcm.normalize_path and not hcm.merge_slashes and hcm.escaped_slashes == KEEP):
        return ""
    body, mark, query = path.partition("?")
    outcome = ""
    if hcm.escaped_slashes != KEEP and ESCAPED_SLASH.search(body):
        if hcm.escaped_slashes == REJECT:
            return "reject"
        body = ESCAPED_SLASH.sub(lambda found: "/" if found[0][1] == "2" else "\\", body)
        if hcm.escaped_slashes == REDIRECT:
            outcome = "redirect"
    if hcm.normalize_path:
        canonical = canonical_path(body)
        if canonical is None:
            return "reject"
        body = canonical
    if hcm.merge_slashes:
        body = re.sub(r"/{2,}", "/", body)
    if outcome == "redirect" and not hcm.normalize_path:
        body = body.replace("\\", "/")
    request.path = body + mark + query
    return outcome


def canonical_path(path: str) -> str | None:
    """RFC 3986 dot segments removed, needless escapes decoded, backslashes turned; None for a path that must be refused."""
    if "%00" in path:
        return None
    at = path.find("%")
    if at >= 0:
        for i in range(at, len(path)):
            if path[i] == "%" and not (len(path) > i + 2 and path[i + 1] in HEX and path[i + 2] in HEX):
                return None
        path = UNRESERVED.sub(decode_unreserved, path)
    path = path.replace("\\", "/")
    out: list[str] = []
    parts = path.split("/")
    for i, part in enumerate(parts[1:], 1):
        last = i == len(parts) - 1
        if part == ".":
            if last:
                out.append("")
        elif part == "..":
            if out:
                out.pop()
            if last:
                out.append("")
        else:
            out.append(part)
    return "/" + "/".join(out)


def decode_unreserved(found: re.Match[str]) -> str:
    char = chr(int(found[1], 16))
    return char if char.isascii() and (char.isalnum() or char in "-._~") else found[0]
