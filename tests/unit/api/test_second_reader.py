"""Another reader of the same kinds, made from Istio's CRDs by others, reads what is written here and finds the same."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pydantic
import pytest

from mizzen.api import manifest
from mizzen.api.kinds import ISTIO_KINDS, decode, encode

ACCEPTED = manifest.load(Path(__file__).parents[2] / "answers/validate/accepted.yaml")
VERSIONS = "networking.v1alpha3 networking.v1beta1 networking.v1 security.v1 telemetry.v1 extensions.v1alpha1"


def models() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in VERSIONS.split():
        module = import_module(f"cloudcoil.models.istio.{name}")
        found.update({kind.kind: getattr(module, kind.kind) for kind in ISTIO_KINDS if hasattr(module, kind.kind)})
    return found


MODELS = models()
NEWER = {
    "spec.resolution": "DYNAMIC_DNS",
    "spec.configPatches[0].match.context": "WAYPOINT",
    "spec.jwtRules[0].issuer": "required in the reader's version",
    "spec.http[0].retries.backoff": "unknown to it",
    "spec.rules[1].from[1].source.serviceAccounts": "unknown to it",
    "spec.rules[1].from[1].source.trustDomains": "unknown to it",
}


def differences(ours: Any, theirs: Any, path: str) -> Iterator[str]:
    """The paths at which two JSON values differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in {**ours, **theirs}:
            yield from differences(ours.get(key), theirs.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for at, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{path}[{at}]")
    elif ours != theirs:
        yield path


def refused(error: pydantic.ValidationError) -> Iterator[str]:
    """The paths that the other reader refuses; of a choice of models each says its own, under the model's name."""
    for place in error.errors():
        steps = [step for step in place["loc"] if not str(step).startswith("Match")]
        yield "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


@pytest.mark.parametrize("document", ACCEPTED, ids=lambda document: str(document.object["metadata"]["name"]))
def test_agrees(document: manifest.Document) -> None:
    ours = encode(decode(document.object))
    model = MODELS.get(str(ours["kind"]))
    if model is None:
        pytest.skip("a kind newer than the other reader")
    ours["apiVersion"] = model.model_fields["api_version"].default
    try:
        theirs = model.model_validate(ours).model_dump(by_alias=True, exclude_unset=True, mode="json")
    except pydantic.ValidationError as error:
        assert set(refused(error)) & set(NEWER)
    else:
        assert set(differences(ours, theirs, "")) <= set(NEWER)
