"""Writes kubeconfig files for the API server's users. Takes credentials, gives a file that only its owner reads."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .certs import write_private


def kubeconfig(
    server: str, ca: bytes, users: Mapping[str, dict[str, Any]], cluster: str = "mizzen", current: str = "admin"
) -> bytes:
    """A kubeconfig with one context per user. users: name → kubeconfig user entry (token, client-certificate-data …)."""
    contexts = [{"name": name, "context": {"cluster": cluster, "user": name}} for name in users]
    tree = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": cluster,
                "cluster": {"server": server, "certificate-authority-data": base64.b64encode(ca).decode()},
            }
        ],
        "users": [{"name": name, "user": dict(user)} for name, user in users.items()],
        "contexts": contexts,
        "current-context": current,
    }
    return yaml.safe_dump(tree, sort_keys=False).encode()


def certificate_user(certificate: bytes, key: bytes) -> dict[str, Any]:
    return {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }


def write(path: Path, content: bytes) -> None:
    write_private(path, content)
