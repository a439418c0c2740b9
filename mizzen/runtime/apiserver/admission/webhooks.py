"""Mutating and validating webhooks: which are asked, what they are asked, what becomes of their answers.

Source: admission.k8s.io/v1 AdmissionReview; apiserver's webhook plug-ins (selectors, matchPolicy, failurePolicy, reinvocation).
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from ..cache import Collection
from ..errors import StatusError, forbidden
from ..outgoing import Target, post
from ..patching.jsonpatch import PatchFailed, json_patch
from ..requestinfo import RequestInfo
from ..schema.decode import Decoder
from ..selectors import from_object
from .base import Base, Write
from .conditions import conditions_hold

if TYPE_CHECKING:
    from ..parts import Parts

log = logging.getLogger(__name__)
Object = dict[str, Any]
OWN_GROUP = "admissionregistration.k8s.io"


class Hook:
    """One webhook of one configuration."""

    __slots__ = ("conditions", "configuration", "name", "namespaces", "objects", "order", "raw", "timeout_s")

    def __init__(self, configuration: str, raw: Object) -> None:
        self.configuration, self.raw, self.name = configuration, raw, raw.get("name", "")
        self.namespaces, self.objects = (
            from_object(raw.get("namespaceSelector") or {}),
            from_object(raw.get("objectSelector") or {}),
        )
        self.timeout_s = raw.get("timeoutSeconds", 10)
        self.conditions = raw.get("matchConditions") or []
        self.order = f"{configuration}/{self.name}"


def rule_matches(
    rule: Object, operation: str, group: str, version: str, resource: str, subresource: str, namespaced: bool
) -> bool:
    """Whether a RuleWithOperations is about that."""
    if not {operation, "*"} & set(rule.get("operations") or ()):
        return False
    if not {group, "*"} & set(rule.get("apiGroups") or ()) or not {version, "*"} & set(rule.get("apiVersions") or ()):
        return False
    scope = rule.get("scope") or "*"
    if scope != "*" and (scope == "Namespaced") != namespaced:
        return False
    full = f"{resource}/{subresource}" if subresource else resource
    wanted = {full, "*/*"} | ({"*", resource} & {"*"} if not subresource else {f"{resource}/*", f"*/{subresource}"})
    return bool(wanted & set(rule.get("resources") or ()))


def matching_version(rules: list[Object], policy: str, write: Write, parts: Parts) -> str | None:
    """The version in which the rules ask for this write; None when they do not."""
    resource = write.resource
    namespaced = resource.namespaced and resource.qualified != "namespaces"

    def fits(version: str) -> bool:
        return any(
            rule_matches(one, write.operation, resource.group, version, resource.plural, write.subresource, namespaced)
            for one in rules
        )

    if fits(resource.version):
        return resource.version
    if policy == "Equivalent":
        for other in parts.registry.groups.get(resource.group, ()):
            if (
                other != resource.version
                and parts.registry.find(resource.group, other, resource.plural)
                and fits(other)
            ):
                return other
    return None


def selects(hook_namespaces: Any, hook_objects: Any, write: Write, parts: Parts) -> bool:
    """Whether namespace and object selectors let the write through to a hook or policy."""
    if write.resource.namespaced or write.resource.qualified == "namespaces":
        if write.resource.qualified == "namespaces":
            tree = write.new or write.old or {}
        else:
            item = parts.item("namespaces", "", write.namespace)
            tree = item.shared if item else {}
        if hook_namespaces is not None and not hook_namespaces.matches((tree.get("metadata") or {}).get("labels")):
            return False
    if hook_objects is None or hook_objects.everything:
        return True
    return any(
        hook_objects.matches((tree.get("metadata") or {}).get("labels"))
        for tree in (write.new, write.old)
        if tree is not None
    )


class Hooks(Base):
    """What both kinds share: the list of hooks, kept until the collection changes."""

    plural = ""

    def __init__(self) -> None:
        self._state: tuple[int, int] = (-1, -1)
        self._hooks: list[Hook] = []

    def hooks(self, parts: Parts) -> list[Hook]:
        collection: Collection = parts.registry.get(self.plural, OWN_GROUP).collection
        state = (collection.revision, len(collection.items))
        if state != self._state:
            self._state = state
            self._hooks = [
                Hook(item.key, raw) for item in collection.select("") for raw in item.shared.get("webhooks") or ()
            ]
        return self._hooks

    async def wanted(self, write: Write, parts: Parts) -> list[Hook]:
        hooks = self.hooks(parts)
        if not hooks or write.resource.group == OWN_GROUP:
            return []
        return [hook for hook in hooks if await self._wants(hook, write, parts)]

    async def _wants(self, hook: Hook, write: Write, parts: Parts) -> bool:
        rules = hook.raw.get("rules") or []
        if matching_version(rules, hook.raw.get("matchPolicy", "Equivalent"), write, parts) is None:
            return False
        if not selects(hook.namespaces, hook.objects, write, parts):
            return False
        return not hook.conditions or conditions_hold(
            hook.conditions, write, parts, hook.raw.get("failurePolicy", "Fail")
        )

    async def ask(self, hook: Hook, write: Write, parts: Parts) -> Object | None:
        """The response of one hook; None when it failed and failures are ignored. Raises StatusError."""
        if write.ask.dry_run and hook.raw.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise StatusError(400, f'admission webhook "{hook.name}" does not support dry run', "BadRequest")
        asked = review(write, parts)
        try:
            return await self._called(hook, asked, parts)
        except (OSError, TimeoutError, ValueError) as error:
            text = f'failed calling webhook "{hook.name}": {error}'
            if hook.raw.get("failurePolicy", "Fail") == "Ignore":
                log.warning("%s", text)
                return None
            raise internal(text) from None

    async def _called(self, hook: Hook, asked: Object, parts: Parts) -> Object:
        target = target_of(hook, parts)
        try:
            status, body = await post(target, msgspec.json.encode(asked), hook.timeout_s)
        except TimeoutError:
            raise TimeoutError(
                f'failed to call webhook: Post "{_url(target, hook)}": context deadline exceeded'
            ) from None
        except OSError as error:
            raise OSError(
                f'failed to call webhook: Post "{_url(target, hook)}": dial tcp {target.host}:{target.port}: {_words(error)}'
            ) from None
        if status != 200:
            word = {404: "the server could not find the requested resource"}.get(
                status, 'an error on the server ("unknown") has prevented the request from succeeding'
            )
            raise ValueError(f"failed to call webhook: {word}")
        return _response(body, asked["request"]["uid"])


def _words(error: OSError) -> str:
    return "connect: connection refused" if isinstance(error, ConnectionRefusedError) else str(error)


def _url(target: Target, hook: Hook) -> str:
    return f"https://{target.name}:{target.port}{target.path.split('?')[0]}?timeout={hook.timeout_s}s"


def _response(body: bytes, uid: str) -> Object:
    try:
        tree = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise ValueError(f"failed to call webhook: {error}") from None
    if tree.get("kind") != "AdmissionReview" or tree.get("apiVersion") != "admission.k8s.io/v1":
        short = str(tree.get("apiVersion", "")).rpartition("/")[2]
        raise ValueError(
            f'failed to call webhook: no kind "{tree.get("kind", "")}" is registered for version "{short}" in scheme "pkg/runtime/scheme.go:111"'
        )
    response = tree.get("response")
    if response is None:
        raise ValueError("received invalid webhook response: webhook response was absent")
    if response.get("uid") != uid:
        raise ValueError(
            f'received invalid webhook response: expected response.uid="{uid}", got "{response.get("uid", "")}"'
        )
    found: Object = response
    return found


def internal(text: str) -> StatusError:
    return StatusError(500, f"Internal error occurred: {text}", details={"causes": [{"message": text}]})


def target_of(hook: Hook, parts: Parts) -> Target:
    """Where a hook is. Raises OSError when its Service is not there."""
    config = hook.raw.get("clientConfig") or {}
    ca = base64.b64decode(config.get("caBundle") or "")
    timeout = f"timeout={hook.timeout_s}s"
    if config.get("url"):
        url = urlsplit(config["url"])
        query = f"{url.query}&{timeout}" if url.query else timeout
        return Target(url.hostname or "", url.port or 443, f"{url.path or '/'}?{query}", url.hostname or "", ca)
    service = config.get("service") or {}
    namespace, name = service.get("namespace", ""), service.get("name", "")
    host, port = service_address(parts, namespace, name, service.get("port") or 443)
    path = service.get("path") or "/"
    return Target(host, port, f"{path}?{timeout}", f"{name}.{namespace}.svc", ca)


def service_address(parts: Parts, namespace: str, name: str, port: int) -> tuple[str, int]:
    """A ready endpoint of a Service's port; its cluster address when it has none."""
    item = parts.item("services", namespace, name)
    if item is None:
        raise OSError(f'failed to call webhook: service "{name}" not found')
    spec = item.shared.get("spec") or {}
    given = next((one for one in spec.get("ports") or () if one.get("port") == port), None)
    slices = parts.registry.get("endpointslices", "discovery.k8s.io").collection
    for one in slices.select(namespace):
        tree = one.shared
        if (tree["metadata"].get("labels") or {}).get("kubernetes.io/service-name") != name:
            continue
        ports = [
            entry["port"]
            for entry in tree.get("ports") or ()
            if given is None or entry.get("name", "") == given.get("name", "")
        ]
        for endpoint in tree.get("endpoints") or ():
            if ports and endpoint.get("addresses") and (endpoint.get("conditions") or {}).get("ready") is not False:
                return endpoint["addresses"][0], ports[0]
    if spec.get("clusterIP") in (None, "", "None"):
        raise OSError(f'no endpoints available for service "{name}"')
    return spec["clusterIP"], port


def review(write: Write, parts: Parts) -> Object:
    """The AdmissionReview about a write."""
    resource, info = write.resource, write.ask.info
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    name = {"group": resource.group, "version": resource.version, "resource": resource.plural}
    request: Object = {
        "uid": str(uuid.uuid4()), "kind": kind, "resource": name, "requestKind": kind, "requestResource": name,
        "name": _name(write, info), **({"namespace": _namespace(write)} if _namespace(write) else {}), "operation": write.operation,
        "userInfo": write.ask.user.info(), "object": presented(write.new), "oldObject": presented(write.old), "dryRun": write.ask.dry_run,
        "options": options_of(write),
    }  # fmt: skip
    if write.subresource:
        request["subResource"] = request["requestSubResource"] = write.subresource
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}


def _name(write: Write, info: RequestInfo) -> str:
    return write.name or info.name


def _namespace(write: Write) -> str:
    return write.name if write.resource.qualified == "namespaces" else write.namespace


def options_of(write: Write) -> Object:
    kinds = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}
    options = {
        key: value for key, value in write.options.items() if key not in ("force",) and value not in (None, [], "")
    }
    kind = options.get("kind")
    wanted = "PatchOptions" if kind == "PatchOptions" and write.operation == "CREATE" else kinds[write.operation]
    return {**options, "kind": wanted, "apiVersion": "meta.k8s.io/v1"}


def presented(tree: Object | None) -> Object | None:
    return tree


def denied(hook: Hook, response: Object) -> StatusError:
    status = response.get("status") or {}
    text = f'admission webhook "{hook.name}" denied the request'
    if status.get("message"):
        text += f": {status['message']}"
    elif status.get("reason"):
        text += f": {status['reason']}"
    else:
        text += " without explanation"
    code = status.get("code") or 400
    return StatusError(code if code >= 400 else 400, text, status.get("reason") or "", status.get("details"))


def warn(write: Write, response: Object) -> None:
    for text in response.get("warnings") or ():
        write.ask.warn(text)


class MutatingWebhook(Hooks):
    plural = "mutatingwebhookconfigurations"

    async def mutate(self, write: Write, parts: Parts) -> None:
        if write.operation == "DELETE" and not self.hooks(parts):
            return
        changed = await self._round(write, parts, None)
        if changed:
            await self._round(write, parts, changed)

    async def _round(self, write: Write, parts: Parts, again: dict[str, int] | None) -> dict[str, int]:
        """Asks each hook in turn. On the second round only those that want to be asked again after later changes."""
        hooks = self.hooks(parts)
        if not hooks or write.resource.group == OWN_GROUP:
            return {}
        changes: dict[str, int] = {}
        last_change = -1
        called: dict[str, int] = {}
        for place, hook in enumerate(hooks):
            if again is not None and (
                hook.raw.get("reinvocationPolicy") != "IfNeeded" or hook.order not in again or again[hook.order] == 0
            ):
                continue
            if not await self._wants(hook, write, parts):
                continue
            called[hook.order] = place
            if await self._apply(hook, write, parts):
                last_change = place
                changes[hook.order] = place
        if again is not None or last_change < 0:
            return {}
        return {name: int(place < last_change) for name, place in called.items()}

    async def _apply(self, hook: Hook, write: Write, parts: Parts) -> bool:
        """Whether the hook changed the object."""
        response = await self.ask(hook, write, parts)
        if response is None:
            return False
        warn(write, response)
        if not response.get("allowed"):
            raise denied(hook, response)
        patch = response.get("patch")
        if not patch or write.new is None:
            return False
        if response.get("patchType") != "JSONPatch":
            raise internal(
                f'failed calling webhook "{hook.name}": received invalid webhook response: unsupported patch type {response.get("patchType")!r}'
            )
        before = msgspec.json.encode(write.new)
        write.new = self._patched(write, json.loads(base64.b64decode(patch)))
        return msgspec.json.encode(write.new) != before

    def _patched(self, write: Write, operations: list[Object]) -> Object:
        assert write.new is not None
        tree = msgspec.json.decode(msgspec.json.encode(write.new))
        try:
            for one in operations:
                if one.get("op") == "replace":
                    _must_exist(tree, one.get("path", ""))
            result = json_patch(tree, operations)
        except PatchFailed:
            path = next((one.get("path", "") for one in operations), "")
            word = operations[0].get("op", "") if operations else ""
            raise internal(f"{word} operation does not apply: doc is missing path: {path}: missing value") from None
        resource = write.resource
        if resource.custom is not None:
            return result  # type: ignore[no-any-return]
        assert resource.struct is not None
        from ..kinds import strategy_of

        out = Decoder().object(resource.struct, result)
        strategy_of(resource).default(out)
        return out


def _must_exist(tree: Any, path: str) -> None:
    for step in path.split("/")[1:-1]:
        step = step.replace("~1", "/").replace("~0", "~")
        tree = (
            tree.get(step)
            if isinstance(tree, dict)
            else tree[int(step)]
            if isinstance(tree, list) and step.isdigit() and int(step) < len(tree)
            else None
        )
        if tree is None:
            raise PatchFailed(path)


class ValidatingWebhook(Hooks):
    plural = "validatingwebhookconfigurations"

    async def validate(self, write: Write, parts: Parts) -> None:
        hooks = await self.wanted(write, parts)
        if not hooks:
            return
        results = await asyncio.gather(*(self._one(hook, write, parts) for hook in hooks), return_exceptions=True)
        for one in results:
            if isinstance(one, BaseException):
                raise one

    async def _one(self, hook: Hook, write: Write, parts: Parts) -> None:
        response = await self.ask(hook, write, parts)
        if response is None:
            return
        if response.get("patch"):
            raise internal(
                f'failed calling webhook "{hook.name}": received invalid webhook response: validating webhook may not return response.patch'
            )
        warn(write, response)
        if not response.get("allowed"):
            raise denied(hook, response)


__all__ = ["MutatingWebhook", "ValidatingWebhook", "forbidden", "rule_matches"]
