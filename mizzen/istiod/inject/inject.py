"""A pod without a proxy in, the same pod with one out. Pure: the arguments are not changed, nothing else is read.

Steps: check annotations; render templates over the pod; lay the user's own containers over; then metrics, probes,
metadata and the order of containers. Source: Istio's injector.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping

from mizzen.api.errors import Invalid
from mizzen.istiod.inject.annotations import check_annotations
from mizzen.istiod.inject.config import Object, Settings
from mizzen.istiod.inject.names import CORE_DUMP, INIT, NETWORK, PROXY, STATUS, TEMPLATES, VALIDATION
from mizzen.istiod.inject.overrides import lay_over, stripped, with_wishes
from mizzen.istiod.inject.probes import find_proxy, rewrite_probes
from mizzen.istiod.inject.prometheus import merge_metrics, secure_port
from mizzen.istiod.inject.proxy_config import effective
from mizzen.istiod.inject.strategic_merge import merge
from mizzen.istiod.inject.templates import BUILT_IN, Context
from mizzen.istiod.inject.templates.context import native_wanted
from mizzen.istiod.inject.templates.custom import rendered
from mizzen.istiod.inject.workload import Workload

OPENSHIFT_UID, OPENSHIFT_GID = "openshift.io/sa.scc.uid-range", "openshift.io/sa.scc.supplemental-groups"


def inject_pod(
    pod: Object, workload: Workload, settings: Settings, namespace_annotations: Mapping[str, str] | None = None
) -> Object:
    """The injected pod. pod: {"metadata", "spec", …}; workload: whom it belongs to; namespace_annotations: OpenShift's
    user ranges. Raises Invalid (path: the annotation's name) and Unsupported."""
    metadata = pod.get("metadata") or {}
    pod = {**pod, "metadata": metadata, "spec": pod.get("spec") or {}}
    annotations = metadata.get("annotations") or {}
    config = effective(settings.mesh.default_config, annotations)  # type: ignore[arg-type]
    check_annotations(annotations)
    status_port = int(config.get("statusPort", 15020))
    bare = with_wishes(stripped(pod, status_port))
    uid, gid = openshift_ids(namespace_annotations or {})
    context = Context(
        own_metadata=bare["metadata"],
        labels=bare["metadata"].get("labels") or {},
        annotations=bare["metadata"].get("annotations") or {},
        spec=bare["spec"],
        workload=workload,
        proxy_config=config,
        settings=settings,
        native=native_wanted(annotations, settings.native_sidecars),
        uid=uid,
        gid=gid,
    )
    final = copy.deepcopy(pod)
    template: Object = {"metadata": {}, "spec": {}}
    for patch in (render(name, context) for name in template_names(annotations, settings)):
        final, template = merge(final, patch), merge(template, patch)
    final = lay_over(final, pod, template, context.config_mode)
    add_variables(final, settings.proxy_envs)
    merge_metrics(final, bool(settings.mesh.enable_prometheus_merge), status_port)
    secure_port(final)
    rewrite_probes(final, status_port, settings.values.sidecar_injector_webhook.rewrite_app_http_probe)
    set_metadata(final, template, settings)
    held = config.get(
        "holdApplicationUntilProxyStarts", settings.values.global_.proxy.hold_application_until_proxy_starts
    )
    set_order(final["spec"], held=bool(held))
    final["spec"] = {key: value for key, value in final["spec"].items() if not unset(key, value)}
    return final


def unset(key: str, value: object) -> bool:
    """Whether a pod's field says nothing: Kubernetes does not tell such a value from an absent field."""
    if key in ("hostNetwork", "hostPID", "hostIPC"):
        return value is False
    return value in ("", []) or (value == {} and key in ("nodeSelector", "overhead"))


def template_names(annotations: Mapping[str, str], settings: Settings) -> list[str]:
    """The templates to lay over, in order, aliases expanded."""
    text = annotations.get(TEMPLATES)
    config, webhook = settings.config, settings.values.sidecar_injector_webhook
    if text:
        names = [name.strip() for name in text.split(",") if name.strip()]
    else:
        names = list(config.default_templates or webhook.default_templates or ("sidecar",))
    return [real for name in names for real in config.aliases.get(name, (name,))]


def render(name: str, context: Context) -> Object:
    """One template's patch. Raises Invalid for a name that nobody knows."""
    own = context.settings.config.templates.get(name)
    if isinstance(own, dict):
        return own
    if isinstance(own, str):
        return rendered(name, own, context)
    if name not in BUILT_IN:
        known = ", ".join(sorted({*BUILT_IN, *context.settings.config.templates}))
        raise Invalid(TEMPLATES, f"there is no template {name!r}; known are {known}", by="semantic")
    return BUILT_IN[name](context)


def openshift_ids(annotations: Mapping[str, str]) -> tuple[str, str]:
    """The proxy's user and group: the last of a namespace's ranges on OpenShift, else 1337."""

    def last(name: str) -> str | None:
        first, slash, size = annotations.get(name, "").split(",")[0].partition("/")
        if slash and first.isdigit() and size.isdigit():
            return str(int(first) + int(size) - 1)
        start, dash, end = first.partition("-")
        return end if dash and start.isdigit() and end.isdigit() else None

    uid = last(OPENSHIFT_UID)
    return uid or "1337", last(OPENSHIFT_GID) or uid or "1337"


def add_variables(pod: Object, variables: Mapping[str, str]) -> None:
    """What the webhook's path says goes into the proxy's environment; it wins."""
    proxy = find_proxy(pod)
    if proxy is None or not variables:
        return
    kept = [entry for entry in proxy.get("env") or () if entry["name"] not in variables]
    proxy["env"] = kept + [{"name": name, "value": value} for name, value in sorted(variables.items())]


def set_metadata(pod: Object, template: Object, settings: Settings) -> None:
    network = settings.proxy_envs.get("ISTIO_META_NETWORK")
    if network:
        pod["metadata"].setdefault("labels", {})[NETWORK] = network
    annotations = pod["metadata"].setdefault("annotations", {})
    annotations[STATUS] = injection_status(template["spec"], settings.revision)
    annotations |= settings.config.injected_annotations


def injection_status(spec: Object, revision: str) -> str:
    """The mark: what a template added, as JSON; absent lists are null."""
    fields = ("initContainers", "containers", "volumes", "imagePullSecrets")
    lists = {field: [entry["name"] for entry in spec.get(field) or ()] or None for field in fields}
    return json.dumps({**lists, "revision": revision}, separators=(",", ":"))


def set_order(spec: Object, *, held: bool) -> None:
    """The proxy last, or first when it holds the others up; interception before what it is for."""
    containers = spec.get("containers") or []
    spec["containers"] = first(containers, PROXY) if held else last(containers, PROXY)
    inits = spec.get("initContainers") or []
    if any(entry["name"] == PROXY for entry in inits):
        for name in (CORE_DUMP, PROXY, VALIDATION, INIT):
            inits = first(inits, name)
    else:
        inits = last(last(first(inits, VALIDATION), INIT), CORE_DUMP)
    if inits:
        spec["initContainers"] = inits


def first(entries: list[Object], name: str) -> list[Object]:
    return sorted(entries, key=lambda entry: bool(entry["name"] != name))


def last(entries: list[Object], name: str) -> list[Object]:
    return sorted(entries, key=lambda entry: bool(entry["name"] == name))
