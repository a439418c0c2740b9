"""The cluster's names: zone and messages, then a server over UDP and TCP."""

from __future__ import annotations

import asyncio
import socket

import dns.message
import dns.query
import dns.rcode
import pytest

from mizzen.runtime.net.dns import DnsServer, answer
from mizzen.runtime.net.zone import Zone

SERVICES = [
    {
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {"clusterIP": "10.96.0.5", "ports": [{"name": "http", "port": 80}]},
    },
    {"metadata": {"namespace": "shop", "name": "db"}, "spec": {"clusterIP": "None"}},
    {
        "metadata": {"namespace": "shop", "name": "far"},
        "spec": {"type": "ExternalName", "externalName": "far.example.com"},
    },
]
SLICES = [
    {
        "metadata": {"namespace": "shop", "labels": {"kubernetes.io/service-name": "db"}},
        "addressType": "IPv4",
        "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": ["10.0.0.1"], "hostname": "db-0", "conditions": {"ready": True}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": True}},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": False}},
        ],
    }
]
ZONE = Zone(SERVICES, SLICES)


def ask(name, kind="A"):
    return answer(dns.message.make_query(name, kind), ZONE)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web.shop.svc.cluster.local", "A", {"10.96.0.5"}),
        ("WEB.shop.svc.cluster.local", "A", {"10.96.0.5"}),
        ("db.shop.svc.cluster.local", "A", {"10.0.0.1", "10.0.0.2"}),
        ("db-0.db.shop.svc.cluster.local", "A", {"10.0.0.1"}),
        ("10-0-0-2.db.shop.svc.cluster.local", "A", {"10.0.0.2"}),
        ("far.shop.svc.cluster.local", "A", {"far.example.com."}),
        ("_http._tcp.web.shop.svc.cluster.local", "SRV", {"0 100 80 web.shop.svc.cluster.local."}),
        ("_sql._tcp.db.shop.svc.cluster.local", "SRV",
         {"0 100 5432 db-0.db.shop.svc.cluster.local.", "0 100 5432 10-0-0-2.db.shop.svc.cluster.local."}),
        ("5.0.96.10.in-addr.arpa", "PTR", {"web.shop.svc.cluster.local."}),
        ("10-1-2-3.shop.pod.cluster.local", "A", {"10.1.2.3"}),
    ],
)  # fmt: skip
def test_answers(name, kind, expected):
    response = ask(name, kind)
    assert {item.to_text() for rrset in response.answer for item in rrset} == expected


def test_names_without_such_records_are_empty_and_unknown_ones_do_not_exist():
    empty = ask("web.shop.svc.cluster.local", "AAAA")
    assert (empty.rcode(), empty.answer) == (dns.rcode.NOERROR, [])
    assert empty.authority
    assert ask("svc.cluster.local").rcode() == dns.rcode.NOERROR
    assert ask("nobody.shop.svc.cluster.local").rcode() == dns.rcode.NXDOMAIN


def test_other_names_are_not_ours():
    assert ask("example.com") is None


async def test_a_server_answers_over_udp_and_tcp_and_forwards_the_rest():
    other = DnsServer(lambda: Zone([], [], "example.com"), [])
    other_port = await other.start("127.0.0.1", 0)
    server = DnsServer(lambda: ZONE, [f"127.0.0.1:{other_port}"])
    port = await server.start("127.0.0.1", 0)
    try:
        query = dns.message.make_query("web.shop.svc.cluster.local", "A")
        for transport in (dns.query.udp, dns.query.tcp):
            response = await asyncio.to_thread(transport, query, "127.0.0.1", 5.0, port)
            assert response.answer[0][0].to_text() == "10.96.0.5"
        outside = dns.message.make_query("x.example.com", "A")
        forwarded = await asyncio.to_thread(dns.query.udp, outside, "127.0.0.1", 5.0, port)
        assert forwarded.rcode() == dns.rcode.NXDOMAIN
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rude:
            rude.sendto(b"\x00", ("127.0.0.1", port))
        again = await asyncio.to_thread(dns.query.udp, query, "127.0.0.1", 5.0, port)
        assert again.answer
    finally:
        await server.close()
        await other.close()
