"""Which pod specs are refused. Shared by pods and the templates of workloads; containers are in containerrules.py."""

from __future__ import annotations

from typing import Any

from ..errors import Problem, duplicate, forbidden_field, invalid, required, unsupported
from ..names import dns_label, is_ip, label_value, qualified_name, subdomain
from .base import Object, validate_annotations, validate_labels
from .containerrules import quantity_problems, validate_containers
from .labelrules import validate_selector
from .services import IP_TEXT
from .volumerules import validate_volumes

__all__ = ["quantity_problems", "taints", "validate_spec", "validate_template"]
POLICIES = ("Always", "OnFailure", "Never")
DNS = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
MAX32 = 2147483647


def validate_template(template: Object, path: str) -> list[Problem]:
    meta = template.get("metadata") or {}
    problems = validate_labels(meta.get("labels"), f"{path}.labels") + validate_annotations(
        meta.get("annotations"), f"{path}.annotations"
    )
    problems += validate_spec(template.get("spec") or {}, f"{path}.spec", meta)
    if (template.get("spec") or {}).get("ephemeralContainers"):
        problems.append(
            forbidden_field(f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template")
        )
    return problems


def validate_spec(spec: Object, path: str, meta: Object, *, pod: bool = False, update: bool = False) -> list[Problem]:
    """Problems of a pod spec; `meta` is the pod's or the template's."""
    problems, names = validate_volumes(spec.get("volumes") or [], f"{path}.volumes")
    problems += validate_containers(spec, path, names)
    problems += _choices(spec, path) + _names(spec, path) + _security(spec, path) + _host(spec, path)
    problems += tolerations(spec.get("tolerations") or [], f"{path}.tolerations")
    problems += affinity(spec.get("affinity") or {}, f"{path}.affinity")
    problems += _spread(spec.get("topologySpreadConstraints") or [], f"{path}.topologySpreadConstraints")
    problems += validate_labels(spec.get("nodeSelector"), f"{path}.nodeSelector")
    problems += _gates(spec, path) + _dns(spec, path)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= MAX32:
        problems.append(invalid(f"{path}.activeDeadlineSeconds", deadline, f"must be between 1 and {MAX32}, inclusive"))
    return problems


def _choices(spec: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    policy = spec.get("restartPolicy")
    if policy and policy not in POLICIES:
        problems.append(unsupported(f"{path}.restartPolicy", policy, list(POLICIES)))
    elif not policy:
        problems.append(required(f"{path}.restartPolicy"))
    dns = spec.get("dnsPolicy")
    if dns and dns not in DNS:
        problems.append(unsupported(f"{path}.dnsPolicy", dns, list(DNS)))
    preemption = spec.get("preemptionPolicy")
    if preemption is not None and preemption not in ("PreemptLowerPriority", "Never"):
        problems.append(unsupported(f"{path}.preemptionPolicy", preemption, ["Never", "PreemptLowerPriority"]))
    system = spec.get("os")
    if system is not None:
        if not system.get("name"):
            problems.append(required(f"{path}.os.name", "cannot be empty"))
        elif system["name"] not in ("linux", "windows"):
            problems.append(unsupported(f"{path}.os", system["name"], ["linux", "windows"]))
    return problems


def _names(spec: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    for key, rule in (
        ("serviceAccountName", subdomain), ("nodeName", subdomain), ("hostname", dns_label), ("subdomain", dns_label),
        ("priorityClassName", subdomain), ("runtimeClassName", subdomain), ("schedulerName", subdomain),
    ):  # fmt: skip
        if spec.get(key):
            problems += [invalid(f"{path}.{key}", spec[key], text) for text in rule(spec[key])]
    for place, one in enumerate(spec.get("imagePullSecrets") or ()):
        if not one.get("name"):
            problems.append(required(f"{path}.imagePullSecrets[{place}].name"))
    return problems


def _ids(context: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    for key in ("runAsUser", "runAsGroup", "fsGroup"):
        value = context.get(key)
        if value is not None and not 0 <= value <= MAX32:
            problems.append(invalid(f"{path}.{key}", value, f"must be between 0 and {MAX32}, inclusive"))
    for place, one in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= one <= MAX32:
            problems.append(
                invalid(f"{path}.supplementalGroups[{place}]", one, f"must be between 0 and {MAX32}, inclusive")
            )
    return problems


def _security(spec: Object, path: str) -> list[Problem]:
    context = spec.get("securityContext") or {}
    path += ".securityContext"
    problems = _ids(context, path)
    for place, one in enumerate(context.get("sysctls") or ()):
        if not one.get("name"):
            problems.append(required(f"{path}.sysctls[{place}].name"))
    policy = context.get("fsGroupChangePolicy")
    if policy is not None and policy not in ("OnRootMismatch", "Always"):
        problems.append(unsupported(f"{path}.fsGroupChangePolicy", policy, ["Always", "OnRootMismatch"]))
    return problems + seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")


def seccomp(profile: Object | None, path: str) -> list[Problem]:
    if profile is None:
        return []
    kind, local = profile.get("type"), profile.get("localhostProfile")
    if not kind:
        return [required(f"{path}.type", "type is required when seccompProfile is set")]
    if kind not in ("Localhost", "RuntimeDefault", "Unconfined"):
        return [unsupported(f"{path}.type", kind, ["Localhost", "RuntimeDefault", "Unconfined"])]
    if kind == "Localhost" and not local:
        return [required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")]
    if kind != "Localhost" and local is not None:
        return [invalid(f"{path}.localhostProfile", local, "can only be set when seccomp type is Localhost")]
    return []


def _host(spec: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        problems.append(
            invalid(f"{path}.shareProcessNamespace", True, "ShareProcessNamespace and HostPID cannot both be enabled")
        )
    if spec.get("hostUsers") is False:
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(key):
                problems.append(forbidden_field(f"{path}.{key}", "when `hostUsers` is false"))
    for place, one in enumerate(spec.get("hostAliases") or ()):
        here = f"{path}.hostAliases[{place}]"
        if not is_ip(one.get("ip", "")):
            problems.append(invalid(f"{here}.ip", one.get("ip", ""), IP_TEXT))
        for number, name in enumerate(one.get("hostnames") or ()):
            problems += [invalid(f"{here}.hostnames[{number}]", name, text) for text in subdomain(name)]
    return problems


def _dns(spec: Object, path: str) -> list[Problem]:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            return [required(f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.get("nameservers"):
            return [
                required(
                    f"{path}.dnsConfig.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None"
                )
            ]
    if config is None:
        return []
    problems: list[Problem] = []
    here = f"{path}.dnsConfig"
    servers = config.get("nameservers") or []
    if len(servers) > 3:
        problems.append(invalid(f"{here}.nameservers", servers, "must not have more than 3 nameservers"))
    for place, one in enumerate(servers):
        if not is_ip(one):
            problems.append(invalid(f"{here}.nameservers[{place}]", one, IP_TEXT))
    for place, one in enumerate(config.get("searches") or ()):
        if one != ".":
            problems += [
                invalid(f"{here}.searches[{place}]", one, text) for text in subdomain(one.rstrip(".").replace("_", ""))
            ]
    for place, one in enumerate(config.get("options") or ()):
        if not one.get("name"):
            problems.append(required(f"{here}.options[{place}]", "must not be empty"))
    return problems


def tolerations(given: list[Object], path: str) -> list[Problem]:
    problems: list[Problem] = []
    for place, one in enumerate(given):
        here = f"{path}[{place}]"
        key, operator, value, effect = (
            one.get("key", ""),
            one.get("operator", ""),
            one.get("value", ""),
            one.get("effect", ""),
        )
        if key:
            problems += [invalid(f"{here}.key", key, text) for text in qualified_name(key)]
        if not key and operator != "Exists":
            problems.append(
                invalid(
                    f"{here}.operator",
                    operator,
                    'operator must be Exists when `key` is empty, which means "match all values and all keys"',
                )
            )
        if one.get("tolerationSeconds") is not None and effect != "NoExecute":
            problems.append(
                invalid(f"{here}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
            )
        if operator in ("", "Equal"):
            problems += [invalid(f"{here}.operator", value, text) for text in label_value(value)]
        elif operator == "Exists":
            if value:
                problems.append(invalid(f"{here}.operator", value, "value must be empty when `operator` is 'Exists'"))
        else:
            problems.append(unsupported(f"{here}.operator", operator, ["Equal", "Exists"]))
        if effect:
            problems += taint_effect(effect, f"{here}.effect", needed=False)
    return problems


EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def taint_effect(effect: str, path: str, *, needed: bool) -> list[Problem]:
    if not effect:
        return [required(path)] if needed else []
    return [] if effect in EFFECTS else [unsupported(path, effect, list(EFFECTS))]


def taints(given: list[Object], path: str) -> list[Problem]:
    problems: list[Problem] = []
    seen: set[tuple[str, str]] = set()
    for place, one in enumerate(given):
        here = f"{path}[{place}]"
        key = one.get("key", "")
        problems += [invalid(f"{here}.key", key, text) for text in qualified_name(key)]
        problems += [invalid(f"{here}.value", one.get("value", ""), text) for text in label_value(one.get("value", ""))]
        problems += taint_effect(one.get("effect", ""), f"{here}.effect", needed=True)
        mark = (key, one.get("effect", ""))
        if mark in seen:
            problems.append(duplicate(here, one))
        seen.add(mark)
    return problems


# affinity


def affinity(given: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    node = given.get("nodeAffinity") or {}
    needed = node.get("requiredDuringSchedulingIgnoredDuringExecution")
    here = f"{path}.nodeAffinity"
    if needed is not None:
        problems += node_selector(needed, f"{here}.requiredDuringSchedulingIgnoredDuringExecution")
    for place, one in enumerate(node.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        below = f"{here}.preferredDuringSchedulingIgnoredDuringExecution[{place}]"
        problems += _weight(one, below) + _term(one.get("preference") or {}, f"{below}.preference")
    for key in ("podAffinity", "podAntiAffinity"):
        problems += _pod_affinity(given.get(key) or {}, f"{path}.{key}")
    return problems


def node_selector(selector: Object, path: str) -> list[Problem]:
    terms = selector.get("nodeSelectorTerms") or []
    if not terms:
        return [required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")]
    return [problem for place, one in enumerate(terms) for problem in _term(one, f"{path}.nodeSelectorTerms[{place}]")]


def _term(term: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    for place, one in enumerate(term.get("matchExpressions") or ()):
        problems += _requirement(one, f"{path}.matchExpressions[{place}]")
    for place, one in enumerate(term.get("matchFields") or ()):
        here = f"{path}.matchFields[{place}]"
        if one.get("operator") not in ("In", "NotIn"):
            problems.append(invalid(f"{here}.operator", one.get("operator", ""), "not a valid selector operator"))
        elif len(one.get("values") or ()) != 1:
            problems.append(
                required(
                    f"{here}.values",
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
                )
            )
        if one.get("key") != "metadata.name":
            problems.append(invalid(f"{here}.key", one.get("key", ""), "not a valid field selector key"))
    return problems


def _requirement(one: Object, path: str) -> list[Problem]:
    operator, values = one.get("operator", ""), one.get("values") or []
    problems: list[Problem] = []
    if operator in ("In", "NotIn"):
        if not values:
            problems.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            problems.append(
                forbidden_field(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
            )
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            problems.append(
                required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
            )
    else:
        problems.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
    return problems + [invalid(f"{path}.key", one.get("key", ""), text) for text in qualified_name(one.get("key", ""))]


def _weight(one: Object, path: str) -> list[Problem]:
    weight = one.get("weight", 0)
    return [] if 1 <= weight <= 100 else [invalid(f"{path}.weight", weight, "must be in the range 1-100")]


def _pod_affinity(given: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    for place, one in enumerate(given.get("requiredDuringSchedulingIgnoredDuringExecution") or ()):
        problems += _pod_term(one, f"{path}.requiredDuringSchedulingIgnoredDuringExecution[{place}]")
    for place, one in enumerate(given.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        here = f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{place}]"
        problems += _weight(one, here) + _pod_term(one.get("podAffinityTerm") or {}, f"{here}.podAffinityTerm")
    return problems


def _pod_term(term: Object, path: str) -> list[Problem]:
    problems = validate_selector(term.get("labelSelector"), f"{path}.labelSelector")
    problems += validate_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for place, name in enumerate(term.get("namespaces") or ()):
        problems += [invalid(f"{path}.namespaces[{place}]", name, text) for text in dns_label(name)]
    key = term.get("topologyKey", "")
    if not key:
        problems.append(required(f"{path}.topologyKey", "can not be empty"))
    return problems + [invalid(f"{path}.topologyKey", key, text) for text in qualified_name(key)]


def _spread(given: list[Object], path: str) -> list[Problem]:
    problems: list[Problem] = []
    for place, one in enumerate(given):
        here = f"{path}[{place}]"
        if one.get("maxSkew", 0) <= 0:
            problems.append(invalid(f"{here}.maxSkew", one.get("maxSkew", 0), "must be greater than zero"))
        if not one.get("topologyKey"):
            problems.append(required(f"{here}.topologyKey", "can not be empty"))
        when = one.get("whenUnsatisfiable")
        if when not in ("DoNotSchedule", "ScheduleAnyway"):
            problems.append(unsupported(f"{here}.whenUnsatisfiable", when, ["DoNotSchedule", "ScheduleAnyway"]))
        mark = (one.get("topologyKey"), when)
        if any((other.get("topologyKey"), other.get("whenUnsatisfiable")) == mark for other in given[:place]):
            problems.append(duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", f"{{{mark[0]}, {mark[1]}}}"))
        domains = one.get("minDomains")
        if domains is not None:
            if domains <= 0:
                problems.append(invalid(f"{here}.minDomains", domains, "must be greater than zero"))
            if when != "DoNotSchedule":
                problems.append(
                    invalid(
                        f"{here}.minDomains",
                        domains,
                        "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
                    )
                )
        for key in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if one.get(key) is not None and one[key] not in ("Ignore", "Honor"):
                problems.append(unsupported(f"{here}.{key}", one[key], ["Honor", "Ignore"]))
        problems += validate_selector(one.get("labelSelector"), f"{here}.labelSelector")
    return problems


def _gates(spec: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    seen: set[Any] = set()
    for place, one in enumerate(spec.get("schedulingGates") or ()):
        here = f"{path}.schedulingGates[{place}]"
        problems += [invalid(here, one.get("name", ""), text) for text in qualified_name(one.get("name", ""))]
        if one.get("name") in seen:
            problems.append(duplicate(here, one.get("name")))
        seen.add(one.get("name"))
    for place, one in enumerate(spec.get("readinessGates") or ()):
        name = one.get("conditionType", "")
        problems += [
            invalid(f"{path}.readinessGates[{place}].conditionType", name, text) for text in qualified_name(name)
        ]
    return problems
