"""Makes a private key and a certificate request, in a process of its own: cryptography's 12 MB leave with it.

Standard input: JSON {spiffe, algorithm, curve, rsa_bits, pkcs8}; standard output: JSON {key, csr}, both PEM.
Source: SPIFFE X.509-SVID (the URI is the only subject name). Not here: asking the CA (ca_client.py).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from mizzen.api.errors import UsageError


def make(options: Mapping[str, Any]) -> dict[str, str]:
    """Key and request. algorithm: ECDSA, or RSA; curve: P256 or P384."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if options["algorithm"] == "ECDSA":
        curves: dict[str, ec.EllipticCurve] = {"P256": ec.SECP256R1(), "P384": ec.SECP384R1()}
        key = ec.generate_private_key(curves[options["curve"]])
    else:
        key = rsa.generate_private_key(65537, options["rsa_bits"])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(options["spiffe"])])
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=True)
    form = serialization.PrivateFormat.PKCS8 if options["pkcs8"] else serialization.PrivateFormat.TraditionalOpenSSL
    pem = serialization.Encoding.PEM
    return {
        "key": key.private_bytes(pem, form, serialization.NoEncryption()).decode(),
        "csr": request.sign(key, hashes.SHA256()).public_bytes(pem).decode(),
    }


async def make_in_child(options: Mapping[str, Any]) -> tuple[str, str]:
    """(key, CSR) made by a child process. Raises UsageError when it fails."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mizzen.agent.csr",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")},
    )
    output, errors = await child.communicate(json.dumps(dict(options)).encode())
    if child.returncode:
        raise UsageError(f"no key could be made: {errors.decode(errors='replace').strip()[-500:]}")
    made = json.loads(output)
    return made["key"], made["csr"]


if __name__ == "__main__":
    json.dump(make(json.load(sys.stdin)), sys.stdout)
