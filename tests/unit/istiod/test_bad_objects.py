"""One bad object changes nothing else: of every kind, bad in every way that the recorded verdicts know, and with references to what
does not exist. Everybody is served, byte for byte, what they were served without it; the webhook, `mizzen analyze` and the object's
status say why.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from mizzen.api import kinds
from mizzen.api.manifest import Document, load
from mizzen.api.validation import inspect, validate
from mizzen.istiod import dump
from mizzen.istiod.analysis.analyzers import ANALYZERS
from mizzen.istiod.analysis.model import Mesh
from mizzen.istiod.config.store import ConfigStore
from mizzen.istiod.mesh_config import load_mesh_config
from mizzen.istiod.objects import key_of, kind_of
from mizzen.istiod.server.webhooks import verdict
from mizzen.istiod.snapshot import Snapshot
from tests.support.xds_corpus import ROOT, nodes

VERDICTS = Path(__file__).parents[2] / "answers" / "validate"
MESH = "bookshop-baseline"
SETTINGS = load_mesh_config()
EXPECTED = json.loads((VERDICTS / "refused.expected.json").read_text())
TOLD_BY_TEXT = "key-twice"  # a key that stands twice is lost once the text has been read
DOCUMENTS = [document.object for document in load(VERDICTS / "refused.yaml")]
REFUSED = [obj for obj in DOCUMENTS if obj["metadata"].get("name") != TOLD_BY_TEXT]
# Valid, and about nothing that exists: in a namespace that nobody is in, so that nobody but they could be meant. Beside each
# what analysis says of it; nothing where nothing is named that could be missing.
NOWHERE = """
- {kind: VirtualService, says: IST0101, spec: {hosts: [nobody.test], http: [{route: [{destination: {host: none, subset: none}}]}]}}
- {kind: VirtualService, says: IST0101, spec: {hosts: [nobody.test], gateways: [none], tcp: [{route: [{destination: {host: none}}]}]}}
- {kind: VirtualService, says: IST0101, spec: {hosts: [nobody.test], http: [{delegate: {name: none}}]}}
- {kind: DestinationRule, says: IST0174, spec: {host: none, subsets: [{name: a, labels: {absent: label}}]}}
- {kind: DestinationRule, says: IST0174, spec: {host: none, trafficPolicy: {tls: {mode: MUTUAL, credentialName: none}}}}
- {kind: Gateway, says: IST0101, spec: {selector: {absent: label}, servers: [{port: {number: 1, name: a, protocol: HTTP}, hosts: ["*"]}]}}
- {kind: Sidecar, says: , spec: {egress: [{hosts: ["none/none.test"]}]}}
- {kind: Sidecar, says: IST0101, spec: {workloadSelector: {labels: {absent: label}}, egress: [{hosts: ["./*"]}]}}
- {kind: WorkloadEntry, says: , spec: {address: 192.0.2.1, labels: {absent: label}}}
- kind: EnvoyFilter
  says: IST0151
  spec: {workloadSelector: {labels: {absent: label}}, configPatches: [{applyTo: CLUSTER, patch: {operation: REMOVE}}]}
- {kind: AuthorizationPolicy, says: IST0127, spec: {selector: {matchLabels: {absent: label}}}}
- {kind: AuthorizationPolicy, says: IST0101, spec: {action: CUSTOM, provider: {name: none}, rules: [{}]}}
- {kind: PeerAuthentication, says: , spec: {mtls: {mode: STRICT}}}
- {kind: RequestAuthentication, says: , spec: {jwtRules: [{issuer: none.test}]}}
- {kind: Telemetry, says: IST0101, spec: {tracing: [{providers: [{name: none}]}]}}
- {kind: WasmPlugin, says: , spec: {url: "oci://none.test/none"}}
"""


def named(obj: dict[str, Any]) -> str:
    return f"{obj.get('kind')} {obj['metadata'].get('namespace', '')}/{obj['metadata'].get('name')}"


def nowhere() -> list[tuple[dict[str, Any], str | None]]:
    """Each object and the code that analysis has for it."""
    by_kind = {kind.kind: kind for kind in kinds.ISTIO_KINDS}
    return [
        (
            {
                "apiVersion": by_kind[one["kind"]].api_version,
                "kind": one["kind"],
                "metadata": {"name": "it", "namespace": "nowhere"},
                "spec": one["spec"],
            },
            one["says"],
        )
        for one in yaml.safe_load(NOWHERE)
    ]


def analysis_says(document: Document, *others: Document) -> set[str]:
    """The codes of the messages about an object."""
    mesh = Mesh([document, *others], SETTINGS)
    for entry in ANALYZERS:
        entry.analyze(mesh)
    return {message.type.code for message in mesh.results() if message.resource.document is document}


@cache
def base() -> tuple[Any, ...]:
    return tuple(dump.load_objects([ROOT / MESH / "input.yaml"]))


def served(snap: Snapshot) -> dict[str, list[tuple[str, bytes]]]:
    return {
        name: [
            (section, message.SerializeToString(deterministic=True))
            for section, messages in dump.resources(snap, node).items()
            for message in messages
        ]
        for name, node in nodes(MESH).items()
    }


@cache
def usual() -> dict[str, list[tuple[str, bytes]]]:
    return served(Snapshot.build(base(), SETTINGS))


def taken_in(obj: dict[str, Any]) -> tuple[ConfigStore, list[Any]]:
    """istiod's store with the mesh and the object, and what it takes for true then."""
    store = ConfigStore(validate)
    for one in base():
        store.put_typed((kind_of(one), key_of(kind_of(one), one)), one)
    store.put(obj, "here")
    return store, [change.obj for change in store.take()[0] if change.obj is not None]


@pytest.mark.parametrize("obj", REFUSED, ids=named)
def test_what_is_refused_changes_nothing(obj: dict[str, Any]) -> None:
    store, objects = taken_in(obj)
    assert len(objects) == len(base()), "the bad object is not among them"
    assert served(Snapshot.build(objects, SETTINGS)) == usual()
    message, _ = verdict({"object": obj, "operation": "CREATE"}, inspect)
    assert message, "the webhook says why"
    if kind_of_known(obj):
        assert [rejected.errors for rejected in store.rejected.values()], "and so does its status"


def kind_of_known(obj: dict[str, Any]) -> bool:
    return any(
        f"{kind.group}/{version}" == obj.get("apiVersion") for kind in kinds.ISTIO_KINDS for version in kind.versions
    )


@pytest.mark.parametrize("document", load(VERDICTS / "refused.yaml"), ids=lambda document: named(document.object))
def test_analysis_says_why(document: Document) -> None:
    assert "IST0106" in analysis_says(document)


@pytest.mark.parametrize(
    ("obj", "says"), nowhere(), ids=lambda value: value["kind"] if isinstance(value, dict) else value
)
def test_what_leads_nowhere_changes_nothing_for_others(obj: dict[str, Any], says: str | None) -> None:
    assert not validate(obj)
    exported = obj["kind"] in ("VirtualService", "DestinationRule")
    if exported:
        obj = {**obj, "spec": {**obj["spec"], "exportTo": ["."]}}
    _, objects = taken_in(obj)
    assert len(objects) == len(base()) + 1
    assert served(Snapshot.build(objects, SETTINGS)) == usual()
    found = analysis_says(Document(obj, "it.yaml", 1), *load(ROOT / MESH / "input.yaml"))
    assert says in found if says else not found


def test_every_verdict_has_its_object() -> None:
    assert len(DOCUMENTS) == len(EXPECTED)


def test_an_object_that_becomes_bad_stays_in_force_as_it_was() -> None:
    store, _ = taken_in({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "nowhere"}})
    changed = [
        {**document.object, "spec": {**document.object["spec"], "noSuchField": 1}}
        for document in load(ROOT / MESH / "input.yaml")
        if document.object["apiVersion"].partition("/")[0].endswith("istio.io")
    ]
    for obj in changed:
        assert "noSuchField" in str(store.put(obj, "here"))
    assert len(store.rejected) == len(changed) > 0
    assert not store.take()[0]
