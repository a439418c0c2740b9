"""The chain of admission: plug-ins in one ordered list, each asked to change, then each asked to refuse.

A plug-in gets a `Write` and may await (webhooks). Raises StatusError to refuse. Not here: what each plug-in does.
Source: apiserver's admission framework; kube-apiserver's default order of plug-ins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ..errors import StatusError, forbidden

if TYPE_CHECKING:
    from ..context import Ask
    from ..parts import Parts
    from ..resources import Resource

Object = dict[str, Any]


class Write:
    """One write on its way. `new` None: a deletion; `old` None: a creation. `subresource` as in the path."""

    __slots__ = (
        "ask",
        "name",
        "namespace",
        "new",
        "old",
        "operation",
        "options",
        "reinvoke",
        "resource",
        "subresource",
    )

    def __init__(
        self, ask: Ask, resource: Resource, operation: str, new: Object | None, old: Object | None,
        name: str = "", subresource: str = "",
    ) -> None:  # fmt: skip
        self.ask, self.resource, self.operation, self.new, self.old = ask, resource, operation, new, old
        self.name, self.namespace, self.subresource = name, ask.info.namespace, subresource
        self.options: Object = ask.options

    def refuse(self, why: str) -> StatusError:
        return forbidden(self.resource.group, self.resource.plural, self.name, why)


class Plugin(Protocol):
    """One plug-in; both methods may be absent work (return at once)."""

    async def mutate(self, write: Write, parts: Parts) -> None: ...
    async def validate(self, write: Write, parts: Parts) -> None: ...


class Base:
    """A plug-in that does nothing; what plug-ins inherit."""

    async def mutate(self, write: Write, parts: Parts) -> None:
        return None

    async def validate(self, write: Write, parts: Parts) -> None:
        return None


class Chain:
    def __init__(self, plugins: list[Base]) -> None:
        self._mutating = [one for one in plugins if type(one).mutate is not Base.mutate]
        self._validating = [one for one in plugins if type(one).validate is not Base.validate]

    async def mutate(self, write: Write, parts: Parts) -> None:
        for plugin in self._mutating:
            await plugin.mutate(write, parts)

    async def validate(self, write: Write, parts: Parts) -> None:
        for plugin in self._validating:
            await plugin.validate(write, parts)
