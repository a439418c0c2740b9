"""Which injection webhooks there are, and whom each injects and why: `x check-inject`, `x injector list`.

Takes MutatingWebhookConfigurations, namespaces and pods as JSON, gives rows. Not here: fetching them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mizzen.api.errors import UsageError
from mizzen.api.labels import from_message
from mizzen.istioctl.table import table
from mizzen.kube import Client, Object
from mizzen.kube.resource import CONFIG_MAPS

HEADER = ("WEBHOOK", "REVISION", "INJECTED", "REASON")
REVISION, INJECTION, INJECT, DATA_PLANE = (
    "istio.io/rev",
    "istio-injection",
    "sidecar.istio.io/inject",
    "istio.io/dataplane-mode",
)
SUFFIX = "sidecar-injector.istio.io"
YES, NO = "✔", "✘"
NO_MATCH = f"No matching namespace labels ({INJECTION}, {REVISION}) or pod labels ({INJECT}, {REVISION})"
BLOCKED = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")


class Verdict(NamedTuple):
    """What one webhook configuration does with a pod."""

    webhook: str
    revision: str
    injected: bool
    reason: str


def parsed(text: str) -> dict[str, str]:
    """Labels from `a=b,c=d`. Raises UsageError."""
    out = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"{part!r} is no label; give NAME=VALUE")
        out[name.strip()] = value.strip()
    return out


def injecting(configurations: Iterable[Object]) -> list[Object]:
    """The configurations that inject sidecars."""
    return [c for c in configurations if any(str(h.get("name", "")).endswith(SUFFIX) for h in c.get("webhooks") or ())]


def revision_of(configuration: Object) -> str:
    return str((configuration["metadata"].get("labels") or {}).get(REVISION, ""))


def verdicts(configurations: Iterable[Object], namespace: Mapping[str, str], pod: Mapping[str, str]) -> list[Verdict]:
    """One a webhook configuration, by name."""
    out = []
    for configuration in sorted(injecting(configurations), key=lambda c: str(c["metadata"]["name"])):
        injected, reason = _verdict(configuration, namespace, pod)
        out.append(Verdict(configuration["metadata"]["name"], revision_of(configuration), injected, reason))
    return out


def _verdict(configuration: Object, namespace: Mapping[str, str], pod: Mapping[str, str]) -> tuple[bool, str]:
    for hook in configuration.get("webhooks") or ():
        if not str(hook.get("name", "")).endswith(SUFFIX):
            continue
        by_namespace = from_message(hook.get("namespaceSelector") or {})(namespace)
        by_pod = from_message(hook.get("objectSelector") or {})(pod)
        if by_namespace and by_pod:
            return True, _reason(hook, namespace, pod)
    if pod.get(INJECT) == "false":
        return False, f"Pod has {INJECT}=false label, preventing injection"
    if namespace.get(INJECTION) == "disabled":
        return False, f"Namespace has {INJECTION}=disabled label, preventing injection"
    return False, NO_MATCH


def _reason(hook: Object, namespace: Mapping[str, str], pod: Mapping[str, str]) -> str:
    """The labels that the webhook's selectors ask for and that are there."""
    own = [f"{name}={namespace[name]}" for name in _asked(hook.get("namespaceSelector")) if name in namespace]
    pods = [f"{name}={pod[name]}" for name in _asked(hook.get("objectSelector")) if name in pod]
    if own and pods:
        return f"Namespace label {own[0]} matches, and pod label {pods[0]} matches"
    if own:
        return f"Namespace label {own[0]} matches"
    return f"Pod label {pods[0]} matches" if pods else "The webhook takes every pod"


def _asked(selector: Object | None) -> list[str]:
    selector = selector or {}
    wanted = [e["key"] for e in selector.get("matchExpressions") or () if e.get("operator") in ("In", "Exists")]
    return [*(selector.get("matchLabels") or {}), *wanted]


def rows(found: Iterable[Verdict]) -> list[tuple[str, ...]]:
    return [(v.webhook, v.revision, YES if v.injected else NO, v.reason) for v in found]


def warning(found: Sequence[Verdict]) -> str:
    """What is wrong with all webhooks taken together."""
    injected = sum(1 for one in found if one.injected)
    if not found:
        return "ERROR: no injection webhook found.\n"
    return "ERROR: multiple webhooks will inject, which can lead to errors.\n" if injected > 1 else ""


async def images(client: Client, namespace: str) -> dict[str, str]:
    """The sidecar's image by revision, from the injectors' ConfigMaps."""
    out = {}
    for config_map in (await client.list(CONFIG_MAPS, namespace)).items:
        name = str(config_map["metadata"]["name"])
        if not name.startswith("istio-sidecar-injector"):
            continue
        try:
            values = json.loads((config_map.get("data") or {}).get("values") or "{}").get("global") or {}
        except ValueError:
            continue
        image = str((values.get("proxy") or {}).get("image", "proxyv2"))
        revision = name.removeprefix("istio-sidecar-injector").removeprefix("-") or "default"
        out[revision] = image if "/" in image else f"{values.get('hub', '')}/{image}:{values.get('tag', '')}"
    return out


def listing(
    namespaces: Sequence[Object], pods: Sequence[Object], hooks: Iterable[Object], known: Mapping[str, str], system: str
) -> str:
    """Two tables: injected namespaces, and injectors."""
    injectors = injecting(hooks)
    injected: list[tuple[str, ...]] = []
    by_hook: dict[str, list[str]] = {}
    for namespace in sorted(namespaces, key=lambda n: str(n["metadata"]["name"])):
        name, labels = namespace["metadata"]["name"], namespace["metadata"].get("labels") or {}
        hook = next((v for v in verdicts(injectors, labels, {}) if v.injected), None)
        if hook is None or name in (*BLOCKED, system):
            continue
        by_hook.setdefault(hook.webhook, []).append(name)
        injected.append((name, hook.revision, _pod_revisions(name, pods) or "<no pods>"))
    second = [
        (
            ",".join(by_hook.get(hook["metadata"]["name"], [])) or "DOES NOT AUTOINJECT",
            str(hook["metadata"]["name"]),
            revision_of(hook),
            known.get(revision_of(hook), "<unknown>"),
        )
        for hook in sorted(injectors, key=lambda h: str(h["metadata"]["name"]))
    ]
    first = table(("NAMESPACE", "ISTIO-REVISION", "POD-REVISIONS"), injected)
    return f"{first}\n{table(('NAMESPACES', 'INJECTOR-HOOK', 'ISTIO-REVISION', 'SIDECAR-IMAGE'), second)}"


def _pod_revisions(namespace: str, pods: Iterable[Object]) -> str:
    """The revisions of a namespace's injected pods; those without a proxy are counted as such."""
    found: set[str] = set()
    for pod in pods:
        if pod["metadata"].get("namespace") != namespace:
            continue
        status = (pod["metadata"].get("annotations") or {}).get("sidecar.istio.io/status")
        try:
            found.add(str(json.loads(status).get("revision", "default")) if status else "<non-Istio>")
        except ValueError:
            found.add("MISSING/INVALID")
    return ", ".join(sorted(found))
