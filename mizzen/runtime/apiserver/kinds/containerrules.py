"""Which containers are refused: names, images, ports, environment, resources, mounts, probes, security."""

from __future__ import annotations

import re

from ..errors import Problem, duplicate, forbidden_field, invalid, not_found_field, required, unsupported
from ..names import dns_label, qualified_name
from ..schema.scalars import quantity
from .base import Object, at_least
from .core import data_key
from .serviceports import PORT_TEXT, port_name, target_port

FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
STANDARD = ("cpu", "memory", "ephemeral-storage")
ENV_TEXT = "a valid environment variable name must consist only of printable ASCII characters other than '='"
allow_privileged = False  # set by the server: whether containers may be privileged
NOT_EPHEMERAL = ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources", "resizePolicy")


def validate_containers(spec: Object, path: str, volumes: dict[str, Object]) -> list[Problem]:
    problems: list[Problem] = []
    containers = spec.get("containers") or []
    if not containers:
        problems.append(required(f"{path}.containers"))
    names: set[str] = set()
    ports: set[str] = set()
    for place, one in enumerate(containers):
        problems += _container(one, f"{path}.containers[{place}]", volumes, names, ports, spec)
        problems += _probes(one, f"{path}.containers[{place}]", spec) + _lifecycle(one, f"{path}.containers[{place}]")
    for place, one in enumerate(spec.get("initContainers") or ()):
        here = f"{path}.initContainers[{place}]"
        problems += _container(one, here, volumes, names, ports, spec)
        problems += _init(one, here, spec)
    for place, one in enumerate(spec.get("ephemeralContainers") or ()):
        problems += _ephemeral(one, f"{path}.ephemeralContainers[{place}]", spec, names)
    return problems


def _container(
    one: Object, path: str, volumes: dict[str, Object], names: set[str], ports: set[str], spec: Object
) -> list[Problem]:
    problems = _name(one, path, names)
    image = one.get("image", "")
    if not image:
        problems.append(required(f"{path}.image"))
    elif image.strip() != image:
        problems.append(invalid(f"{path}.image", image, "must not have leading or trailing whitespace"))
    problems += _choice(one, path, "terminationMessagePolicy", ("File", "FallbackToLogsOnError"))
    problems += _choice(one, path, "imagePullPolicy", ("Always", "IfNotPresent", "Never"))
    problems += _ports(one.get("ports") or [], f"{path}.ports", ports, spec)
    problems += _environment(one, path) + _mounts(one, path, volumes)
    problems += resources(one.get("resources") or {}, f"{path}.resources")
    return problems + _security(one.get("securityContext"), f"{path}.securityContext", spec)


def _name(one: Object, path: str, names: set[str]) -> list[Problem]:
    name = one.get("name", "")
    if not name:
        return [required(f"{path}.name")]
    problems = [invalid(f"{path}.name", name, text) for text in dns_label(name)]
    if name in names:
        problems.append(duplicate(f"{path}.name", name))
    names.add(name)
    return problems


def _choice(one: Object, path: str, key: str, allowed: tuple[str, ...]) -> list[Problem]:
    value = one.get(key)
    if not value:
        return [required(f"{path}.{key}")]
    return [] if value in allowed else [unsupported(f"{path}.{key}", value, list(allowed))]


def _ports(given: list[Object], path: str, taken: set[str], spec: Object) -> list[Problem]:
    problems: list[Problem] = []
    names: set[str] = set()
    for place, one in enumerate(given):
        here = f"{path}[{place}]"
        name, number, host = one.get("name", ""), one.get("containerPort", 0), one.get("hostPort", 0)
        if name:
            found = [invalid(f"{here}.name", name, text) for text in port_name(name)]
            problems += found
            if not found and name in names:
                problems.append(duplicate(f"{here}.name", name))
            names.add(name)
        if number == 0:
            problems.append(required(f"{here}.containerPort"))
        elif not 1 <= number <= 65535:
            problems.append(invalid(f"{here}.containerPort", number, PORT_TEXT))
        if host and not 1 <= host <= 65535:
            problems.append(invalid(f"{here}.hostPort", host, PORT_TEXT))
        elif host and spec.get("hostNetwork") and host != number:
            problems.append(invalid(f"{here}.hostPort", host, "must match `containerPort` when `hostNetwork` is true"))
        if one.get("protocol") not in ("TCP", "UDP", "SCTP"):
            problems.append(unsupported(f"{here}.protocol", one.get("protocol"), ["SCTP", "TCP", "UDP"]))
        if host:
            mark = f"{one.get('protocol')}/{one.get('hostIP', '')}/{host}"
            if mark in taken:
                problems.append(duplicate(f"{here}.hostPort", mark))
            taken.add(mark)
    return problems


def _environment(one: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    for place, variable in enumerate(one.get("env") or ()):
        here = f"{path}.env[{place}]"
        problems += env_name(variable.get("name", ""), f"{here}.name")
        problems += _value_from(variable, f"{here}.valueFrom")
    for place, source in enumerate(one.get("envFrom") or ()):
        here = f"{path}.envFrom[{place}]"
        found = [key for key in ("configMapRef", "secretRef") if source.get(key) is not None]
        if source.get("prefix"):
            problems += env_name(source["prefix"], f"{here}.prefix")
        if not found:
            problems.append(invalid(here, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(found) > 1:
            problems.append(invalid(here, "", "may not have more than one field specified at a time"))
        for key in found:
            if not source[key].get("name"):
                problems.append(required(f"{here}.{key}.name"))
    return problems


def env_name(name: str, path: str) -> list[Problem]:
    if not name:
        return [required(path)]
    if not all(" " <= letter <= "~" and letter != "=" for letter in name):
        return [invalid(path, name, ENV_TEXT)]
    return []


def _value_from(variable: Object, path: str) -> list[Problem]:
    source = variable.get("valueFrom")
    if source is None:
        return []
    problems: list[Problem] = []
    found = [
        key
        for key in ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
        if source.get(key) is not None
    ]
    if source.get("fieldRef") is not None:
        problems += field_ref(source["fieldRef"], f"{path}.fieldRef", FIELDS)
    if source.get("resourceFieldRef") is not None and not source["resourceFieldRef"].get("resource"):
        problems.append(required(f"{path}.resourceFieldRef.resource"))
    for key in ("configMapKeyRef", "secretKeyRef"):
        reference = source.get(key)
        if reference is not None:
            if not reference.get("name"):
                problems.append(required(f"{path}.{key}.name"))
            if not reference.get("key"):
                problems.append(required(f"{path}.{key}.key"))
            else:
                problems += [
                    invalid(f"{path}.{key}.key", reference["key"], text) for text in data_key(reference["key"])
                ]
    if not found:
        problems.append(
            invalid(
                path,
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            )
        )
    elif variable.get("value"):
        problems.append(invalid(path, "", "may not be specified when `value` is not empty"))
    elif len(found) > 1:
        problems.append(invalid(path, "", "may not have more than one field specified at a time"))
    return problems


def field_ref(reference: Object, path: str, allowed: tuple[str, ...]) -> list[Problem]:
    if not reference.get("apiVersion"):
        return [required(f"{path}.apiVersion")]
    field = reference.get("fieldPath", "")
    if not field:
        return [required(f"{path}.fieldPath")]
    subscript = re.fullmatch(r"(metadata\.(?:annotations|labels))\['(.*)'\]", field)
    if subscript:
        return [invalid(f"{path}.fieldPath", subscript[2], text) for text in qualified_name(subscript[2].lower())]
    known = (
        *FIELDS,
        "metadata.labels",
        "metadata.annotations",
        "spec.schedulerName",
        "spec.restartPolicy",
        "status.phase",
    )
    if field not in known:
        return [invalid(f"{path}.fieldPath", field, f"error converting fieldPath: field label not supported: {field}")]
    return [] if field in allowed else [unsupported(f"{path}.fieldPath", field, list(allowed))]


def _mounts(one: Object, path: str, volumes: dict[str, Object]) -> list[Problem]:
    problems: list[Problem] = []
    seen: set[str] = set()
    for place, mount in enumerate(one.get("volumeMounts") or ()):
        here = f"{path}.volumeMounts[{place}]"
        name, target = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            problems.append(required(f"{here}.name"))
        if name not in volumes:
            problems.append(not_found_field(f"{here}.name", name))
        if not target:
            problems.append(required(f"{here}.mountPath"))
        if target in seen:
            problems.append(invalid(f"{here}.mountPath", target, "must be unique"))
        seen.add(target)
        sub = mount.get("subPath", "")
        if sub and sub.startswith("/"):
            problems.append(invalid(f"{here}.subPath", sub, "must be a relative path"))
        if ".." in sub.split("/"):
            problems.append(invalid(f"{here}.subPath", sub, "must not contain '..'"))
        if sub and mount.get("subPathExpr"):
            problems.append(
                invalid(f"{here}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive")
            )
        propagation = mount.get("mountPropagation")
        if propagation is not None and propagation not in ("None", "HostToContainer", "Bidirectional"):
            problems.append(
                unsupported(f"{here}.mountPropagation", propagation, ["Bidirectional", "HostToContainer", "None"])
            )
        elif propagation == "Bidirectional" and not (one.get("securityContext") or {}).get("privileged"):
            problems.append(
                forbidden_field(
                    f"{here}.mountPropagation",
                    "Bidirectional mount propagation is available only to privileged containers",
                )
            )
    return problems


def quantity_problems(path: str, name: str, value: str) -> list[Problem]:
    """Problems of an amount of a resource."""
    return [] if quantity(value) >= 0 else [invalid(path, value, "must be greater than or equal to 0")]


def resource_name(name: str, path: str) -> list[Problem]:
    problems = [invalid(path, name, text) for text in qualified_name(name)]
    if problems or "/" in name:
        return problems
    if name in STANDARD or name.startswith("hugepages-"):
        return []
    return [
        invalid(path, name, "must be a standard resource type or fully qualified"),
        invalid(path, name, "must be a standard resource for containers"),
    ]


def resources(given: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    limits, requests = given.get("limits") or {}, given.get("requests") or {}
    for key, amounts in (("limits", limits), ("requests", requests)):
        for name, value in amounts.items():
            here = f"{path}.{key}[{name}]"
            problems += resource_name(name, here) + quantity_problems(here, name, value)
    for name, value in requests.items():
        limit = limits.get(name)
        extended = "/" in name or name.startswith("hugepages-")
        if limit is not None and extended and quantity(value) != quantity(limit):
            problems.append(invalid(f"{path}.requests", value, f"must be equal to {name} limit of {limit}"))
        elif limit is not None and quantity(value) > quantity(limit):
            problems.append(
                invalid(f"{path}.requests", value, f"must be less than or equal to {name} limit of {limit}")
            )
        elif limit is None and extended:
            problems.append(required(f"{path}.limits", "Limit must be set for non overcommitable resources"))
    return problems


def _security(context: Object | None, path: str, spec: Object) -> list[Problem]:
    from .podrules import _ids, seccomp

    if not context:
        return []
    problems: list[Problem] = []
    if context.get("privileged") and not allow_privileged:
        problems.append(forbidden_field(f"{path}.privileged", "disallowed by cluster policy"))
    problems += _ids(context, path)
    if context.get("procMount") is not None and context["procMount"] not in ("Default", "Unmasked"):
        problems.append(unsupported(f"{path}.procMount", context["procMount"], ["Default", "Unmasked"]))
    elif context.get("procMount") == "Unmasked" and spec.get("hostUsers") is not False:
        problems.append(invalid(f"{path}.procMount", "Unmasked", "`hostUsers` must be false to use `Unmasked`"))
    problems += seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            problems.append(
                invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
            )
        if any(
            one.upper().removeprefix("CAP_") == "SYS_ADMIN"
            for one in (context.get("capabilities") or {}).get("add") or ()
        ):
            problems.append(
                invalid(
                    path, context, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
                )
            )
    return problems


HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


def _handler(given: Object, path: str, allowed: tuple[str, ...]) -> list[Problem]:
    problems: list[Problem] = []
    count = 0
    for key in allowed:
        value = given.get(key)
        if value is None:
            continue
        if count:
            problems.append(forbidden_field(f"{path}.{key}", "may not specify more than 1 handler type"))
            continue
        count += 1
        problems += _one_handler(key, value, f"{path}.{key}")
    if not count:
        problems.append(required(path, "must specify a handler type"))
    return problems


def _one_handler(key: str, value: Object, path: str) -> list[Problem]:
    if key == "exec":
        return [] if value.get("command") else [required(f"{path}.command")]
    if key == "grpc":
        return [] if 1 <= value.get("port", 0) <= 65535 else [invalid(f"{path}.port", value.get("port", 0), PORT_TEXT)]
    if key == "sleep":
        return [] if value.get("seconds", 0) >= 0 else [invalid(path, value.get("seconds"), "must be greater than 0")]
    problems = target_port(value.get("port"), f"{path}.port")
    if key == "httpGet":
        if not value.get("path"):
            problems.append(required(f"{path}.path"))
        if value.get("scheme") not in ("HTTP", "HTTPS"):
            problems.append(unsupported(f"{path}.scheme", value.get("scheme"), ["HTTP", "HTTPS"]))
        for place, header in enumerate(value.get("httpHeaders") or ()):
            if not re.fullmatch(r"[-A-Za-z0-9]+", header.get("name", "")):
                problems.append(
                    invalid(
                        f"{path}.httpHeaders",
                        header.get("name", ""),
                        "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
                    )
                )
            del place
    return problems


def _probes(one: Object, path: str, spec: Object) -> list[Problem]:
    problems: list[Problem] = []
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = one.get(key)
        if probe is None:
            continue
        here = f"{path}.{key}"
        problems += _handler(probe, here, ("exec", "httpGet", "tcpSocket", "grpc"))
        for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
            problems += at_least(f"{here}.{name}", probe.get(name))
        grace = probe.get("terminationGracePeriodSeconds")
        if grace is not None and grace <= 0:
            problems.append(invalid(f"{here}.terminationGracePeriodSeconds", grace, "must be greater than 0"))
        if grace is not None and key == "readinessProbe":
            problems.append(
                invalid(f"{here}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")
            )
        if key != "readinessProbe" and probe.get("successThreshold") not in (None, 1):
            problems.append(invalid(f"{here}.successThreshold", probe["successThreshold"], "must be 1"))
    return problems


def _lifecycle(one: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    for key in ("postStart", "preStop"):
        hook = (one.get("lifecycle") or {}).get(key)
        if hook is not None:
            problems += _handler(hook, f"{path}.lifecycle.{key}", ("exec", "httpGet", "tcpSocket", "sleep"))
    return problems


def _init(one: Object, path: str, spec: Object) -> list[Problem]:
    policy = one.get("restartPolicy")
    if policy == "Always":
        return _probes(one, path, spec) + _lifecycle(one, path)
    problems: list[Problem] = []
    if policy is not None and policy not in ("Always", "Never", "OnFailure"):
        problems.append(unsupported(f"{path}.restartPolicy", policy, ["Always", "Never", "OnFailure"]))
    for key in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
        if one.get(key) is not None:
            problems.append(
                forbidden_field(f"{path}.{key}", "may not be set for init containers without restartPolicy=Always")
            )
    return problems


def _ephemeral(one: Object, path: str, spec: Object, names: set[str]) -> list[Problem]:
    problems = _name(one, path, names)
    if not one.get("image"):
        problems.append(required(f"{path}.image"))
    target = one.get("targetContainerName")
    if target and target not in {
        other.get("name") for key in ("containers", "initContainers") for other in spec.get(key) or ()
    }:
        problems.append(not_found_field(f"{path}.targetContainerName", target))
    for key in NOT_EPHEMERAL:
        if one.get(key) not in (None, {}, []):
            problems.append(forbidden_field(f"{path}.{key}", "cannot be set for an Ephemeral Container"))
    for place, mount in enumerate(one.get("volumeMounts") or ()):
        if mount.get("subPath"):
            problems.append(
                forbidden_field(f"{path}.volumeMounts[{place}].subPath", "cannot be set for an Ephemeral Container")
            )
    return problems
