"""TLS of the webhooks' port. Not here: the gRPC port's (rpc/server.py)."""

from __future__ import annotations

import ssl

from mizzen.kube.kubeconfig import load_cert_chain


def https_context(chain: bytes, key: bytes) -> ssl.SSLContext:
    """TLS 1.2 or newer for the webhooks; clients are not asked for certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_cert_chain(context, chain, key)
    return context
