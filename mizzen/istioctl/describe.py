"""What the mesh does with one pod or Service, in words: ports, Services, DestinationRules, routes, policies, mutual TLS.

Pure: a `World` of Kubernetes objects and the proxy's config dump in, text out; labels and lines are istioctl's. Which rule
holds is read off what the proxy has (`istio.config` in its metadata), so it is said as it is, not as it should be. Not here:
fetching (describe_commands.py).
Source: `istioctl experimental describe`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mizzen.api import kinds
from mizzen.api.errors import Invalid
from mizzen.istioctl import envoy_dump
from mizzen.istioctl.envoy_dump import istio_config
from mizzen.istiod.registry.protocol import kubernetes_protocol
from mizzen.istiod.snapshot.peer_authentication import PeerAuthentications
from mizzen.kube import Object

PROXY, RESERVED_UID = "istio-proxy", 1337
SEPARATOR = "-" * 20
POLICY_MARK = "ns["
TELEMETRY_LABELS = (
    ("app", ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")),
    ("version", ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")),
)


class World(msgspec.Struct, kw_only=True):
    """What is looked at. dump: the config dump of the pod's proxy, None when it has none or was not asked."""

    namespace: str
    services: Sequence[Object] = ()
    destination_rules: Sequence[Object] = ()
    virtual_services: Sequence[Object] = ()
    gateways: Sequence[Object] = ()
    peer_authentications: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    dump: Mapping[str, Any] | None = None
    root_namespace: str = "istio-system"


def name_of(obj: Object, namespace: str) -> str:
    """name, or name.namespace outside the namespace that is spoken of."""
    meta = obj["metadata"]
    return str(meta["name"]) if meta.get("namespace") == namespace else f"{meta['name']}.{meta.get('namespace')}"


def describe_pod(pod: Object, world: World, *, ignore_unmeshed: bool = False) -> str:
    """The text about a pod."""
    lines = [*_pod(pod, world, ignore_unmeshed)]
    if _runs(pod) and (has_proxy(pod) or ignore_unmeshed):
        labels = _labels(pod)
        matching = [svc for svc in world.services if _selects(svc, pod)]
        for number, svc in enumerate(matching):
            lines += [SEPARATOR] if number == 0 else ["", SEPARATOR]
            lines += _service(svc, pod, world)
            lines += _rules(svc, labels, world)
        lines += [SEPARATOR, *_peer_authentication(pod, world)] if has_proxy(pod) else []
        for svc in matching:
            lines += _exposed(svc, world)
    return "\n".join(lines) + "\n"


def describe_service(svc: Object, world: World) -> str:
    """The text about a Service."""
    selected = [pod for pod in world.pods if _selects(svc, pod)]
    meshed = [pod for pod in selected if has_proxy(pod)]
    lines = [*_service(svc, selected[0] if selected else None, world)]
    if not selected:
        lines.append(f"Service {name_of(svc, world.namespace)} has no pods.")
    elif not meshed:
        lines.append(f"Service {name_of(svc, world.namespace)} has no Istio pods. (use 'istioctl kube-inject')")
    else:
        lines += _rules(svc, _labels(meshed[0]), world)
        lines += _exposed(svc, world)
    return "\n".join(lines) + "\n"


def has_proxy(pod: Object) -> bool:
    """Whether a pod has a sidecar, or is a gateway."""
    spec = pod.get("spec") or {}
    every = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return any(container["name"] == PROXY for container in every)


def _labels(pod: Object) -> Mapping[str, str]:
    return pod["metadata"].get("labels") or {}


def _runs(pod: Object) -> bool:
    return bool((pod.get("status") or {}).get("phase") == "Running")


def _selects(svc: Object, pod: Object) -> bool:
    selector = (svc.get("spec") or {}).get("selector") or {}
    same = svc["metadata"].get("namespace") == pod["metadata"].get("namespace")
    return bool(selector) and same and selector.items() <= _labels(pod).items()


# The pod


def _pod(pod: Object, world: World, ignore_unmeshed: bool) -> Iterator[str]:
    name, spec, status = name_of(pod, world.namespace), pod.get("spec") or {}, pod.get("status") or {}
    yield f"Pod: {name}"
    annotations = pod["metadata"].get("annotations") or {}
    yield f"   Pod Revision: {annotations.get('istio.io/rev') or _labels(pod).get('istio.io/rev') or 'default'}"
    ports = [
        f"{port['containerPort']}{_transport(port)} ({container['name']})"
        for container in spec.get("containers") or ()
        for port in container.get("ports") or ()
    ]
    yield f"   Pod Ports: {', '.join(ports)}" if ports else "   Pod does not expose ports"
    if not _runs(pod):
        yield f"   Pod is not Running ({status.get('phase')})"
        return
    for entry in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        done = (entry.get("state") or {}).get("terminated", {}).get("exitCode") == 0
        if not entry.get("ready") and not done:
            yield f"WARNING: Pod {name} Container {entry['name']} NOT READY"
    users = [(container.get("securityContext") or {}).get("runAsUser") for container in _own(spec)]
    if RESERVED_UID in (*users, (spec.get("securityContext") or {}).get("runAsUser")):
        yield f"   WARNING: User ID (UID) {RESERVED_UID} is reserved for the sidecar proxy."
    if ignore_unmeshed:
        return
    if not has_proxy(pod):
        yield f"WARNING: {name} is not part of mesh; no Istio sidecar"
        return
    for short, keys in TELEMETRY_LABELS:
        if not any(_labels(pod).get(key) for key in keys):
            yield f"Suggestion: add '{short}' label to pod for Istio telemetry."


def _own(spec: Object) -> list[Object]:
    return [container for container in spec.get("containers") or () if container["name"] != PROXY]


def _transport(port: Object) -> str:
    """Nothing for TCP, which every port is unless it says otherwise."""
    protocol = port.get("protocol") or "TCP"
    return "" if protocol == "TCP" else f"/{protocol}"


# Its Services


def _service(svc: Object, pod: Object | None, world: World) -> Iterator[str]:
    yield f"Service: {name_of(svc, world.namespace)}"
    for port in (svc.get("spec") or {}).get("ports") or ():
        if (port.get("protocol") or "TCP") != "TCP":
            continue
        shown = f"{port.get('name') or ''} {port['port']}/{protocol(port)}".strip()
        target = target_port(port, pod) if pod is not None else port.get("targetPort", port["port"])
        if target is None:
            yield f"   Port: {shown} targets unknown port {port.get('targetPort')}"
        else:
            yield f"   Port: {shown} targets pod port {target}"


def protocol(port: Object) -> str:
    """The protocol that Istio takes a Service's port for."""
    name, said = port.get("name") or "", port.get("appProtocol")
    found = kubernetes_protocol(int(port["port"]), name, port.get("protocol") or "TCP", said)
    return "auto-detect" if found.is_unsupported else str(found)


def target_port(port: Object, pod: Object) -> int | None:
    """The number of the pod's port that a Service's port leads to; None for a name that the pod does not have."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    spec = pod.get("spec") or {}
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        for one in container.get("ports") or ():
            if one.get("name") == target:
                return int(one["containerPort"])
    return None


def _host(svc: Object) -> str:
    return f"{svc['metadata']['name']}.{svc['metadata'].get('namespace')}.svc.cluster.local"


def _rules(svc: Object, labels: Mapping[str, str], world: World) -> Iterator[str]:
    """DestinationRules, VirtualServices and authorization policies of a Service, port by port where there are several."""
    ports = [p for p in (svc.get("spec") or {}).get("ports") or () if (p.get("protocol") or "TCP") == "TCP"]
    for port in ports:
        lines = [*_destination_rule(svc, port, labels, world), *_virtual_service(svc, port, labels, world)]
        if lines and len(ports) > 1:
            yield f"{port['port']}:"
            lines = [f"   {line}" for line in lines]
        yield from lines
    policies = list(dict.fromkeys(_policies(world)))
    if policies:
        yield f"RBAC policies: {', '.join(policies)}"


def _find(objects: Iterable[Object], name: str) -> Object | None:
    """The object that `name.namespace` means."""
    own, _, namespace = name.rpartition(".")
    for obj in objects:
        if (obj["metadata"]["name"], obj["metadata"].get("namespace")) == (own, namespace):
            return obj
    return None


def _destination_rule(svc: Object, port: Object, labels: Mapping[str, str], world: World) -> Iterator[str]:
    wanted = f"outbound|{port['port']}||{_host(svc)}"
    clusters = envoy_dump.clusters(world.dump) if world.dump is not None else []
    name = next((istio_config(cluster) for cluster in clusters if cluster.get("name") == wanted), "")
    rule = _find(world.destination_rules, name)
    if rule is None:
        if name:
            yield f"WARNING: Proxy is stale; it references to non-existent destination rule {name}"
        return
    spec = rule.get("spec") or {}
    yield f'DestinationRule: {name_of(rule, world.namespace)} for "{spec.get("host")}"'
    yield from _subsets(spec.get("subsets") or (), labels)
    yield from _traffic_policy(spec.get("trafficPolicy"))


def _subsets(subsets: Iterable[Object], labels: Mapping[str, str]) -> Iterator[str]:
    matching: list[str] = []
    others: list[str] = []
    for subset in subsets:
        fits = (subset.get("labels") or {}).items() <= labels.items()
        (matching if fits else others).append(str(subset["name"]))
    if not matching and others:
        yield f"  WARNING POD DOES NOT MATCH ANY SUBSETS.  (Non matching subsets {','.join(others)})"
    if matching:
        yield f"   Matching subsets: {','.join(matching)}"
    if matching and others:
        yield f"      (Non-matching subsets {','.join(others)})"


POLICIES = (
    ("loadBalancer", "load balancer"),
    ("connectionPool", "connection pool"),
    ("outlierDetection", "outlier detection"),
)


def _traffic_policy(policy: Object | None) -> Iterator[str]:
    if policy is None:
        yield "   No Traffic Policy"
        return
    if policy.get("tls"):
        yield f"   Traffic Policy TLS Mode: {policy['tls'].get('mode', 'DISABLE')}"
    named = [words for field, words in POLICIES if policy.get(field)]
    if named:
        yield f"   Policies: {'/'.join(named)}"
    if policy.get("portLevelSettings"):
        yield "   Port Level Settings:"
        for level in policy["portLevelSettings"]:
            yield f"      {(level.get('port') or {}).get('number')}:"
            if level.get("tls"):
                yield f"         TLS Mode: {level['tls'].get('mode', 'DISABLE')}"
            own = [words for field, words in POLICIES if level.get(field)]
            if own:
                yield f"         Policies: {'/'.join(own)}"


def _virtual_service(svc: Object, port: Object, labels: Mapping[str, str], world: World) -> Iterator[str]:
    names = dict.fromkeys(_routes_to(world.dump, svc, port)) if world.dump is not None else {}
    for name in names:
        found = _find(world.virtual_services, name)
        if found is None:
            yield f"WARNING: Proxy is stale; it references to non-existent virtual service {name}"
            continue
        yield f"VirtualService: {name_of(found, world.namespace)}"
        yield from _routes(found, svc, labels, world)


def _routes_to(dump: Mapping[str, Any], svc: Object, port: Object) -> Iterator[str]:
    """VirtualServices (name.namespace) that the proxy routes a Service's port by."""
    host = f"{_host(svc)}:{port['port']}"
    for config in envoy_dump.routes(dump):
        for virtual_host in config.get("virtual_hosts", ()):
            if virtual_host.get("name") == host:
                yield from filter(None, (istio_config(route) for route in virtual_host.get("routes", ())))


def _routes(virtual_service: Object, svc: Object, labels: Mapping[str, str], world: World) -> Iterator[str]:
    """What a VirtualService does for a pod behind a Service."""
    facts, missed = [], 0
    spec, namespace = virtual_service.get("spec") or {}, virtual_service["metadata"].get("namespace")
    for rule in spec.get("http") or ():
        for route in rule.get("route") or ():
            destination = route.get("destination") or {}
            if not _reaches(destination, namespace, svc, labels, world):
                missed += 1
                continue
            subset = f' subset "{destination["subset"]}"' if destination.get("subset") else ""
            weight = route.get("weight") or (100 if len(rule["route"]) == 1 else 0)
            facts.append(f'   Route to host "{destination.get("host")}"{subset} with weight {weight}%')
        facts += [f"   Match: {text}" for text in _matches(rule)]
    yield from facts
    if not facts:
        yield f"   {len(spec.get('http') or ())} HTTP route(s)"
    elif missed:
        yield f"   {missed} additional destination(s) that will not reach this pod"


def _matches(rule: Object) -> Iterator[str]:
    for match in rule.get("match") or ():
        parts = [
            f"{field}{_condition(match[field])}"
            for field in ("uri", "scheme", "method", "authority")
            if match.get(field) and field != "uri"
        ]
        if match.get("uri"):
            parts.insert(0, _condition(match["uri"]).strip())
        parts += [f"{name}{_condition(value)}" for name, value in (match.get("headers") or {}).items()]
        if match.get("port"):
            parts.append(f"port={match['port']}")
        yield ", ".join(parts)


def _condition(value: Object) -> str:
    for kind, text in value.items():
        return {"exact": f"={text}", "prefix": f"={text}*", "regex": f"=~{text}"}.get(kind, f"={text}").replace(
            "=/", "/"
        )
    return " present"


def _reaches(destination: Object, namespace: Any, svc: Object, labels: Mapping[str, str], world: World) -> bool:
    host = str(destination.get("host") or "")
    full = host if "." in host else f"{host}.{namespace}.svc.cluster.local"
    if full != _host(svc):
        return False
    subset = destination.get("subset")
    if not subset:
        return True
    for rule in world.destination_rules:
        own = str((rule.get("spec") or {}).get("host") or "")
        rule_host = own if "." in own else f"{own}.{rule['metadata'].get('namespace')}.svc.cluster.local"
        for one in (rule.get("spec") or {}).get("subsets") or () if rule_host == full else ():
            if one["name"] == subset:
                return bool((one.get("labels") or {}).items() <= labels.items())
    return False


def _policies(world: World) -> Iterator[str]:
    """Names of authorization policies in the proxy's inbound filters."""
    for listener in envoy_dump.listeners(world.dump) if world.dump is not None else ():
        for name in _keys(listener):
            if name.startswith(POLICY_MARK):
                yield name


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


# Mutual TLS


def _peer_authentication(pod: Object, world: World) -> Iterator[str]:
    typed = []
    for obj in world.peer_authentications:
        try:
            typed.append(kinds.decode(obj))
        except Invalid:
            continue
    index = PeerAuthentications.build(typed, world.root_namespace)
    namespace = str(pod["metadata"].get("namespace"))
    modes = index.for_workload(namespace, _labels(pod))
    yield "Effective PeerAuthentication:"
    yield f"   Workload mTLS mode: {modes.default}"
    if modes.ports:
        yield "   Port Level mTLS mode:"
        yield from (f"      {number}: {mode}" for number, mode in sorted(modes.ports.items()))
    applied = [
        policy
        for policy in index.policies.near(namespace)
        if policy.spec.selector is None or policy.spec.selector.match_labels.items() <= _labels(pod).items()
    ]
    if applied:
        yield "Applied PeerAuthentication:"
        yield f"   {', '.join(f'{p.metadata.name}.{p.metadata.namespace}' for p in applied)}"


# Gateways


def _exposed(svc: Object, world: World) -> Iterator[str]:
    """The gateways that lead to a Service, by the VirtualServices bound to them."""
    for found in world.virtual_services:
        spec = found.get("spec") or {}
        namespace = found["metadata"].get("namespace")
        for name in spec.get("gateways") or ():
            gateway = _gateway(name, namespace, world) if name != "mesh" else None
            rules = [rule for rule in spec.get("http") or () if _leads(rule, namespace, svc)]
            if gateway is None or not rules:
                continue
            for address in _addresses(gateway, world):
                yield SEPARATOR
                yield f"Exposed on Ingress Gateway {address}"
                yield f"VirtualService: {name_of(found, world.namespace)}"
                yield from (f"   Match: {text}" for rule in rules for text in _matches(rule))


def _leads(rule: Object, namespace: Any, svc: Object) -> bool:
    hosts = [str((route.get("destination") or {}).get("host") or "") for route in rule.get("route") or ()]
    return any((h if "." in h else f"{h}.{namespace}.svc.cluster.local") == _host(svc) for h in hosts)


def _gateway(name: str, namespace: Any, world: World) -> Object | None:
    owner, slash, own = name.partition("/")
    return _find(world.gateways, f"{own}.{owner}" if slash else f"{name}.{namespace}")


def _addresses(gateway: Object, world: World) -> Iterator[str]:
    """URLs of the load balancers in front of a gateway's pods."""
    spec = gateway.get("spec") or {}
    selector = (spec.get("selector") or {}).items()
    servers = {(s["port"]["number"], str(s["port"].get("protocol", "")).upper()) for s in spec.get("servers") or ()}
    for svc in world.services:
        chosen = (svc.get("spec") or {}).get("selector") or {}
        if not selector or not (selector <= chosen.items() or chosen.items() <= dict(selector).items()) or not chosen:
            continue
        for entry in ((svc.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
            for number, kind in sorted(servers):
                scheme, default = ("https", 443) if kind in ("HTTPS", "TLS") else ("http", 80)
                port = "" if number == default else f":{number}"
                yield f"{scheme}://{entry.get('ip') or entry.get('hostname')}{port}"
