"""The chained plugin `mizzen-istio`: whether a pod's traffic is captured, and capturing it (istio-cni's semantics).

Finds the pod in the kubelet's checkpoint (`podsDir`/UID/pod.json) or, without one, at the API server (`kubeconfig`).
CHECK and DEL do nothing: the rules live and die with the namespace.
Source: istio-cni's ADD, in this order of decisions.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mizzen.cni.rules import apply, rules_for_pod

log = logging.getLogger("mizzen.cni.istio")

STATUS = "sidecar.istio.io/status"
INJECT = "sidecar.istio.io/inject"
DEFAULT_EXCLUDED = ("kube-system",)
Pod = dict[str, Any]


def args_of(text: str) -> dict[str, str]:
    """CNI_ARGS as a mapping."""
    return dict(item.split("=", 1) for item in text.split(";") if "=" in item)


def find_pod(conf: Mapping[str, Any], args: Mapping[str, str]) -> Pod | None:
    """The pod that CNI_ARGS names; None when nothing is known of it."""
    if (folder := conf.get("podsDir")) and (uid := args.get("K8S_POD_UID")):
        path = Path(folder, uid, "pod.json")
        if path.exists():
            pod: Pod = json.loads(path.read_bytes())
            return pod
    if conf.get("kubeconfig"):
        return _from_server(conf["kubeconfig"], args["K8S_POD_NAMESPACE"], args["K8S_POD_NAME"])
    return None


def _from_server(kubeconfig: str, namespace: str, name: str) -> Pod | None:
    import asyncio

    from mizzen.kube import Client, load
    from mizzen.kube.resource import PODS

    async def get() -> Pod | None:
        async with Client(load(kubeconfig), user_agent="mizzen cni") as client:
            return await client.find(PODS, name, namespace)

    return asyncio.run(get())


def proxy_container(pod: Pod) -> Mapping[str, Any] | None:
    """The container `istio-proxy`, regular or native sidecar."""
    spec = pod["spec"]
    both = [*spec.get("initContainers", ()), *spec["containers"]]
    return next((item for item in both if item["name"] == "istio-proxy"), None)


def plain_env(container: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a container that have a value written out."""
    return {item["name"]: item["value"] for item in container.get("env", ()) if "value" in item}


def skip_reason(pod: Pod, excluded: tuple[str, ...] = DEFAULT_EXCLUDED) -> str | None:
    """Why a pod's traffic is not captured; None when it is."""
    meta = pod["metadata"]
    annotations, labels = meta.get("annotations") or {}, meta.get("labels") or {}
    if meta.get("namespace") in excluded:
        return f"namespace {meta['namespace']} is excluded"
    if any(item["name"] == "istio-init" for item in pod["spec"].get("initContainers", ())):
        return "the pod has an init container istio-init"
    proxy = proxy_container(pod)
    if proxy is None:
        return "the pod has no container istio-proxy"
    if plain_env(proxy).get("DISABLE_ENVOY", "") in ("true", "1"):
        return "DISABLE_ENVOY is set on the proxy"
    arguments = proxy.get("args") or []
    if len(arguments) < 2 or arguments[0] != "proxy" or arguments[1] != "sidecar":
        return "the proxy is not a sidecar"
    if (labels.get(INJECT) or annotations.get(INJECT)) == "false":
        return f"{INJECT} is false"
    return None if STATUS in annotations else f"no annotation {STATUS}"


def _id(proxy: Mapping[str, Any], pod: Pod, field: str) -> int | None:
    for holder in (proxy, pod["spec"]):
        value = (holder.get("securityContext") or {}).get(field)
        if value is not None:
            return int(value) or None
    return None


def add(conf: Mapping[str, Any], netns: str, args: Mapping[str, str]) -> None:
    """Program the rules of the pod that args name, if it is to be captured."""
    if not args.get("K8S_POD_NAME"):
        return
    pod = find_pod(conf, args)
    if pod is None:
        log.warning("nothing is known of pod %s/%s", args.get("K8S_POD_NAMESPACE"), args["K8S_POD_NAME"])
        return
    excluded = tuple(conf.get("exclude_namespaces", DEFAULT_EXCLUDED))
    if (reason := skip_reason(pod, excluded)) is not None:
        log.debug("pod %s/%s is not captured: %s", pod["metadata"].get("namespace"), pod["metadata"]["name"], reason)
        return
    proxy = proxy_container(pod)
    assert proxy is not None
    uid, gid = _id(proxy, pod, "runAsUser"), _id(proxy, pod, "runAsGroup")
    config = rules_for_pod(pod["metadata"].get("annotations") or {}, plain_env(proxy), uid=uid, gid=gid)
    if config is not None:
        # A new namespace has no rules to compare with.
        apply(config, netns, force=True, native_nftables=bool(conf.get("native_nftables")))
