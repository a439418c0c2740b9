"""What an admin page gives back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mizzen.proxy.server import Server


PLAIN, JSON, HTML = "text/plain; charset=UTF-8", "application/json", "text/html; charset=UTF-8"


OK = "OK\n"


@dataclass
class Answer:
    """Status, body and type of a page; `then` runs once it is sent."""

    body: str = OK
    content_type: str = PLAIN
    status: int = 200
    then: Callable[[], None] | None = None


@dataclass(frozen=True)
class Page:
    make: Callable[[Server, dict[str, str], bytes], Answer]
    help: str
    changes: bool = False  # POST only


def as_json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
