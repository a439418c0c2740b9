"""Protobuf messages that remember which of their fields somebody read.

`Recorded(message, reads)` stands for a message: every read of a field adds (message type, field) to `reads`; asking for
the presence of a field counts only when it is there. `record(modules, reads)` has everything that these modules unpack recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import pytest

from mizzen.proxy.config import values
from mizzen.proxy.filters import registry
from mizzen.wire import newer

Reads = set[tuple[str, str]]


class Recorded:
    __slots__ = ("message", "reads")

    def __init__(self, message: Any, reads: Reads) -> None:
        object.__setattr__(self, "message", message)
        object.__setattr__(self, "reads", reads)

    def __getattr__(self, name: str) -> Any:
        descriptor = self.message.DESCRIPTOR
        field = descriptor.fields_by_name.get(name)
        if field is None:
            return getattr(self.message, name)
        self.reads.add((descriptor.full_name, name))
        return _wrapped(getattr(self.message, name), field, self.reads)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.message, name, value)

    def __eq__(self, other: object) -> bool:
        return bool(self.message == getattr(other, "message", other))

    __hash__ = object.__hash__

    def HasField(self, name: str) -> bool:
        found = bool(self.message.HasField(name))
        if found:
            self.reads.add((self.message.DESCRIPTOR.full_name, name))
        return found

    def WhichOneof(self, name: str) -> str | None:
        found: str | None = self.message.WhichOneof(name)
        if found is not None:
            self.reads.add((self.message.DESCRIPTOR.full_name, found))
        return found

    def ListFields(self) -> list[tuple[Any, Any]]:
        return [(field, _wrapped(value, field, self.reads)) for field, value in self.message.ListFields()]

    def Unpack(self, target: Any) -> bool:
        return bool(self.message.Unpack(target))


class RecordedList:
    def __init__(self, items: Any, reads: Reads) -> None:
        self.items, self.reads = items, reads

    def __iter__(self) -> Iterator[Recorded]:
        return (Recorded(each, self.reads) for each in self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: int) -> Recorded:
        return Recorded(self.items[at], self.reads)


class RecordedMap:
    def __init__(self, entries: Any, reads: Reads) -> None:
        self.entries, self.reads = entries, reads

    def __iter__(self) -> Iterator[Any]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, key: Any) -> Recorded:
        return Recorded(self.entries[key], self.reads)

    def get(self, key: Any) -> Recorded | None:
        return self[key] if key in self.entries else None

    def items(self) -> list[tuple[Any, Recorded]]:
        return [(key, self[key]) for key in self.entries]


def is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _wrapped(value: Any, field: Any, reads: Reads) -> Any:
    if field.message_type is None:
        return value
    if is_map(field):
        whole = field.message_type.fields_by_name["value"].message_type is not None
        return RecordedMap(value, reads) if whole else value
    return RecordedList(value, reads) if field.is_repeated else Recorded(value, reads)


def record(patch: pytest.MonkeyPatch, modules: Iterable[ModuleType], reads: Reads) -> None:
    """Have what the modules unpack recorded, and not what the gate looks at."""
    unpack, typed, check = values.unpack, registry.typed, values.check

    def recorded_unpack(any_message: Any, kind: Any, where: str) -> Recorded:
        return Recorded(unpack(getattr(any_message, "message", any_message), kind, where), reads)

    def recorded_typed(any_message: Any, where: str) -> tuple[str, Any]:
        name, message = typed(getattr(any_message, "message", any_message), where)
        return name, Recorded(message, reads) if hasattr(message, "DESCRIPTOR") else message

    def plain_check(message: Any, where: str) -> None:
        check(getattr(message, "message", message), where)

    newer_value = newer._value

    def recorded_newer(message: Any, name: str) -> Any:
        reads.add((message.DESCRIPTOR.full_name, name))
        return newer_value(getattr(message, "message", message), name)

    patch.setattr(newer, "_value", recorded_newer)
    for module in modules:
        for name, value in list(vars(module).items()):
            for old, new in ((unpack, recorded_unpack), (typed, recorded_typed), (check, plain_check)):
                if value is old:
                    patch.setattr(module, name, new)
