"""Templates of users in Go's template language: what such a template sees, and the patch that it gives.

Takes a template's text and the Context of a pod, gives the patch. The data is what Istio's injector hands its templates.
Not here: the language (gotemplate/), plain patches (they are laid over as they are).
"""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from mizzen.api.errors import Invalid
from mizzen.api.kinds import encode
from mizzen.istiod.inject.config import Object
from mizzen.istiod.inject.gotemplate import Map, Struct, TemplateError, render
from mizzen.istiod.inject.gotemplate.functions import FUNCTIONS
from mizzen.istiod.inject.templates.context import Context

PASSTHROUGH, LOCALHOST = "passthrough", "localhost"


def rendered(name: str, text: str, context: Context) -> Object:
    """The patch of a template. Raises Invalid naming it."""
    try:
        patch = yaml.safe_load(render(text, data(context), FUNCTIONS))
    except (TemplateError, yaml.YAMLError) as error:
        raise Invalid(f"templates.{name}", str(error), by="semantic") from error
    if patch is None:
        return {}
    if not isinstance(patch, dict):
        raise Invalid(f"templates.{name}", "a patch of a pod is expected", by="semantic")
    return patch


def data(context: Context) -> Struct:
    """What a template sees."""
    settings, workload = context.settings, context.workload
    given = settings.given or msgspec.to_builtins(settings.values)
    policy = settings.mesh.inbound_traffic_policy
    local = policy is not None and policy.mode == LOCALHOST.upper()
    values: dict[str, Any] = {
        "TypeMeta": Struct(kind=workload.kind, apiVersion=workload.api_version),
        "DeploymentMeta": Struct(name=workload.name, namespace=workload.namespace),
        "ObjectMeta": Struct(context.own_metadata),
        "Spec": Struct(context.spec),
        "ProxyConfig": Struct({"interceptionMode": "REDIRECT", **context.proxy_config}),
        "MeshConfig": Struct(encode(settings.mesh)),
        "Values": Map(given),
        "Revision": settings.revision or "default",
        "NativeSidecars": context.native,
        "ProxyImage": context.image(settings.values.global_.proxy.image),
        "ProxyInitImage": context.image(settings.values.global_.proxy_init.image),
        "ProxyUID": int(context.uid),
        "ProxyGID": int(context.gid),
        "InboundTrafficPolicyMode": LOCALHOST if local else PASSTHROUGH,
        "CompliancePolicy": "",
    }
    return Struct(values)
