"""Flags in, rule files out. `data/NAME.flags` holds a command line; beside it stand the expected .iptables and .nft."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from mizzen.cni.rules import CaptureConfig, capture_rules, iptables_text, nftables_text, rules_for_pod
from mizzen.cni.rules.apply import parse_state
from mizzen.cni.rules.commands import Options, configuration
from mizzen.cni.rules.errors import CaptureError

DATA = Path(__file__).parent / "data"
CASES = sorted(DATA.glob("*.flags"))
RESOLV = "search x\nnameserver 10.96.0.10\nnameserver fd00::a\n"


def config_of(line: str) -> CaptureConfig:
    words = shlex.split(line, comments=True)
    environ = dict(word.split("=", 1) for word in words if not word.startswith("-") and "=" in word)
    flags = [word for word in words if word.startswith("-") or "=" not in word]
    return configuration(Options(flags, environ, "test"), environ, RESOLV, ipv6=environ.get("IPV6") == "yes")


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_rule_files(case: Path) -> None:
    rules = capture_rules(config_of(case.read_text()))
    texts = {
        ".iptables": iptables_text(rules, 4),
        ".ip6tables": iptables_text(rules, 6),
        ".nft": nftables_text(rules),
    }
    for suffix, text in texts.items():
        path = case.with_suffix(suffix)
        if os.environ.get("MIZZEN_REWRITE"):
            path.write_text(text)
        assert path.read_text() == text


def test_no_expected_file_without_a_case() -> None:
    assert {path.stem for path in DATA.iterdir()} == {case.stem for case in CASES}


def test_environment_counts_where_no_flag_is_given() -> None:
    environ = {"ISTIO_INBOUND_PORTS": "80,81", "ISTIO_META_DNS_CAPTURE": "true", "INVALID_DROP": "1"}
    config = configuration(Options(["-b", "90"], environ, "test"), environ, RESOLV, ipv6=False)
    assert config.inbound_ports == ("90",)
    assert config.dns_captured
    assert config.drop_invalid
    assert config.dns_servers_v6 == ("fd00::a",)


def test_dns_is_not_captured_without_a_resolver() -> None:
    assert not CaptureConfig(redirect_dns=True).dns_captured
    assert not any(rule.table == "raw" for rule in capture_rules(CaptureConfig(redirect_dns=True)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("outbound_ranges_exclude", ("*",)),
        ("outbound_ranges", ("*", "10.0.0.0/8")),
        ("inbound_ports", ("http",)),
        ("outbound_ports", ("*",)),
        ("outbound_ports_exclude", ("65536",)),
    ],
)
def test_refused(field: str, value: tuple[str, ...]) -> None:
    with pytest.raises(CaptureError, match=field):
        CaptureConfig(**{field: value})  # type: ignore[arg-type]


def test_a_pods_annotations() -> None:
    annotations = {
        "traffic.sidecar.istio.io/excludeInboundPorts": "9999",
        "traffic.sidecar.istio.io/includeOutboundIPRanges": "10.0.0.0/8",
        "istio.io/reroute-virtual-interfaces": "net1",
    }
    config = rules_for_pod(annotations, {"ISTIO_META_DNS_CAPTURE": "true"}, uid=2000)
    assert config is not None
    assert config.inbound_ports == ("*",)
    assert config.inbound_ports_exclude == ("9999", "15020", "15021", "15090")
    assert config.outbound_ports_exclude == ("15020",)
    assert config.outbound_ranges == ("10.0.0.0/8",)
    assert (config.proxy_uids, config.proxy_gids) == (("2000",), ("1337",))
    assert config.virtual_interfaces == ("net1",)
    assert config.dns_captured


def test_a_pod_without_interception() -> None:
    assert rules_for_pod({"sidecar.istio.io/interceptionMode": "NONE"}, {}) is None


def test_a_pods_bad_annotation_is_named() -> None:
    with pytest.raises(CaptureError, match=r"traffic\.sidecar\.istio\.io/excludeOutboundPorts"):
        rules_for_pod({"traffic.sidecar.istio.io/excludeOutboundPorts": "x"}, {})


def test_state_of_iptables_save() -> None:
    state = parse_state("*nat\n:ISTIO_A - [0:0]\n-A OUTPUT -j ISTIO_A\n-A ISTIO_A -p tcp -j RETURN\nCOMMIT\n")
    assert state.chains == {("nat", "ISTIO_A")}
    assert state.counts == {("nat", "ISTIO_A"): 1}
    assert state.lines[0] == ("nat", "-A OUTPUT -j ISTIO_A")
