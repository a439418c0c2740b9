"""Revision tags: what is made, what is refused, who uses them."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api.errors import UsageError
from mizzen.istioctl import tags
from mizzen.istioctl.injectors import verdicts
from mizzen.up.install import Plan, injector


def of(revision: str) -> dict[str, Any]:
    return injector(Plan(host="192.0.2.1", revision=revision))


def test_a_tag_selects_by_its_name_and_leads_to_its_revision() -> None:
    made = tags.tag_webhook(tags.injector_of([of("v2"), of("v1")], "v1"), "prod")
    assert made["metadata"]["name"] == "istio-revision-tag-prod"
    assert made["metadata"]["labels"] == {"istio.io/tag": "prod", "istio.io/rev": "v1", "app": "sidecar-injector"}
    assert made["webhooks"][0]["clientConfig"] == of("v1")["webhooks"][0]["clientConfig"]
    (by_tag,) = verdicts([made], {"istio.io/rev": "prod"}, {})
    (by_default,) = verdicts([made], {"istio-injection": "enabled"}, {})
    assert (by_tag.injected, by_tag.revision, by_default.injected) == (True, "v1", False)


def test_the_tag_default_answers_for_injection_labels() -> None:
    made = tags.tag_webhook(of("v1"), "default", every_namespace=True)
    (enabled,) = verdicts([made], {"istio-injection": "enabled"}, {})
    (silent,) = verdicts([made], {"kubernetes.io/metadata.name": "shop"}, {})
    (system,) = verdicts([made], {"kubernetes.io/metadata.name": "kube-system"}, {})
    assert (enabled.injected, silent.injected, system.injected) == (True, True, False)
    validator = tags.default_validator(of("v1"))
    assert validator["webhooks"][0]["clientConfig"]["service"]["path"] == "/validate"


def test_what_is_refused() -> None:
    tag = tags.tag_webhook(of("v1"), "prod")
    with pytest.raises(UsageError, match="already exists"):
        tags.check([tag], "prod", overwrite=False)
    tags.check([tag], "prod", overwrite=True)
    with pytest.raises(UsageError, match="control plane of that revision exists"):
        tags.check([of("v1")], "v1", overwrite=True)
    with pytest.raises(UsageError, match="no injection webhook of revision 'v3'"):
        tags.injector_of([of("v1"), tag], "v3")


def test_who_uses_a_tag() -> None:
    def namespace(name: str, **labels: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "labels": {k.replace("_", "-"): v for k, v in labels.items()}}}

    every = [
        {"metadata": {"name": "a", "labels": {"istio.io/rev": "prod"}}},
        namespace("b", istio_injection="enabled"),
        {"metadata": {"name": "c", "labels": {"istio.io/rev": "prod", "istio-injection": "disabled"}}},
    ]
    assert tags.users("prod", every) == ["a"]
    assert tags.users("default", every) == ["b"]
    assert tags.rows([tags.tag_webhook(of("v1"), "prod"), of("v1")], every) == [("prod", "v1", "a")]


def test_a_service_by_the_tags_name() -> None:
    service = {
        "metadata": {"name": "istiod", "labels": {"istio.io/rev": "v1"}},
        "spec": {"selector": {"app": "istiod"}, "ports": [{"port": 15012, "nodePort": 30000}]},
    }
    made = tags.tag_service(service, "prod")
    assert made["metadata"]["name"] == "istiod-revision-tag-prod"
    assert made["spec"] == {"ports": [{"port": 15012}], "selector": {"app": "istiod"}}
