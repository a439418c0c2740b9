"""Subresources and requests that are not stored; `SUBRESOURCES` is the one list, by group, plural and subresource."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import pods, reviews, scale, status

SUBRESOURCES: dict[tuple[str, str, str], Callable[..., Any]] = {
    ("*", "*", "status"): status.status,
    ("*", "*", "scale"): scale.scale,
    ("", "namespaces", "finalize"): status.finalize,
    ("certificates.k8s.io", "certificatesigningrequests", "approval"): status.approval,
    ("", "pods", "ephemeralcontainers"): pods.ephemeral,
    ("", "pods", "resize"): pods.resize,
    ("", "pods", "binding"): pods.bind,
    ("", "bindings", ""): pods.bind,
    ("", "pods", "eviction"): pods.evict,
    ("", "pods", "log"): pods.log,
    ("", "pods", "exec"): pods.connect,
    ("", "pods", "attach"): pods.connect,
    ("", "pods", "portforward"): pods.connect,
    ("", "pods", "proxy"): pods.proxy,
    ("", "services", "proxy"): pods.proxy,
    ("", "nodes", "proxy"): pods.proxy,
    ("", "serviceaccounts", "token"): reviews.token_request,
    ("authentication.k8s.io", "tokenreviews", ""): reviews.token_review,
    ("authentication.k8s.io", "selfsubjectreviews", ""): reviews.self_review,
    ("authorization.k8s.io", "subjectaccessreviews", ""): reviews.access,
    ("authorization.k8s.io", "localsubjectaccessreviews", ""): reviews.access,
    ("authorization.k8s.io", "selfsubjectaccessreviews", ""): reviews.access,
    ("authorization.k8s.io", "selfsubjectrulesreviews", ""): reviews.rules,
}
