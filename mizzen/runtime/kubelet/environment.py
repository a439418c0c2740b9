"""A container's environment: Services' variables, envFrom, env, with references resolved in order.

Pure: the objects that are referred to are handed in. Raises `Missing` for a reference that is not there and not optional.
Source: Kubernetes' container environment rules.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any

from mizzen.kube.resource import Object
from mizzen.runtime.kubelet.expand import expand
from mizzen.runtime.kubelet.fields import Facts, field, resource

Lookup = Callable[[str, str], Object | None]
"""(kind `ConfigMap` or `Secret`, name) -> the object in the pod's namespace, or None."""


class Missing(Exception):
    """An object or key that a container needs is not there (CreateContainerConfigError)."""


def secret_text(value: str) -> str:
    """A Secret's value as text."""
    return base64.b64decode(value).decode("utf-8", "replace")


def service_variables(services: Iterable[Object], namespace: str, links: bool) -> dict[str, str]:
    """Docker-links variables of the namespace's Services, and always those of default/kubernetes."""
    found: dict[str, str] = {}
    for service in services:
        meta, spec = service["metadata"], service["spec"]
        address = spec.get("clusterIP")
        main = meta["name"] == "kubernetes" and meta.get("namespace") == "default"
        if address in (None, "", "None") or not (main or (links and meta.get("namespace") == namespace)):
            continue
        if main and namespace != "default" and "KUBERNETES_SERVICE_HOST" in found:
            continue
        name = meta["name"].upper().replace("-", "_")
        ports = spec.get("ports") or []
        found[f"{name}_SERVICE_HOST"] = address
        for index, item in enumerate(ports):
            number, protocol = item["port"], item.get("protocol", "TCP")
            url = f"{protocol.lower()}://{address}:{number}"
            if index == 0:
                found[f"{name}_SERVICE_PORT"] = str(number)
                found[f"{name}_PORT"] = url
            if item.get("name"):
                found[f"{name}_SERVICE_PORT_{item['name'].upper().replace('-', '_')}"] = str(number)
            prefix = f"{name}_PORT_{number}_{protocol}"
            found[prefix] = url
            found |= {f"{prefix}_PROTO": protocol.lower(), f"{prefix}_PORT": str(number), f"{prefix}_ADDR": address}
    return found


def _from_source(source: dict[str, Any], lookup: Lookup) -> dict[str, str]:
    for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        reference = source.get(key)
        if reference is None:
            continue
        found = lookup(kind, reference["name"])
        if found is None:
            if reference.get("optional"):
                return {}
            raise Missing(f'{kind.lower()} "{reference["name"]}" not found')
        data = found.get("data") or {}
        prefix = source.get("prefix", "")
        return {prefix + name: secret_text(value) if kind == "Secret" else value for name, value in data.items()}
    return {}


def _key_value(kind: str, reference: dict[str, Any], lookup: Lookup) -> str | None:
    found = lookup(kind, reference["name"])
    value = (found.get("data") or {}).get(reference["key"]) if found is not None else None
    if value is not None:
        return secret_text(value) if kind == "Secret" else str(value)
    if reference.get("optional"):
        return None
    if found is None:
        raise Missing(f'{kind.lower()} "{reference["name"]}" not found')
    namespace = found["metadata"].get("namespace")
    raise Missing(f"couldn't find key {reference['key']} in {kind} {namespace}/{reference['name']}")


def environment(
    pod: Object, container: dict[str, Any], facts: Facts, lookup: Lookup, services: Iterable[Object] = ()
) -> dict[str, str]:
    """The variables in their order. Raises Missing, UnknownField."""
    links = pod["spec"].get("enableServiceLinks")
    found = service_variables(services, pod["metadata"].get("namespace", ""), links is None or bool(links))
    for source in container.get("envFrom") or ():
        found.update(_from_source(source, lookup))
    own: dict[str, str] = {}
    for item in container.get("env") or ():
        value: str | None
        source = item.get("valueFrom") or {}
        if "fieldRef" in source:
            value = field(pod, source["fieldRef"]["fieldPath"], facts)
        elif "resourceFieldRef" in source:
            value = resource(pod, source["resourceFieldRef"], container, facts)
        elif "configMapKeyRef" in source:
            value = _key_value("ConfigMap", source["configMapKeyRef"], lookup)
        elif "secretKeyRef" in source:
            value = _key_value("Secret", source["secretKeyRef"], lookup)
        else:
            value = expand(item.get("value") or "", {**found, **own})
        if value is not None:
            own[item["name"]] = value
    found.update(own)
    return found


def references(pod: Object) -> set[tuple[str, str]]:
    """(kind, name) of every ConfigMap and Secret that the containers' environments name."""
    found: set[tuple[str, str]] = set()
    spec = pod["spec"]
    more = (*(spec.get("initContainers") or ()), *(spec.get("ephemeralContainers") or ()))
    for container in [*more, *spec["containers"]]:
        for source in container.get("envFrom") or ():
            found |= {("ConfigMap", r["name"]) for r in [source.get("configMapRef")] if r}
            found |= {("Secret", r["name"]) for r in [source.get("secretRef")] if r}
        for item in container.get("env") or ():
            source = item.get("valueFrom") or {}
            found |= {("ConfigMap", r["name"]) for r in [source.get("configMapKeyRef")] if r}
            found |= {("Secret", r["name"]) for r in [source.get("secretKeyRef")] if r}
    return found
