"""Random damage to real objects: validation answers, never raises; what it accepts can be decoded and encoded again."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mizzen.api import manifest
from mizzen.api.errors import Invalid
from mizzen.api.kinds import decode, encode
from mizzen.api.validation import inspect
from mizzen.istiod.analysis.analyzers import ANALYZERS
from mizzen.istiod.analysis.model import Mesh

ANSWERS = Path(__file__).parents[2] / "answers"
DOCUMENTS = [
    document
    for path in [ANSWERS / "validate/accepted.yaml", *sorted((ANSWERS / "analyze").glob("*.yaml"))]
    for document in manifest.load(path)
]
ACCEPTED = manifest.load(ANSWERS / "validate/accepted.yaml")
JUNK: list[Any] = [None, 0, -1, 1.5, True, "", "x", "*", [], {}, [None], [1], ["a"], {"a": 1}, {"a": None}, {1: 2}]
JUNK += ["1s", 10**20, {"exact": "a"}, [{}], "a/b", "[::1]:1", "é" * 10]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of an object with every key or index in it."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [place for key in keys for place in [(value, key), *places(value[key])]]


def damaged(obj: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    obj = copy.deepcopy(obj)
    for _ in range(rng.randint(1, 3)):
        container, key = rng.choice(places(obj) or [(obj, "kind")])
        if rng.random() < 0.8 or isinstance(container, list):
            container[key] = copy.deepcopy(rng.choice(JUNK))
        else:
            container[rng.choice(["x", "name", "*", ""])] = container.pop(key)
    return obj


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(DOCUMENTS))
def test_damage(seed: int, document: manifest.Document) -> None:
    rng = random.Random(seed)
    obj = damaged(document.object, rng)
    report = inspect(obj)
    try:
        decode(obj)
    except Invalid:
        assert report.errors
    mesh = Mesh([manifest.Document(obj, "", 1), *rng.sample(DOCUMENTS, 3)])
    for analyzer in ANALYZERS:
        analyzer.analyze(mesh)
    assert all(message.text for message in mesh.results())


@pytest.mark.parametrize("document", ACCEPTED, ids=lambda document: str(document.object["metadata"]["name"]))
def test_round_trip(document: manifest.Document) -> None:
    typed = decode(document.object)
    written = encode(typed)
    assert decode(written) == typed
    assert encode(decode(written)) == written
    assert not inspect(written).errors
