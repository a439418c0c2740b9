"""The name table as DNS sees it: which question has which answer. Pure; no sockets, no DNS library.

Source: Istio's local DNS: hosts of Kubernetes answer to their shorter forms, others to their own name only, search
domains are answered by an alias. Not here: messages and forwarding (dns.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from mizzen.agent.messages import NameInfo

KUBERNETES = "Kubernetes"


class Found(msgspec.Struct, frozen=True):
    """A known name. alias: the name that a search expansion stands for, "" when the question is the name itself."""

    ips: tuple[str, ...]
    alias: str = ""


class Names:
    """One table, compiled. Names have a final dot and are in lower case."""

    def __init__(self, table: Mapping[str, NameInfo], namespace: str, domain: str, search: Iterable[str] = ()) -> None:
        self._ips: dict[str, tuple[str, ...]] = {}
        self._search = [f"{word.strip('.').lower()}." for word in search if word.strip(".")]
        for host, info in table.items():
            for name in names_of(host.lower(), info, namespace, domain.lower()):
                self._ips.setdefault(name, info.ips)

    def find(self, question: str) -> Found | None:
        """None for a name that is not in the table."""
        name = question.lower()
        ips = self._lookup(name)
        if ips is not None:
            return Found(ips)
        for suffix in self._search:
            if name.endswith(f".{suffix}"):
                shorter = name.removesuffix(suffix)
                ips = self._lookup(shorter)
                if ips is not None:
                    return Found(ips, shorter)
        return None

    def _lookup(self, name: str) -> tuple[str, ...] | None:
        """The addresses of a name, or of the nearest wildcard above it."""
        if name in self._ips:
            return self._ips[name]
        rest = name
        while "." in rest.rstrip("."):
            rest = rest.partition(".")[2]
            wildcard = f"*.{rest}"
            if wildcard in self._ips:
                return self._ips[wildcard]
        return None


def names_of(host: str, info: NameInfo, namespace: str, domain: str) -> list[str]:
    """The forms under which a host is known in a pod of that namespace and domain (`<ns>.svc.cluster.local`)."""
    result = [f"{host.rstrip('.')}."]
    cluster = domain.partition(".")[2] or domain  # svc.cluster.local
    if info.registry != KUBERNETES or not info.short_name or not host.endswith(f".{cluster}"):
        return result
    short = f"{info.short_name}.{info.namespace}".lower()
    result += [f"{short}.", f"{short}.{cluster.partition('.')[0]}."]
    if info.namespace == namespace:
        result.append(f"{info.short_name}.".lower())
    return result
