"""Kinds of the core group that have few rules: ConfigMap, Secret, ServiceAccount, Namespace, Node, Event, limits, quotas.

Pods are in pods.py, Services in services.py, volumes in storage.py.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from ..errors import Problem, forbidden_field, invalid, required
from ..names import dotless_label, path_segment, qualified_name
from .base import Object, Strategy, WithStatus, at_least, immutable

if TYPE_CHECKING:
    from ..context import Ask

_DATA_KEY = re.compile(r"^[-._a-zA-Z0-9]+\Z")
MAX_DATA_BYTES = 1024 * 1024
KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', "
    "regex used for validation is '[-._a-zA-Z0-9]+')"
)


def data_key(key: str) -> list[str]:
    found = ["must be no more than 253 bytes"] if len(key) > 253 else []
    if not _DATA_KEY.match(key):
        found.append(KEY_TEXT)
    if key in (".", ".."):
        found.append(f"must not be '{key}'")
    elif key.startswith(".."):
        found.append("must not start with '..'")
    return found


class ConfigMap(Strategy):
    def validate(self, obj: Object) -> list[Problem]:
        problems: list[Problem] = []
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        size = 0
        for key, value in data.items():
            problems += [invalid(f"data[{key}]", key, text) for text in data_key(key)]
            if key in binary:
                problems.append(invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
            size += len(value.encode())
        for key, value in binary.items():
            problems += [invalid(f"binaryData[{key}]", key, text) for text in data_key(key)]
            size += len(value) * 3 // 4
        if size > MAX_DATA_BYTES:
            problems.append(Problem("", "FieldValueTooLong", f"Too long: may not be more than {MAX_DATA_BYTES} bytes"))
        return problems

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        problems = []
        if old.get("immutable"):
            text = "field is immutable when `immutable` is set"
            if not new.get("immutable"):
                problems.append(forbidden_field("immutable", text))
            problems += [forbidden_field(key, text) for key in ("data", "binaryData") if new.get(key) != old.get(key)]
        return problems + self.validate(new)


_NEEDED = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


class Secret(Strategy):
    def default(self, obj: Object) -> None:
        if not obj.get("type"):
            obj["type"] = "Opaque"
        texts = obj.pop("stringData", None)
        if texts:
            data = dict(obj.get("data") or {})
            data |= {key: base64.b64encode(value.encode()).decode() for key, value in texts.items()}
            obj["data"] = {key: data[key] for key in sorted(data)}
        kind = obj.pop("type")
        obj["type"] = kind

    def validate(self, obj: Object) -> list[Problem]:
        data, kind = obj.get("data") or {}, obj.get("type", "")
        problems: list[Problem] = []
        for key in data:
            problems += [invalid(f"data[{key}]", key, text) for text in data_key(key)]
        if sum(len(value) * 3 // 4 for value in data.values()) > MAX_DATA_BYTES:
            problems.append(
                Problem("data", "FieldValueTooLong", f"Too long: may not be more than {MAX_DATA_BYTES} bytes")
            )
        problems += [required(f"data[{key}]") for key in _NEEDED.get(kind, ()) if key not in data]
        if kind == "kubernetes.io/basic-auth" and "username" not in data and "password" not in data:
            problems += [required("data[username]"), required("data[password]")]
        if kind == "kubernetes.io/service-account-token":
            path = "metadata.annotations[kubernetes.io/service-account.name]"
            if not (obj["metadata"].get("annotations") or {}).get("kubernetes.io/service-account.name"):
                problems.append(required(path))
        problems += _docker(kind, data)
        return problems

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        problems = immutable("type", new.get("type"), old.get("type"))
        if old.get("immutable"):
            text = "field is immutable when `immutable` is set"
            if not new.get("immutable"):
                problems.append(forbidden_field("immutable", text))
            if new.get("data") != old.get("data"):
                problems.append(forbidden_field("data", text))
        return problems + self.validate(new)

    def prepare_update(self, ask: Ask, new: Object, old: Object) -> None:
        if not new.get("type"):
            new["type"] = old.get("type")

    def warnings(self, obj: Object) -> list[str]:
        if obj.get("type") != "kubernetes.io/tls":
            return []
        from ..certcheck import key_pair_problem

        data = obj.get("data") or {}
        problem = key_pair_problem(data.get("tls.crt", ""), data.get("tls.key", ""))
        return [f"{problem}"] if problem else []


def _docker(kind: str, data: Object) -> list[Problem]:
    key = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}.get(kind)
    if not key or key not in data:
        return []
    try:
        json.loads(base64.b64decode(data[key]))
    except ValueError as error:
        return [invalid(f"data[{key}]", "<secret contents redacted>", str(error))]
    return []


class Namespace(Strategy):
    name_rule = staticmethod(dotless_label)
    status = True

    def default(self, obj: Object) -> None:
        name = obj["metadata"].get("name")
        if name:
            labels = dict(obj["metadata"].get("labels") or {})
            labels["kubernetes.io/metadata.name"] = name
            obj["metadata"]["labels"] = {key: labels[key] for key in sorted(labels)}

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        self.default(obj)
        obj["status"] = {"phase": "Active"}
        finalizers = list((obj.get("spec") or {}).get("finalizers") or ())
        if "kubernetes" not in finalizers:
            finalizers.append("kubernetes")
        obj["spec"] = {"finalizers": finalizers}

    def prepare_update(self, ask: Ask, new: Object, old: Object) -> None:
        new["spec"], new["status"] = old.get("spec", {}), old.get("status", {})

    def validate(self, obj: Object) -> list[Problem]:
        problems: list[Problem] = []
        for one in (obj.get("spec") or {}).get("finalizers") or ():
            problems += [invalid("spec.finalizers", one, text) for text in qualified_name(one)]
            if "/" not in one and one != "kubernetes":
                problems.append(
                    invalid(
                        "spec.finalizers", one, "name is neither a standard finalizer name nor is it fully qualified"
                    )
                )
        return problems

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        return []

    def validate_status(self, new: Object, old: Object) -> list[Problem]:
        phase = (new.get("status") or {}).get("phase")
        if not new["metadata"].get("deletionTimestamp") and phase != "Active":
            return [invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty")]
        if new["metadata"].get("deletionTimestamp") and phase != "Terminating":
            return [invalid("status.Phase", phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")]
        return []


class ServiceAccount(Strategy):
    """Nothing of its own but its name."""

    returns_deleted = True


class Node(WithStatus):
    generations = False

    def default(self, obj: Object) -> None:
        _pod_cidrs(obj.get("spec") or {})
        status = obj.get("status") or {}
        if status.get("capacity") and not status.get("allocatable"):
            status["allocatable"] = dict(status["capacity"])

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        return None

    def validate(self, obj: Object) -> list[Problem]:
        from .podrules import taints

        spec = obj.get("spec") or {}
        problems = taints(spec.get("taints") or [], "metadata.taints")
        cidrs = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
        if len(cidrs) > 2:
            problems.append(invalid("spec.podCIDRs", cidrs, "may specify no more than one CIDR for each IP family"))
        for place, cidr in enumerate(cidrs):
            import ipaddress

            try:
                ipaddress.ip_network(cidr)
            except ValueError:
                problems.append(
                    invalid(
                        f"spec.podCIDRs[{place}]",
                        cidr,
                        "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                    )
                )
        for place, address in enumerate((obj.get("status") or {}).get("addresses") or ()):
            if address in ((obj.get("status") or {}).get("addresses") or [])[:place]:
                problems.append(
                    Problem(
                        f"status.addresses[{place}]", "FieldValueDuplicate", "Duplicate value: " + json.dumps(address)
                    )
                )
        return problems + _node_resources(obj.get("status") or {})

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        problems = self.validate(new)
        mine, before = new.get("spec") or {}, old.get("spec") or {}
        if before.get("podCIDRs") and mine.get("podCIDRs") != before.get("podCIDRs"):
            problems.append(
                forbidden_field("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')
            )
        if before.get("providerID") and mine.get("providerID") != before.get("providerID"):
            how = "modified" if mine.get("providerID") else "cleared"
            problems.append(invalid("spec.providerID", None, f"field cannot be {how} once set"))
        return problems

    def validate_status(self, new: Object, old: Object) -> list[Problem]:
        return _node_resources(new.get("status") or {})


def _pod_cidrs(spec: Object) -> None:
    """podCIDR is the first of podCIDRs: the older field decides where they differ."""
    one, several = spec.get("podCIDR"), spec.get("podCIDRs") or []
    if one and one not in several[:1]:
        spec["podCIDRs"] = [one]
    elif several and not one:
        spec["podCIDR"] = several[0]


def _node_resources(status: Object) -> list[Problem]:
    from .podrules import quantity_problems

    problems: list[Problem] = []
    for key in ("capacity", "allocatable"):
        for name, value in (status.get(key) or {}).items():
            problems += quantity_problems(f"status.{key}.{name}", name, value)
    return problems


class Event(Strategy):
    def default(self, obj: Object) -> None:
        return None

    def validate(self, obj: Object) -> list[Problem]:
        problems: list[Problem] = []
        about = obj.get("involvedObject") or {}
        namespace = obj["metadata"].get("namespace", "")
        scoped = about.get("namespace", "")
        # Events about cluster-wide objects live in two namespaces.
        if scoped != namespace and (scoped or namespace not in ("default", "kube-system", "")):
            problems.append(invalid("involvedObject.namespace", scoped, "does not match event.namespace"))
        # Events of events.k8s.io name a reporting controller and have no times of the older form.
        newer = obj.get("eventTime") or (obj.get("reportingComponent") and not obj.get("firstTimestamp"))
        return problems + (_new_event(obj) if newer else [])

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        problems = self.validate(new)
        if not new.get("eventTime"):
            return problems
        for key in (
            "involvedObject",
            "reason",
            "message",
            "type",
            "reportingComponent",
            "reportingInstance",
            "action",
            "eventTime",
        ):
            if new.get(key) != old.get(key):
                shown = "reportingController" if key == "reportingComponent" else key
                problems.append(invalid(shown, new.get(key), "field is immutable"))
        return problems


def _new_event(obj: Object) -> list[Problem]:
    problems: list[Problem] = []
    if not obj.get("eventTime"):
        problems.append(required("eventTime"))
    if not obj.get("reportingComponent"):
        problems.append(required("reportingController"))
    else:
        problems += [
            invalid("reportingController", obj["reportingComponent"], text)
            for text in qualified_name(obj["reportingComponent"])
        ]
    for key in ("reportingInstance", "action", "reason"):
        if not obj.get(key):
            problems.append(required(key))
        elif len(obj[key]) > 128:
            problems.append(invalid(key, "", "can have at most 128 characters"))
    if len(obj.get("message", "")) > 1024:
        problems.append(invalid("message", "", "can have at most 1024 characters"))
    if obj.get("type") not in ("Normal", "Warning"):
        problems.append(invalid("type", "", f"has invalid value: {obj.get('type', '')}"))
    return problems


class LimitRange(Strategy):
    def default(self, obj: Object) -> None:
        for one in (obj.get("spec") or {}).get("limits") or ():
            if one.get("type") != "Container":
                continue
            low, high = one.get("min") or {}, one.get("max") or {}
            default = {**high, **(one.get("default") or {})}
            ask = dict(one.get("defaultRequest") or {})
            for name, value in default.items():
                ask.setdefault(name, value)
            for name, value in low.items():
                ask.setdefault(name, value)
            for key, found in (("default", default), ("defaultRequest", ask)):
                if found:
                    one[key] = {name: found[name] for name in sorted(found)}

    def validate(self, obj: Object) -> list[Problem]:
        from .limits import validate_limit_range

        return validate_limit_range(obj)


class ResourceQuota(WithStatus):
    generations = False
    returns_deleted = True

    def validate(self, obj: Object) -> list[Problem]:
        from .limits import validate_quota

        return validate_quota(obj)

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        problems = self.validate(new)
        mine, before = (
            set((new.get("spec") or {}).get("scopes") or ()),
            set((old.get("spec") or {}).get("scopes") or ()),
        )
        if mine != before:
            problems.append(invalid("spec.scopes", sorted(mine), "field is immutable"))
        return problems


class Lease(Strategy):
    create_on_update = True
    unconditional_update = False

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj.get("spec") or {}
        problems: list[Problem] = []
        seconds = spec.get("leaseDurationSeconds")
        if seconds is not None and seconds <= 0:
            problems.append(invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
        return problems + at_least("spec.leaseTransitions", spec.get("leaseTransitions"))

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        for key in ("strategy", "preferredHolder"):
            (obj.get("spec") or {}).pop(key, None)

    def prepare_update(self, ask: Ask, new: Object, old: Object) -> None:
        self.prepare_create(ask, new)


class PodTemplate(Strategy):
    generations = True
    returns_deleted = True

    def default(self, obj: Object) -> None:
        from .poddefaults import default_spec

        template = obj.get("template") or {}
        if template.get("spec") is not None:
            default_spec(template["spec"])

    def changed(self, new: Object, old: Object) -> bool:
        return bool(new.get("template") != old.get("template"))

    def validate(self, obj: Object) -> list[Problem]:
        from .podrules import validate_template

        return validate_template(obj.get("template") or {}, "template")


SEGMENT = staticmethod(path_segment)
__all__ = [name for name in dir() if name[:1].isupper()] + ["data_key"]


def _unused(value: Any) -> Any:
    return value
