"""Short stable hashes for names: of pod templates and of controller revisions."""

from __future__ import annotations

import hashlib
import json
from typing import Any

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, so that no words come about; as Kubernetes' generated names


def stable_hash(value: Any, collisions: int = 0) -> str:
    """Ten characters of ALPHABET that depend on a JSON value and on how often its hash collided before."""
    text = json.dumps([value, collisions] if collisions else value, sort_keys=True, separators=(",", ":"))
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    digits = []
    for _ in range(10):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(digits)
