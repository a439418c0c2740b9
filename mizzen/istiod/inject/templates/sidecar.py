"""The template `sidecar`: interception, the proxy as a container or native sidecar, and their volumes."""

from __future__ import annotations

from typing import Any

from mizzen.istiod.inject.config import Object
from mizzen.istiod.inject.names import (
    CORE_DUMP,
    INIT,
    INTERCEPTION_MODE,
    PROXY,
    REROUTE_INTERFACES,
    TRAFFIC,
    VALIDATION,
)
from mizzen.istiod.inject.templates import proxy
from mizzen.istiod.inject.templates.context import Context, env

VOLUMES = (
    "workload-socket",
    "credential-socket",
    "workload-certs",
    "istio-envoy",
    "istio-data",
    "istio-podinfo",
    "istio-token",
)
CORE_DUMPS = "sidecar.istio.io/enableCoreDump"
CUSTOM_BOOTSTRAP = "sidecar.istio.io/bootstrapOverride"


def sidecar(context: Context) -> Object:
    """See the module."""
    values = context.settings.values
    without = context.mode == "NONE" or (values.istio_cni.enabled and not values.istio_cni.validate)
    inits = [] if without else [interception(context)]
    if context.switched_on(CORE_DUMPS, values.global_.proxy.enable_core_dump):
        inits.append(core_dump(context))
    container = proxy_container(context)
    containers = [] if context.native else [container]
    if context.native:
        inits.append(container | {"restartPolicy": "Always"})
    spec: Object = {"volumes": all_volumes(context), **proxy.pull_secrets(context)}
    if inits:
        spec["initContainers"] = inits
    if containers:
        spec["containers"] = containers
    annotations = proxy.common_annotations(context)
    if values.istio_cni.enabled:
        annotations |= cni_annotations(context)
    return {"metadata": {"labels": labels(context), "annotations": annotations}, "spec": spec}


def labels(context: Context) -> dict[str, str]:
    result = {
        "security.istio.io/tlsMode": context.labels.get("security.istio.io/tlsMode") or "istio",
        **proxy.canonical_labels(context),
    }
    if context.metadata.get("ISTIO_META_ENABLE_HBONE") == "true":
        result["networking.istio.io/tunnel"] = context.labels.get("networking.istio.io/tunnel") or "http"
    return result


def cni_annotations(context: Context) -> dict[str, str]:
    """What a CNI plugin must know: it sees the pod's annotations only, not our values."""
    values = context.settings.values.global_.proxy
    known: dict[str, str] = {
        "includeOutboundIPRanges": values.include_ip_ranges,
        "excludeOutboundIPRanges": values.exclude_ip_ranges,
        "includeInboundPorts": values.include_inbound_ports,
        "includeOutboundPorts": values.include_outbound_ports,
        "excludeOutboundPorts": values.exclude_outbound_ports,
    }
    result = {INTERCEPTION_MODE: context.mode}
    for name, default in known.items():
        text = context.annotation(f"{TRAFFIC}{name}", default)
        if text or name == "includeInboundPorts":
            result[f"{TRAFFIC}{name}"] = text
    result[f"{TRAFFIC}excludeInboundPorts"] = context.excluded_inbound_ports()
    if context.settings.values.istio_cni.provider == "multus":
        networks = context.annotation("k8s.v1.cni.cncf.io/networks")
        result["k8s.v1.cni.cncf.io/networks"] = f"{networks}, default/istio-cni" if networks else "default/istio-cni"
    return result


def capture_args(context: Context) -> list[str]:
    """istio-iptables' arguments."""
    values, mesh = context.settings.values.global_, context.settings.mesh
    proxy_values = values.proxy
    excluded = context.excluded_inbound_ports()

    def traffic(name: str, default: str) -> str:
        return str(context.annotation(f"{TRAFFIC}{name}", default))

    args = [
        "istio-iptables",
        *("-p", str(mesh.proxy_listen_port or 15001)),
        *("-z", str(mesh.proxy_inbound_listen_port or 15006)),
        *("-u", context.uid),
        *("-m", context.mode),
        *("-i", traffic("includeOutboundIPRanges", proxy_values.include_ip_ranges)),
        *("-x", traffic("excludeOutboundIPRanges", proxy_values.exclude_ip_ranges)),
        *("-b", traffic("includeInboundPorts", proxy_values.include_inbound_ports)),
        *("-d", f"15090,15021,{excluded}" if excluded else "15090,15021"),
    ]
    for flag, name, default in (
        ("-q", "includeOutboundPorts", proxy_values.include_outbound_ports),
        ("-o", "excludeOutboundPorts", proxy_values.exclude_outbound_ports),
    ):
        if f"{TRAFFIC}{name}" in context.annotations or default:
            args += [flag, traffic(name, default)]
    for name in (REROUTE_INTERFACES, f"{TRAFFIC}kubevirtInterfaces"):
        if name in context.annotations:
            args += ["-k", context.annotations[name]]
            break
    if f"{TRAFFIC}excludeInterfaces" in context.annotations:
        args += ["-c", context.annotations[f"{TRAFFIC}excludeInterfaces"]]
    args.append(f"--log_output_level={context.annotation('sidecar.istio.io/agentLogLevel', values.logging.level)}")
    if values.log_as_json:
        args.append("--log_as_json")
    if context.settings.values.istio_cni.enabled:
        args += ["--run-validation", "--skip-rule-apply"]
    elif values.proxy_init.force_apply_iptables:
        args.append("--force-apply")
    if values.native_nftables:
        args.append("--native-nftables")
    return args


def interception(context: Context) -> Object:
    """istio-init, or istio-validation where a CNI plugin writes the rules."""
    cni, values = context.settings.values.istio_cni.enabled, context.settings.values.global_
    privileged = values.proxy.privileged
    security: Object = {
        "allowPrivilegeEscalation": privileged,
        "privileged": privileged,
        "capabilities": {"drop": ["ALL"]} if cni else {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
        "readOnlyRootFilesystem": cni,
        "runAsGroup": int(context.gid) if cni else 0,
        "runAsUser": int(context.uid) if cni else 0,
        "runAsNonRoot": cni,
    }
    container: Object = {
        "name": VALIDATION if cni else INIT,
        "image": context.image(values.proxy_init.image),
        **proxy.pull(context),
        "args": capture_args(context),
        "resources": resources(context),
        "securityContext": security,
    }
    if context.metadata:
        container["env"] = [env(name, str(value)) for name, value in sorted(context.metadata.items())]
    return container


def core_dump(context: Context) -> Object:
    """Lets the proxy leave a core file: a setting of the kernel that a pod's own user may not make."""
    return {
        "name": CORE_DUMP,
        "image": context.image(context.settings.values.global_.proxy_init.image),
        **proxy.pull(context),
        "command": ["/bin/sh"],
        "args": ["-c", "sysctl -w kernel.core_pattern=/var/lib/istio/data/core.proxy && ulimit -c unlimited"],
        "resources": resources(context),
        "securityContext": {
            "allowPrivilegeEscalation": True,
            "capabilities": {"add": ["SYS_ADMIN"], "drop": ["ALL"]},
            "privileged": True,
            "readOnlyRootFilesystem": False,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "runAsUser": 0,
        },
    }


def resources(context: Context) -> Object:
    """Any one annotation about resources replaces the defaults completely."""
    result: Object = {}
    for sort, names in (
        ("requests", {"cpu": "proxyCPU", "memory": "proxyMemory"}),
        ("limits", {"cpu": "proxyCPULimit", "memory": "proxyMemoryLimit"}),
    ):
        given = {
            resource: context.annotations[f"sidecar.istio.io/{name}"]
            for resource, name in names.items()
            if f"sidecar.istio.io/{name}" in context.annotations
        }
        if given:
            result[sort] = given
    return result or dict(context.settings.values.global_.proxy.resources)


def security_context(context: Context) -> Object:
    values = context.settings.values.global_.proxy
    common: Object = {"readOnlyRootFilesystem": True, "runAsGroup": int(context.gid)}
    if context.metadata.get("IPTABLES_TRACE_LOGGING") == "true":
        return common | {
            "allowPrivilegeEscalation": True,
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
            "privileged": True,
            "runAsNonRoot": False,
            "runAsUser": 0,
        }
    bind = context.switched_on("sidecar.istio.io/capNetBindService", values.cap_net_bind_service)
    added = [*(["NET_ADMIN"] if context.mode == "TPROXY" else []), *(["NET_BIND_SERVICE"] if bind else [])]
    return common | {
        "allowPrivilegeEscalation": values.privileged,
        "capabilities": {"drop": ["ALL"]} | ({"add": added} if added else {}),
        "privileged": values.privileged,
        "readOnlyRootFilesystem": not context.switched_on(CORE_DUMPS, values.enable_core_dump),
        "runAsNonRoot": not added,
        "runAsUser": 0 if added else int(context.uid),
    }


def lifecycle(context: Context) -> Object:
    values = context.settings.values.global_.proxy
    if values.lifecycle:
        return {"lifecycle": values.lifecycle}
    if context.native:
        port = proxy.status_port(context)
        return {
            "lifecycle": {"preStop": proxy.exec_hook("pilot-agent", "request", f"--debug-port={port}", "POST", "drain")}
        }
    held = context.proxy_config.get("holdApplicationUntilProxyStarts", values.hold_application_until_proxy_starts)
    return {"lifecycle": {"postStart": proxy.exec_hook("pilot-agent", "wait")}} if held else {}


def probes(context: Context) -> Object:
    if proxy.status_port(context) == "0":
        return {}
    startup = context.settings.values.global_.proxy.startup_probe
    result: Object = {"readinessProbe": proxy.readiness(context)}
    if startup.enabled:
        result["startupProbe"] = {
            "httpGet": {"path": proxy.HEALTH, "port": 15021},
            "initialDelaySeconds": 0,
            "periodSeconds": 1,
            "timeoutSeconds": 3,
            "failureThreshold": startup.failure_threshold,
        }
    return result


def proxy_container(context: Context) -> Object:
    values = context.settings.values.global_
    mode = context.annotations.get(INTERCEPTION_MODE) or context.config_mode
    return {
        "name": PROXY,
        "image": context.image(values.proxy.image),
        **proxy.pull(context),
        "ports": [{"containerPort": 15090, "protocol": "TCP", "name": "http-envoy-prom"}],
        "args": proxy.proxy_args(context, "sidecar"),
        **lifecycle(context),
        "env": proxy.joined(proxy.identity_env(context), proxy.workload_env(context, mode), proxy.mesh_env(context)),
        **probes(context),
        "securityContext": security_context(context),
        "resources": resources(context),
        "volumeMounts": all_mounts(context),
    }


def istiod_root(context: Context) -> tuple[str, ...]:
    return ("istiod-ca-cert", "istio-ca-crl") if context.settings.values.global_.pilot_cert_provider == "istiod" else ()


def all_volumes(context: Context) -> list[Object]:
    result = proxy.volumes(context, *VOLUMES, *istiod_root(context))
    if CUSTOM_BOOTSTRAP in context.annotations:
        name = context.annotations[CUSTOM_BOOTSTRAP]
        result.append({"name": "custom-bootstrap-volume", "configMap": {"name": name}})
    if context.settings.values.global_.mount_mtls_certs:
        account = context.spec.get("serviceAccountName") or "default"
        result.append({"name": "istio-certs", "secret": {"optional": True, "secretName": f"istio.{account}"}})
    return result + [{"name": name, **volume} for name, volume in proxy.volume_json(context, "userVolume").items()]


def all_mounts(context: Context) -> list[Object]:
    result: list[Any] = proxy.mounts(*VOLUMES, *istiod_root(context))
    if CUSTOM_BOOTSTRAP in context.annotations:
        result.append({"name": "custom-bootstrap-volume", "mountPath": "/etc/istio/custom-bootstrap"})
    if context.settings.values.global_.mount_mtls_certs:
        result.append({"name": "istio-certs", "mountPath": "/etc/certs/", "readOnly": True})
    return result + [{"name": name, **mount} for name, mount in proxy.volume_json(context, "userVolumeMount").items()]
