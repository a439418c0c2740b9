"""Validating and mutating admission policies: CEL expressions that refuse, warn or change.

Takes policies and bindings from the cache, evaluates them for a write. Audit is not kept.
Source: ValidatingAdmissionPolicy, MutatingAdmissionPolicy (admissionregistration.k8s.io/v1).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from mizzen.cel import CompileError, EvaluationError
from mizzen.cel.evaluate import Lazy

from ..errors import StatusError
from ..patching import typed
from ..patching.jsonpatch import PatchFailed, json_patch
from ..schema.decode import Decoder
from ..selectors import from_object
from .base import Base, Write
from .conditions import conditions_hold, program, variables_of
from .webhooks import OWN_GROUP, matching_version, selects

if TYPE_CHECKING:
    from ..parts import Parts

Object = dict[str, Any]
REASON_CODES = {"Invalid": 422, "Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413}


def _run(text: str, env: dict[str, Any]) -> Any:
    """The value of a policy's variable, when it is first needed."""
    return program(text).run(env)


class NoParams(ValueError):
    """A binding's parameter is not there, and that refuses."""


class Bound(NamedTuple):
    policy: Object
    binding: Object


class Policies(Base):
    """What both kinds share: which policies a write falls under, and with which parameters."""

    policies = ""
    bindings = ""

    def bound(self, write: Write, parts: Parts) -> list[Bound]:
        bindings = parts.registry.get(self.bindings, OWN_GROUP).collection
        if not bindings.items or write.resource.group == OWN_GROUP:
            return []
        policies = parts.registry.get(self.policies, OWN_GROUP).collection
        found = []
        for item in bindings.select(""):
            policy = policies.items.get(item.shared["spec"].get("policyName", ""))
            if policy is None or not _matches(policy.shared["spec"].get("matchConstraints") or {}, write, parts):
                continue
            own = item.shared["spec"].get("matchResources")
            if own is None or _matches(own, write, parts):
                found.append(Bound(policy.shared, item.shared))
        return found

    def params(self, bound: Bound, write: Write, parts: Parts) -> list[Object | None]:
        """The parameters that a binding brings; [None] when the policy takes none. Raises NoParams."""
        kind, reference = bound.policy["spec"].get("paramKind"), bound.binding["spec"].get("paramRef")
        if kind is None or reference is None:
            return [None]
        group, _, version = kind["apiVersion"].rpartition("/")
        resource = parts.registry.by_kind(group, kind["kind"], version)
        if resource is None:
            raise NoParams(
                f"failed to configure binding: failed to find resource referenced by paramKind: '{group}/{version}, Kind={kind['kind']}'"
            )
        namespace = (reference.get("namespace") or write.namespace) if resource.namespaced else ""
        if reference.get("name"):
            item = resource.collection.items.get(resource.key(namespace, reference["name"]))
            found = [item.shared] if item else []
        else:
            selector = from_object(reference.get("selector") or {})
            found = [
                item.shared
                for item in resource.collection.select(namespace)
                if selector is not None and selector.matches(item.labels)
            ]
        if not found and reference.get("parameterNotFoundAction") == "Deny":
            raise NoParams(
                "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
            )
        return list(found)

    def variables(self, policy: Object, write: Write, parts: Parts, params: Object | None) -> dict[str, Any]:
        env = variables_of(write, parts, params)
        made: dict[str, Any] = {}
        for one in policy["spec"].get("variables") or ():
            made[one["name"]] = Lazy(partial(_run, one["expression"], env))
        env["variables"] = Variables(made)
        return env


class Variables:
    """`variables.x` in expressions, computed when first named."""

    def __init__(self, made: dict[str, Any]) -> None:
        self._made = made

    def cel_field(self, name: str) -> Any:
        if name not in self._made:
            raise EvaluationError(f"no such key: {name}")
        return self._made[name]()

    def cel_has(self, name: str) -> bool:
        return name in self._made


def _matches(match: Object, write: Write, parts: Parts) -> bool:
    policy = match.get("matchPolicy", "Equivalent")
    excluded = match.get("excludeResourceRules") or []
    if excluded and matching_version(excluded, policy, write, parts) is not None:
        return False
    rules = match.get("resourceRules") or []
    if rules and (matching_version(rules, policy, write, parts) is None or not _named(rules, write)):
        return False
    return selects(
        from_object(match.get("namespaceSelector") or {}), from_object(match.get("objectSelector") or {}), write, parts
    )


def _named(rules: list[Object], write: Write) -> bool:
    named = [one.get("resourceNames") for one in rules]
    return any(not names or write.name in names for names in named)


class ValidatingPolicies(Policies):
    policies = "validatingadmissionpolicies"
    bindings = "validatingadmissionpolicybindings"

    async def validate(self, write: Write, parts: Parts) -> None:
        denied: list[StatusError] = []
        for bound in self.bound(write, parts):
            spec = bound.policy["spec"]
            if spec.get("matchConditions") and not conditions_hold(
                spec["matchConditions"], write, parts, spec.get("failurePolicy", "Fail")
            ):
                continue
            for text, reason in self._failures(bound, write, parts):
                self._act(bound, text, reason, write, denied)
        if denied:
            raise denied[0]

    def _failures(self, bound: Bound, write: Write, parts: Parts) -> list[tuple[str, str]]:
        spec = bound.policy["spec"]
        try:
            params = self.params(bound, write, parts)
        except NoParams as error:
            return [(str(error), "Invalid")] if spec.get("failurePolicy", "Fail") == "Fail" else []
        found: list[tuple[str, str]] = []
        for one in params:
            env = self.variables(bound.policy, write, parts, one)
            for validation in spec.get("validations") or ():
                text = self._failure(validation, env, spec)
                if text is not None:
                    found.append((text, validation.get("reason") or "Invalid"))
        return found

    def _failure(self, validation: Object, env: dict[str, Any], spec: Object) -> str | None:
        """What an expression has against the write; None when nothing."""
        expression = validation["expression"]
        try:
            if program(expression).run(env) is True:
                return None
        except (EvaluationError, CompileError) as error:
            if spec.get("failurePolicy", "Fail") == "Ignore":
                return None
            return f"expression '{expression}' resulted in error: {error}"
        if validation.get("messageExpression"):
            try:
                made = program(validation["messageExpression"]).run(env)
                if isinstance(made, str) and made.strip() and "\n" not in made:
                    return made
            except (EvaluationError, CompileError):
                pass
        return validation.get("message") or f"failed expression: {expression.strip()}"

    def _act(self, bound: Bound, text: str, reason: str, write: Write, denied: list[StatusError]) -> None:
        policy, binding = bound.policy["metadata"]["name"], bound.binding["metadata"]["name"]
        actions = bound.binding["spec"].get("validationActions") or ()
        if "Warn" in actions:
            write.ask.warn(
                f"Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {text}"
            )
        if "Deny" in actions:
            message = f"ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {text}"
            error = write.refuse(message)
            error.code, error.reason = REASON_CODES[reason], reason
            error.details = {**(error.details or {}), "causes": [{"message": message}]}
            denied.append(error)


class MutatingPolicies(Policies):
    policies = "mutatingadmissionpolicies"
    bindings = "mutatingadmissionpolicybindings"

    async def mutate(self, write: Write, parts: Parts) -> None:
        if write.new is None:
            return
        for bound in self.bound(write, parts):
            spec = bound.policy["spec"]
            if spec.get("matchConditions") and not conditions_hold(
                spec["matchConditions"], write, parts, spec.get("failurePolicy", "Fail")
            ):
                continue
            try:
                for params in self.params(bound, write, parts):
                    self._apply(bound, write, parts, params)
            except (EvaluationError, CompileError, PatchFailed, NoParams) as error:
                if spec.get("failurePolicy", "Fail") == "Ignore":
                    continue
                policy, binding = bound.policy["metadata"]["name"], bound.binding["metadata"]["name"]
                refusal = write.refuse(f"policy '{policy}' with binding '{binding}' denied request: {error}")
                refusal.code, refusal.reason = 422, "Invalid"
                raise refusal from None

    def _apply(self, bound: Bound, write: Write, parts: Parts, params: Object | None) -> None:
        for mutation in bound.policy["spec"].get("mutations") or ():
            env = self.variables(bound.policy, write, parts, params)
            if mutation["patchType"] == "ApplyConfiguration":
                made = program(mutation["applyConfiguration"]["expression"]).run(env)
                result = typed.merge(write.new, made, _shape(write))
            else:
                operations = [
                    {key: value for key, value in one.items() if key != "__struct__"}
                    for one in program(mutation["jsonPatch"]["expression"]).run(env)
                ]
                result = json_patch(msgspec.json.decode(msgspec.json.encode(write.new)), operations)
            write.new = _reread(write, msgspec.json.decode(msgspec.json.encode(result)))


def _shape(write: Write) -> Any:
    from ..ownership import shape_of

    return shape_of(write.resource)


def _reread(write: Write, tree: Object) -> Object:
    """The changed tree in its kind's shape, with defaults."""
    resource = write.resource
    if resource.struct is None:
        return tree
    from ..kinds import strategy_of

    out = Decoder().object(resource.struct, tree)
    strategy_of(resource).default(out)
    return out
