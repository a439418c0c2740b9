"""Paths that are not resources: health, version, OpenAPI, keys of service account tokens, metrics.

Gives the table of paths; a path that ends in "/*" takes everything below it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import msgspec

from .context import Ask
from .http1 import Response
from .parts import Parts

Answerer = Callable[[Ask], Response]
VERSION = {
    "major": "1", "minor": "37", "emulationMajor": "1", "emulationMinor": "37", "minCompatibilityMajor": "1", "minCompatibilityMinor": "36",
    "gitVersion": "v1.37.2+mizzen", "gitCommit": "", "gitTreeState": "clean", "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": f"python{sys.version_info.major}.{sys.version_info.minor}", "compiler": sys.implementation.name,
    "platform": f"{sys.platform}/amd64",
}  # fmt: skip


def _json(tree: Any) -> Answerer:
    body = msgspec.json.encode(tree)
    return lambda ask: Response(200, body)


def _text(text: str) -> Answerer:
    return lambda ask: Response(200, text.encode(), "text/plain; charset=utf-8")


def _health(ask: Ask) -> Response:
    name = ask.info.path.strip("/").split("/")[0]
    if "verbose" in ask.info.query:
        return Response(200, f"[+]ping ok\n[+]store ok\n{name} check passed\n".encode(), "text/plain; charset=utf-8")
    return Response(200, b"ok", "text/plain; charset=utf-8")


def extra_paths(parts: Parts) -> dict[str, Answerer]:
    from .openapi.documents import Documents

    documents = Documents(parts.registry)
    issuer = {
        "issuer": "https://kubernetes.default.svc", "jwks_uri": "https://kubernetes.default.svc/openid/v1/jwks",
        "response_types_supported": ["id_token"], "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
    }  # fmt: skip
    found: dict[str, Answerer] = {
        "/version": _json(VERSION),
        "/openapi/v2": documents.v2,
        "/openapi/v3": documents.v3_index,
        "/openapi/v3/*": documents.v3,
        "/.well-known/openid-configuration": _json(issuer),
        "/openid/v1/jwks": _json(parts.signer.jwks()),
    }
    for name in ("healthz", "livez", "readyz"):
        found[f"/{name}"] = _health
        for check in ("ping", "log", "etcd"):
            found[f"/{name}/{check}"] = _text("ok")
    found["/"] = lambda ask: Response(200, msgspec.json.encode({"paths": _listed(parts, found)}))
    return found


def _listed(parts: Parts, found: dict[str, Answerer]) -> list[str]:
    groups = []
    for group, versions in parts.registry.groups.items():
        root = f"/apis/{group}" if group else "/api"
        groups += [root, *(f"{root}/{version}" for version in versions)]
    return sorted({*groups, "/api", "/apis", *(path for path in found if "*" not in path and path != "/")})
