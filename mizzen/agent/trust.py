"""Where tokens, certificates and roots lie, and which of them counts.

Paths are relative to the process' folder (/ in a pod), as Istio's are. Not here: what is done with them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mizzen.agent.environment import Environment
from mizzen.api.errors import UsageError

TOKEN = Path("./var/run/secrets/tokens/istio-token")
ISTIO_ROOT = Path("./var/run/secrets/istio/root-cert.pem")
LEGACY = Path("./etc/certs")
WORKLOAD_SOCKETS = Path("./var/run/secrets/workload-spiffe-uds")
FILES_SOCKET = Path("./var/run/secrets/credential-uds/files-socket")
CREDENTIAL_SOCKET = Path("./var/run/secrets/credential-uds/socket")
CREDENTIALS = Path("./var/run/secrets/workload-spiffe-credentials")
CRL = Path("./var/run/secrets/istio/crl/ca-crl.pem")
SYSTEM = "SYSTEM"
SYSTEM_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


class Files(msgspec.Struct, frozen=True):
    """A certificate that is mounted."""

    chain: Path
    key: Path
    root: Path

    @property
    def present(self) -> bool:
        return self.chain.is_file() and self.key.is_file() and self.root.is_file()


def mounted_files(environment: Environment, metadata: Mapping[str, object]) -> Files | None:
    """The workload's certificate when it is a matter of files, else None."""
    folders = [CREDENTIALS, LEGACY]
    for folder in folders:
        files = Files(folder / "cert-chain.pem", folder / "key.pem", folder / "root-cert.pem")
        if files.present:
            return files
    if environment.file_mounted_certs:
        chain, key = metadata.get("TLS_CLIENT_CERT_CHAIN"), metadata.get("TLS_CLIENT_KEY")
        root = metadata.get("TLS_CLIENT_ROOT_CERT")
        if chain and key and root:
            return Files(Path(str(chain)), Path(str(key)), Path(str(root)))
        raise UsageError("FILE_MOUNTED_CERTS: ISTIO_META_TLS_CLIENT_CERT_CHAIN, _KEY and _ROOT_CERT are needed")
    return None


def client_files(environment: Environment, metadata: Mapping[str, object]) -> Files | None:
    """The certificate that the agent itself shows to the control plane, if it does."""
    if environment.prov_cert:
        folder = Path(environment.prov_cert)
        return Files(folder / "cert-chain.pem", folder / "key.pem", folder / "root-cert.pem")
    return mounted_files(environment, metadata) if environment.file_mounted_certs else None


def system_roots() -> Path:
    """The operating system's bundle. Raises UsageError when there is none."""
    for name in SYSTEM_BUNDLES:
        if os.path.isfile(name):
            return Path(name)
    raise UsageError("no bundle of root certificates on this system")


def xds_root(environment: Environment, metadata: Mapping[str, object]) -> Path:
    """The file that discovery servers are verified with."""
    if environment.xds_root_ca:
        return system_roots() if environment.xds_root_ca == SYSTEM else Path(environment.xds_root_ca)
    if (LEGACY / "root-cert.pem").is_file():
        return LEGACY / "root-cert.pem"
    if environment.prov_cert:
        return Path(environment.prov_cert) / "root-cert.pem"
    if environment.file_mounted_certs and metadata.get("TLS_CLIENT_ROOT_CERT"):
        return Path(str(metadata["TLS_CLIENT_ROOT_CERT"]))
    return ISTIO_ROOT


def ca_root(environment: Environment) -> Path:
    """The file that the CA is verified with."""
    if environment.ca_root_ca:
        return system_roots() if environment.ca_root_ca == SYSTEM else Path(environment.ca_root_ca)
    if environment.pilot_cert_provider == "custom" and (LEGACY / "root-cert.pem").is_file():
        return LEGACY / "root-cert.pem"
    if environment.prov_cert:
        return Path(environment.prov_cert) / "root-cert.pem"
    return ISTIO_ROOT


def token() -> str | None:
    """The service account's token, read anew each time: the kubelet renews it."""
    try:
        return TOKEN.read_text().strip() or None
    except OSError:
        return None
