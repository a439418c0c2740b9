"""Rows of networking.k8s.io and discovery.k8s.io."""

from __future__ import annotations

from typing import Any

from .text import NONE, UNSET, age_text, capped, selector_text, spec_of, status_of

Object = dict[str, Any]


def ingress(tree: Object) -> list[Any]:
    spec = spec_of(tree)
    hosts = list(dict.fromkeys(one["host"] for one in spec.get("rules") or () if one.get("host")))
    name = (
        spec.get("ingressClassName")
        or (tree["metadata"].get("annotations") or {}).get("kubernetes.io/ingress.class")
        or NONE
    )
    given = (status_of(tree).get("loadBalancer") or {}).get("ingress") or ()
    address = ",".join(one.get("ip") or one.get("hostname") or "" for one in given)
    text = capped(hosts) if hosts else "*"
    return [name, text, address, "80, 443" if spec.get("tls") else "80", age_text(tree)]


def ingress_class(tree: Object) -> list[Any]:
    parameters = spec_of(tree).get("parameters")
    text = NONE
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        text = f"{parameters['kind']}{group}/{parameters['name']}"
    return [spec_of(tree).get("controller", ""), text, age_text(tree)]


def network_policy(tree: Object) -> list[Any]:
    return [selector_text(spec_of(tree).get("podSelector") or {}), age_text(tree)]


def service_cidr(tree: Object) -> list[Any]:
    return [",".join(spec_of(tree).get("cidrs") or ()), age_text(tree)]


def ip_address(tree: Object) -> list[Any]:
    parent = spec_of(tree).get("parentRef") or {}
    parts = [
        one for one in (parent.get("resource"), parent.get("group"), parent.get("namespace"), parent.get("name")) if one
    ]
    return [f"{parent.get('resource', '')}/{'/'.join(parts[1:])}", age_text(tree)]


def endpoint_slice(tree: Object) -> list[Any]:
    ports = []
    for port in tree.get("ports") or ():
        number = port.get("port")
        ports.append(str(number) if number is not None else port.get("name") or "*")
    addresses = [one for endpoint in tree.get("endpoints") or () for one in endpoint.get("addresses") or ()]
    return [
        tree.get("addressType", ""),
        capped(ports) if ports else UNSET,
        capped(addresses) if addresses else UNSET,
        age_text(tree),
    ]
