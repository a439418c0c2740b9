"""Header maps of the data path: lower-case names, text decoded as latin-1, repeated names kept apart.

`d` holds the first value of every name in order of arrival; `more` holds all values of those few names that came
more than once, and is None for nearly every message. Pseudo header fields are attributes, never entries of `d`.
Not here: parsing (h1_head.py, hpack.py) and what a proxy adds or removes (http/mutate.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final


class Headers:
    """Fields of one message or trailer section."""

    __slots__ = ("d", "more")

    def __init__(self, d: dict[str, str] | None = None, more: dict[str, list[str]] | None = None) -> None:
        self.d: dict[str, str] = {} if d is None else d
        self.more = more

    def get(self, name: str) -> str | None:
        """The first value of a name."""
        return self.d.get(name)

    def values(self, name: str) -> list[str]:
        """All values of a name in order of arrival; empty when it is absent."""
        if self.more is not None and name in self.more:
            return self.more[name]
        value = self.get(name)
        return [] if value is None else [value]

    def joined(self, name: str) -> str | None:
        """All values of a name joined by commas; None when it is absent."""
        if self.more is not None and name in self.more:
            return ",".join(self.more[name])
        return self.get(name)

    def add(self, name: str, value: str) -> None:
        """Append a value beside those that are there."""
        first = self.d.get(name)
        if first is None:
            self.d[name] = value
        elif self.more is None:
            self.more = {name: [first, value]}
        elif name in self.more:
            self.more[name].append(value)
        else:
            self.more[name] = [first, value]

    def set(self, name: str, value: str) -> None:
        """Put one value in the place of all that are there."""
        self.d[name] = value
        if self.more is not None:
            self.more.pop(name, None)

    def remove(self, name: str) -> None:
        self.d.pop(name, None)
        if self.more is not None:
            self.more.pop(name, None)

    def set_values(self, name: str, values: list[str]) -> None:
        self.remove(name)
        for value in values:
            self.add(name, value)

    def items(self) -> Iterator[tuple[str, str]]:
        """Every name and value; repeated names at the place of their first value."""
        more = self.more
        if more is None:
            yield from self.d.items()
            return
        for name, value in self.d.items():
            if name in more:
                for each in more[name]:
                    yield name, each
            else:
                yield name, value

    def __contains__(self, name: str) -> bool:
        return name in self.d

    def byte_size(self) -> int:
        """Sum of the lengths of all names and values."""
        return sum(len(name) + len(value) for name, value in self.items())

    def count(self) -> int:
        return sum(1 for _ in self.items())

    def copy_fields(self) -> tuple[dict[str, str], dict[str, list[str]] | None]:
        more = None if self.more is None else {name: list(values) for name, values in self.more.items()}
        return dict(self.d), more


def wire(parts: list[str]) -> bytes:
    """The bytes of a head's pieces. Text that is no latin-1 becomes question marks."""
    text = "".join(parts)
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("latin-1", "replace")


def lines(parts: list[str], headers: Headers) -> None:
    """Append every field's line."""
    if headers.more is None:
        for name, value in headers.d.items():
            parts.append(name)
            parts.append(": ")
            parts.append(value)
            parts.append("\r\n")
        return
    for name, value in headers.items():
        parts.append(f"{name}: {value}\r\n")


PSEUDO_REQUEST: Final = {
    ":method": "method",
    ":path": "path",
    ":authority": "authority",
    ":scheme": "scheme",
    ":protocol": "protocol",
    "host": "authority",
}


class RequestHeaders(Headers):
    """A request's head. `path` is the whole target in origin form; `protocol` is RFC 8441's or an upgrade's name."""

    __slots__ = ("authority", "method", "path", "protocol", "scheme")

    def __init__(
        self,
        method: str,
        path: str,
        authority: str | None,
        d: dict[str, str] | None = None,
        more: dict[str, list[str]] | None = None,
        scheme: str = "",
    ) -> None:
        self.d = {} if d is None else d
        self.more = more
        self.method = method
        self.path = path
        self.authority = authority
        self.scheme = scheme
        self.protocol: str | None = None

    def get(self, name: str) -> str | None:
        attribute = PSEUDO_REQUEST.get(name)
        if attribute is not None:
            value: str | None = getattr(self, attribute)
            return value or None if attribute in ("scheme", "path", "method") else value
        return self.d.get(name)

    def set(self, name: str, value: str) -> None:
        attribute = PSEUDO_REQUEST.get(name)
        if attribute is not None:
            setattr(self, attribute, value)
        else:
            Headers.set(self, name, value)

    def add(self, name: str, value: str) -> None:
        if name in PSEUDO_REQUEST:
            self.set(name, value)
        else:
            Headers.add(self, name, value)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def copy(self) -> RequestHeaders:
        d, more = self.copy_fields()
        out = RequestHeaders(self.method, self.path, self.authority, d, more, self.scheme)
        out.protocol = self.protocol
        return out


class ResponseHeaders(Headers):
    """A response's head."""

    __slots__ = ("status",)

    def __init__(self, status: int, d: dict[str, str] | None = None, more: dict[str, list[str]] | None = None) -> None:
        self.d = {} if d is None else d
        self.more = more
        self.status = status

    def get(self, name: str) -> str | None:
        return str(self.status) if name == ":status" else self.d.get(name)

    def set(self, name: str, value: str) -> None:
        if name == ":status":
            self.status = int(value)
        else:
            Headers.set(self, name, value)

    def copy(self) -> ResponseHeaders:
        d, more = self.copy_fields()
        return ResponseHeaders(self.status, d, more)
