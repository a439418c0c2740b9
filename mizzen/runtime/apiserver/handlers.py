"""From a request to its answer: who, what, may they, and which function answers.

Takes http1 Requests, gives Responses. Order as kube-apiserver's filters: authentication, impersonation, authorization, routing.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import msgspec

from . import reading, watching, writing
from .accept import YAML, negotiate
from .auth.authn import impersonated
from .context import Ask, User
from .deleting import delete, delete_collection
from .discovery import Discovery
from .errors import StatusError, bad_request, forbidden, no_such_method, no_such_path, not_found
from .http1 import Request, Response
from .parts import Parts
from .patching.handler import patch
from .reading import warning_headers
from .requestinfo import RequestInfo, parse
from .resources import Resource
from .selectors import parse_fields
from .subresources import SUBRESOURCES
from .yamlout import to_yaml

encode = msgspec.json.encode
Answer = Response | Awaitable[Response | None] | None


class Handlers:
    def __init__(self, parts: Parts, extra: dict[str, Any]) -> None:
        self._parts = parts
        self._discovery = Discovery(parts.registry)
        self._paths = extra  # exact paths that are not resources: /version, /openapi/v2 …

    def __call__(self, request: Request) -> Answer:
        """Answers one request; synchronous where nothing has to be waited for."""
        try:
            answer = self._answer(request)
        except StatusError as error:
            return failure(request, error)  # request.context is the Ask, once there is one
        if answer is None or isinstance(answer, Response):
            return answer
        return self._waited(request, answer)

    async def _waited(self, request: Request, answer: Awaitable[Response | None]) -> Response | None:
        try:
            return await answer
        except StatusError as error:
            return failure(request, error)
        except OSError as error:
            return failure(request, StatusError(500, f"Internal error occurred: {error}"))

    def _answer(self, request: Request) -> Answer:
        parts = self._parts
        info = parse(request.method, request.target)
        user = parts.authenticator.user(request)
        if "impersonate-user" in request.headers or any(key.startswith("impersonate-") for key in request.headers):
            user = impersonated(request, user, parts.rbac.allowed_named)
        ask = request.context = Ask(request, info, user)
        if not user.is_master:
            self._authorize(user, info)
        if not info.resource:
            return self._path(ask)
        resource = parts.registry.find(info.group, info.version, info.resource)
        if resource is None:
            raise (
                no_such_path()
                if info.version in parts.registry.groups.get(info.group, ()) or not info.group
                else _plain_missing(info, parts)
            )
        ask.resource = resource
        return self._resource(ask, resource)

    # authorization

    def _authorize(self, user: User, info: RequestInfo) -> None:
        rbac = self._parts.rbac
        if not info.resource:
            if not rbac.allowed_path(user, info.verb, info.path):
                raise StatusError(
                    403, f'forbidden: User "{user.name}" cannot {info.verb} path "{info.path}"', details={}
                )
            return
        name = info.name or _selected_name(info)
        if not rbac.allowed(user, info.verb, info.group, info.resource, info.namespace, name, info.subresource):
            raise refusal(user, info.verb, info.group, info.resource, info.subresource, info.namespace, name)

    # what is not a resource

    def _path(self, ask: Ask) -> Answer:
        info = ask.info
        found = self._paths.get(info.path.rstrip("/") or "/")
        if found is not None:
            if info.method not in ("GET", "HEAD"):
                raise no_such_method()
            answer: Answer = found(ask)
            return answer
        parts = [part for part in info.path.split("/") if part]
        for prefix, handler in self._paths.items():
            if prefix.endswith("/*") and info.path.startswith(prefix[:-1]):
                special: Answer = handler(ask)
                return special
        if parts and (parts[0] == "api" or parts[0] == "apis"):
            return self._discover(ask, parts)
        raise StatusError(404, "404 page not found", "plain")

    def _discover(self, ask: Ask, parts: list[str]) -> Response:
        accept = ask.request.headers.get("accept", "")
        if "apidiscovery" not in accept:
            negotiate(accept, False)
        answer = self._discovery.answer(parts, accept)
        if answer.status == 200 and ask.info.method not in ("GET", "HEAD"):
            raise no_such_method()
        if (
            answer.status == 200
            and answer.content_type == "application/json"
            and negotiate(accept, False).media == YAML
            and "apidiscovery" not in accept
        ):
            return Response(200, to_yaml(msgspec.json.decode(answer.body)), YAML, answer.headers)
        return answer

    # resources

    def _resource(self, ask: Ask, resource: Resource) -> Answer:
        info, parts = ask.info, self._parts
        if info.subresource:
            return self._subresource(ask, resource)
        if resource.deprecation:
            ask.warn(resource.deprecation)
        if resource.namespaced and not info.namespace and (info.name or info.verb in ("create", "deletecollection")):
            raise no_such_path() if info.name else no_such_method()
        if not resource.namespaced and info.namespace and info.resource != "namespaces":
            raise no_such_path()
        verb = info.verb
        if verb not in resource.verbs:
            if verb in ("deletecollection", "delete", "create", "update", "patch", "list", "get", "watch"):
                raise no_such_method()
            raise no_such_method()
        if bool(info.name) != (verb in ("get", "update", "patch", "delete")) and verb != "watch":
            raise no_such_method()
        if verb == "get":
            return reading.get(ask)
        if verb == "list":
            return reading.list_(ask, parts.cache)
        if verb == "watch":
            return watching.watch(ask, parts.cache, parts.stopping)
        if verb == "create":
            special = SUBRESOURCES.get((resource.group, resource.plural, ""))
            return special(ask, parts) if special else writing.create(ask, parts)
        if verb == "update":
            return writing.update(ask, parts)
        if verb == "patch":
            return patch(ask, parts)
        if verb == "delete":
            return delete(ask, parts)
        return delete_collection(ask, parts)

    def _subresource(self, ask: Ask, resource: Resource) -> Answer:
        info = ask.info
        sub = resource.subs.get(info.subresource)
        if sub is None and resource.custom is not None and info.subresource in ("status", "scale"):
            if resource.deprecation:
                ask.warn(resource.deprecation)
            raise not_found(resource.group, resource.plural, info.name)
        if sub is None or (info.rest and info.subresource != "proxy"):
            raise no_such_path()
        verb = {"list": "get", "watch": "get", "deletecollection": "delete"}.get(info.verb, info.verb)
        if verb not in sub.verbs:
            raise no_such_method()
        special = SUBRESOURCES.get((resource.group, resource.plural, info.subresource)) or SUBRESOURCES.get(
            ("*", "*", info.subresource)
        )
        if special is None:
            raise no_such_path()
        answer: Answer = special(ask, self._parts)
        return answer


def _plain_missing(info: RequestInfo, parts: Parts) -> StatusError:
    if info.group in parts.registry.groups:
        return no_such_path()
    return StatusError(404, "404 page not found", "plain")


def refusal(
    user: User, verb: str, group: str, resource: str, subresource: str, namespace: str, name: str
) -> StatusError:
    full = f"{resource}/{subresource}" if subresource else resource
    scope = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    text = f'User "{user.name}" cannot {verb} resource "{full}" in API group "{group}" {scope}'
    return forbidden(group, resource, name, text)


def failure(request: Request, error: StatusError) -> Response:
    """A refusal as an answer."""
    if error.reason == "plain":
        return Response(error.code, f"{error.message}\n".encode(), "text/plain; charset=utf-8")
    media = "application/json"
    with suppress(StatusError):
        media = negotiate(request.headers.get("accept", "")).media
    body, headers = error.body(), error.headers
    if request.context is not None and request.context.warnings:
        headers = (*headers, *warning_headers(request.context.warnings))
    if media == YAML:
        return Response(error.code, to_yaml(body), YAML, headers)
    return Response(error.code, encode(body), "application/json", headers)


__all__ = ["Handlers", "bad_request", "failure", "refusal"]


def _selected_name(info: RequestInfo) -> str:
    """The one name that the field selector of a list, watch or deletecollection leaves: such a request may be allowed by name."""
    text = info.first("fieldSelector") if info.verb in ("list", "watch", "deletecollection") else ""
    if not text:
        return ""
    try:
        terms = parse_fields(text)
    except StatusError:
        return ""  # refused later, where it is used
    names = {term.value for term in terms if term.field == "metadata.name" and term.equal}
    return names.pop() if len(names) == 1 else ""
