"""One version of a custom resource: how its objects are read, shown, validated and scaled.

Made from a CustomResourceDefinition; hangs at `Resource.custom`. The definition's own life is definitions.py's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from ..cache import Item
from ..context import Ask
from ..errors import Problem, StatusError, bad_request, invalid, refused
from ..kinds.base import Strategy
from ..patching.shapes import Shape, schema_shape, struct_shape
from ..schema.decode import Decoder, Mistyped
from ..schema.facts import struct
from ..selectable import text
from .columns import column, path_values
from .rules import Ruled, try_ruled
from .schema import Validation, default, drop_nulls, list_problems, prune

Object = dict[str, Any]
NOT_CHECKED = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"


class CustomVersion:
    """What a served version of a definition means for requests."""

    def __init__(self, definition: Object, version: Object) -> None:
        spec = definition["spec"]
        self.group, self.kind = spec["group"], spec["names"]["kind"]
        self.list_kind = spec["names"].get("listKind") or f"{self.kind}List"
        self.version = version["name"]
        self.api_version = f"{self.group}/{self.version}"
        self.storage = bool(version.get("storage"))
        self.schema: Object = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        self.preserve_all = bool(spec.get("preserveUnknownFields"))
        subresources = version.get("subresources") or {}
        self.has_status = subresources.get("status") is not None
        self.scale_paths: Object | None = subresources.get("scale")
        self.rules: Ruled = try_ruled(self.schema)
        self.columns_given: list[Object] = version.get("additionalPrinterColumns") or []
        self.selectable: list[str] = [one["jsonPath"].lstrip(".") for one in version.get("selectableFields") or ()]
        self.strategy = CustomStrategy(self)
        self.digest = hashlib.sha256(msgspec.json.encode([version, spec["names"]])).hexdigest()
        self.terminating = False
        self.deprecation = ""
        if version.get("deprecated"):
            self.deprecation = version.get("deprecationWarning") or f"{self.api_version} {self.kind} is deprecated"
        self._shown: dict[int, bytes] = {}

    @property
    def shape(self) -> Shape:
        made = schema_shape({"type": "object", **self.schema})
        fields = dict(made._fields) if isinstance(made._fields, dict) else {}
        fields |= {
            "metadata": struct_shape("meta/v1.ObjectMeta"),
            "apiVersion": schema_shape({"type": "string"}),
            "kind": schema_shape({"type": "string"}),
        }
        whole = Shape("map", closed=made.closed and not self.schema.get("x-kubernetes-preserve-unknown-fields"))
        whole._fields, whole._of = fields, made._of
        return whole

    # reading

    def read(self, ask: Ask, tree: Any, doubles: list[str]) -> Object:
        """A request's object: pruned, defaulted. Refuses another version; another kind is refused by validation."""
        if not isinstance(tree, dict) or not isinstance(tree.get("kind"), str) or not tree.get("kind"):
            raise bad_request(
                f"the object provided is unrecognized (must be of type {self.kind}): Object 'Kind' is missing in '{msgspec.json.encode(tree).decode()}'"
            )
        version = tree.get("apiVersion") or ""
        if version != self.api_version:
            if version.rpartition("/")[0] == self.group or version:
                ask.warn('unknown field "spec"') if "spec" in tree else None
            raise bad_request(
                f"the API version in the data ({version}) does not match the expected API version ({self.api_version})"
            )
        unknown: list[str] = []
        out = self._shaped(tree, unknown)
        self._strict(
            ask, [f'duplicate field "{one}"' for one in doubles] + [f'unknown field "{one}"' for one in sorted(unknown)]
        )
        return out

    def patched(self, ask: Ask, tree: Object) -> Object:
        unknown: list[str] = []
        out = self._shaped(tree, unknown)
        self._strict(ask, [f'unknown field "{one}"' for one in sorted(unknown)], patch=True)
        return out

    def _strict(self, ask: Ask, texts: list[str], patch: bool = False) -> None:
        strict = ask.info.first("fieldValidation") or "Warn"
        if not texts or strict == "Ignore":
            return
        if strict == "Strict":
            text = f"strict decoding error: {', '.join(texts)}"
            raise bad_request(
                text if patch else f'{self.kind} in version "{self.version}" cannot be handled as a {self.kind}: {text}'
            )
        for one in texts:
            ask.warn(one)

    def _shaped(self, tree: Object, unknown: list[str]) -> Object:
        decoder = Decoder()
        try:
            meta = decoder.object(struct("meta/v1.ObjectMeta"), tree.get("metadata") or {})
        except Mistyped as error:
            raise bad_request(f"unable to decode metadata: {error}") from None
        unknown += [f"metadata.{one}" for one in decoder.unknown]
        out = {"kind": tree.get("kind"), "apiVersion": tree.get("apiVersion"), "metadata": meta}
        out |= {key: value for key, value in tree.items() if key not in out}
        if not self.preserve_all:
            prune(out, self.schema, "", unknown, root=True)
        drop_nulls(out, self.schema)
        default(out, self.schema)
        return out

    # showing

    def presented(self, item: Item) -> bytes:
        """The stored object as this version: apiVersion changed, pruned and defaulted by this version's schema."""
        known = self._shown.get(id(item))
        if known is not None:
            return known
        tree = item.object()
        tree["apiVersion"] = self.api_version
        if not self.preserve_all:
            prune(tree, self.schema, "", [], root=True)
        drop_nulls(tree, self.schema)
        default(tree, self.schema)
        return msgspec.json.encode(tree)

    def columns(self) -> tuple[list[Object], Callable[[Object], list[Any]]]:
        given = self.columns_given or [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]
        definitions = [
            {
                "name": one["name"], "type": one["type"], "format": one.get("format", ""),
                "description": one.get("description") or f"Custom resource definition column (in JSONPath format): {one['jsonPath']}",
                "priority": one.get("priority", 0),
            }
            for one in given
        ]  # fmt: skip
        return definitions, lambda tree: [column(tree, one) for one in given]

    def fields(self, tree: Object) -> dict[str, str]:
        return {path: text(next(iter(path_values(tree, f".{path}")), None)) for path in self.selectable}

    # scale

    @property
    def scale(self) -> tuple[Callable[[Object], Object], Callable[[Object, Object], None]]:
        paths = self.scale_paths or {}

        def show(tree: Object) -> Object:
            from ..subresources.scale import of

            wanted = next(iter(path_values(tree, paths["specReplicasPath"])), 0) or 0
            present = next(iter(path_values(tree, paths["statusReplicasPath"])), 0) or 0
            selector = (
                next(iter(path_values(tree, paths["labelSelectorPath"])), "") if paths.get("labelSelectorPath") else ""
            )
            return of(tree, wanted, present, selector or "")

        def put(tree: Object, given: Object) -> None:
            steps = paths["specReplicasPath"].lstrip(".").split(".")
            node = tree
            for step in steps[:-1]:
                node = node.setdefault(step, {})
            node[steps[-1]] = (given.get("spec") or {}).get("replicas", 0)

        return show, put

    # OpenAPI

    def openapi(self, definitions: Any) -> Object:
        schema = cleaned(self.schema)
        properties = dict(schema.get("properties") or {})
        meta = definitions.ref("meta/v1.ObjectMeta")
        said = definitions.common_texts()
        described = {"allOf": [meta], "default": {}} if definitions._v3 else meta
        properties["metadata"] = {"description": said["metadata"], **described}
        for name in ("apiVersion", "kind"):
            properties[name] = {"description": said[name], "type": "string"}
        return {**schema, "type": "object", "properties": properties}


def cleaned(schema: Any) -> Any:
    """The schema without what clients of the document trip over."""
    if isinstance(schema, dict):
        return {
            key: cleaned(value) for key, value in schema.items() if key not in ("x-kubernetes-validations", "nullable")
        }
    return [cleaned(one) for one in schema] if isinstance(schema, list) else schema


class CustomStrategy(Strategy):
    """The life of custom objects."""

    generations = True
    unconditional_update = False

    def __init__(self, version: CustomVersion) -> None:
        self._version = version
        self.status = version.has_status

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        if self._version.terminating:
            raise StatusError(
                403, f'{ask.resource.qualified} "{obj["metadata"].get("name", "")}" is forbidden: create not allowed while custom resource definition is terminating',
                details={"name": obj["metadata"].get("name", ""), "group": ask.resource.group, "kind": ask.resource.plural},
            )  # fmt: skip
        if self.status:
            obj.pop("status", None)
        self._stored(obj)

    def _stored(self, obj: Object) -> None:
        """Objects are kept in the version of the request; every version is shown from it."""

    def prepare_update(self, ask: Ask, new: Object, old: Object) -> None:
        if not self.status:
            return
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]

    def prepare_status(self, ask: Ask, new: Object, old: Object) -> None:
        status = new.get("status")
        for key in [key for key in new if key not in ("kind", "apiVersion", "metadata")]:
            del new[key]
        new |= {key: value for key, value in old.items() if key not in ("kind", "apiVersion", "metadata", "status")}
        if status is not None:
            new["status"] = status
        managed = new["metadata"].get("managedFields")
        new["metadata"] = {**old["metadata"], **({"managedFields": managed} if managed else {})}

    def changed(self, new: Object, old: Object) -> bool:
        def bare(tree: Object) -> Object:
            skip = ("kind", "apiVersion", "metadata", "status") if self.status else ("kind", "apiVersion", "metadata")
            return {key: value for key, value in tree.items() if key not in skip}

        return bare(new) != bare(old)

    def validate(self, obj: Object) -> list[Problem]:
        version = self._version
        if obj["kind"] != version.kind:
            problem = invalid("kind", obj["kind"], f"must be {version.kind}")
            raise refused(version.group, obj["kind"], obj["metadata"].get("name", ""), [problem])
        return self._problems(obj, None)

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        return self._problems(new, old)

    def validate_status(self, new: Object, old: Object) -> list[Problem]:
        return self._problems(new, old)

    def _problems(self, obj: Object, old: Object | None) -> list[Problem]:
        version = self._version
        problems = Validation().run(obj, version.schema, "")
        problems += list_problems(obj, version.schema, "")
        if version.rules.empty:
            return problems
        if problems:
            blocking = any(one.type not in ("FieldValueDuplicate",) for one in problems)
            return [*problems, invalid("<nil>", None, NOT_CHECKED)] if blocking else problems
        return version.rules.check(obj, old, "", old is not None)


def selector_fields(versions: Iterable[CustomVersion]) -> Callable[[Object], dict[str, str]]:
    """Fields that any version selects by."""
    kept = [one for one in versions if one.selectable]

    def read(tree: Object) -> dict[str, str]:
        out: dict[str, str] = {}
        for one in kept:
            out |= one.fields(tree)
        return out

    return read
