"""What a request is about: verb, group, version, resource, namespace, name, subresource; read from method and path alone.

Source: apiserver's RequestInfoFactory.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qs, unquote

VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
NAMESPACE_SUBS = ("status", "finalize")


class RequestInfo(NamedTuple):
    """`resource` "" is a non-resource request (`path` says which); `rest` are path parts below the subresource."""

    method: str
    path: str
    query: dict[str, list[str]]
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: tuple[str, ...] = ()

    def first(self, key: str, default: str = "") -> str:
        found = self.query.get(key)
        return found[0] if found else default


def parse(method: str, target: str) -> RequestInfo:
    path, _, raw = target.partition("?")
    query = parse_qs(raw, keep_blank_values=True) if raw else {}
    verb = VERBS.get(method, method.lower())
    parts = path.split("/")[1:]
    if parts and not parts[-1]:
        parts.pop()
    if "%" in path:
        parts = [unquote(part) for part in parts]
    if len(parts) >= 3 and parts[0] == "api":
        group, version, parts = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        return RequestInfo(method, path, query, method.lower() if method != "HEAD" else "head")
    if parts[0] in ("watch", "proxy") and len(parts) > 1:
        verb = parts[0] if parts[0] == "proxy" else "watch"
        parts = parts[1:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in NAMESPACE_SUBS:
            parts = parts[2:]
    resource, name, subresource = parts[0], parts[1] if len(parts) > 1 else "", parts[2] if len(parts) > 2 else ""
    info = RequestInfo(
        method, path, query, verb, group, version, resource, namespace, name, subresource, tuple(parts[3:])
    )
    return info._replace(verb=_verb(info)) if info.verb in ("get", "delete") else info


def _verb(info: RequestInfo) -> str:
    if info.verb == "delete":
        return info.verb if info.name else "deletecollection"
    if info.name:
        return "get"  # one object is not watched: ?watch counts for collections only
    return "watch" if "watch" in info.query and truth(info.first("watch")) else "list"


def truth(text: str) -> bool:
    """A boolean of a query, as the conversion of options reads it: anything but "", "0" and "false" is true."""
    return text.lower() not in ("false", "0")
