"""Host names as Istio compares them: exact names and names with one leading wildcard label.

Takes strings, gives booleans or the best key of a table. Not here: URL authorities with ports, DNS look-ups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def is_wildcard(host: str) -> bool:
    """Whether the host begins with `*`."""
    return host.startswith("*")


def subset_of(host: str, other: str) -> bool:
    """Whether every name that `host` stands for is one that `other` stands for."""
    if is_wildcard(other):
        tail = other[1:]
        if is_wildcard(host):
            return len(host) >= len(other) and host[1:].endswith(tail)
        return host.endswith(tail)
    return host == other


def overlaps(host: str, other: str) -> bool:
    """Whether some name is meant by both."""
    if is_wildcard(host) and is_wildcard(other):
        return host[1:].endswith(other[1:]) or other[1:].endswith(host[1:])
    return subset_of(host, other) or subset_of(other, host)


def most_specific_first(hosts: Iterable[str]) -> list[str]:
    """Exact names before wildcards, longer before shorter, then by name."""
    return sorted(hosts, key=lambda h: (is_wildcard(h), -len(h), h))


def best_match(host: str, exact: Mapping[str, T], wildcards: Mapping[str, T]) -> tuple[str, T] | None:
    """The entry whose key is the most specific one that covers `host`, with its key; None when there is none.

    exact: entries with plain names; wildcards: entries whose key begins with `*`.
    """
    if is_wildcard(host):
        found = wildcards.get(host)
    else:
        found = exact.get(host)
    if found is not None:
        return host, found
    best = ""
    for pattern in wildcards:
        if len(pattern) > len(best) and subset_of(host, pattern):
            best = pattern
    return (best, wildcards[best]) if best else None


def resolve_host(host: str, namespace: str, domain: str) -> str:
    """A short name (no dot) as the service it means in `namespace`; anything else unchanged.

    domain: the cluster domain; with "" the name becomes `host.namespace` only.
    """
    if not host or "." in host or host == "*":
        return host
    if not namespace:
        return host
    return f"{host}.{namespace}.svc.{domain}" if domain else f"{host}.{namespace}"
