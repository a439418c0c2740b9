"""Names under which clients ask for a service: the domains of its virtual host.

Takes host names and the DNS domain of the asking proxy, gives domains. Not here: which virtual hosts there are.
"""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.istiod.registry.model import UNSPECIFIED, Service
from mizzen.istiod.translate.addresses import in_authority


def short_names(host: str, dns_domain: str) -> tuple[str, ...]:
    """Shorter forms of a Kubernetes service's name that resolve where `dns_domain` is searched.

    host: "a.ns.svc.cluster.local"; dns_domain: "<namespace>.svc.<domain>". Nothing for other kinds of host.
    """
    at = dns_domain.find(".svc.")
    end = host.find(".svc.")
    if at < 0 or end <= 0:
        return ()
    name, dot, namespace = host[:end].partition(".")
    if not dot:
        return ()
    if namespace == dns_domain[:at]:
        return name, f"{host[:end]}.svc", host[:end]
    return host[:end], f"{host[:end]}.svc"


def service_names(svc: Service, dns_domain: str) -> tuple[list[str], set[str]]:
    """All names of a service and its aliases, and which of them are short forms."""
    names: list[str] = []
    short: set[str] = set()
    for host in (svc.host, *svc.aliases):
        expansions = short_names(host, dns_domain)
        names += [host, f"{host}.", *expansions]
        short.update(expansions)
    return names, short


def service_domains(svc: Service, address: str, dns_domain: str, port: int | None) -> tuple[list[str], set[str]]:
    """The domains of a service's virtual host, and which of them are short forms of names.

    address: its virtual IP for this proxy; port: also list every domain with this port, None = without only.
    """
    names, short = service_names(svc, dns_domain)
    if svc.is_headless:
        names += [f"*.{name}" for name in names]
    if address != UNSPECIFIED:
        names.append(in_authority(address))
    if port is None:
        return names, short
    return [domain for name in names for domain in (name, f"{name}:{port}")], short


def unclaimed(domains: Iterable[str], claimed: set[str], short: set[str], known: set[str]) -> list[str]:
    """The domains that no earlier virtual host has; they are claimed by this call.

    A short form that is itself the full name of another host is left to that one. Case does not count.
    """
    out = []
    for domain in domains:
        key = domain.lower()
        if key in claimed:
            continue
        claimed.add(key)
        if domain not in short or domain not in known:
            out.append(domain)
    return out
