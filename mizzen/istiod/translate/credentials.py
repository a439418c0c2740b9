"""Names of credentials: what Gateways and DestinationRules call them, and the SDS resource that this means.

Not here: how a proxy asks for them (security/sds.py), the secrets themselves (secrets.py).
"""

from __future__ import annotations

from typing import Any

from mizzen.istiod.translate.security import sds

CA_SUFFIX = "-cacert"
BUILTIN = "builtin://"
SCHEMES = ("kubernetes://", "kubernetes-gateway://", "configmap://", BUILTIN, "invalid://", "sds://")


def credential_name(name: str) -> str:
    """A credential's resource name: as given with its scheme, else a Secret of Kubernetes; "" for none."""
    return name if not name or name.startswith(SCHEMES) else f"kubernetes://{name}"


def credential_secret(name: str) -> Any:
    """Where the proxy gets it: from istiod by that name, a built-in one from its agent."""
    if name.startswith(BUILTIN):
        return sds.workload(sds.ROOT if name.endswith(CA_SUFFIX) else sds.WORKLOAD)
    return sds.credential(name)


def file_certificate(certificate: str, key: str) -> str:
    """The name of a certificate and key in files."""
    return f"file-cert:{certificate}~{key}"


def file_root(path: str) -> str:
    """The name of trusted roots in a file."""
    return f"file-root:{path}"
