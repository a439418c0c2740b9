"""Random request ids (version 4 UUIDs), cheap enough for every request."""

from __future__ import annotations

import os
from typing import Final

_pool = ""
_at = 0
_VARIANT: Final = {c: "89ab"[int(c, 16) & 3] for c in "0123456789abcdef"}


def request_id() -> str:
    """A random UUID as text."""
    global _pool, _at
    if _at >= len(_pool):
        _pool, _at = os.urandom(4096).hex(), 0
    h = _pool[_at : _at + 32]
    _at += 32
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:]}"
