"""Decoding by kind."""

import pytest

from mizzen.api.errors import Invalid
from mizzen.api.istio.networking import VirtualService
from mizzen.api.kinds import BY_GVK, KINDS, decode, encode, find_by_name
from mizzen.api.shapes import shape
from mizzen.api.types import Duration


def virtual_service(**spec: object) -> dict[str, object]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "a", "namespace": "b"},
        "spec": spec,
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.group}/{kind.kind}")
def test_every_kind_has_a_type(kind: object) -> None:
    assert shape(kind.type).fields["metadata"]  # type: ignore[attr-defined]


def test_decode_and_encode() -> None:
    obj = virtual_service(
        hosts=["a"],
        http=[{"timeout": "1m", "match": [{"port": 80}], "route": [{"destination": {"host": "x"}}], "name": None}],
    )
    typed = decode(obj)
    assert isinstance(typed, VirtualService)
    assert typed.spec.http[0].timeout == Duration.parse("60s")
    assert encode(typed)["spec"] == {
        "hosts": ["a"],
        "http": [{"timeout": "60s", "match": [{"port": 80}], "route": [{"destination": {"host": "x"}}]}],
    }


@pytest.mark.parametrize(
    ("spec", "path", "reason"),
    [
        ({"http": [{"timeOut": "1s"}]}, "spec.http[0].timeOut", "timeout"),
        ({"http": [{"timeout": 1}]}, "spec.http[0].timeout", "duration"),
        (
            {"http": [{"match": [{"headers": {"x.y": {"exat": "1"}}}]}]},
            "spec.http[0].match[0].headers[x.y].exat",
            "exact",
        ),
        ({"http": [{"route": [{}]}]}, "spec.http[0].route[0].destination", "required"),
        ({"hosts": "a"}, "spec.hosts", "list"),
        ({"hosts": [1]}, "spec.hosts[0]", "string"),
    ],
)
def test_errors_name_the_path(spec: dict[str, object], path: str, reason: str) -> None:
    with pytest.raises(Invalid) as error:
        decode(virtual_service(**spec))
    assert error.value.path == path
    assert reason in error.value.reason


@pytest.mark.parametrize(
    ("head", "path"),
    [
        ({"apiVersion": "networking.istio.io/v2", "kind": "VirtualService"}, "apiVersion"),
        ({"apiVersion": "networking.istio.io/v1", "kind": "VirtualServce"}, "kind"),
        ({"kind": "VirtualService"}, "apiVersion"),
        ({"apiVersion": "v1"}, "kind"),
    ],
)
def test_unknown_kinds(head: dict[str, str], path: str) -> None:
    with pytest.raises(Invalid) as error:
        decode(head)
    assert error.value.path == path


def test_kubernetes_kinds_refuse_unknown_fields() -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "imag": "x"}]},
    }
    with pytest.raises(Invalid, match="did you mean image"):
        decode(pod)
    assert decode(pod, trusted=True).spec.containers[0].name == "c"


def test_names() -> None:
    assert find_by_name("vs").kind == "VirtualService"  # type: ignore[union-attr]
    assert find_by_name("po").kind == "Pod"  # type: ignore[union-attr]
    assert find_by_name("gateways.networking.istio.io").group == "networking.istio.io"  # type: ignore[union-attr]
    assert BY_GVK["networking.istio.io/v1alpha3", "Gateway"].storage_version == "v1"
    assert find_by_name("nothing") is None
