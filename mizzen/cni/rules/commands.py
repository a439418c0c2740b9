"""`mizzen iptables` (and `mizzen agent istio-iptables`): flags and environment variables of istio-iptables.

Every flag may come from the environment; a flag given wins. Not here: the rules (tables.py) and how they are applied.
"""

from __future__ import annotations

import argparse
import os
import pwd
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mizzen.cni.rules.apply import apply, cleanup
from mizzen.cni.rules.config import CaptureConfig, words
from mizzen.cni.rules.errors import CaptureError
from mizzen.cni.rules.iptables import iptables_text
from mizzen.cni.rules.nftables import nftables_text
from mizzen.cni.rules.rule import V4, V6
from mizzen.cni.rules.tables import capture_rules
from mizzen.cni.rules.validate import FAILED_STATUS, validate

# long flag, short, variables in order (the flag's own name in capitals when empty), default, help
TEXT_FLAGS: tuple[tuple[str, str, tuple[str, ...], str, str], ...] = (
    ("envoy-port", "p", ("",), "15001", "port that outbound traffic is led to"),
    ("inbound-capture-port", "z", (), "15006", "port that inbound traffic is led to"),
    ("inbound-tunnel-port", "e", (), "15008", "port of inbound HBONE"),
    ("proxy-uid", "u", (), "", "users whose traffic is not captured (comma list)"),
    ("proxy-gid", "g", (), "", "groups whose traffic is not captured (comma list; the users when empty)"),
    ("istio-inbound-interception-mode", "m", (), "", "REDIRECT or TPROXY"),
    ("istio-inbound-ports", "b", (), "", "inbound ports to capture, or *"),
    ("istio-local-exclude-ports", "d", (), "", "inbound ports to leave alone (with *)"),
    ("istio-service-cidr", "i", (), "", "outbound ranges to capture, or *"),
    ("istio-service-exclude-cidr", "x", (), "", "outbound ranges to leave alone"),
    ("istio-outbound-ports", "q", (), "", "outbound ports to capture wherever they go"),
    ("istio-local-outbound-ports-exclude", "o", (), "", "outbound ports to leave alone"),
    ("istio-exclude-interfaces", "c", (), "", "interfaces to leave alone"),
    ("kube-virt-interfaces", "k", (), "", "interfaces of virtual machines, whose traffic counts as outbound"),
    ("istio-inbound-tproxy-mark", "t", (), "1337", "mark of TPROXY"),
    ("istio-inbound-tproxy-route-table", "r", (), "133", "routing table of TPROXY"),
    ("iptables-probe-port", "", (), "15002", "port that validation calls"),
    ("probe-timeout", "", (), "5s", "how long validation waits"),
    ("force-iptables-binary", "", (), "", "path of iptables"),
    ("network-namespace", "", (), "", "path of the network namespace to work in"),
    ("log_output_level", "", ("",), "", "levels of the agent's log"),
)
BOOL_FLAGS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("redirect-dns", "", ("REDIRECT_DNS", "ISTIO_META_DNS_CAPTURE"), "capture DNS"),
    ("capture-all-dns", "", (), "capture DNS whatever resolver it goes to"),
    ("drop-invalid", "", ("DROP_INVALID", "INVALID_DROP"), "drop packets that conntrack calls invalid"),
    ("dual-stack", "", ("DUAL_STACK", "ISTIO_DUAL_STACK"), "write IPv6 rules in any case"),
    ("run-validation", "", (), "prove that the rules work"),
    ("skip-rule-apply", "", (), "change nothing"),
    ("dry-run", "n", (), "print the rules only"),
    ("cleanup-only", "", (), "remove the rules only"),
    ("reconcile", "", (), "replace differing rules"),
    ("force-apply", "", (), "apply without comparing"),
    ("native-nftables", "", (), "nft instead of iptables"),
    ("cni-mode", "", (), "called by a CNI plugin: DNS is captured whole, the resolvers of this machine do not count"),
)
TRUE = ("1", "t", "true")


def parser(prog: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=prog, description="Leads a pod's traffic through its sidecar.", allow_abbrev=False
    )
    for name, short, _, default, text in TEXT_FLAGS:
        made.add_argument(*names(name, short), metavar="WORD", help=f"{text} (default: {default or 'none'})")
    for name, short, _, text in BOOL_FLAGS:
        made.add_argument(*names(name, short), nargs="?", const="true", metavar="BOOL", help=text)
    return made


def names(name: str, short: str) -> list[str]:
    return [f"--{name}", *([f"-{short}"] if short else [])]


class Options:
    """Flags over environment over defaults."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], prog: str) -> None:
        given = vars(parser(prog).parse_args(list(argv)))
        self.text = {
            name: pick(given[name.replace("-", "_")], environ, variables, name, default)
            for name, _, variables, default, _ in TEXT_FLAGS
        }
        self.on = {
            name: pick(given[name.replace("-", "_")], environ, variables, name, "").lower() in TRUE
            for name, _, variables, _ in BOOL_FLAGS
        }


def pick(flag: str | None, environ: Mapping[str, str], variables: tuple[str, ...], name: str, default: str) -> str:
    if flag is not None:
        return flag
    found = (environ[key] for key in variables or (name.upper().replace("-", "_"),) if environ.get(key))
    return next(found, default)


def configuration(options: Options, environ: Mapping[str, str], resolv_conf: str, ipv6: bool) -> CaptureConfig:
    """The CaptureConfig of flags, environment, the text of /etc/resolv.conf and whether the pod has an IPv6 address."""
    text, on = options.text, options.on
    uids = words(text["proxy-uid"]) or (default_uid(environ),)
    servers = [line.split()[1] for line in resolv_conf.splitlines() if line.startswith("nameserver ")]
    return CaptureConfig(
        proxy_port=int(text["envoy-port"]),
        inbound_port=int(text["inbound-capture-port"]),
        tunnel_port=int(text["inbound-tunnel-port"]),
        proxy_uids=uids,
        proxy_gids=words(text["proxy-gid"]) or uids,
        mode=text["istio-inbound-interception-mode"],
        inbound_ports=words(text["istio-inbound-ports"]),
        inbound_ports_exclude=words(text["istio-local-exclude-ports"]),
        outbound_ports=words(text["istio-outbound-ports"]),
        outbound_ports_exclude=words(text["istio-local-outbound-ports-exclude"]),
        outbound_ranges=words(text["istio-service-cidr"]),
        outbound_ranges_exclude=words(text["istio-service-exclude-cidr"]),
        exclude_interfaces=words(text["istio-exclude-interfaces"]),
        virtual_interfaces=words(text["kube-virt-interfaces"]),
        tproxy_mark=text["istio-inbound-tproxy-mark"],
        tproxy_route_table=text["istio-inbound-tproxy-route-table"],
        owner_groups=words(environ.get("ISTIO_OUTBOUND_OWNER_GROUPS", "*")),
        owner_groups_exclude=words(environ.get("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "")),
        loopback_cidr=environ.get("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR") or "127.0.0.1/32",
        redirect_dns=on["redirect-dns"],
        capture_all_dns=on["capture-all-dns"] or (on["cni-mode"] and on["redirect-dns"]),
        dns_servers_v4=tuple(address for address in servers if ":" not in address),
        dns_servers_v6=tuple(address.split("%")[0] for address in servers if ":" in address),
        drop_invalid=on["drop-invalid"],
        ipv6=ipv6,
        dual_stack=on["dual-stack"],
    )


def default_uid(environ: Mapping[str, str]) -> str:
    """The uid of ENVOY_USER, or 1337 when there is no such user."""
    try:
        return str(pwd.getpwnam(environ.get("ENVOY_USER", "istio-proxy")).pw_uid)
    except KeyError:
        return "1337"


def has_ipv6() -> bool:
    """Whether an interface other than loopback has a global or unique local IPv6 address."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return False
    fields = (line.split() for line in lines)
    return any(name != "lo" and not address.startswith("fe80") for address, _, _, _, _, name in fields)


def seconds(text: str) -> float:
    """A duration in Go's notation, of one unit."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0}
    unit = next((unit for unit in units if text.endswith(unit)), None)
    try:
        return float(text.removesuffix(unit or "")) * units[unit or "s"]
    except ValueError as error:
        raise CaptureError("--probe-timeout", f"{text!r} is no duration") from error


def run(argv: Sequence[str], environ: Mapping[str, str] = os.environ, prog: str = "mizzen iptables") -> int:
    """The whole command; the exit status: 0, 1 for a refusal or failure, 126 when validation fails."""
    options = Options(argv, environ, prog)
    try:
        return work(options, environ)
    except (CaptureError, ValueError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 1


def work(options: Options, environ: Mapping[str, str]) -> int:
    text, on = options.text, options.on
    resolv = Path("/etc/resolv.conf")
    config = configuration(options, environ, resolv.read_text() if resolv.exists() else "", has_ipv6())
    if config.redirect_dns and not config.dns_captured:
        print("DNS is not captured: no resolver is known", file=sys.stderr)
    netns, binary, nft = text["network-namespace"] or None, text["force-iptables-binary"] or None, on["native-nftables"]
    if on["dry-run"]:
        print(dry_run(config, nft), end="")
        return 0
    if on["cleanup-only"]:
        cleanup(config, netns, native_nftables=nft, binary=binary)
        return 0
    if not on["skip-rule-apply"]:
        apply(config, netns, native_nftables=nft, reconcile=on["reconcile"], force=on["force-apply"], binary=binary)
    if on["run-validation"]:
        return check_rules(config, int(text["iptables-probe-port"]), seconds(text["probe-timeout"]))
    return 0


def dry_run(config: CaptureConfig, nft: bool) -> str:
    rules = capture_rules(config)
    if nft:
        return nftables_text(rules)
    shown = [f"# iptables-restore --noflush\n{iptables_text(rules, V4)}"]
    if config.with_ipv6:
        shown.append(f"# ip6tables-restore --noflush\n{iptables_text(rules, V6)}")
    return "".join(shown)


def check_rules(config: CaptureConfig, probe_port: int, timeout_s: float) -> int:
    why = validate(
        proxy_port=config.proxy_port, inbound_port=config.inbound_port, probe_port=probe_port, timeout_s=timeout_s
    )
    if why is None:
        return 0
    print(f"validation failed on {socket.gethostname()}: {why}", file=sys.stderr)
    return FAILED_STATUS
