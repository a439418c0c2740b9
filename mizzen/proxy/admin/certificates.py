"""/certs: the certificates in use (envoy.admin.v3.Certificates)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from mizzen.proxy.admin.answers import JSON, Answer, as_json

if TYPE_CHECKING:
    from mizzen.proxy.server import Server


def certs(server: Server, query: dict[str, str], body: bytes) -> Answer:
    return Answer(as_json({"certificates": certificates(server)}), JSON)


def certificates(server: Server) -> list[dict[str, Any]]:
    """The certificates in use, each with its chain's facts."""
    configs = []
    for slot in server.listeners.slots.values():
        configs += [chain.tls.tls for chain in slot.listener.all_chains() if chain.tls is not None]
    for cluster in server.clusters.active.values():
        configs += [transport.tls.tls for transport in cluster.transports() if transport.tls is not None]
    out, seen = [], set()
    for config in configs:
        entry: dict[str, Any] = {"ca_cert": [], "cert_chain": []}
        for secret in config.certificates:
            if secret.message is not None:
                entry["cert_chain"].append(certificate_facts(secret.message.certificate_chain))
        validation = config.validation
        if validation is not None and validation.message is not None and validation.message.HasField("trusted_ca"):
            entry["ca_cert"].append(certificate_facts(validation.message.trusted_ca))
        key = json.dumps(entry, sort_keys=True)
        if key not in seen:
            seen.add(key)
            out.append(entry)
    return out


def certificate_facts(source: Any) -> dict[str, Any]:
    from mizzen.proxy.accesslog.format import data_source_bytes
    from mizzen.proxy.net.tls_context import leaf_of

    cert = leaf_of(data_source_bytes(source))
    sans = (
        [{"uri": uri} for uri in cert.uris]
        + [{"dns": dns} for dns in cert.dns]
        + [{"ip_address": ip} for ip in cert.ips]
    )
    days = int((cert.not_after.timestamp() - time.time()) // 86400)
    return {
        "path": source.filename or "<inline>",
        "serial_number": cert.serial,
        "subject_alt_names": sans,
        "days_until_expiration": str(max(0, days)),
        "valid_from": cert.not_before.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "expiration_time": cert.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
