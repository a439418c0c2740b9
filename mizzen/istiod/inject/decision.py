"""Whether a pod is to be injected: the server-side part of the decision, after the webhook's selectors.

Source: the Kubernetes objects' own words only; namespace labels were matched by the MutatingWebhookConfiguration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mizzen.api.labels import from_message
from mizzen.istiod.inject.config import InjectionConfig, Object
from mizzen.istiod.inject.names import INJECT, SYSTEM_NAMESPACES


def injection_required(config: InjectionConfig, metadata: Object, spec: Object) -> bool:
    """metadata, spec: the pod's own. A label beats an annotation; words other than true and false count as none."""
    if spec.get("hostNetwork"):
        return False
    if metadata.get("namespace") in SYSTEM_NAMESPACES:
        return False
    labels: Mapping[str, str] = metadata.get("labels") or {}
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    word = labels[INJECT] if INJECT in labels else annotations.get(INJECT, "")
    if word in ("true", "false"):
        return word == "true"
    if not word:
        if any(selected(selector, labels) for selector in config.never_inject_selector):
            return False
        if any(selected(selector, labels) for selector in config.always_inject_selector):
            return True
    return config.policy == "enabled"


def selected(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a selector that is not empty takes these labels."""
    return bool(selector) and from_message(selector)(labels)


def webhook_selects(
    namespace_labels: Mapping[str, str], pod_labels: Mapping[str, str], revision: str, tags: tuple[str, ...] = ()
) -> bool:
    """Whether a default installation's MutatingWebhookConfiguration would send this pod to the injector of `revision`.

    `tags`: revision tags that point at it; the default revision, or the tag "default", answers for `istio-injection`.
    Source: reference of the entries rev.namespace, rev.object, namespace and object.
    """
    if pod_labels.get(INJECT) == "false":
        return False
    names = (revision, *tags)
    injection, wanted = namespace_labels.get("istio-injection"), namespace_labels.get("istio.io/rev")
    if injection is None and wanted in names:
        return True
    if injection is None and wanted is None and pod_labels.get("istio.io/rev") in names:
        return True
    if "default" not in names:
        return False
    if injection == "enabled":
        return True
    unnamed = injection is None and wanted is None and "istio.io/rev" not in pod_labels
    return unnamed and pod_labels.get(INJECT) == "true"
