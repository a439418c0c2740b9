"""What a template reads: one pod, its workload, and the settings; with the small questions that templates ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mizzen.istiod.inject.config import Object, Settings
from mizzen.istiod.inject.names import INTERCEPTION_MODE, NATIVE_SIDECAR, PROXY, PROXY_IMAGE, PROXY_IMAGE_TYPE, TRAFFIC
from mizzen.istiod.inject.workload import Workload

IMAGE_TYPES = ("distroless", "debug")


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """own_metadata, labels, annotations, spec: the pod's, without what an earlier injection put there. proxy_config: JSON."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Object
    workload: Workload
    proxy_config: Mapping[str, Any]
    settings: Settings
    native: bool
    uid: str = "1337"
    gid: str = "1337"
    own_metadata: Mapping[str, Any] = {}

    def annotation(self, name: str, default: Any = "") -> Any:
        """An annotation's text, even an empty one; else the default."""
        return self.annotations.get(name, default)

    def switched_on(self, name: str, default: bool | str) -> bool:
        """Whether an annotation, or the value in its place, is the word true."""
        return str(self.annotation(name, "true" if default in (True, "true") else "")) == "true"

    @property
    def metadata(self) -> Mapping[str, str]:
        """ProxyConfig.proxyMetadata."""
        return self.proxy_config.get("proxyMetadata") or {}

    @property
    def config_mode(self) -> str:
        """The proxy configuration's interception mode."""
        return str(self.proxy_config.get("interceptionMode", "REDIRECT"))

    @property
    def mode(self) -> str:
        return str(self.annotation(INTERCEPTION_MODE, self.config_mode))

    @property
    def application_containers(self) -> list[str]:
        return [container["name"] for container in self.spec.get("containers") or () if container["name"] != PROXY]

    @property
    def application_ports(self) -> list[Object]:
        return [port for container in self.spec.get("containers") or () for port in container.get("ports") or ()]

    def image(self, image: str) -> str:
        """The image of a container of ours; an annotation or value with a slash is taken as it is."""
        wanted = str(self.annotation(PROXY_IMAGE, image))
        if "/" in wanted:
            return wanted
        values = self.settings.values.global_
        if "/" in image:
            return image
        name, tag, kind = image or "proxyv2", str(values.tag), self.image_type
        for known in IMAGE_TYPES:
            tag = tag.removesuffix(f"-{known}") if kind else tag
        return (
            f"{values.hub}/{name}"
            + (f":{tag}" if tag else "")
            + (f"-{kind}" if tag and kind not in ("", "default") else "")
        )

    @property
    def image_type(self) -> str:
        configured = (self.proxy_config.get("image") or {}).get("imageType", "")
        return str(self.annotation(PROXY_IMAGE_TYPE, "") or configured or self.settings.values.global_.variant)

    def excluded_inbound_ports(self) -> str:
        """The ports left alone besides 15090 and 15021: those asked for, and the agent's own."""
        values = self.settings.values.global_.proxy
        asked = str(self.annotation(f"{TRAFFIC}excludeInboundPorts", values.exclude_inbound_ports))
        port = str(self.annotation("status.sidecar.istio.io/port", values.status_port)).strip()
        listed = [entry.strip() for entry in asked.split(",") if entry.strip()]
        if port in ("", "0") or port in listed:
            return ",".join(listed)
        return ",".join([*listed, port])


def native_wanted(annotations: Mapping[str, str], nodes_can: bool) -> bool:
    """Whether the proxy is a native sidecar: any word but false asks for it."""
    return annotations.get(NATIVE_SIDECAR, "true" if nodes_can else "false") != "false"


def env(name: str, value: str) -> Object:
    return {"name": name, "value": value}


def field_env(name: str, path: str) -> Object:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def resource_env(name: str, resource: str) -> Object:
    return {"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": "0"}}}
