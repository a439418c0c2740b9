"""SPIFFE identities of workloads: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.

Takes and gives strings and one small value. Not here: who proved what (authenticate.py).
"""

from __future__ import annotations

from typing import NamedTuple

SCHEME = "spiffe://"


class Identity(NamedTuple):
    """A workload's identity."""

    trust_domain: str
    namespace: str
    service_account: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"


def parse(uri: str) -> Identity | None:
    """The identity that a URI names; None for any other form: it has exactly five segments after the scheme."""
    if not uri.startswith(SCHEME):
        return None
    parts = uri.removeprefix(SCHEME).split("/")
    if len(parts) != 5 or parts[1] != "ns" or parts[3] != "sa" or not all(parts):
        return None
    return Identity(parts[0], parts[2], parts[4])


def trust_domain(name: str) -> str:
    """A trust domain as it stands in an identity: `@` becomes `.`."""
    return name.replace("@", ".")
