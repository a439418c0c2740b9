"""What analyzers see: the objects of a mesh, and where to report.

Takes documents, gives Resources by kind, in the order of namespace and name, and collects Messages. Not here: any check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from mizzen.api import mesh_config
from mizzen.api.errors import Invalid
from mizzen.api.istio.mesh import MeshConfig, MeshNetworks
from mizzen.api.kinds import ISTIO_KINDS, KINDS, decode, find, kind_of
from mizzen.api.manifest import Document
from mizzen.api.shapes import shape
from mizzen.istiod.analysis.messages import BY_CODE, MessageType

CLUSTER_WIDE = frozenset(kind.kind for kind in KINDS if not kind.namespaced)
NETWORKING, SECURITY, TELEMETRY = "networking.istio.io", "security.istio.io", "telemetry.istio.io"
EXTENSIONS, GATEWAY_API = "extensions.istio.io", "gateway.networking.k8s.io"
ISTIO_GROUPS = frozenset({NETWORKING, SECURITY, TELEMETRY, EXTENSIONS})
SUPPRESS = "galley.istio.io/analyze-suppress"


class Resource:
    """One object with its place in a manifest."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.object = document.object
        self.kind = str(self.object.get("kind", ""))
        api_version = str(self.object.get("apiVersion", ""))
        self.group = api_version.rpartition("/")[0]
        meta = self.object.get("metadata")
        self.meta: Mapping[str, Any] = meta if isinstance(meta, Mapping) else {}
        self.name = str(self.meta.get("name", ""))
        self.namespace = "" if self.kind in CLUSTER_WIDE else str(self.meta.get("namespace") or "default")

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells one object from another."""
        return self.group, self.kind, self.namespace, self.name

    @property
    def full_name(self) -> str:
        """namespace/name, or the name alone of what has no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def origin(self) -> str:
        """How messages call the object."""
        return f"{self.kind} {self.full_name}"

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """The object's labels."""
        return _strings(self.meta.get("labels"))

    @cached_property
    def annotations(self) -> Mapping[str, str]:
        """The object's annotations."""
        return _strings(self.meta.get("annotations"))

    @property
    def spec(self) -> Mapping[str, Any]:
        """The object's spec as JSON."""
        spec = self.object.get("spec")
        return spec if isinstance(spec, Mapping) else {}

    @cached_property
    def typed(self) -> Any:
        """The typed object, or None when it is invalid."""
        try:
            return decode(self.object)
        except Invalid:
            return None

    def unsound(self) -> Invalid | None:
        """What keeps an object of Kubernetes' own kinds from being one: no cluster would hold it."""
        kind = find(str(self.object.get("apiVersion", "")), self.kind)
        if kind is None or kind in ISTIO_KINDS:
            return None
        return next(shape(kind.type).check(self.object, ""), None)

    def leaf_line(self, path: str) -> int | None:
        """The line of a scalar field, None when there is none at that path."""
        return self.document.line_of(path) if self.document.is_scalar(path) else None


class Message(NamedTuple):
    """Something that was found."""

    type: MessageType
    resource: Resource
    line: int
    details: tuple[str, ...]

    @property
    def text(self) -> str:
        """The message in words."""
        return self.type.text.format(*self.details)

    @property
    def reference(self) -> str:
        """FILE:LINE, or nothing when the object comes from a cluster."""
        return f"{self.resource.document.file}:{self.line}" if self.resource.document.file else ""


class Mesh:
    """All objects of a mesh and its configuration. config_is_known: whether somebody gave one, else it is the default."""

    def __init__(self, documents: Iterable[Document], config: MeshConfig | None = None) -> None:
        self._by_kind: dict[tuple[str, str], list[Resource]] = {}
        self._by_name: dict[tuple[str, str, str, str], Resource] = {}
        self.messages: list[Message] = []
        resources = sorted(map(Resource, documents), key=lambda resource: (resource.namespace, resource.name))
        for resource in resources:
            if not known(resource):
                self._unknown(resource)
                continue
            wrong = resource.unsound()
            if wrong is not None:
                self.report(resource, "IST0106", str(wrong))
                continue
            self._by_kind.setdefault((resource.group, resource.kind), []).append(resource)
            self._by_name[resource.key] = resource
        self.config_is_known = config is not None or self.find("ConfigMap", "istio-system", "istio") is not None
        self.config = config or self._config()

    def all(self, kind: str, group: str = "") -> list[Resource]:
        """The objects of a kind, by namespace and name."""
        return self._by_kind.get((group, kind), [])

    def typed(self, kind: str, group: str) -> list[tuple[Resource, Any]]:
        """The objects of a kind that are valid, with their typed form."""
        return [(resource, resource.typed) for resource in self.all(kind, group) if resource.typed is not None]

    def every(self) -> Iterable[Resource]:
        """All objects."""
        return (resource for resources in self._by_kind.values() for resource in resources)

    def find(self, kind: str, namespace: str, name: str, group: str = "") -> Resource | None:
        """One object."""
        return self._by_name.get((group, kind, namespace, name))

    def report(self, resource: Resource, code: str, *details: object, at: str = "") -> None:
        """Reports a message of an object. at: the path of the scalar field that it is about, if any."""
        line = resource.leaf_line(at) if at else None
        words = tuple(_words(detail) for detail in details)
        self.messages.append(Message(BY_CODE[code], resource, line or resource.document.line, words))

    def _unknown(self, resource: Resource) -> None:
        """Reports what claims to be Istio's and is not; of other kinds nothing is known."""
        if resource.group in ISTIO_GROUPS:
            try:
                kind_of(resource.object)
            except Invalid as error:
                self.report(resource, "IST0106", str(error), at=error.path)

    def _config(self) -> MeshConfig:
        config_map = self.find("ConfigMap", "istio-system", "istio")
        text = _strings(config_map.object.get("data")).get("mesh", "") if config_map is not None else ""
        try:
            return mesh_config.read(text)
        except Invalid:
            return mesh_config.default()

    @cached_property
    def networks(self) -> MeshNetworks | None:
        """The MeshNetworks of the ConfigMap istio, if any."""
        config_map = self.find("ConfigMap", "istio-system", "istio")
        text = _strings(config_map.object.get("data")).get("meshNetworks", "") if config_map is not None else ""
        try:
            return mesh_config.read_networks(text) if text else None
        except Invalid:
            return None

    def results(self) -> list[Message]:
        """The messages, each once, without suppressed ones: by level, code, object and line."""
        order = {"Error": 0, "Warning": 1, "Info": 2}
        kept = dict.fromkeys(message for message in self.messages if not suppressed(message))
        return sorted(
            kept, key=lambda m: (order[m.type.level], m.type.code, m.resource.origin, m.reference, m.line, m.details)
        )


Analyzer = Callable[[Mesh], None]


def suppressed(message: Message) -> bool:
    """Whether the object says that it does not want to hear this."""
    codes = message.resource.annotations.get(SUPPRESS, "")
    return any(code.strip() in ("*", message.type.code) for code in codes.split(","))


def known(resource: Resource) -> bool:
    """Whether the kind is one of ours."""
    return find(str(resource.object.get("apiVersion", "")), resource.kind) is not None


def _strings(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {str(key): entry for key, entry in value.items() if isinstance(entry, str)}


def _words(detail: object) -> str:
    if isinstance(detail, list | tuple | set | frozenset):
        items = sorted(detail) if isinstance(detail, set | frozenset) else detail
        return "[" + " ".join(map(str, items)) + "]"
    return str(detail)
