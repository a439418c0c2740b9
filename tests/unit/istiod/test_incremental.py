"""A snapshot that grew object by object serves what one built at once serves."""

from __future__ import annotations

import random
from typing import Any

import pytest

from mizzen.istiod import dump
from mizzen.istiod.objects import key_of, kind_of
from mizzen.istiod.snapshot import Snapshot
from tests.support.xds_corpus import CASES, nodes, snapshot


def objects_of(snap: Snapshot) -> list[Any]:
    return [obj for table in snap.objects.tables.values() for obj in table.values()]


def served(snap: Snapshot, case: str) -> dict[str, dict[str, dict[str, bytes]]]:
    return {
        name: {
            section: {getattr(m, "name", "") or getattr(m, "cluster_name", ""): _bytes(m) for m in messages}
            for section, messages in dump.resources(snap, node).items()
        }
        for name, node in nodes(case).items()
    }


def _bytes(message: Any) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


@pytest.mark.parametrize("case", CASES)
def test_one_by_one(case: str) -> None:
    whole = snapshot(case)
    objects = objects_of(whole)
    random.Random(case).shuffle(objects)
    grown = Snapshot.build([], whole.mesh, whole.options)
    for obj in objects:
        grown = grown.replaced([obj])
    assert served(grown, case) == served(whole, case)


@pytest.mark.parametrize("case", CASES[::3])
def test_removed_and_put_back(case: str) -> None:
    whole = snapshot(case)
    expected = served(whole, case)
    shaken = whole
    objects = objects_of(whole)
    random.Random(case).shuffle(objects)
    for obj in objects[:12]:
        kind = kind_of(obj)
        shaken = shaken.replaced(removed=[(kind, *key_of(kind, obj))])
        served(shaken, case)
        shaken = shaken.replaced([obj])
    assert served(shaken, case) == expected
