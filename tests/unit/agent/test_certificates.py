"""Lifetimes, rotation, roots, and files written."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509 as real
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mizzen.agent.certificates import identity, merged_roots, write_identity
from mizzen.agent.csr import make
from mizzen.agent.rotation import renewal_delay, retry_delay
from mizzen.agent.x509 import lifetime
from mizzen.api.errors import PeerError


def certificate(begins: int, ends: int) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    moments = [datetime.datetime.fromtimestamp(moment, datetime.UTC) for moment in (begins, ends)]
    builder = real.CertificateBuilder().subject_name(real.Name([])).issuer_name(real.Name([]))
    builder = builder.public_key(key.public_key()).serial_number(1).not_valid_before(moments[0])
    made = builder.not_valid_after(moments[1]).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(("begins", "ends"), [(1_000_000_000, 1_000_003_600), (1_700_000_000, 2_600_000_000)])
def test_lifetime(begins: int, ends: int) -> None:
    assert lifetime(certificate(begins, ends)) == (begins, ends)


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_what_is_no_certificate(text: str) -> None:
    with pytest.raises(PeerError):
        lifetime(text)


@pytest.mark.parametrize(
    ("now", "ratio", "jitter", "chance", "expected"),
    [
        (0, 0.5, 0.0, 0.0, 50),
        (60, 0.5, 0.0, 0.0, 0),
        (0, 0.5, 0.1, 1.0, 40),
        (0, 0.5, 0.1, -1.0, 60),
        (0, 0.9, 0.5, 1.0, 0),
    ],
)
def test_renewal(now: float, ratio: float, jitter: float, chance: float, expected: float) -> None:
    assert renewal_delay(0, 100, now, ratio, jitter, chance) == pytest.approx(expected)


def test_retries_double() -> None:
    assert [round(retry_delay(attempt, 0.0), 3) for attempt in range(4)] == [0.1, 0.2, 0.4, 0.8]


@pytest.mark.parametrize(("algorithm", "curve"), [("ECDSA", "P256"), ("ECDSA", "P384"), ("RSA", "")])
def test_request(algorithm: str, curve: str) -> None:
    spiffe = "spiffe://cluster.local/ns/a/sa/b"
    options = {"spiffe": spiffe, "algorithm": algorithm, "curve": curve, "rsa_bits": 2048, "pkcs8": algorithm == "RSA"}
    made = make(options)
    csr = real.load_pem_x509_csr(made["csr"].encode())
    assert csr.is_signature_valid
    names = csr.extensions.get_extension_for_class(real.SubjectAlternativeName).value
    assert names.get_values_for_type(real.UniformResourceIdentifier) == [spiffe]
    assert ("BEGIN PRIVATE KEY" in made["key"]) is (algorithm == "RSA")


def test_roots_are_merged_and_sorted() -> None:
    one, two = certificate(1, 2), certificate(3, 4)
    assert merged_roots(one + two) == merged_roots(two, one + one)


def test_files(tmp_path: Path) -> None:
    made = identity("KEY", certificate(1, 2), certificate(3, 4))
    write_identity(made, tmp_path, in_cluster=False)
    assert (tmp_path / "key.pem").read_bytes() == b"KEY"
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "key.pem").stat().st_mtime_ns
    write_identity(made, tmp_path, in_cluster=True)
    assert (tmp_path / "key.pem").stat().st_mtime_ns == before
