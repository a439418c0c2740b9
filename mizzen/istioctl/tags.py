"""Revision tags: a second name for a control plane's revision, so that namespaces need not be labelled anew at an upgrade.

Pure: webhook configurations in, objects and rows out. A tag is a MutatingWebhookConfiguration of its own that selects by the
tag's name and leads to the revision's injector, and a Service by the tag's name. Not here: the API server (tag_commands.py).
Source: `istioctl tag`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mizzen.api.errors import UsageError
from mizzen.istiod.inject.selectors import INJECTION, REVISION, entries
from mizzen.kube import Object

TAG = "istio.io/tag"
HEADER = ("TAG", "REVISION", "NAMESPACES")
SUFFIX = "sidecar-injector.istio.io"
DEFAULT, SYSTEM = "default", "istio-system"
DEFAULT_VALIDATOR = "istiod-default-validator"
GROUPS = ("security.istio.io", "networking.istio.io", "telemetry.istio.io", "extensions.istio.io")


def labels_of(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def injector_of(configurations: Iterable[Object], revision: str) -> Object:
    """The injector of a revision itself. Raises UsageError."""
    found = [c for c in configurations if labels_of(c).get(REVISION) == revision and TAG not in labels_of(c)]
    found = [c for c in found if any(str(h.get("name", "")).endswith(SUFFIX) for h in c.get("webhooks") or ())]
    if not found:
        raise UsageError(f"no injection webhook of revision {revision!r}: is that control plane installed?")
    if len(found) > 1:
        raise UsageError(f"several injection webhooks of revision {revision!r}: {', '.join(map(_name, found))}")
    return found[0]


def check(configurations: Sequence[Object], tag: str, overwrite: bool) -> None:
    """Whether a tag may be set. Raises UsageError."""
    for configuration in configurations:
        labels = labels_of(configuration)
        if labels.get(TAG) == tag and not overwrite:
            raise UsageError(f"revision tag {tag!r} already exists, and --overwrite is false")
        if tag != DEFAULT and labels.get(REVISION) == tag and TAG not in labels:
            raise UsageError(f"cannot create revision tag {tag!r}: a control plane of that revision exists")


def tag_name(tag: str, namespace: str = SYSTEM) -> str:
    return f"istio-revision-tag-{tag}" + ("" if namespace == SYSTEM else f"-{namespace}")


def tag_webhook(
    injector: Object, tag: str, namespace: str = SYSTEM, *, name: str = "", every_namespace: bool = False
) -> Object:
    """The configuration of a tag, from its revision's injector."""
    revision = labels_of(injector)[REVISION]
    hooks = [hook for hook in injector["webhooks"] if str(hook.get("name", "")).endswith(SUFFIX)]
    pattern = {
        k: v for k, v in hooks[0].items() if k not in ("name", "namespaceSelector", "objectSelector", "matchConditions")
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {
            "name": name or tag_name(tag, namespace),
            "labels": {TAG: tag, REVISION: revision, "app": "sidecar-injector"},
        },
        "webhooks": [
            {
                **pattern,
                "name": f"{prefix}.{SUFFIX}",
                "namespaceSelector": {"matchExpressions": namespaces},
                "objectSelector": {"matchExpressions": pods},
            }
            for prefix, namespaces, pods in entries(tag, default=tag == DEFAULT, every_namespace=every_namespace)
        ],
    }


def tag_service(service: Object, tag: str, namespace: str = SYSTEM) -> Object:
    """A Service by the tag's name, to what stands behind the revision's own."""
    spec = service["spec"]
    ports = [{k: v for k, v in port.items() if k != "nodePort"} for port in spec.get("ports") or ()]
    revision = labels_of(service).get(REVISION, DEFAULT)
    made: dict[str, Any] = {"ports": ports}
    if spec.get("selector"):
        made["selector"] = dict(spec["selector"])
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": f"istiod-revision-tag-{tag}",
            "namespace": namespace,
            "labels": {TAG: tag, REVISION: revision, "app": "istiod", "istio": "pilot"},
        },
        "spec": made,
    }


def default_validator(injector: Object) -> Object:
    """The validating webhook for objects that name no revision, which goes with the tag `default`."""
    hook = injector["webhooks"][0]
    client = dict(hook["clientConfig"])
    if "service" in client:
        client["service"] = {**client["service"], "path": "/validate"}
    elif client.get("url"):
        client["url"] = str(client["url"]).partition("/inject")[0] + "/validate"
    rule = {"operations": ["CREATE", "UPDATE"], "apiGroups": list(GROUPS), "apiVersions": ["*"], "resources": ["*"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {
            "name": DEFAULT_VALIDATOR,
            "labels": {TAG: DEFAULT, REVISION: labels_of(injector)[REVISION], "app": "istiod", "istio": "istiod"},
        },
        "webhooks": [
            {
                "name": "validation.istio.io",
                "clientConfig": client,
                "rules": [rule],
                "failurePolicy": "Ignore",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "objectSelector": {"matchExpressions": [{"key": REVISION, "operator": "DoesNotExist"}]},
            }
        ],
    }


def rows(configurations: Iterable[Object], namespaces: Sequence[Object]) -> list[tuple[str, str, str]]:
    """One row a tag."""
    out = []
    for configuration in sorted(configurations, key=lambda c: labels_of(c).get(TAG, "")):
        labels = labels_of(configuration)
        if TAG in labels:
            using = ",".join(users(labels[TAG], namespaces))
            out.append((labels[TAG], labels.get(REVISION, ""), using))
    return out


def users(tag: str, namespaces: Iterable[Object]) -> list[str]:
    """The namespaces that name a tag."""
    found = []
    for namespace in namespaces:
        labels = labels_of(namespace)
        by_default = tag == DEFAULT and labels.get(INJECTION) == "enabled"
        if by_default or (labels.get(REVISION) == tag and INJECTION not in labels):
            found.append(_name(namespace))
    return sorted(found)


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])
