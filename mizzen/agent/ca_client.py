"""Asks istiod for a certificate: IstioCertificateService.CreateCertificate, with retries.

Not here: keys and requests (csr.py), when to ask (certificates.py).
"""

from __future__ import annotations

import asyncio
import logging
import random

from mizzen.agent.channel import Target, call_metadata
from mizzen.agent.environment import Environment
from mizzen.agent.grpc_stream import CallFailed
from mizzen.agent.messages import certificate_chain, certificate_request
from mizzen.agent.rotation import retry_delay
from mizzen.agent.trust import token

log = logging.getLogger("mizzen.agent.ca")

METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
RETRIED = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNAVAILABLE"})
ATTEMPTS, TIMEOUT_S = 6, 10.0


async def create_certificate(target: Target, environment: Environment, csr: str) -> list[str]:
    """The chain: leaf, intermediates, root bundle. Raises PeerError after the last attempt."""
    extra = {"CertSigner": environment.cert_signer} if environment.cert_signer else {}
    request = certificate_request(csr, int(environment.secret_ttl_s), extra)
    for attempt in range(ATTEMPTS):
        metadata = call_metadata(environment.cluster_id, token(), environment.headers["CA"])
        try:
            return certificate_chain(await target.unary(METHOD, request, metadata, TIMEOUT_S))
        except CallFailed as error:
            if error.code not in RETRIED or attempt == ATTEMPTS - 1:
                raise
            log.warning("certificate request failed, trying again: %s", error)
            await target.renew()
            await asyncio.sleep(retry_delay(attempt, random.uniform(-1, 1)))
    raise AssertionError("unreachable")
