"""Authorization as filters: one RBAC filter per action, and external authorization for CUSTOM.

Takes the policies that hold for a workload, gives (name, config) pairs in the order in which they are to stand; the same for
HTTP and for TCP chains. Not here: rules (rbac.py), the external authorizers' configs (ext_authz.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoy.config.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac_pb2
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac_pb2

from mizzen.api.booleans import TRUE
from mizzen.api.istio.security import AuthorizationPolicy
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.security import ext_authz
from mizzen.istiod.translate.security.rbac import rules

HTTP_RBAC, NETWORK_RBAC = "envoy.filters.http.rbac", "envoy.filters.network.rbac"
DRY_RUN = "istio.io/dry-run"
TCP_STATS = "tcp."
ASKED = "istio-ext-authz"
SHADOW_PREFIX = {"ALLOW": "istio_dry_run_allow_", "DENY": "istio_dry_run_deny_", "AUDIT": ""}
BAD_PROVIDER = "-deny-due-to-bad-CUSTOM-action"
Named = tuple[str, Any]


def policy_filters(snap: Snapshot, policies: Sequence[AuthorizationPolicy], tcp: bool) -> list[Named]:
    """AUDIT, DENY and ALLOW, each only when there is a policy with that action."""
    domains = trust_domains(snap)
    out = []
    for action in ("AUDIT", "DENY", "ALLOW"):
        chosen = [policy for policy in policies if policy.spec.action == action]
        if not chosen:
            continue
        enforced = [policy for policy in chosen if not is_dry(policy)]
        dry = [policy for policy in chosen if is_dry(policy)]
        shadow = rules(dry, action, tcp, domains) if dry else None
        prefix = SHADOW_PREFIX[action] if dry else SHADOW_PREFIX["ALLOW"]
        out.append(_rbac(rules(enforced, action, tcp, domains) if enforced else None, shadow, prefix, tcp))
    return out


def custom_filters(snap: Snapshot, policies: Sequence[AuthorizationPolicy], tcp: bool, sidecar: bool) -> list[Named]:
    """CUSTOM: RBAC says in its shadow which requests are to be asked about, and the authorizer is asked about those.

    With an unknown provider, or more than one, what the policies match is denied. Policies on trial have their rules
    where those that count have nothing: CUSTOM never decides by itself.
    """
    chosen: dict[str, list[AuthorizationPolicy]] = {}
    for policy in policies:
        if policy.spec.action == "CUSTOM":
            chosen.setdefault(policy.spec.provider.name if policy.spec.provider is not None else "", []).append(policy)
    out: list[Named] = []
    domains = trust_domains(snap)
    for name, of_it in sorted(chosen.items()):
        provider = next((one for one in snap.mesh.extension_providers if one.name == name), None)
        prefix = f"{ASKED}-{name}-" if name else f"{ASKED}-"
        enforced = [policy for policy in of_it if not is_dry(policy)]
        if len(chosen) > 1 or provider is None or not ext_authz.usable(snap, provider):
            out.append(
                _rbac(rules(enforced, "CUSTOM", tcp, domains, prefix=prefix, suffix=BAD_PROVIDER), None, "", tcp)
            )
            continue
        if tcp and provider.envoy_ext_authz_grpc is None:
            continue
        dry = [policy for policy in of_it if is_dry(policy)]
        trial = rules(dry, "CUSTOM", tcp, domains, prefix=prefix) if dry else None
        shadow = rules(enforced, "CUSTOM", tcp, domains, prefix=prefix)
        asked = f"{ASKED}-{name}"
        authorizer = ext_authz.network(snap, provider, asked) if tcp else ext_authz.http(snap, provider, asked, sidecar)
        out += [_rbac(trial, shadow, "istio_ext_authz_", tcp), authorizer]
    return out


def _rbac(enforced: rbac_pb2.RBAC | None, shadow: rbac_pb2.RBAC | None, prefix: str, tcp: bool) -> Named:
    if tcp:
        network = network_rbac_pb2.RBAC(
            rules=enforced, shadow_rules=shadow, shadow_rules_stat_prefix=prefix, stat_prefix=TCP_STATS
        )
        return NETWORK_RBAC, network
    return HTTP_RBAC, http_rbac_pb2.RBAC(rules=enforced, shadow_rules=shadow, shadow_rules_stat_prefix=prefix)


def is_dry(policy: AuthorizationPolicy) -> bool:
    """Whether a policy is on trial: it is only counted what it would refuse."""
    return (policy.metadata.annotations or {}).get(DRY_RUN) in TRUE


def trust_domains(snap: Snapshot) -> list[str]:
    """The mesh's trust domain, then its aliases."""
    return list(dict.fromkeys((snap.trust_domain, *snap.mesh.trust_domain_aliases)))
