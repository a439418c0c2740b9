"""The cluster's DNS names: which records a name has, from Services, EndpointSlices and the rules for pods. Pure.

Source: Kubernetes DNS specification 1.1.0 (A, AAAA, SRV, PTR, CNAME; headless Services, hostnames, pods).
Not here: messages and sockets (dns.py).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any, NamedTuple

Object = dict[str, Any]
SERVICE_NAME = "kubernetes.io/service-name"


class Record(NamedTuple):
    """One record: its type ("A", "AAAA", "SRV", "PTR", "CNAME") and its text."""

    type: str
    value: str


class Zone:
    """Names of one moment. `find` answers None for a name that does not exist, a list for one that does."""

    def __init__(self, services: Iterable[Object], slices: Iterable[Object], domain: str = "cluster.local") -> None:
        self.domain = domain
        self._records: dict[str, list[Record]] = {}
        self._namespaces: set[str] = set()
        by_service: dict[tuple[str, str], list[Object]] = {}
        for entry in slices:
            name = (entry["metadata"].get("labels") or {}).get(SERVICE_NAME)
            if name:
                by_service.setdefault((entry["metadata"]["namespace"], name), []).append(entry)
        for service in services:
            metadata = service["metadata"]
            self._service(service, by_service.get((metadata["namespace"], metadata["name"]), []))
        for top in ("svc", "pod"):
            self._records.setdefault(f"{top}.{domain}", [])

    def covers(self, name: str) -> bool:
        """The name is ours to answer: below the domain, or the reverse of an address that has a name here."""
        return name == self.domain or name.endswith(f".{self.domain}") or name in self._records

    def find(self, name: str) -> list[Record] | None:
        """All records of a name (lower case, without the last dot); [] for one that exists without any."""
        found = self._records.get(name)
        if found is None and name.endswith(f".pod.{self.domain}"):
            return self._pod(name)
        return found

    def _add(self, name: str, *records: Record) -> None:
        self._records.setdefault(name, []).extend(
            record for record in records if record not in self._records.get(name, ())
        )
        parent = name
        while parent.endswith(f".{self.domain}") and (parent := parent.partition(".")[2]) not in self._records:
            self._records[parent] = []

    def _service(self, service: Object, slices: list[Object]) -> None:
        metadata, spec = service["metadata"], service["spec"]
        self._namespaces.add(metadata["namespace"])
        name = f"{metadata['name']}.{metadata['namespace']}.svc.{self.domain}"
        if spec.get("type") == "ExternalName":
            self._add(name, Record("CNAME", spec["externalName"].rstrip(".")))
            return
        addresses = [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip and ip != "None"]
        if addresses:
            self._add(name, *map(address, addresses))
            for ip in addresses:
                self._add(reverse(ip), Record("PTR", name))
            for port in spec.get("ports") or ():
                if port.get("name"):
                    self._srv(name, port["name"], port.get("protocol", "TCP"), port["port"], name)
        else:
            self._headless(name, slices)

    def _headless(self, name: str, slices: list[Object]) -> None:
        self._add(name)
        for entry in slices:
            for endpoint in entry.get("endpoints") or ():
                if not (endpoint.get("conditions") or {}).get("ready", True):
                    continue
                for ip in endpoint["addresses"]:
                    label = endpoint.get("hostname") or ip.replace(".", "-").replace(":", "-")
                    own = f"{label}.{name}"
                    self._add(name, address(ip))
                    self._add(own, address(ip))
                    if endpoint.get("hostname"):
                        self._add(reverse(ip), Record("PTR", own))
                    for port in entry.get("ports") or ():
                        if port.get("name") and port.get("port"):
                            self._srv(name, port["name"], port.get("protocol", "TCP"), port["port"], own)

    def _srv(self, service: str, port: str, protocol: str, number: int, target: str) -> None:
        self._add(f"_{port}._{protocol.lower()}.{service}", Record("SRV", f"0 100 {number} {target}."))

    def _pod(self, name: str) -> list[Record] | None:
        """IP-WITH-DASHES.NAMESPACE.pod.DOMAIN is that address, whether there is such a pod or not."""
        label, _, rest = name.removesuffix(f".pod.{self.domain}").partition(".")
        if not rest or "." in rest:
            return None
        for separator in (".", ":"):
            try:
                return [address(str(ipaddress.ip_address(label.replace("-", separator))))]
            except ValueError:
                continue
        return None


def address(ip: str) -> Record:
    """The A or AAAA record of an address."""
    return Record("AAAA" if ":" in ip else "A", ip)


def reverse(ip: str) -> str:
    """The name under in-addr.arpa or ip6.arpa that an address has."""
    return ipaddress.ip_address(ip).reverse_pointer
