"""The mesh's trust anchors: where they come from, what is kept when a source fails."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mizzen.api.errors import PeerError
from mizzen.api.istio.mesh import CertificateData, MeshConfig
from mizzen.istiod.ca import bundle
from mizzen.istiod.ca.authority import Authority
from mizzen.istiod.ca.trust_bundle import RETRY_S, TrustBundle, bundle_certificates
from mizzen.istiod.config.store import ConfigStore
from mizzen.istiod.trust import KEY

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OWN, NAMED, SPIFFE = (bundle.self_signed(name, NOW) for name in ("own", "named", "spiffe"))
URL = "https://bundles.example.test/mesh"


def spiffe_bundle(*entries: dict[str, object]) -> str:
    return json.dumps({"keys": list(entries)})


def entry(ca: bundle.Bundle, use: str = "x509-svid") -> dict[str, object]:
    return {"use": use, "kty": "EC", "x5c": [base64.b64encode(ca.certificate.public_bytes(Encoding.DER)).decode()]}


async def test_all_sources_and_one_that_fails_later() -> None:
    store, answers = ConfigStore(), {URL: spiffe_bundle(entry(SPIFFE), entry(NAMED, "jwt-svid"))}
    mesh = MeshConfig(ca_certificates=(CertificateData(pem=NAMED.roots), CertificateData(spiffe_bundle_url=URL)))

    async def fetch(url: str) -> str:
        if url not in answers:
            raise PeerError("gone")
        return answers[url]

    trust = TrustBundle(Authority(OWN, "own"), lambda: mesh, store, fetch)
    await trust.look(0.0)
    assert set(store.objects[KEY].certificates) == {OWN.roots, NAMED.roots, SPIFFE.roots}
    answers.clear()
    await trust.look(1e6)
    assert set(store.objects[KEY].certificates) == {OWN.roots, NAMED.roots, SPIFFE.roots}, "the last good one stays"
    answers[URL] = spiffe_bundle()
    await trust.look(1e6 + RETRY_S)
    assert set(store.objects[KEY].certificates) == {OWN.roots, NAMED.roots}
    mesh = MeshConfig()
    await trust.look(1e6 + RETRY_S)
    assert store.objects[KEY].certificates == (OWN.roots,)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"keys": [{"use": "x509-svid"}]}', '{"keys": [{"use": "x509-svid", "x5c": ["!"]}]}']
)
def test_what_is_no_bundle(text: str) -> None:
    with pytest.raises(PeerError, match="gives no SPIFFE bundle"):
        bundle_certificates(text, URL)
