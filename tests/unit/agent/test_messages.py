"""The hand-written messages read and write what Envoy's and Istio's own protos do."""

from __future__ import annotations

import pytest
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given
from hypothesis import strategies as st

from mizzen.agent import messages as m
from mizzen.agent.protowire import field, fields, read_varint
from mizzen.api.errors import PeerError
from mizzen.wire import istio_ca
from mizzen.wire.istio import NameTable
from mizzen.wire.varint import varint


@given(st.integers(0, 2**64 - 1))
def test_varint(number: int) -> None:
    assert read_varint(varint(number), 0) == (number, len(varint(number)))


@given(st.binary(max_size=40))
def test_any_bytes_are_fields_or_a_clean_error(data: bytes) -> None:
    try:
        for number, value in fields(data):
            assert number >= 0
            assert isinstance(value, bytes | int)
    except PeerError:
        pass


@pytest.mark.parametrize("delta", [False, True])
def test_requests(delta: bool) -> None:
    kind = discovery_pb2.DeltaDiscoveryRequest if delta else discovery_pb2.DiscoveryRequest
    data = m.write_request(delta, m.SECRET, version="v", nonce="n", names=["a", "b"], error=(3, "why"))
    told = kind.FromString(data)
    assert (told.type_url, told.error_detail.code, told.error_detail.message) == (m.SECRET, 3, "why")
    read = m.read_request(told.SerializeToString(), delta)
    assert (read.type_url, read.nonce, read.names, read.error) == (m.SECRET, "n", ("a", "b"), "why")
    assert read.version == ("" if delta else "v")


@pytest.mark.parametrize("delta", [False, True])
def test_responses(delta: bool) -> None:
    kind = discovery_pb2.DeltaDiscoveryResponse if delta else discovery_pb2.DiscoveryResponse
    secrets = {"default": m.key_secret("default", b"CHAIN", b"KEY"), "ROOTCA": m.root_secret("ROOTCA", b"ROOT", "/crl")}
    data = m.write_response(delta, m.SECRET, "7", "n", secrets)
    told = kind.FromString(data)
    assert m.response_type(data) == told.type_url == m.SECRET
    packed = [item.resource if delta else item for item in told.resources]
    read = [secret_pb2.Secret.FromString(item.value) for item in packed]
    assert read[0].tls_certificate.certificate_chain.inline_bytes == b"CHAIN"
    assert read[0].tls_certificate.private_key.inline_bytes == b"KEY"
    assert read[1].validation_context.trusted_ca.inline_bytes == b"ROOT"
    assert read[1].validation_context.crl.filename == "/crl"
    again = m.read_response(told.SerializeToString(), delta)
    assert again == m.Response(m.SECRET, "7", "n", tuple(secrets.values()))


def test_certificate_service() -> None:
    told = istio_ca.CertificateRequest.FromString(m.certificate_request("CSR", 3600, {"CertSigner": "s"}))
    assert (told.csr, told.validity_duration, dict(told.metadata)) == ("CSR", 3600, {"CertSigner": "s"})
    answer = istio_ca.CertificateResponse(cert_chain=["leaf", "root"])
    assert m.certificate_chain(answer.SerializeToString()) == ["leaf", "root"]
    with pytest.raises(PeerError, match="1 certificates"):
        m.certificate_chain(istio_ca.CertificateResponse(cert_chain=["leaf"]).SerializeToString())


def test_name_table() -> None:
    told = NameTable()
    entry = told.table["details.shop.svc.cluster.local"]
    entry.ips.extend(["10.0.0.1", "fd00::1"])
    entry.registry, entry.shortname, entry.namespace = "Kubernetes", "details", "shop"
    read = m.name_table(told.SerializeToString())
    expected = m.NameInfo(("10.0.0.1", "fd00::1"), "Kubernetes", "details", "shop")
    assert read == {"details.shop.svc.cluster.local": expected}


def test_health_report() -> None:
    told = discovery_pb2.DiscoveryRequest.FromString(m.health_request(False, b"", healthy=False, message="down"))
    assert (told.type_url, told.error_detail.code, told.error_detail.message) == (m.HEALTH, 13, "down")
    assert field(1, None) == b""
