"""AdmissionReview in, AdmissionReview out: the injection webhook without its server.

Source: admission.k8s.io v1 and v1beta1; paths as istiod's `/inject`, `/inject/<key>/<value>/…` and
`/inject/:ENV:<key>=<value>:ENV:…`. Not here: HTTPS, the objects' informers.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from mizzen.api.errors import Invalid, MizzenError
from mizzen.istiod.inject.config import Object, Settings
from mizzen.istiod.inject.decision import injection_required
from mizzen.istiod.inject.inject import inject_pod
from mizzen.istiod.inject.jsonpatch import difference
from mizzen.istiod.inject.workload import workload_of_pod

log = logging.getLogger("mizzen.istiod.inject")

KNOWN_KEYS = {"cluster": "ISTIO_META_CLUSTER_ID", "net": "ISTIO_META_NETWORK"}
VERSIONS = ("admission.k8s.io/v1", "admission.k8s.io/v1beta1")


class BadRequest(MizzenError):
    """A request that is no AdmissionReview. `status`: the HTTP status to answer with."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


def admit_json(
    body: bytes,
    settings: Settings,
    path: str = "/inject",
    content_type: str = "application/json",
    namespace_annotations: Mapping[str, str] | None = None,
) -> bytes:
    """One HTTP request's body to the answer's. Raises BadRequest."""
    if not body:
        raise BadRequest("no body found")
    if content_type.partition(";")[0].strip() != "application/json":
        raise BadRequest("invalid Content-Type, expect `application/json`", 415)
    try:
        review = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    return msgspec.json.encode(admit(review, settings, path, namespace_annotations))


def admit(
    review: Any, settings: Settings, path: str = "/inject", namespace_annotations: Mapping[str, str] | None = None
) -> Object:
    """An AdmissionReview with its response. Refusals are answers: allowed false, with the reason. Raises BadRequest."""
    request = review.get("request") if isinstance(review, dict) else None
    if not isinstance(request, dict) or review.get("apiVersion", VERSIONS[0]) not in VERSIONS:
        raise BadRequest("an AdmissionReview of admission.k8s.io/v1 or v1beta1 with a request is expected")
    response: Object = {"uid": request.get("uid", ""), "allowed": True}
    try:
        operations = patch_of(request, with_path(settings, path), namespace_annotations)
    except MizzenError as error:
        log.warning("pod of namespace %s refused: %s", request.get("namespace", ""), error)
        response |= {"allowed": False, "status": {"status": "Failure", "message": str(error), "code": 400}}
    else:
        if operations:
            response |= {
                "patch": base64.b64encode(msgspec.json.encode(operations)).decode(),
                "patchType": "JSONPatch",
            }
    version = review.get("apiVersion", VERSIONS[0])
    return {"apiVersion": version, "kind": "AdmissionReview", "response": response}


def patch_of(
    request: Object, settings: Settings, namespace_annotations: Mapping[str, str] | None = None
) -> list[Object]:
    """The JSONPatch of a request for a pod; empty when it is not to be injected."""
    pod = request.get("object")
    if not isinstance(pod, dict) or not isinstance(pod.get("spec"), dict):
        raise Invalid("request.object", "a Pod is expected")
    metadata = dict(pod.get("metadata") or {})
    namespace = metadata.get("namespace") or request.get("namespace", "")
    if not injection_required(settings.config, metadata | {"namespace": namespace}, pod["spec"]):
        return []
    injected = inject_pod(pod, workload_of_pod(metadata, namespace), settings, namespace_annotations)
    return list(difference(pod, injected))


def with_path(settings: Settings, path: str) -> Settings:
    """Settings with what the path says about the proxy's environment."""
    variables = path_variables(path)
    if not variables:
        return settings
    return msgspec.structs.replace(settings, proxy_envs={**settings.proxy_envs, **variables})


def path_variables(path: str) -> dict[str, str]:
    """`/inject/cluster/c1/net/n1` or `/inject/:ENV:cluster=c1:ENV:net=n1` → variables; `--slash--` is a slash."""
    rest = unquote(path.partition("?")[0]).removeprefix("/inject").strip("/")
    if not rest:
        return {}
    if rest.startswith(":ENV:"):
        pairs = [tuple(part.partition("=")[::2]) for part in rest.split(":ENV:") if part]
    else:
        words = rest.split("/")
        pairs = list(zip(words[::2], words[1::2], strict=False))
    return {KNOWN_KEYS.get(key, key.upper()): value.replace("--slash--", "/") for key, value in pairs if key and value}
