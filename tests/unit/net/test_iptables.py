"""Service rules as text: what leads where."""

from mizzen.runtime.net.iptables import jumps, ports_of, rules, stale

PREFIX = "MZ-abc123-"


def service(**spec):
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": spec.pop("node_port", 0)}]
    return {"metadata": {"namespace": "n", "name": "s"}, "spec": {"clusterIP": "10.96.0.5", "ports": ports, **spec}}


def entry(*endpoints):
    return {
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [ip], "conditions": conditions, "nodeName": node} for ip, conditions, node in endpoints
        ],
    }


READY, ENDING, NOT = {"ready": True}, {"ready": False, "serving": True, "terminating": True}, {"ready": False}


def lines(text, chain):
    return [line for line in text.splitlines() if line.startswith(f"-A {PREFIX}{chain} ")]


def test_an_address_leads_to_its_endpoints_in_equal_shares():
    (port,) = ports_of(service(), [entry(("10.0.0.1", READY, "a"), ("10.0.0.2", READY, "b"))], "a")
    text = rules([port], PREFIX)
    (lead, local) = lines(text, "SVC")
    assert "-d 10.96.0.5/32 -p tcp -m tcp --dport 80" in lead
    assert local.endswith(f"-j {PREFIX}NP")
    assert text.count("--probability 0.5000000000") == 1
    assert "-j DNAT --to-destination 10.0.0.1:8080" in text
    assert "-j DNAT --to-destination 10.0.0.2:8080" in text
    assert "-s 10.0.0.1/32 -j MARK --or-mark 0x4000" in text  # a pod that reaches itself


def test_no_endpoint_is_refused():
    (port,) = ports_of(service(), [entry(("10.0.0.1", NOT, "a"))], "a")
    text = rules([port], PREFIX)
    assert "-d 10.96.0.5/32" not in "".join(lines(text, "SVC"))
    (refusal,) = lines(text, "REJ")
    assert refusal.endswith("-j REJECT")


def test_endpoints_that_end_serve_when_nothing_else_does():
    (port,) = ports_of(service(), [entry(("10.0.0.1", ENDING, "a"))], "a")
    assert port.endpoints == ("10.0.0.1:8080",)
    (port,) = ports_of(service(), [entry(("10.0.0.1", ENDING, "a"), ("10.0.0.2", READY, "a"))], "a")
    assert port.endpoints == ("10.0.0.2:8080",)


def test_node_ports_masquerade_but_not_with_policy_local():
    slices = [entry(("10.0.0.1", READY, "a"), ("10.0.0.2", READY, "b"))]
    text = rules(ports_of(service(node_port=30080), slices, "a"), PREFIX)
    assert [line.rsplit(" ", 2)[-2] for line in lines(text, "NP")] == ["--or-mark", "-j"]
    text = rules(ports_of(service(node_port=30080, externalTrafficPolicy="Local"), slices, "a"), PREFIX)
    (lead,) = lines(text, "NP")
    target = lead.rsplit(" ", 1)[1]
    assert len([line for line in text.splitlines() if line.startswith(f"-A {target} ")]) == 1


def test_affinity_remembers_the_client():
    spec = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}
    text = rules(ports_of(service(**spec), [entry(("10.0.0.1", READY, "a"))], "a"), PREFIX)
    assert "--rcheck --seconds 60 --reap --rsource" in text
    assert "--set --rsource" in text


def test_headless_and_external_names_have_no_rules():
    assert ports_of(service(clusterIP="None"), [], "a") == []
    assert ports_of(service(type="ExternalName"), [], "a") == []


def test_chain_names_fit():
    text = rules(ports_of(service(node_port=30080), [entry(("10.0.0.1", READY, "a"))], "a"), PREFIX)
    assert all(len(line[1:].split()[0]) <= 28 for line in text.splitlines() if line.startswith(":"))


def test_jumps_are_added_once_and_stale_chains_go():
    lead = jumps(PREFIX, "")
    assert f"-I PREROUTING 1 -j {PREFIX}SVC" in lead
    saved = "\n".join(line.replace("-I", "-A").replace(" 1 -j", " -j") for line in lead.splitlines())
    assert jumps(PREFIX, saved) == ""
    before = rules(ports_of(service(), [entry(("10.0.0.1", READY, "a"))], "a"), PREFIX)
    after = rules(ports_of(service(), [entry(("10.0.0.2", READY, "a"))], "a"), PREFIX)
    gone = stale(PREFIX, before, after)
    assert gone.count("-X ") == 2
    assert stale(PREFIX, after, after) == ""
