"""The cells of each kind's row after its name; one function per kind.

Takes the object's tree, gives cells in the order of COLUMNS. Pods are in pods.py.
Source: kube-apiserver's printers.
"""

from __future__ import annotations

from typing import Any

from ..schema.scalars import age, human_duration, parse_time, quantity

Object = dict[str, Any]
NONE = "<none>"
UNSET = "<unset>"


def _age(tree: Object) -> str:
    return age(tree["metadata"].get("creationTimestamp"))


def _spec(tree: Object) -> Object:
    return tree.get("spec") or {}


def _status(tree: Object) -> Object:
    return tree.get("status") or {}


def labels_text(labels: dict[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector_text(selector: Object | None) -> str:
    """A LabelSelector as a selector's text."""
    if selector is None:
        return NONE
    parts = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        key, values = one["key"], ",".join(sorted(one.get("values") or ()))
        text = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        parts.append((key, text.get(one["operator"], key)))
    return ",".join(text for _, text in sorted(parts)) or NONE


def _pod_cells(template: Object) -> tuple[str, str]:
    containers = (template.get("spec") or {}).get("containers") or ()
    return ",".join(one.get("name", "") for one in containers), ",".join(one.get("image", "") for one in containers)


def only_age(tree: Object) -> list[Any]:
    return [_age(tree)]


def created(tree: Object) -> list[Any]:
    return [tree["metadata"].get("creationTimestamp")]


def phase(tree: Object) -> list[Any]:
    return [_status(tree).get("phase", ""), _age(tree)]


def config_map(tree: Object) -> list[Any]:
    return [len(tree.get("data") or ()) + len(tree.get("binaryData") or ()), _age(tree)]


def secret(tree: Object) -> list[Any]:
    return [tree.get("type", ""), len(tree.get("data") or ()), _age(tree)]


def pod_template(tree: Object) -> list[Any]:
    template = tree.get("template") or {}
    return [*_pod_cells(template), labels_text((template.get("metadata") or {}).get("labels"))]


def service(tree: Object) -> list[Any]:
    spec = _spec(tree)
    kind = spec.get("type", "ClusterIP")
    ips = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return [
        kind,
        ips[0] if ips else NONE,
        _external(tree, kind),
        _ports(spec),
        _age(tree),
        labels_text(spec.get("selector")),
    ]


def _external(tree: Object, kind: str) -> str:
    spec = _spec(tree)
    own = list(spec.get("externalIPs") or ())
    if kind == "ExternalName":
        return spec.get("externalName") or NONE
    if kind == "LoadBalancer":
        given = [
            one.get("ip") or one.get("hostname") or ""
            for one in (_status(tree).get("loadBalancer") or {}).get("ingress") or ()
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
    status, info = _status(tree), _status(tree).get("nodeInfo") or {}
    ready = [one for one in status.get("conditions") or () if one["type"] == "Ready"]
    state = ["Ready" if ready[0]["status"] == "True" else "NotReady"] if ready else ["Unknown"]
    if _spec(tree).get("unschedulable"):
        state.append("SchedulingDisabled")
    addresses = {one["type"]: one["address"] for one in reversed(status.get("addresses") or ())}
    return [
        ",".join(state),
        _roles(tree["metadata"].get("labels") or {}),
        _age(tree),
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
    return [_capped(found), _age(tree)]


def _capped(found: list[str], most: int = 3) -> str:
    if len(found) > most:
        return f"{','.join(found[:most])} + {len(found) - most} more..."
    return ",".join(found) or NONE


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
    hard, used = _status(tree).get("hard") or {}, _status(tree).get("used") or {}
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(hard):
        text = f"{name}: {used.get(name, '0')}/{hard[name]}"
        (limits if name.startswith("limits") else requests).append(text)
    return [", ".join(requests), ", ".join(limits), _age(tree)]


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(modes: list[str] | None) -> str:
    given = set(modes or ())
    return ",".join(short for mode, short in _MODES.items() if mode in given)


def _class(tree: Object) -> str:
    annotated: str = (tree["metadata"].get("annotations") or {}).get("volume.beta.kubernetes.io/storage-class", "")
    return annotated or _spec(tree).get("storageClassName") or ""


def volume(tree: Object) -> list[Any]:
    spec, status, meta = _spec(tree), _status(tree), tree["metadata"]
    claim = spec.get("claimRef") or {}
    state = "Terminating" if meta.get("deletionTimestamp") else status.get("phase", "")
    return [
        (spec.get("capacity") or {}).get("storage", ""),
        _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        state,
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class(tree),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason", ""),
        _age(tree),
        spec.get("volumeMode", UNSET),
    ]


def claim(tree: Object) -> list[Any]:
    spec, status, meta = _spec(tree), _status(tree), tree["metadata"]
    bound = bool(spec.get("volumeName"))
    return [
        "Terminating" if meta.get("deletionTimestamp") else status.get("phase", ""),
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "") if bound else "",
        _modes(status.get("accessModes")) if bound else "",
        _class(tree),
        spec.get("volumeAttributesClassName") or UNSET,
        _age(tree),
        spec.get("volumeMode", UNSET),
    ]


def component_status(tree: Object) -> list[Any]:
    return ["Healthy", "ok", ""]


def replica_set(tree: Object) -> list[Any]:
    spec, status = _spec(tree), _status(tree)
    selector = spec.get("selector")
    text = labels_text(selector) if "apps/" not in tree.get("apiVersion", "") else selector_text(selector)
    counts = [spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0)]
    return [*counts, _age(tree), *_pod_cells(spec.get("template") or {}), text]


def deployment(tree: Object) -> list[Any]:
    spec, status = _spec(tree), _status(tree)
    return [
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        str(status.get("updatedReplicas", 0)),
        str(status.get("availableReplicas", 0)),
        _age(tree),
        *_pod_cells(spec.get("template") or {}),
        selector_text(spec.get("selector")),
    ]


def stateful_set(tree: Object) -> list[Any]:
    spec, status = _spec(tree), _status(tree)
    return [
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        _age(tree),
        *_pod_cells(spec.get("template") or {}),
    ]


def daemon_set(tree: Object) -> list[Any]:
    spec, status = _spec(tree), _status(tree)
    template = spec.get("template") or {}
    names = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    return [
        *(status.get(name, 0) for name in names),
        labels_text((template.get("spec") or {}).get("nodeSelector")),
        _age(tree),
        *_pod_cells(template),
        selector_text(spec.get("selector")),
    ]


def controller_revision(tree: Object) -> list[Any]:
    owners = [one for one in tree["metadata"].get("ownerReferences") or () if one.get("controller")]
    owner = NONE
    if owners:
        group = owners[0]["apiVersion"].rpartition("/")[0]
        owner = f"{owners[0]['kind'].lower()}{'.' + group if group else ''}/{owners[0]['name']}"
    return [owner, tree.get("revision", 0), _age(tree)]


def job(tree: Object) -> list[Any]:
    spec, status = _spec(tree), _status(tree)
    done = status.get("succeeded", 0)
    if spec.get("completions") is not None:
        completions = f"{done}/{spec['completions']}"
    else:
        parallelism = spec.get("parallelism", 0)
        completions = f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"
    duration = ""
    if status.get("startTime"):
        if status.get("completionTime"):
            duration = human_duration(
                (parse_time(status["completionTime"]) - parse_time(status["startTime"])).total_seconds()
            )
        else:
            duration = age(status["startTime"])
    return [
        _job_state(tree),
        completions,
        duration,
        _age(tree),
        *_pod_cells(spec.get("template") or {}),
        selector_text(spec.get("selector")),
    ]


def _job_state(tree: Object) -> str:
    on = {one["type"] for one in _status(tree).get("conditions") or () if one["status"] == "True"}
    for condition, text in (("Complete", "Complete"), ("Failed", "Failed")):
        if condition in on:
            return text
    if tree["metadata"].get("deletionTimestamp"):
        return "Terminating"
    if "Suspended" in on:
        return "Suspended"
    if "FailureTarget" in on:
        return "FailureTarget"
    return "SuccessCriteriaMet" if "SuccessCriteriaMet" in on else "Running"


def cron_job(tree: Object) -> list[Any]:
    spec, status = _spec(tree), _status(tree)
    template = ((spec.get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
    return [
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        "True" if spec.get("suspend") else "False",
        len(status.get("active") or ()),
        age(status["lastScheduleTime"]) if status.get("lastScheduleTime") else NONE,
        _age(tree),
        *_pod_cells(template),
        selector_text(((spec.get("jobTemplate") or {}).get("spec") or {}).get("selector")),
    ]


def autoscaler(tree: Object) -> list[Any]:
    spec, status = _spec(tree), _status(tree)
    target = spec.get("scaleTargetRef") or {}
    return [
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _targets(spec, status),
        str(spec.get("minReplicas", UNSET)),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        _age(tree),
    ]


_METRIC_KEYS = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


def _targets(spec: Object, status: Object) -> str:
    if "metrics" not in spec and "targetCPUUtilizationPercentage" in spec:
        now = status.get("currentCPUUtilizationPercentage")
        return f"cpu: {'<unknown>' if now is None else f'{now}%'}/{spec['targetCPUUtilizationPercentage']}%"
    found = []
    current = status.get("currentMetrics") or []
    for place, metric in enumerate(spec.get("metrics") or ()):
        key = _METRIC_KEYS.get(metric.get("type", ""), "")
        body = metric.get(key) or {}
        now = ((current[place] if place < len(current) else {}).get(key) or {}).get("current") or {}
        target = body.get("target") or {}
        found.append(_target_text(key, body, target, now))
    return _capped_targets(found)


def _target_text(key: str, body: Object, target: Object, now: Object) -> str:
    average = target.get("averageValue") is not None
    if target.get("averageUtilization") is not None:
        have = f"{now['averageUtilization']}%" if now.get("averageUtilization") is not None else "<unknown>"
        want = f"{target['averageUtilization']}%"
    elif average:
        have, want = now.get("averageValue", "<unknown>"), f"{target['averageValue']}"
    else:
        have, want = now.get("value", "<unknown>"), str(target.get("value", ""))
    if average and key in ("external", "object"):
        want += " (avg)"
    name = f"{body['name']}: " if key in ("resource", "containerResource") and body.get("name") else ""
    return f"{name}{have}/{want}"


def _capped_targets(found: list[str]) -> str:
    if len(found) > 2:
        return f"{', '.join(found[:2])} + {len(found) - 2} more..."
    return ", ".join(found) or NONE


def budget(tree: Object) -> list[Any]:
    spec, status = _spec(tree), _status(tree)
    low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
    return [
        "N/A" if low is None else str(low),
        "N/A" if high is None else str(high),
        status.get("disruptionsAllowed", 0),
        _age(tree),
    ]


def ingress(tree: Object) -> list[Any]:
    spec = _spec(tree)
    hosts = list(dict.fromkeys(one["host"] for one in spec.get("rules") or () if one.get("host")))
    name = (
        spec.get("ingressClassName")
        or (tree["metadata"].get("annotations") or {}).get("kubernetes.io/ingress.class")
        or NONE
    )
    given = (_status(tree).get("loadBalancer") or {}).get("ingress") or ()
    address = ",".join(one.get("ip") or one.get("hostname") or "" for one in given)
    text = _capped(hosts) if hosts else "*"
    return [name, text, address, "80, 443" if spec.get("tls") else "80", _age(tree)]


def ingress_class(tree: Object) -> list[Any]:
    parameters = _spec(tree).get("parameters")
    text = NONE
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        text = f"{parameters['kind']}{group}/{parameters['name']}"
    return [_spec(tree).get("controller", ""), text, _age(tree)]


def network_policy(tree: Object) -> list[Any]:
    return [selector_text(_spec(tree).get("podSelector") or {}), _age(tree)]


def service_cidr(tree: Object) -> list[Any]:
    return [",".join(_spec(tree).get("cidrs") or ()), _age(tree)]


def ip_address(tree: Object) -> list[Any]:
    parent = _spec(tree).get("parentRef") or {}
    parts = [
        one for one in (parent.get("resource"), parent.get("group"), parent.get("namespace"), parent.get("name")) if one
    ]
    return [f"{parent.get('resource', '')}/{'/'.join(parts[1:])}", _age(tree)]


def endpoint_slice(tree: Object) -> list[Any]:
    ports = []
    for port in tree.get("ports") or ():
        number = port.get("port")
        ports.append(str(number) if number is not None else port.get("name") or "*")
    addresses = [one for endpoint in tree.get("endpoints") or () for one in endpoint.get("addresses") or ()]
    return [
        tree.get("addressType", ""),
        _capped(ports) if ports else UNSET,
        _capped(addresses) if addresses else UNSET,
        _age(tree),
    ]


def binding(tree: Object) -> list[Any]:
    reference, subjects = tree.get("roleRef") or {}, tree.get("subjects") or ()
    users = ", ".join(one["name"] for one in subjects if one["kind"] == "User")
    groups = ", ".join(one["name"] for one in subjects if one["kind"] == "Group")
    accounts = ", ".join(
        f"{one.get('namespace', '')}/{one['name']}" for one in subjects if one["kind"] == "ServiceAccount"
    )
    return [f"{reference.get('kind', '')}/{reference.get('name', '')}", _age(tree), users, groups, accounts]


def lease(tree: Object) -> list[Any]:
    return [_spec(tree).get("holderIdentity", ""), _age(tree)]


def storage_class(tree: Object) -> list[Any]:
    return [
        tree.get("provisioner", ""),
        tree.get("reclaimPolicy", "Delete"),
        tree.get("volumeBindingMode", "Immediate"),
        bool(tree.get("allowVolumeExpansion", False)),
        _age(tree),
    ]


def csi_driver(tree: Object) -> list[Any]:
    spec = _spec(tree)
    tokens = ",".join(one.get("audience", "") for one in spec.get("tokenRequests") or ()) or UNSET
    return [
        spec.get("attachRequired", True),
        spec.get("podInfoOnMount", False),
        spec.get("storageCapacity", False),
        tokens,
        spec.get("requiresRepublish", False),
        ",".join(spec.get("volumeLifecycleModes") or ()) or NONE,
        _age(tree),
    ]


def csi_node(tree: Object) -> list[Any]:
    return [len(_spec(tree).get("drivers") or ()), _age(tree)]


def volume_attachment(tree: Object) -> list[Any]:
    spec = _spec(tree)
    name = (spec.get("source") or {}).get("persistentVolumeName", "")
    return [spec.get("attacher", ""), name, spec.get("nodeName", ""), _status(tree).get("attached", False), _age(tree)]


def attributes_class(tree: Object) -> list[Any]:
    return [tree.get("driverName", ""), _age(tree)]


def storage_capacity(tree: Object) -> list[Any]:
    return [tree.get("storageClassName", ""), tree.get("capacity", "")]


def priority_class(tree: Object) -> list[Any]:
    return [tree.get("value", 0), bool(tree.get("globalDefault", False)), _age(tree), tree.get("preemptionPolicy", "")]


def runtime_class(tree: Object) -> list[Any]:
    return [tree.get("handler", ""), _age(tree)]


def signing_request(tree: Object) -> list[Any]:
    spec, conditions = _spec(tree), _status(tree).get("conditions") or ()
    types = {one["type"] for one in conditions}
    state = "Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"
    if "Failed" in types:
        state += ",Failed"
    if _status(tree).get("certificate"):
        state += ",Issued"
    seconds = spec.get("expirationSeconds")
    duration = NONE if seconds is None else human_duration(seconds)
    return [_age(tree), spec.get("signerName", NONE), spec.get("username", ""), duration, state]


def definition(tree: Object) -> list[Any]:
    spec = _spec(tree)
    established = any(
        one["type"] == "Established" and one["status"] == "True" for one in _status(tree).get("conditions") or ()
    )
    names = spec.get("names") or {}
    versions = ",".join(one["name"] for one in spec.get("versions") or ())
    return [
        spec.get("scope", ""),
        versions,
        tree["metadata"].get("creationTimestamp"),
        spec.get("group", ""),
        names.get("kind", ""),
        ",".join(names.get("shortNames") or ()),
        established,
    ]


def api_service(tree: Object) -> list[Any]:
    service_ref = _spec(tree).get("service")
    name = f"{service_ref.get('namespace', '')}/{service_ref.get('name', '')}" if service_ref else "Local"
    state = next((one for one in _status(tree).get("conditions") or () if one["type"] == "Available"), None)
    text = (
        "Unknown"
        if state is None
        else state["status"]
        if state["status"] == "True"
        else f"{state['status']} ({state.get('reason', '')})"
    )
    return [name, text, _age(tree)]


def webhooks(tree: Object) -> list[Any]:
    return [len(tree.get("webhooks") or ()), _age(tree)]


def _param_kind(tree: Object) -> str:
    kind = _spec(tree).get("paramKind")
    return f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET


def admission_policy(tree: Object) -> list[Any]:
    return [len(_spec(tree).get("validations") or ()), _param_kind(tree), _age(tree)]


def mutating_policy(tree: Object) -> list[Any]:
    return [len(_spec(tree).get("mutations") or ()), _param_kind(tree), _age(tree)]


def policy_binding(tree: Object) -> list[Any]:
    reference = _spec(tree).get("paramRef")
    text = UNSET
    if reference:
        name = reference.get("name", "")
        text = f"{reference['namespace']}/{name}" if reference.get("namespace") else f"*/{name}"
    return [_spec(tree).get("policyName", ""), text, _age(tree)]


def flow_schema(tree: Object) -> list[Any]:
    spec = _spec(tree)
    missing = next((one["status"] for one in _status(tree).get("conditions") or () if one["type"] == "Dangling"), "?")
    return [
        (spec.get("priorityLevelConfiguration") or {}).get("name", NONE),
        spec.get("matchingPrecedence", 0),
        (spec.get("distinguisherMethod") or {}).get("type", NONE),
        _age(tree),
        missing,
    ]


__all__ = [name for name in dir() if not name.startswith("_")] + ["quantity"]
