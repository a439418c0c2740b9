"""Listeners of gRPC programs that serve without a proxy: mutual TLS and authorization, nothing else.

Takes a snapshot, a node and a listener's name (SERVER_PREFIX + the address that the program listens on), gives a Listener;
none for a port that no service has. The program gets its certificates itself, from the provider named in its bootstrap.
gRPC refuses names of peers in a server's TLS context: whose certificate the mesh's roots have signed is let in, and
authorization policies decide. Not here: clients (proxyless.py). Source: gRFC A29, A36, A41.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.rbac.v3 import rbac_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2

from mizzen.api.istio.security import AuthorizationPolicy
from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.messages import address, boolean, pack
from mizzen.istiod.translate.security.authorization import HTTP_RBAC, is_dry, trust_domains
from mizzen.istiod.translate.security.rbac import rules
from mizzen.istiod.translate.security.tls_contexts import tls_socket

SERVER_PREFIX = "xds.istio.io/grpc/lds/inbound/"
PROVIDER, ROOT = "default", "ROOTCA"
RBAC_NAMES = {"DENY": f"{HTTP_RBAC}.DENY", "ALLOW": HTTP_RBAC}
HttpFilter = hcm_pb2.HttpFilter
ROUTER = HttpFilter(name="envoy.filters.http.router", typed_config=pack(router_pb2.Router()))


def server_listener(snap: Snapshot, node: Node, name: str) -> Any:
    """The listener of one address of a program; None when it is none or no service leads to its port."""
    host, _, port = name.removeprefix(SERVER_PREFIX).rpartition(":")
    if not port.isdigit() or all(target.target_port != int(port) for target in snap.targets(node)):
        return None
    mutual = requires_mutual_tls(snap, node, int(port))
    chain = listener_components_pb2.FilterChain(
        name="inbound-mtls" if mutual else "inbound-plaintext",
        filters=[_manager(snap, node, "mtls" if mutual else "plaintext")],
    )
    if mutual:
        context = tls_pb2.DownstreamTlsContext(
            common_tls_context=provided(()), require_client_certificate=boolean(True)
        )
        chain.transport_socket.CopyFrom(tls_socket(context))
    return listener_pb2.Listener(name=name, address=address(host.strip("[]"), int(port)), filter_chains=[chain])


def requires_mutual_tls(snap: Snapshot, node: Node, port: int) -> bool:
    """gRPC takes either TLS or plaintext on a port: PERMISSIVE is TLS where clients know it by the workload's label."""
    mode = snap.peer_authentications.for_workload(node.namespace, node.labels).port(port)
    return mode == "STRICT" or (mode == "PERMISSIVE" and node.labels.get("security.istio.io/tlsMode") == "istio")


def _manager(snap: Snapshot, node: Node, suffix: str) -> Any:
    policies = snap.authorization_policies.for_node(node)
    filters = [made for action in RBAC_NAMES if (made := _rbac(snap, policies, action)) is not None]
    route = route_components_pb2.Route(
        match=route_components_pb2.RouteMatch(prefix="/"),
        non_forwarding_action=route_components_pb2.NonForwardingAction(),
    )
    host = route_components_pb2.VirtualHost(domains=["*"], routes=[route])
    manager = hcm_pb2.HttpConnectionManager(
        http_filters=[*filters, ROUTER],
        route_config=route_pb2.RouteConfiguration(name="inbound", virtual_hosts=[host]),
    )
    return listener_components_pb2.Filter(name=f"inbound-hcm{suffix}", typed_config=pack(manager))


def _rbac(snap: Snapshot, policies: Iterable[AuthorizationPolicy], action: str) -> Any:
    """The filter of one action, None when no policy has it. Policies on trial have no effect in gRPC."""
    enforced = [policy for policy in policies if policy.spec.action == action and not is_dry(policy)]
    if not enforced:
        return None
    out = rbac_pb2.RBAC(action=rbac_pb2.RBAC.DENY if action == "DENY" else rbac_pb2.RBAC.ALLOW)
    for policy in enforced:
        made = rules([policy], action, False, trust_domains(snap)).policies
        for index, key in enumerate(sorted(made, key=_rule_number)):
            out.policies[f"{policy.metadata.namespace or 'default'}-{policy.metadata.name}-{index}"].CopyFrom(made[key])
    return HttpFilter(name=RBAC_NAMES[action], typed_config=pack(http_rbac_pb2.RBAC(rules=out)))


def _rule_number(key: str) -> int:
    return int(key.rpartition("[")[2].rstrip("]"))


def provided(names: Iterable[Any]) -> Any:
    """Certificates by the provider of the program's bootstrap. names: matchers of the peer's, for clients.

    Said twice: programs with a gRPC before 1.66 read the older fields.
    """
    current, older = common_pb2.CertificateProviderPluginInstance, tls_pb2.CommonTlsContext.CertificateProviderInstance
    validation = common_pb2.CertificateValidationContext(
        match_subject_alt_names=names,
        ca_certificate_provider_instance=current(instance_name=PROVIDER, certificate_name=ROOT),
    )
    return tls_pb2.CommonTlsContext(
        tls_certificate_provider_instance=current(instance_name=PROVIDER, certificate_name=PROVIDER),
        tls_certificate_certificate_provider_instance=older(instance_name=PROVIDER, certificate_name=PROVIDER),
        combined_validation_context=tls_pb2.CommonTlsContext.CombinedCertificateValidationContext(
            default_validation_context=validation,
            validation_context_certificate_provider_instance=older(instance_name=PROVIDER, certificate_name=ROOT),
        ),
    )
