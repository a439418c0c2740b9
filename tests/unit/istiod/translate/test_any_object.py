"""No object of the right types, and no mesh setting, makes translation raise, for any type of proxy; what is emitted for
it is read alike by an independent reader.

More than is asked: admission refuses many of these before they get here. `MIZZEN_FUZZ_EXAMPLES` (each kind's, 25) and
pytest's --hypothesis-seed make it search further.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mizzen.api import kinds, mesh_config
from mizzen.api.errors import Invalid
from mizzen.api.istio.mesh import MeshConfig
from tests.support.fuzz_mesh import KINDS, changed
from tests.support.typed_objects import object_of, settings_of
from tests.unit.istiod.translate.test_second_reader import check

EXAMPLES = int(os.environ.get("MIZZEN_FUZZ_EXAMPLES", "25"))
searched = settings(
    max_examples=EXAMPLES,
    derandomize="MIZZEN_FUZZ_EXAMPLES" not in os.environ,  # else the same examples every time
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def translated(objects: list[Any], **more: Any) -> None:
    for section, message in changed(objects, **more):
        if section != "name_table":
            check(message)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.kind}.{kind.group}".rstrip("."))
@searched
@given(data=st.data())
def test_never_raises(kind: kinds.Kind, data: st.DataObject) -> None:
    try:
        obj = kinds.decode(data.draw(object_of(kind)))
    except Invalid:
        assume(False)
    translated([obj])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@searched
@given(given_settings=settings_of(MeshConfig))
def test_no_mesh_setting_raises(given_settings: Any) -> None:
    try:
        mesh = mesh_config.read(msgspec.json.encode(given_settings).decode())
    except Invalid:
        assume(False)
    translated([], mesh=mesh)
