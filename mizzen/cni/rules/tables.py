"""The rules themselves, in Istio's order: nat, then mangle for TPROXY and invalid packets, then raw for DNS.

A CaptureConfig goes in; Rules come out, each table's in the order in which they are to be appended or inserted.
Source: Istio's istio-iptables; names of chains are its own. Not here: how a rule is written down.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from mizzen.cni.rules.config import DNS_PORT, WILDCARD, CaptureConfig
from mizzen.cni.rules.rule import ACCEPT, BOTH, DROP, RETURN, V4, V6, Action, Match, Rule, jump, match, redirect

INBOUND, OUTPUT, OUTPUT_DNS = "ISTIO_INBOUND", "ISTIO_OUTPUT", "ISTIO_OUTPUT_DNS"
REDIRECT, IN_REDIRECT = "ISTIO_REDIRECT", "ISTIO_IN_REDIRECT"
DIVERT, TPROXY, DROP_CHAIN = "ISTIO_DIVERT", "ISTIO_TPROXY", "ISTIO_DROP"
LOOPBACK_V6 = "::1/128"
PASSTHROUGH = {V4: "127.0.0.6/32", V6: "::6/128"}  # the source of connections that a proxy makes to its own application
OUTBOUND_LOCAL_MARK = "1338"


def capture_rules(config: CaptureConfig) -> list[Rule]:
    """All rules of a pod; those for IPv6 only where it has IPv6."""
    families = BOTH if config.with_ipv6 else (V4,)
    rules = (*invalid_rules(config), *nat_rules(config), *tproxy_rules(config))
    kept = []
    for rule in (*rules, *dns_raw_rules(config)):
        common = tuple(family for family in rule.families if family in families)
        if common:
            kept.append(Rule(rule.table, rule.chain, rule.matches, rule.action, common, rule.at))
    return kept


def nat_rules(config: CaptureConfig) -> Iterator[Rule]:
    yield from interface_rules(config, "nat")
    for name in config.virtual_interfaces:
        yield Rule("nat", "PREROUTING", match(iif=name), RETURN, at=1)
    yield Rule("nat", INBOUND, match(proto="tcp", dport=config.tunnel_port), RETURN)
    yield Rule("nat", REDIRECT, match(proto="tcp"), redirect(config.proxy_port))
    yield Rule("nat", IN_REDIRECT, match(proto="tcp"), redirect(config.inbound_port))
    if not config.tproxy:
        yield from inbound_rules(config, "nat", [((), jump(IN_REDIRECT))])
    yield Rule("nat", "OUTPUT", (), jump(OUTPUT))
    for port in config.outbound_ports_exclude:
        yield Rule("nat", OUTPUT, match(proto="tcp", dport=port), RETURN)
        yield Rule("nat", OUTPUT, match(proto="udp", dport=port), RETURN)
    for family, cidr in PASSTHROUGH.items():
        yield Rule("nat", OUTPUT, match(oif="lo", src=cidr), RETURN, (family,))
    yield from owner_rules(config)
    yield from group_rules(config)
    if config.dns_captured:
        yield Rule("nat", OUTPUT, (), jump(OUTPUT_DNS))
        yield from dns_nat_rules(config)
    for family, cidr in loopbacks(config).items():
        yield Rule("nat", OUTPUT, match(dst=cidr), RETURN, (family,))
    for cidr in config.outbound_ranges_exclude:
        yield Rule("nat", OUTPUT, match(dst=cidr), RETURN, (version(cidr),))
    for port in config.outbound_ports:
        yield Rule("nat", OUTPUT, match(proto="tcp", dport=port), jump(REDIRECT))
    yield from outbound_range_rules(config)


def interface_rules(config: CaptureConfig, table: str) -> Iterator[Rule]:
    for name in config.exclude_interfaces:
        yield Rule(table, "PREROUTING", match(iif=name), RETURN)
        yield Rule(table, "OUTPUT", match(oif=name), RETURN)


def inbound_rules(config: CaptureConfig, table: str, steps: list[tuple[tuple[Match, ...], Action]]) -> Iterator[Rule]:
    """What comes in and is captured: everything but the exclusions, or the ports listed; `steps` are done in turn."""
    if not config.inbound_ports:
        return
    yield Rule(table, "PREROUTING", match(proto="tcp"), jump(INBOUND))
    if config.inbound_ports == (WILDCARD,):
        for port in config.inbound_ports_exclude:
            yield Rule(table, INBOUND, match(proto="tcp", dport=port), RETURN)
        for extra, action in steps:
            yield Rule(table, INBOUND, match(proto="tcp") + extra, action)
        return
    for port in config.inbound_ports:
        for extra, action in steps:
            yield Rule(table, INBOUND, match(proto="tcp", dport=port) + extra, action)


def owner_rules(config: CaptureConfig) -> Iterator[Rule]:
    """What the proxy's own users and groups send.

    A proxy that calls its own pod by a Service's address must come in again through its inbound listener; an
    application that calls itself directly must not; all else that the proxy sends leaves.
    """
    for kind, owners in (("uid", config.proxy_uids), ("gid", config.proxy_gids)):
        for owner in owners:
            spared = config.dns_captured and kind == "uid"  # or: app → agent → inbound listener → DNS server
            port = {"not_dports": f"53,{config.tunnel_port}"} if spared else {"not_dport": str(config.tunnel_port)}
            for family, cidr in loopbacks(config).items():
                conditions = {"oif": "lo", "not_dst": cidr, "proto": "tcp", **port, kind: owner}
                yield Rule("nat", OUTPUT, match(**conditions), jump(IN_REDIRECT), (family,))
            if not config.ranges_have_loopback:
                dns = {"proto": "tcp", "not_dport": "53"} if config.dns_captured else {}
                yield Rule("nat", OUTPUT, match(**{"oif": "lo", **dns, f"not_{kind}": owner}), RETURN)
            yield Rule("nat", OUTPUT, match(**{kind: owner}), RETURN)


def group_rules(config: CaptureConfig) -> Iterator[Rule]:
    """Groups whose traffic is left alone: those excluded, or all but those listed."""
    if config.owner_groups != (WILDCARD,):
        others = tuple(Match("gid", group, negated=True) for group in config.owner_groups)
        if others:
            yield Rule("nat", OUTPUT, others, RETURN)
        return
    for group in config.owner_groups_exclude:
        yield Rule("nat", OUTPUT, match(gid=group), RETURN)


def outbound_range_rules(config: CaptureConfig) -> Iterator[Rule]:
    for cidr in config.outbound_ranges:
        target = {} if cidr == WILDCARD else {"dst": cidr}
        families = BOTH if cidr == WILDCARD else (version(cidr),)
        for name in config.virtual_interfaces:
            yield Rule("nat", "PREROUTING", match(iif=name, **target), jump(REDIRECT), families, at=1)
        yield Rule("nat", OUTPUT, match(**target), jump(REDIRECT), families)


def resolvers(config: CaptureConfig) -> list[tuple[tuple[int, ...], str | None]]:
    """(families, CIDR) of every resolver; one without address when all of DNS is captured."""
    if config.capture_all_dns:
        return [(BOTH, None)]
    known = [((V4,), f"{address}/32") for address in config.dns_servers_v4]
    return [*known, *(((V6,), f"{address}/128") for address in config.dns_servers_v6)]


def dns_nat_rules(config: CaptureConfig) -> Iterator[Rule]:
    for proto in ("tcp", "udp"):
        for families, cidr in resolvers(config):
            yield Rule("nat", OUTPUT_DNS, match(proto=proto, dport=53, dst=cidr), redirect(DNS_PORT), families)


def dns_raw_rules(config: CaptureConfig) -> Iterator[Rule]:
    """Two conntrack zones keep the agent's queries and the application's apart, though their addresses are the same."""
    if not config.dns_captured:
        return
    yield Rule("raw", "OUTPUT", (), jump(OUTPUT_DNS))
    for kind, owners in (("uid", config.proxy_uids), ("gid", config.proxy_gids)):
        for owner in owners:
            yield Rule("raw", OUTPUT_DNS, match(proto="udp", dport=53, **{kind: owner}), Action("ctzone", "1"))
            yield Rule("raw", OUTPUT_DNS, match(proto="udp", sport=DNS_PORT, **{kind: owner}), Action("ctzone", "2"))
    for families, cidr in resolvers(config):
        yield Rule("raw", OUTPUT_DNS, match(proto="udp", dport=53, dst=cidr), Action("ctzone", "2"), families)
    yield Rule("raw", "PREROUTING", (), jump(INBOUND))
    for families, cidr in resolvers(config):
        yield Rule("raw", INBOUND, match(proto="udp", sport=53, src=cidr), Action("ctzone", "1"), families)


def invalid_rules(config: CaptureConfig) -> Iterator[Rule]:
    if config.drop_invalid:
        yield Rule("mangle", "PREROUTING", match(ctstate="INVALID"), jump(DROP_CHAIN))
        yield Rule("mangle", DROP_CHAIN, (), DROP)


def tproxy_rules(config: CaptureConfig) -> Iterator[Rule]:
    """Inbound capture that keeps the client's address."""
    if not config.tproxy:
        return
    yield from interface_rules(config, "mangle")
    mark = config.tproxy_mark
    if config.inbound_ports:
        yield Rule("mangle", DIVERT, (), Action("mark", mark))
        yield Rule("mangle", DIVERT, (), ACCEPT)
        for family, cidr in loopbacks(config).items():
            action = Action("tproxy", str(config.inbound_port), mark)
            yield Rule("mangle", TPROXY, match(not_dst=cidr, proto="tcp"), action, (family,))
        established = (match(ctstate="RELATED,ESTABLISHED"), jump(DIVERT))
        yield from inbound_rules(config, "mangle", [established, ((), jump(TPROXY))])
    yield Rule("mangle", "PREROUTING", match(proto="tcp", mark=mark), Action("savemark"))
    yield Rule("mangle", "OUTPUT", match(proto="tcp", oif="lo", mark=mark), RETURN)
    for kind, owners in (("uid", config.proxy_uids), ("gid", config.proxy_gids)):
        for owner in owners:
            for family, cidr in loopbacks(config).items():
                conditions = {"not_dst": cidr, "proto": "tcp", "oif": "lo", kind: owner}
                yield Rule("mangle", "OUTPUT", match(**conditions), Action("mark", OUTBOUND_LOCAL_MARK), (family,))
    yield Rule("mangle", "OUTPUT", match(proto="tcp", connmark=mark), Action("restoremark"))
    yield Rule("mangle", INBOUND, match(proto="tcp", mark=mark), RETURN, at=1)
    for family, cidr in PASSTHROUGH.items():
        yield Rule("mangle", INBOUND, match(proto="tcp", src=cidr, iif="lo"), RETURN, (family,), at=2)
    yield Rule("mangle", INBOUND, match(proto="tcp", iif="lo", not_mark=OUTBOUND_LOCAL_MARK), RETURN, at=3)


def loopbacks(config: CaptureConfig) -> dict[int, str]:
    return {V4: config.loopback_cidr, V6: LOOPBACK_V6}


def version(cidr: str) -> int:
    return ipaddress.ip_network(cidr, strict=False).version
