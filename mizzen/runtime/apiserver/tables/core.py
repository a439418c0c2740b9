"""Rows of core/v1 kinds, and of rbac, coordination, scheduling and node; pods are in pods.py."""

from __future__ import annotations

from typing import Any

from ..schema.scalars import age
from .text import NONE, age_text, capped, labels_text, pod_cells, spec_of, status_of

Object = dict[str, Any]


def config_map(tree: Object) -> list[Any]:
    return [len(tree.get("data") or ()) + len(tree.get("binaryData") or ()), age_text(tree)]


def secret(tree: Object) -> list[Any]:
    return [tree.get("type", ""), len(tree.get("data") or ()), age_text(tree)]


def pod_template(tree: Object) -> list[Any]:
    template = tree.get("template") or {}
    return [*pod_cells(template), labels_text((template.get("metadata") or {}).get("labels"))]


def service(tree: Object) -> list[Any]:
    spec = spec_of(tree)
    kind = spec.get("type", "ClusterIP")
    ips = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return [
        kind,
        ips[0] if ips else NONE,
        _external(tree, kind),
        _ports(spec),
        age_text(tree),
        labels_text(spec.get("selector")),
    ]


def _external(tree: Object, kind: str) -> str:
    spec = spec_of(tree)
    own = list(spec.get("externalIPs") or ())
    if kind == "ExternalName":
        return spec.get("externalName") or NONE
    if kind == "LoadBalancer":
        given = [
            one.get("ip") or one.get("hostname") or ""
            for one in (status_of(tree).get("loadBalancer") or {}).get("ingress") or ()
        ]
        return ",".join([*dict.fromkeys(given), *own]) or "<pending>"
    return ",".join(own) or NONE


def _ports(spec: Object) -> str:
    found = []
    for port in spec.get("ports") or ():
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        found.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(found) or NONE


def node(tree: Object) -> list[Any]:
    status, info = status_of(tree), status_of(tree).get("nodeInfo") or {}
    ready = [one for one in status.get("conditions") or () if one["type"] == "Ready"]
    state = ["Ready" if ready[0]["status"] == "True" else "NotReady"] if ready else ["Unknown"]
    if spec_of(tree).get("unschedulable"):
        state.append("SchedulingDisabled")
    addresses = {one["type"]: one["address"] for one in reversed(status.get("addresses") or ())}
    return [
        ",".join(state),
        _roles(tree["metadata"].get("labels") or {}),
        age_text(tree),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage") or "<unknown>",
        _kernel(info),
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _kernel(info: Object) -> str:
    kernel, architecture = info.get("kernelVersion") or "<unknown>", info.get("architecture")
    return f"{kernel} ({architecture})" if architecture else kernel


def _roles(labels: dict[str, str]) -> str:
    prefix = "node-role.kubernetes.io/"
    roles = {key.removeprefix(prefix) for key in labels if key.startswith(prefix) and key != prefix}
    if labels.get("kubernetes.io/role"):
        roles.add(labels["kubernetes.io/role"])
    return ",".join(sorted(roles)) or NONE


def endpoints(tree: Object) -> list[Any]:
    found = []
    for subset in tree.get("subsets") or ():
        ports = subset.get("ports") or ()
        for address in subset.get("addresses") or ():
            ip = address.get("ip", "")
            found += [f"{f'[{ip}]' if ':' in ip else ip}:{port['port']}" for port in ports] or [ip]
    return [capped(found), age_text(tree)]


def event(tree: Object) -> list[Any]:
    about = tree.get("involvedObject") or tree.get("regarding") or {}
    source = tree.get("source") or tree.get("deprecatedSource") or {}
    first, last = (
        tree.get("firstTimestamp") or tree.get("deprecatedFirstTimestamp"),
        tree.get("lastTimestamp") or tree.get("deprecatedLastTimestamp"),
    )
    moment, series = tree.get("eventTime"), tree.get("series") or {}
    first_seen = age(first or moment)
    last_seen = age(series.get("lastObservedTime") or last) if series or last else first_seen
    component = source.get("component") or tree.get("reportingComponent") or tree.get("reportingController") or ""
    host = source.get("host") or tree.get("reportingInstance") or ""
    count = series.get("count") or tree.get("count") or tree.get("deprecatedCount") or 1
    name = f"{about.get('kind', '').lower()}/{about.get('name', '')}"
    return [
        last_seen,
        tree.get("type", ""),
        tree.get("reason", ""),
        name,
        about.get("fieldPath", ""),
        f"{component}, {host}" if host else component,
        (tree.get("message") or tree.get("note") or "").strip(),
        first_seen,
        count,
        tree["metadata"]["name"],
    ]


def quota(tree: Object) -> list[Any]:
    hard, used = status_of(tree).get("hard") or {}, status_of(tree).get("used") or {}
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(hard):
        text = f"{name}: {used.get(name, '0')}/{hard[name]}"
        (limits if name.startswith("limits") else requests).append(text)
    return [", ".join(requests), ", ".join(limits), age_text(tree)]


def component_status(tree: Object) -> list[Any]:
    return ["Healthy", "ok", ""]


def binding(tree: Object) -> list[Any]:
    reference, subjects = tree.get("roleRef") or {}, tree.get("subjects") or ()
    users = ", ".join(one["name"] for one in subjects if one["kind"] == "User")
    groups = ", ".join(one["name"] for one in subjects if one["kind"] == "Group")
    accounts = ", ".join(
        f"{one.get('namespace', '')}/{one['name']}" for one in subjects if one["kind"] == "ServiceAccount"
    )
    return [f"{reference.get('kind', '')}/{reference.get('name', '')}", age_text(tree), users, groups, accounts]


def lease(tree: Object) -> list[Any]:
    return [spec_of(tree).get("holderIdentity", ""), age_text(tree)]


def priority_class(tree: Object) -> list[Any]:
    return [
        tree.get("value", 0),
        bool(tree.get("globalDefault", False)),
        age_text(tree),
        tree.get("preemptionPolicy", ""),
    ]


def runtime_class(tree: Object) -> list[Any]:
    return [tree.get("handler", ""), age_text(tree)]
