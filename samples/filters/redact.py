"""Masks fields of JSON answers, at any depth, before they leave.

config: {fields: [password, card]}. A route may name others: {fields: [...]}.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from mizzen.http_filter import HttpFilter, Request, Response

MASK = "***"


class Redact(HttpFilter):
    reads_response_body = True

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.fields = frozenset(config.get("fields", ()))
        if not self.fields:
            raise ValueError("fields: at least one is needed")

    def on_response(self, request: Request, response: Response) -> None:
        if not response.body or not response.headers.get("content-type", "").startswith("application/json"):
            return
        try:
            value = json.loads(response.body)
        except ValueError:
            return  # no JSON after all: not ours to judge
        masked, count = mask(value, request.settings.get("fields") or self.fields)
        if count:
            response.body = json.dumps(masked, separators=(",", ":")).encode()
            self.count("masked", count)


def mask(value: Any, fields: Collection[str]) -> tuple[Any, int]:
    """The value with these members masked, and how many there were."""
    if isinstance(value, list):
        pairs = [mask(each, fields) for each in value]
        return [each for each, _ in pairs], sum(count for _, count in pairs)
    if not isinstance(value, dict):
        return value, 0
    out, total = {}, 0
    for name, inner in value.items():
        if name in fields:
            out[name], count = MASK, 1
        else:
            out[name], count = mask(inner, fields)
        total += count
    return out, total
