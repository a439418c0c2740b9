"""Variables of CEL in admission (object, oldObject, request, authorizer …), and match conditions of webhooks and policies.

Source: Kubernetes' CEL environments for admission.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mizzen.cel import CompileError, EvaluationError, Program, compile_expression
from mizzen.cel.evaluate import Lazy

from ..context import User
from .base import Write

if TYPE_CHECKING:
    from ..parts import Parts

Object = dict[str, Any]
VARIABLES = ("object", "oldObject", "request", "authorizer", "params", "namespaceObject", "variables")


@lru_cache(maxsize=2048)
def program(text: str, variables: tuple[str, ...] = VARIABLES) -> Program:
    """Raises CompileError."""
    return compile_expression(text, variables)


class Authorizer:
    """`authorizer` in expressions: asks RBAC about the request's user."""

    def __init__(self, parts: Parts, user: User, about: Object | None = None, write: Write | None = None) -> None:
        self._parts, self._user, self._about, self._write = parts, user, about or {}, write

    def _with(self, **more: Any) -> Authorizer:
        return Authorizer(self._parts, self._user, {**self._about, **more}, self._write)

    def cel_field(self, name: str) -> Any:
        if name == "requestResource" and self._write is not None:
            write = self._write
            return self._with(
                group=write.resource.group,
                resource=write.resource.plural,
                subresource=write.subresource,
                namespace=write.namespace,
                name=write.name,
            )
        raise EvaluationError(f"no such key: {name}")

    def cel_call(self, name: str, *args: Any) -> Any:
        if name in ("group", "resource", "subresource", "namespace", "name", "path"):
            return self._with(**{name: args[0]})
        if name == "serviceAccount":
            from ..auth.authn import account_user

            return Authorizer(self._parts, account_user(args[0], args[1]), self._about, self._write)
        if name in ("fieldSelector", "labelSelector"):
            return self
        if name == "check":
            return Decision(self._check(args[0]))
        raise EvaluationError("no such overload")

    def _check(self, verb: str) -> tuple[bool, str]:
        about, rbac = self._about, self._parts.rbac
        if "path" in about:
            return rbac.explain_path(self._user, verb, about["path"])
        full = (
            f"{about.get('resource', '')}/{about['subresource']}"
            if about.get("subresource")
            else about.get("resource", "")
        )
        return rbac.explain(
            self._user, verb, about.get("group", ""), full, about.get("namespace", ""), about.get("name", "")
        )


class Decision:
    def __init__(self, verdict: tuple[bool, str]) -> None:
        self._verdict = verdict

    def cel_call(self, name: str, *args: Any) -> Any:
        return {"allowed": self._verdict[0], "reason": self._verdict[1], "errored": False, "error": ""}[name]


def variables_of(write: Write, parts: Parts, params: Object | None = None) -> dict[str, Any]:
    """What expressions about a write may name; but `variables`, which policies add."""

    def namespace() -> Any:
        item = parts.item("namespaces", "", write.namespace) if write.resource.namespaced else None
        return item.shared if item else None

    def request() -> Any:
        from .webhooks import review

        made = review(write, parts)["request"]
        return {key: value for key, value in made.items() if key not in ("object", "oldObject")}

    return {
        "object": write.new, "oldObject": write.old, "request": Lazy(request), "params": params, "namespaceObject": Lazy(namespace),
        "authorizer": Authorizer(parts, write.ask.user, None, write), "variables": {},
    }  # fmt: skip


def conditions_hold(conditions: list[Object], write: Write, parts: Parts, failure_policy: str) -> bool:
    """Whether all match conditions hold. An error refuses the write, or counts as "does not match" when failures are ignored."""
    variables = variables_of(write, parts)
    failed = ""
    for one in conditions:
        try:
            if program(one["expression"]).run(variables) is not True:
                return False
        except (EvaluationError, CompileError) as error:
            failed = failed or f"expression '{one['expression']}' resulted in error: {error}"
    if failed and failure_policy != "Ignore":
        raise write.refuse(failed)
    return not failed
