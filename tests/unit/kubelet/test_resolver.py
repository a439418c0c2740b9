"""resolv.conf and /etc/hosts of a pod, by its policies."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.runtime.kubelet.resolver import Dns, dns, hostname, hosts_file, parse
from tests.unit.kubelet.pods import pod

HOST = Dns(("1.1.1.1",), ("corp.example",), ("rotate",))
SEARCH = ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example")
CLUSTER = Dns(("10.96.0.10",), SEARCH, ("ndots:5",))


def test_parse() -> None:
    text = "# c\n; c\nsearch old\nnameserver 1.1.1.1 # x\nsearch a b\noptions ndots:2 rotate\nnameserver\n\n"
    assert parse(text) == Dns(("1.1.1.1",), ("a", "b"), ("ndots:2", "rotate"))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, CLUSTER),
        ({"dnsPolicy": "ClusterFirst", "hostNetwork": True}, HOST),
        ({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True}, CLUSTER),
        ({"dnsPolicy": "Default"}, HOST),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["9.9.9.9"], "searches": ["x"]}}, Dns(("9.9.9.9",), ("x",), ())),
        (
            {"dnsConfig": {"nameservers": ["10.96.0.10", "9.9.9.9"], "searches": ["cluster.local", "x"],
                           "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}},
            Dns(("10.96.0.10", "9.9.9.9"), (*SEARCH, "x"), ("ndots:2", "edns0")),
        ),
    ],
)  # fmt: skip
def test_policies(spec: dict[str, Any], expected: Dns) -> None:
    assert dns(pod("a", **spec), HOST, ("10.96.0.10",), "cluster.local") == expected


def test_without_a_cluster_dns_the_hosts_is_used() -> None:
    assert dns(pod("a"), HOST, (), "cluster.local") == HOST


def test_host_names() -> None:
    assert hostname(pod("a")) == "web"
    assert hostname(pod("a", hostname="db-0")) == "db-0"
    long = pod("a")
    long["metadata"]["name"] = "x" * 62 + "-tail"
    assert hostname(long) == "x" * 62


def test_hosts() -> None:
    spec = pod("a", hostname="db-0", subdomain="db", hostAliases=[{"ip": "1.2.3.4", "hostnames": ["p", "q"]}])
    text = hosts_file(spec, ("10.1.0.2",), "cluster.local")
    assert "127.0.0.1\tlocalhost\n" in text
    assert "10.1.0.2\tdb-0.db.shop.svc.cluster.local\tdb-0\n" in text
    assert text.endswith("1.2.3.4\tp\tq\n")
    assert "10.1.0.2\tweb\n" in hosts_file(pod("a"), ("10.1.0.2",), "cluster.local")


def test_the_hosts_own_file() -> None:
    text = hosts_file(pod("a", hostNetwork=True), ("10.0.0.9",), "cluster.local", "127.0.0.1 localhost\n")
    assert text == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"
