"""Webhook configurations and admission policies: defaults and refusals. What they do is admission/webhooks.py's and policies.py's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mizzen.cel import CompileError, compile_expression

from ..errors import Problem, duplicate, forbidden_field, invalid, required, unsupported
from ..names import qualified_name, subdomain
from .base import Object, Strategy, WithStatus
from .labelrules import validate_selector

if TYPE_CHECKING:
    from ..context import Ask

OPERATIONS = ("CREATE", "UPDATE", "DELETE", "CONNECT")
_IDENTIFIER = re.compile(r"^[_a-zA-Z][_a-zA-Z0-9]*\Z")
VARIABLES = ("object", "oldObject", "request", "authorizer", "namespaceObject")


class Webhooks(Strategy):
    generations = True
    mutating = False

    def default(self, obj: Object) -> None:
        for hook in obj.get("webhooks") or ():
            for key, value in (("failurePolicy", "Fail"), ("matchPolicy", "Equivalent"), ("timeoutSeconds", 10)):
                if hook.get(key) is None:
                    hook[key] = value
            for key in ("namespaceSelector", "objectSelector"):
                if hook.get(key) is None:
                    hook[key] = {}
            if self.mutating and hook.get("reinvocationPolicy") is None:
                hook["reinvocationPolicy"] = "Never"
            service = (hook.get("clientConfig") or {}).get("service")
            if service is not None and service.get("port") is None:
                service["port"] = 443
            for rule in hook.get("rules") or ():
                if rule.get("scope") is None:
                    rule["scope"] = "*"

    def changed(self, new: Object, old: Object) -> bool:
        return bool(new.get("webhooks") != old.get("webhooks"))

    def validate(self, obj: Object) -> list[Problem]:
        problems: list[Problem] = []
        names: set[str] = set()
        for place, hook in enumerate(obj.get("webhooks") or ()):
            path = f"webhooks[{place}]"
            problems += self._hook(hook, path)
            if hook.get("name") in names:
                problems.append(duplicate(f"{path}.name", hook.get("name")))
            names.add(hook.get("name", ""))
        return problems

    def _hook(self, hook: Object, path: str) -> list[Problem]:
        problems = three_segments(hook.get("name", ""), f"{path}.name")
        versions = hook.get("admissionReviewVersions") or []
        if not versions:
            problems.append(required(f"{path}.admissionReviewVersions", "must specify one of v1, v1beta1"))
        elif not {"v1", "v1beta1"} & set(versions):
            problems.append(
                invalid(f"{path}.admissionReviewVersions", versions, "must include at least one of v1, v1beta1")
            )
        for place, rule in enumerate(hook.get("rules") or ()):
            problems += rule_problems(rule, f"{path}.rules[{place}]")
        if hook.get("failurePolicy") not in ("Fail", "Ignore"):
            problems.append(unsupported(f"{path}.failurePolicy", hook.get("failurePolicy"), ["Fail", "Ignore"]))
        if hook.get("matchPolicy") not in ("Equivalent", "Exact"):
            problems.append(unsupported(f"{path}.matchPolicy", hook.get("matchPolicy"), ["Equivalent", "Exact"]))
        effects = hook.get("sideEffects")
        if effects is None:
            problems.append(required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun"))
        elif effects not in ("None", "NoneOnDryRun"):
            problems.append(unsupported(f"{path}.sideEffects", effects, ["None", "NoneOnDryRun"]))
        if not 1 <= hook.get("timeoutSeconds", 10) <= 30:
            problems.append(
                invalid(
                    f"{path}.timeoutSeconds",
                    hook["timeoutSeconds"],
                    "the timeout value must be between 1 and 30 seconds",
                )
            )
        if self.mutating and hook.get("reinvocationPolicy") not in ("Never", "IfNeeded"):
            problems.append(
                unsupported(f"{path}.reinvocationPolicy", hook.get("reinvocationPolicy"), ["IfNeeded", "Never"])
            )
        for key in ("namespaceSelector", "objectSelector"):
            problems += validate_selector(hook.get(key), f"{path}.{key}")
        problems += client_config(hook.get("clientConfig") or {}, f"{path}.clientConfig")
        return problems + conditions(hook.get("matchConditions") or [], f"{path}.matchConditions", VARIABLES)


class MutatingWebhooks(Webhooks):
    mutating = True


def three_segments(name: str, path: str) -> list[Problem]:
    if not name:
        return [required(path)]
    problems = [invalid(path, name, text) for text in subdomain(name)]
    if not problems and name.count(".") < 2:
        problems.append(invalid(path, name, "should be a domain with at least three segments separated by dots"))
    return problems


def client_config(config: Object, path: str) -> list[Problem]:
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        return [required(path, "exactly one of url or service is required")]
    problems: list[Problem] = []
    if url is not None:
        parts = urlsplit(url)
        here = f"{path}.url"
        if parts.scheme != "https":
            problems.append(
                invalid(
                    here,
                    parts.scheme or url,
                    "'https' is the only allowed URL scheme; desired format: https://host[/path]",
                )
            )
        if not parts.netloc:
            problems.append(invalid(here, parts.netloc, "host must be specified; desired format: https://host[/path]"))
        for value, word in (
            (parts.username, "user information"),
            (parts.fragment, "fragments"),
            (parts.query, "query parameters"),
        ):
            if value:
                problems.append(
                    invalid(
                        here, value, f"{word} {'is' if word.startswith('user') else 'are'} not permitted in the URL"
                    )
                )
        return problems
    assert service is not None
    for key in ("name", "namespace"):
        if not service.get(key):
            problems.append(required(f"{path}.service.{key}"))
    if service.get("path") is not None and not service["path"].startswith("/"):
        problems.append(invalid(f"{path}.service.path", service["path"], "must start with a '/'"))
    if not 1 <= service.get("port", 443) <= 65535:
        problems.append(
            invalid(
                f"{path}.service.port", service["port"], "port is not valid: must be between 1 and 65535, inclusive"
            )
        )
    return problems


def rule_problems(rule: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    for key in ("apiGroups", "apiVersions", "resources"):
        values = rule.get(key) or []
        if not values:
            problems.append(required(f"{path}.{key}"))
        if "*" in values and len(values) > 1 and key != "resources":
            word = "API groups" if key == "apiGroups" else "API versions"
            problems.append(invalid(f"{path}.{key}", values, f"if '*' is present, must not specify other {word}"))
    operations = rule.get("operations") or []
    if not operations:
        problems.append(required(f"{path}.operations"))
    elif "*" in operations and len(operations) > 1:
        problems.append(
            invalid(f"{path}.operations", operations, "if '*' is present, must not specify other operations")
        )
    problems += [
        unsupported(f"{path}.operations[{place}]", one, ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"])
        for place, one in enumerate(operations)
        if one not in (*OPERATIONS, "*")
    ]
    resources = rule.get("resources") or []
    if "*/*" in resources and len(resources) > 1:
        problems.append(
            invalid(f"{path}.resources", resources, "if '*/*' is present, must not specify other resources")
        )
    if rule.get("scope") not in (None, "*", "Cluster", "Namespaced"):
        problems.append(unsupported(f"{path}.scope", rule["scope"], ["*", "Cluster", "Namespaced"]))
    return problems


def expression(text: str, path: str, wanted: str, variables: Iterable[str]) -> list[Problem]:
    """Problems of an expression that must give a value of that type."""
    if not text.strip():
        return [required(path)]
    try:
        made = compile_expression(text, tuple(variables))
    except CompileError as error:
        return [invalid(path, text, str(error))]
    allowed = wanted.split("|")
    if made.result != "dyn" and made.result not in allowed:
        return [invalid(path, text, f"must evaluate to {' or '.join(allowed)} but got {made.result}")]
    return []


def conditions(given: list[Object], path: str, variables: Iterable[str]) -> list[Problem]:
    problems: list[Problem] = []
    names: set[str] = set()
    for place, one in enumerate(given):
        here, name = f"{path}[{place}]", one.get("name", "")
        if not name:
            problems.append(required(f"{here}.name"))
        else:
            problems += [invalid(f"{here}.name", name, text) for text in qualified_name(name)]
        if name in names:
            problems.append(duplicate(f"{here}.name", name))
        names.add(name)
        problems += expression(one.get("expression", ""), f"{here}.expression", "bool", variables)
    return problems


class Policy(WithStatus):
    """What validating and mutating admission policies share."""

    def default(self, obj: Object) -> None:
        spec = obj["spec"]
        if spec.get("failurePolicy") is None:
            spec["failurePolicy"] = "Fail"
        default_match(spec.get("matchConstraints"))

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        if "status" in obj:
            obj["status"] = {}

    def variables(self, spec: Object) -> tuple[str, ...]:
        return (*VARIABLES, *(("params",) if spec.get("paramKind") else ()), "variables")

    def common(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        problems: list[Problem] = []
        if spec.get("failurePolicy") not in ("Fail", "Ignore"):
            problems.append(unsupported("spec.failurePolicy", spec.get("failurePolicy"), ["Fail", "Ignore"]))
        kind = spec.get("paramKind")
        if kind is not None:
            problems += [required(f"spec.paramKind.{key}") for key in ("apiVersion", "kind") if not kind.get(key)]
        if spec.get("matchConstraints") is None:
            problems.append(required("spec.matchConstraints"))
        else:
            problems += match_problems(spec["matchConstraints"], "spec.matchConstraints", needed=True)
        names: set[str] = set()
        for place, one in enumerate(spec.get("variables") or ()):
            path, name = f"spec.variables[{place}]", one.get("name", "")
            if not name:
                problems.append(required(f"{path}.name"))
            elif not _IDENTIFIER.match(name):
                problems.append(invalid(f"{path}.name", name, "must be a valid CEL identifier"))
            if name in names:
                problems.append(duplicate(f"{path}.name", name))
            names.add(name)
            problems += expression(
                one.get("expression", ""),
                f"{path}.expression",
                "dyn|bool|int|uint|double|string|bytes|list|map|optional|duration|timestamp|quantity",
                self.variables(spec),
            )
        return problems + conditions(
            spec.get("matchConditions") or [], "spec.matchConditions", self.variables(spec)[:-1]
        )


def default_match(match: Object | None) -> None:
    if match is None:
        return
    for key in ("namespaceSelector", "objectSelector"):
        if match.get(key) is None:
            match[key] = {}
    if match.get("matchPolicy") is None:
        match["matchPolicy"] = "Equivalent"
    for key in ("resourceRules", "excludeResourceRules"):
        for rule in match.get(key) or ():
            if rule.get("scope") is None:
                rule["scope"] = "*"


def match_problems(match: Object, path: str, *, needed: bool) -> list[Problem]:
    problems: list[Problem] = []
    if match.get("matchPolicy") not in (None, "Equivalent", "Exact"):
        problems.append(unsupported(f"{path}.matchPolicy", match["matchPolicy"], ["Equivalent", "Exact"]))
    if needed and not match.get("resourceRules"):
        problems.append(required(f"{path}.resourceRules"))
    for key in ("resourceRules", "excludeResourceRules"):
        for place, rule in enumerate(match.get(key) or ()):
            problems += rule_problems(rule, f"{path}.{key}[{place}]")
    for key in ("namespaceSelector", "objectSelector"):
        problems += validate_selector(match.get(key), f"{path}.{key}")
    return problems


class ValidatingPolicy(Policy):
    def validate(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        problems = self.common(obj)
        validations, notes = spec.get("validations") or [], spec.get("auditAnnotations") or []
        if not validations and not notes:
            text = "validations or auditAnnotations must contain at least one item"
            problems += [required("spec.validations", text), required("spec.auditAnnotations", text)]
        for place, one in enumerate(validations):
            problems += self._validation(one, f"spec.validations[{place}]", self.variables(spec))
        for place, one in enumerate(notes):
            path = f"spec.auditAnnotations[{place}]"
            full = f"{obj['metadata'].get('name', '')}/{one.get('key', '')}"
            problems += (
                [invalid(f"{path}.key", full, text) for text in qualified_name(full)]
                if one.get("key")
                else [required(f"{path}.key")]
            )
            problems += expression(
                one.get("valueExpression", ""), f"{path}.valueExpression", "string|null_type", self.variables(spec)
            )
        return problems

    def _validation(self, one: Object, path: str, variables: tuple[str, ...]) -> list[Problem]:
        problems = expression(one.get("expression", ""), f"{path}.expression", "bool", variables)
        if one.get("messageExpression"):
            problems += expression(one["messageExpression"], f"{path}.messageExpression", "string", variables)
        if one.get("message") and "\n" in one["message"]:
            problems.append(invalid(f"{path}.message", one["message"], "message must not contain line breaks"))
        reasons = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
        if one.get("reason") is not None and one["reason"] not in reasons:
            problems.append(unsupported(f"{path}.reason", one["reason"], list(reasons)))
        return problems


class MutatingPolicy(Policy):
    def validate(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        problems = self.common(obj)
        if not spec.get("mutations"):
            problems.append(required("spec.mutations", "mutations must contain at least one item"))
        for place, one in enumerate(spec.get("mutations") or ()):
            path, kind = f"spec.mutations[{place}]", one.get("patchType", "")
            key, wanted = {
                "ApplyConfiguration": ("applyConfiguration", "Object"),
                "JSONPatch": ("jsonPatch", "list"),
            }.get(kind, ("", ""))
            if not key:
                problems.append(
                    unsupported(f"{path}.patchType", kind, ["ApplyConfiguration", "JSONPatch"])
                    if kind
                    else required(f"{path}.patchType")
                )
                continue
            body = one.get(key)
            if body is None:
                problems.append(required(f"{path}.{key}", f"must be specified when patchType is {kind}"))
                continue
            problems += expression(body.get("expression", ""), f"{path}.{key}.expression", wanted, self.variables(spec))
        if not spec.get("reinvocationPolicy"):
            problems.append(required("spec.reinvocationPolicy"))
        elif spec["reinvocationPolicy"] not in ("Never", "IfNeeded"):
            problems.append(
                unsupported("spec.reinvocationPolicy", spec.get("reinvocationPolicy"), ["IfNeeded", "Never"])
            )
        return problems


class PolicyBinding(Strategy):
    generations = True
    actions = True

    def default(self, obj: Object) -> None:
        default_match((obj.get("spec") or {}).get("matchResources"))

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj.get("spec") or {}
        problems: list[Problem] = []
        if not spec.get("policyName"):
            problems.append(required("spec.policyName"))
        else:
            problems += [invalid("spec.policyName", spec["policyName"], text) for text in subdomain(spec["policyName"])]
        if spec.get("paramRef") is not None:
            problems += self._reference(spec["paramRef"], "spec.paramRef")
        if spec.get("matchResources") is not None:
            problems += match_problems(spec["matchResources"], "spec.matchResources", needed=False)
        return problems + (self._actions(spec.get("validationActions") or []) if self.actions else [])

    def _reference(self, reference: Object, path: str) -> list[Problem]:
        problems: list[Problem] = []
        name, selector = reference.get("name"), reference.get("selector")
        if name and selector is not None:
            problems += [
                forbidden_field(f"{path}.{key}", "name and selector are mutually exclusive")
                for key in ("name", "selector")
            ]
        elif not name and selector is None:
            problems.append(required(path, "one of name or selector must be specified"))
        action = reference.get("parameterNotFoundAction")
        if action is None:
            problems.append(required(f"{path}.parameterNotFoundAction"))
        elif action not in ("Deny", "Allow"):
            problems.append(unsupported(f"{path}.parameterNotFoundAction", action, ["Deny", "Allow"]))
        return problems

    def _actions(self, actions: list[str]) -> list[Problem]:
        path = "spec.validationActions"
        if not actions:
            return [required(path)]
        problems: list[Problem] = []
        for place, one in enumerate(actions):
            if one not in ("Deny", "Warn", "Audit"):
                problems.append(unsupported(f"{path}[{place}]", one, ["Audit", "Deny", "Warn"]))
            if one in actions[:place]:
                problems.append(duplicate(f"{path}[{place}]", one))
        if {"Deny", "Warn"} <= set(actions):
            problems.append(
                invalid(
                    path,
                    actions,
                    "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
                )
            )
        return problems


class MutatingBinding(PolicyBinding):
    actions = False
