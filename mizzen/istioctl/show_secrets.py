"""Secrets, the bootstrap and extension configurations as `proxy-config` shows them.

Takes Envoy's JSON, gives rows or lines. Not here: fetching it, printing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from datetime import UTC, datetime

from cryptography import x509

from mizzen.istioctl.envoy_dump import Json

HEADER = ("RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE")
ECDS_HEADER = ("ECDS NAME", "TYPE")
NONE = "No active or warming secrets found.\n"


def rows(secrets: Iterable[tuple[str, str, Json]], now: datetime) -> list[tuple[str, ...]]:
    """One row a secret. A certificate that cannot be read is shown without dates."""
    out: list[tuple[str, ...]] = []
    for name, status, secret in secrets:
        kind, data = _pem(secret)
        try:
            certificate = x509.load_pem_x509_certificate(data) if data else None
        except ValueError:
            certificate = None
        if certificate is None:
            out.append((name, kind, status, "false", "", "", ""))
            continue
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        valid = str(start <= now <= end).lower()
        out.append((name, kind, status, valid, f"{certificate.serial_number:x}", _time(end), _time(start)))
    return out


def _pem(secret: Json) -> tuple[str, bytes]:
    if "validation_context" in secret:
        kind, source = "CA", secret["validation_context"].get("trusted_ca", {})
    else:
        kind, source = "Cert Chain", secret.get("tls_certificate", {}).get("certificate_chain", {})
    try:
        text = source.get("inline_string", "").encode() or base64.b64decode(source.get("inline_bytes", ""))
    except binascii.Error:
        text = b""
    return kind, text


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def extension_rows(extensions: Iterable[Json]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for extension in extensions:
        kind = extension.get("typed_config", {}).get("@type", "")
        rows.append((str(extension.get("name", "")), str(kind).rpartition("/")[2]))
    return rows


def bootstrap_lines(dump: Json) -> str:
    """The versions that the bootstrap's node tells."""
    node = dump.get("bootstrap", {}).get("node", {})
    metadata = node.get("metadata", {})
    version = node.get("user_agent_build_version", {})
    numbers = version.get("version", {})
    envoy = ".".join(str(numbers.get(part, 0)) for part in ("major_number", "minor_number", "patch"))
    label = version.get("metadata", {}).get("build.label", "")
    return (
        f"Istio Version: {metadata.get('ISTIO_VERSION', '')}\n"
        f"Istio Proxy Version: {metadata.get('ISTIO_PROXY_SHA', '')}\n"
        f"Envoy Version: {envoy}{'/' + label if label else ''}\n"
    )
