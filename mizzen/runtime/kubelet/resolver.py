"""A pod's /etc/hosts and DNS configuration. Pure.

Source: Kubernetes' dnsPolicy, dnsConfig and hostAliases.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mizzen.kube.resource import Object


class Dns(NamedTuple):
    """Servers, search domains, options of a resolv.conf."""

    servers: tuple[str, ...]
    searches: tuple[str, ...]
    options: tuple[str, ...]


def parse(text: str) -> Dns:
    """A resolv.conf; the last `search` counts."""
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        word, *rest = line.split("#")[0].split() or [""]
        if word == "nameserver" and rest:
            servers.append(rest[0])
        elif word == "search":
            searches = rest
        elif word == "options":
            options += rest
    return Dns(tuple(servers), tuple(searches), tuple(options))


def dns(pod: Object, host: Dns, cluster_dns: tuple[str, ...], cluster_domain: str) -> Dns:
    """What the pod's resolv.conf holds."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "None":
        base = Dns((), (), ())
    elif policy == "Default" or not cluster_dns or (policy == "ClusterFirst" and spec.get("hostNetwork")):
        base = host
    else:
        namespace = pod["metadata"].get("namespace") or "default"
        searches = (f"{namespace}.svc.{cluster_domain}", f"svc.{cluster_domain}", cluster_domain, *host.searches)
        base = Dns(cluster_dns, searches, ("ndots:5",))
    own: dict[str, Any] = spec.get("dnsConfig") or {}
    options = {item.partition(":")[0]: item for item in base.options}
    for item in own.get("options") or ():
        options[item["name"]] = item["name"] + (f":{item['value']}" if item.get("value") is not None else "")
    return Dns(
        tuple(dict.fromkeys((*base.servers, *(own.get("nameservers") or ())))),
        tuple(dict.fromkeys((*base.searches, *(own.get("searches") or ())))),
        tuple(options.values()),
    )


def hostname(pod: Object) -> str:
    """The pod's host name, at most 63 characters; hostnameOverride is one of its own, in no DNS record."""
    spec = pod["spec"]
    name: str = spec.get("hostnameOverride") or spec.get("hostname") or pod["metadata"]["name"]
    return name[:63].rstrip("-.")


def hosts_file(pod: Object, ips: tuple[str, ...], cluster_domain: str, host_file: str = "") -> str:
    """The content of /etc/hosts; host_file: the node's, for a pod on the host's network."""
    spec = pod["spec"]
    if spec.get("hostNetwork"):
        lines = ["# Kubernetes-managed hosts file (host network).", host_file.rstrip("\n")]
    else:
        lines = [
            "# Kubernetes-managed hosts file.",
            "127.0.0.1\tlocalhost",
            "::1\tlocalhost ip6-localhost ip6-loopback",
            "fe00::0\tip6-localnet",
            "fe00::0\tip6-mcastprefix",
            "fe00::1\tip6-allnodes",
            "fe00::2\tip6-allrouters",
        ]
        name, names = hostname(pod), hostname(pod)
        if spec.get("subdomain") and not spec.get("hostnameOverride"):
            namespace = pod["metadata"].get("namespace") or "default"
            names = f"{name}.{spec['subdomain']}.{namespace}.svc.{cluster_domain}\t{name}"
        lines += [f"{ip}\t{names}" for ip in ips]
    aliases = spec.get("hostAliases") or ()
    if aliases:
        lines += ["", "# Entries added by HostAliases."]
        lines += ["\t".join([item["ip"], *(item.get("hostnames") or ())]) for item in aliases]
    return "\n".join(lines) + "\n"
