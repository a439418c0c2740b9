"""Names under which clients ask for a service: the domains of its virtual host.

Takes host names and the DNS domain of the asking proxy, gives domains. Not here: which virtual hosts there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache

from mizzen.istiod.registry.model import UNSPECIFIED, Service
from mizzen.istiod.translate.addresses import in_authority

NONE, OTHER, OWN = 0, 1, 2


def short_names(host: str, dns_domain: str) -> tuple[str, ...]:
    """Shorter forms of a Kubernetes service's name that resolve where `dns_domain` is searched.

    host: "a.ns.svc.cluster.local"; dns_domain: "<namespace>.svc.<domain>". Nothing for other kinds of host.
    """
    return _short_forms(host, distance(host, dns_domain))


def distance(host: str, dns_domain: str) -> int:
    """How short a name may be where `dns_domain` is searched: OWN = alone, OTHER = with its namespace, NONE = not at all."""
    end = host.find(".svc.")
    at = dns_domain.find(".svc.")
    if at < 0 or end <= 0:
        return NONE
    dot = host.find(".")
    if dot == end:
        return NONE
    return OWN if host[dot + 1 : end] == dns_domain[:at] else OTHER


def _short_forms(host: str, near: int) -> tuple[str, ...]:
    if near == NONE:
        return ()
    qualified = host[: host.find(".svc.")]
    if near == OWN:
        return qualified.partition(".")[0], f"{qualified}.svc", qualified
    return qualified, f"{qualified}.svc"


def service_domains(
    svc: Service, address: str, dns_domain: str, port: int | None
) -> tuple[tuple[str, ...], frozenset[str]]:
    """The domains of a service's virtual host, and which of them are short forms of names.

    address: its virtual IP for this proxy; port: also list every domain with this port, None = without only.
    """
    hosts = (svc.host, *svc.aliases) if svc.aliases else (svc.host,)
    near = tuple(distance(host, dns_domain) for host in hosts)
    return _domains(hosts, near, svc.is_headless, address, port)


@lru_cache(maxsize=65536)
def _domains(
    hosts: tuple[str, ...], near: tuple[int, ...], headless: bool, address: str, port: int | None
) -> tuple[tuple[str, ...], frozenset[str]]:
    names: list[str] = []
    short: set[str] = set()
    for host, near_by in zip(hosts, near, strict=True):
        expansions = _short_forms(host, near_by)
        names += [host, f"{host}.", *expansions]
        short.update(expansions)
    if headless:
        names += [f"*.{name}" for name in names]
    if address != UNSPECIFIED:
        names.append(in_authority(address))
    if port is not None:
        names = [domain for name in names for domain in (name, f"{name}:{port}")]
    return tuple(names), frozenset(short)


def unclaimed(domains: Iterable[str], claimed: set[str], short: Collection[str], known: Collection[str]) -> list[str]:
    """The domains that no earlier virtual host has; they are claimed by this call.

    A short form that is itself the full name of another host is left to that one. Case does not count.
    """
    out = []
    for domain in domains:
        key = domain if domain.islower() else domain.lower()
        if key in claimed:
            continue
        claimed.add(key)
        if domain not in short or domain not in known:
            out.append(domain)
    return out
