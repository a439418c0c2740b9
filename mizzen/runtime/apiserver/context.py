"""What goes with one request through handlers and admission: who asks, what for, options, warnings.

Not here: the server's parts (server.py's `Parts`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .http1 import Request
from .requestinfo import RequestInfo
from .resources import Resource

Object = dict[str, Any]


class User(NamedTuple):
    """Who asks. `extra` as in TokenReview; `via` is how they were known: token, certificate, anonymous, service account."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def is_master(self) -> bool:
        return "system:masters" in self.groups

    def info(self) -> Object:
        """As authentication.k8s.io/v1 UserInfo."""
        out: Object = {"username": self.name}
        if self.uid:
            out["uid"] = self.uid
        if self.groups:
            out["groups"] = list(self.groups)
        if self.extra:
            out["extra"] = {key: list(values) for key, values in self.extra}
        return out


class Ask:
    """One request being answered."""

    __slots__ = ("dry_run", "info", "options", "request", "resource", "user", "warnings")

    def __init__(self, request: Request, info: RequestInfo, user: User) -> None:
        self.request, self.info, self.user = request, info, user
        self.resource: Resource = None  # type: ignore[assignment]  # set once routed
        self.warnings: list[str] = []
        self.dry_run = False
        self.options: Object = {}

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    @property
    def agent(self) -> str:
        """The field manager's default: the user agent up to its first slash."""
        return self.request.headers.get("user-agent", "unknown").split("/")[0]
