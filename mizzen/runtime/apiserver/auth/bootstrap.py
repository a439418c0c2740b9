"""The RBAC objects that every cluster has from the start: roles for users, discovery, components.

Gives trees to create where they are missing. Source: kube-apiserver's bootstrap policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]
GROUP = "rbac.authorization.k8s.io"
READ, READ_WRITE = ["get", "list", "watch"], ["create", "delete", "deletecollection", "patch", "update"]
AUTOUPDATE = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
DEFAULTS = {"kubernetes.io/bootstrapping": "rbac-defaults"}


def rule(groups: str, resources: str, verbs: list[str] | str, names: str = "") -> Object:
    """Words separated by blanks; "core" is the group without a name."""
    found: Object = {
        "verbs": verbs if isinstance(verbs, list) else verbs.split(),
        "apiGroups": ["" if one == "core" else one for one in groups.split()],
        "resources": resources.split(),
    }
    return {**found, "resourceNames": names.split()} if names else found


def paths(urls: str, verbs: str = "get") -> Object:
    return {"verbs": verbs.split(), "nonResourceURLs": urls.split()}


def _role(
    name: str, rules: list[Object] | None, labels: Object | None = None, aggregate: list[Object] | None = None
) -> Object:
    out: Object = {
        "kind": "ClusterRole", "apiVersion": f"{GROUP}/v1",
        "metadata": {"name": name, "labels": {**DEFAULTS, **(labels or {})}, "annotations": dict(AUTOUPDATE)},
        "rules": rules,
    }  # fmt: skip
    if aggregate:
        out["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": one} for one in aggregate]}
    return out


def _binding(name: str, role: str, subjects: list[Object]) -> Object:
    return {
        "kind": "ClusterRoleBinding", "apiVersion": f"{GROUP}/v1",
        "metadata": {"name": name, "labels": dict(DEFAULTS), "annotations": dict(AUTOUPDATE)},
        "subjects": subjects,
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
    }  # fmt: skip


def _group(name: str) -> Object:
    return {"kind": "Group", "apiGroup": GROUP, "name": name}


def _user(name: str) -> Object:
    return {"kind": "User", "apiGroup": GROUP, "name": name}


def _account(name: str, namespace: str = "kube-system") -> Object:
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


PUBLIC = "/healthz /livez /readyz /version /version/"
DISCOVERY = "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"

CORE_VIEW = (
    "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale "
    "serviceaccounts services services/status"
)
CORE_STATUS = "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status"
APPS = (
    "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale "
    "replicasets/status statefulsets statefulsets/scale statefulsets/status"
)
BATCH = "cronjobs cronjobs/status jobs jobs/status"
NET = "ingresses ingresses/status networkpolicies"
APPS_EDIT = "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale"


def _view() -> list[Object]:
    return [
        rule("core", CORE_VIEW, READ),
        rule("core", CORE_STATUS, READ),
        rule("core", "namespaces", READ),
        rule("discovery.k8s.io", "endpointslices", READ),
        rule("apps", APPS, READ),
        rule("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", READ),
        rule("batch", BATCH, READ),
        rule("policy", "poddisruptionbudgets poddisruptionbudgets/status", READ),
        rule("networking.k8s.io", NET, READ),
        rule("resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates", READ),
    ]


def _edit() -> list[Object]:
    return [
        rule("core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", READ),
        rule("core", "serviceaccounts", "impersonate"),
        rule("core", "pods pods/attach pods/exec pods/portforward pods/proxy", READ_WRITE),
        rule("core", "pods/eviction", "create"),
        rule(
            "core",
            "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy",
            READ_WRITE,
        ),
        rule("core", "serviceaccounts/token", "create"),
        rule("apps", APPS_EDIT, READ_WRITE),
        rule("autoscaling", "horizontalpodautoscalers", READ_WRITE),
        rule("batch", "cronjobs jobs", READ_WRITE),
        rule("policy", "poddisruptionbudgets", READ_WRITE),
        rule("networking.k8s.io", "ingresses networkpolicies", READ_WRITE),
        rule("coordination.k8s.io", "leases", [*READ_WRITE, *READ]),
        rule("resource.k8s.io", "resourceclaims resourceclaimtemplates", READ_WRITE),
    ]


def _admin() -> list[Object]:
    return [
        rule("authorization.k8s.io", "localsubjectaccessreviews", "create"),
        rule(GROUP, "rolebindings roles", [*READ_WRITE, *READ]),
    ]


def cluster_roles() -> Iterator[Object]:
    yield _role("cluster-admin", [rule("*", "*", "*"), paths("*", "*")])
    yield _role("system:discovery", [paths(DISCOVERY)])
    yield _role("system:public-info-viewer", [paths(PUBLIC)])
    yield _role(
        "system:monitoring", [paths("/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*")]
    )
    yield _role("system:basic-user", [
        rule("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create"),
        rule("authentication.k8s.io", "selfsubjectreviews", "create"),
    ])  # fmt: skip
    yield _role("admin", None, None, [{f"{AGGREGATE}admin": "true"}])
    yield _role("edit", None, {f"{AGGREGATE}admin": "true"}, [{f"{AGGREGATE}edit": "true"}])
    yield _role("view", None, {f"{AGGREGATE}edit": "true"}, [{f"{AGGREGATE}view": "true"}])
    yield _role("system:aggregate-to-admin", _admin(), {f"{AGGREGATE}admin": "true"})
    yield _role("system:aggregate-to-edit", _edit(), {f"{AGGREGATE}edit": "true"})
    yield _role("system:aggregate-to-view", _view(), {f"{AGGREGATE}view": "true"})
    yield _role("system:auth-delegator", [
        rule("authentication.k8s.io", "tokenreviews", "create"), rule("authorization.k8s.io", "subjectaccessreviews", "create"),
    ])  # fmt: skip
    yield _role(
        "system:service-account-issuer-discovery",
        [
            paths(
                "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/"
            )
        ],
    )
    yield _role("system:kube-dns", [rule("core", "endpoints services", "list watch")])
    yield _role("system:persistent-volume-provisioner", [
        rule("core", "persistentvolumes", "create delete get list watch"), rule("core", "persistentvolumeclaims", "get list update watch"),
        rule("storage.k8s.io", "storageclasses", READ), rule("core", "events", "watch"), rule("core events.k8s.io", "events", "create patch update"),
    ])  # fmt: skip
    yield _role(
        "system:heapster", [rule("core", "events namespaces nodes pods", READ), rule("extensions", "deployments", READ)]
    )
    yield _role("system:node-problem-detector", [
        rule("core", "nodes", "get"), rule("core", "nodes/status", "patch"), rule("core events.k8s.io", "events", "create patch update"),
    ])  # fmt: skip
    yield _role(
        "system:node-bootstrapper", [rule("certificates.k8s.io", "certificatesigningrequests", "create get list watch")]
    )
    yield _role("system:node-proxier", [
        rule("core", "endpoints services", "list watch"), rule("core", "nodes", READ),
        rule("core events.k8s.io", "events", "create patch update"), rule("discovery.k8s.io", "endpointslices", "list watch"),
        rule("networking.k8s.io", "servicecidrs", "list watch"),
    ])  # fmt: skip
    yield _role(
        "system:kubelet-api-admin",
        [
            rule("core", "nodes", "get list watch proxy"),
            rule("core", "nodes/log nodes/metrics nodes/proxy nodes/stats", "*"),
        ],
    )
    yield _role("system:node", [
        rule("authentication.k8s.io", "tokenreviews", "create"), rule("authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews", "create"),
        rule("core", "services", READ), rule("core", "nodes", "create get list watch patch update"), rule("core", "nodes/status", "patch update"),
        rule("core events.k8s.io", "events", "create patch update"), rule("core", "pods", "create delete get list watch"),
        rule("core", "pods/status", "patch update"), rule("core", "pods/eviction", "create"), rule("core", "configmaps secrets", READ),
        rule("core", "persistentvolumeclaims persistentvolumes", "get"), rule("core", "endpoints", "get"),
        rule("certificates.k8s.io", "certificatesigningrequests", "create get list watch"),
        rule("coordination.k8s.io", "leases", "create delete get patch update"), rule("storage.k8s.io", "volumeattachments", "get"),
        rule("core", "serviceaccounts/token", "create"), rule("core", "persistentvolumeclaims/status", "get patch update"),
        rule("storage.k8s.io", "csidrivers", READ), rule("storage.k8s.io", "csinodes", "create delete get patch update"),
        rule("node.k8s.io", "runtimeclasses", READ), rule("core", "serviceaccounts", READ),
    ])  # fmt: skip
    yield _role("system:kube-scheduler", [
        rule("core events.k8s.io", "events", "create patch update"), rule("coordination.k8s.io", "leases", "create get update list watch"),
        rule("core", "nodes", READ), rule("core", "pods", "delete get list watch"), rule("core", "bindings pods/binding", "create"),
        rule("core", "pods/status", "patch update"), rule("core", "replicationcontrollers services", READ),
        rule("apps extensions", "replicasets", READ), rule("apps", "statefulsets", READ), rule("policy", "poddisruptionbudgets", READ),
        rule("core", "persistentvolumeclaims persistentvolumes", "get list watch patch update"),
        rule("authentication.k8s.io", "tokenreviews", "create"), rule("authorization.k8s.io", "subjectaccessreviews", "create"),
        rule("storage.k8s.io", "csinodes storageclasses csidrivers csistoragecapacities volumeattachments", READ), rule("core", "namespaces", READ),
    ])  # fmt: skip
    yield _role("system:kube-controller-manager", [
        rule("core events.k8s.io", "events", "create patch update"), rule("coordination.k8s.io", "leases", "create get update"),
        rule("core", "secrets serviceaccounts", "create"), rule("core", "secrets", "delete"), rule("core", "configmaps namespaces secrets serviceaccounts", "get"),
        rule("core", "secrets serviceaccounts", "update"), rule("authentication.k8s.io", "tokenreviews", "create"),
        rule("authorization.k8s.io", "subjectaccessreviews", "create"), rule("*", "*", "list watch"), rule("core", "serviceaccounts/token", "create"),
    ])  # fmt: skip
    yield _role("system:volume-scheduler", [
        rule("core", "persistentvolumes", "get list patch update watch"), rule("storage.k8s.io", "storageclasses", READ),
        rule("core", "persistentvolumeclaims", "get list patch update watch"),
    ])  # fmt: skip


def cluster_role_bindings() -> Iterator[Object]:
    everybody, nobody = _group("system:authenticated"), _group("system:unauthenticated")
    yield _binding("cluster-admin", "cluster-admin", [_group("system:masters")])
    yield _binding("system:monitoring", "system:monitoring", [_group("system:monitoring")])
    yield _binding("system:discovery", "system:discovery", [everybody])
    yield _binding("system:basic-user", "system:basic-user", [everybody])
    yield _binding("system:public-info-viewer", "system:public-info-viewer", [everybody, nobody])
    yield _binding("system:node-proxier", "system:node-proxier", [_user("system:kube-proxy")])
    yield _binding(
        "system:kube-controller-manager", "system:kube-controller-manager", [_user("system:kube-controller-manager")]
    )
    yield _binding("system:kube-dns", "system:kube-dns", [_account("kube-dns")])
    yield _binding("system:kube-scheduler", "system:kube-scheduler", [_user("system:kube-scheduler")])
    yield _binding("system:volume-scheduler", "system:volume-scheduler", [_user("system:kube-scheduler")])
    yield _binding("system:node", "system:node", [_group("system:nodes")])
    yield _binding(
        "system:service-account-issuer-discovery",
        "system:service-account-issuer-discovery",
        [_group("system:serviceaccounts")],
    )


def _namespaced(kind: str, namespace: str, name: str, **body: Any) -> Object:
    return {
        "kind": kind, "apiVersion": f"{GROUP}/v1",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(DEFAULTS), "annotations": dict(AUTOUPDATE)}, **body,
    }  # fmt: skip


SYSTEM, PUBLIC_NAMESPACE = "kube-system", "kube-public"
EVENTS_RULE = rule("core events.k8s.io", "events", "create patch update")


def _roles() -> Iterator[tuple[str, str, list[Object], str, list[Object]]]:
    """(namespace, role, rules, binding, subjects)"""
    config = "extension-apiserver-authentication"
    readers = [_user("system:kube-controller-manager"), _user("system:kube-scheduler")]
    reading = [rule("core", "configmaps", READ, config)]
    yield SYSTEM, f"{config}-reader", reading, f"system::{config}-reader", readers
    for component in ("kube-controller-manager", "kube-scheduler"):
        name = f"system::leader-locking-{component}"
        rules = [rule("core", "configmaps", "watch"), rule("core", "configmaps", "get update", component)]
        yield SYSTEM, name, rules, name, [_user(f"system:{component}"), _account(component)]
    for account, rules in (
        ("bootstrap-signer", [rule("core", "secrets", READ)]),
        ("cloud-provider", [rule("core", "configmaps", "create get list watch")]),
        ("token-cleaner", [rule("core", "secrets", "delete get list watch"), EVENTS_RULE]),
    ):
        yield SYSTEM, f"system:controller:{account}", rules, f"system:controller:{account}", [_account(account)]
    signing = [rule("core", "configmaps", READ), rule("core", "configmaps", "update", "cluster-info"), EVENTS_RULE]
    name = "system:controller:bootstrap-signer"
    yield PUBLIC_NAMESPACE, name, signing, name, [_account("bootstrap-signer")]


def namespaced_objects() -> Iterator[tuple[str, Object]]:
    """(plural, object) of the roles in system namespaces, and who has them."""
    for namespace, role, rules, binding, subjects in _roles():
        yield "roles", _namespaced("Role", namespace, role, rules=rules)
        reference = {"apiGroup": GROUP, "kind": "Role", "name": role}
        yield "rolebindings", _namespaced("RoleBinding", namespace, binding, subjects=subjects, roleRef=reference)
