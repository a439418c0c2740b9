"""Which objects are this control plane's, and that they come and go with labels, tags and selectors."""

from __future__ import annotations

from typing import Any

from mizzen.api.labels import from_message
from mizzen.istiod.config.membership import Membership
from mizzen.istiod.config.store import ConfigStore, Live


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def rule(namespace: str, name: str, revision: str | None = None) -> dict[str, Any]:
    labels = {} if revision is None else {"istio.io/rev": revision}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"host": "a"},
    }


def config_map(namespace: str, name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": {"istio.io/rev": "other"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": ""}}


class World:
    def __init__(self, revision: str = "default") -> None:
        self.store = ConfigStore()
        self.members = Membership(self.store, revision, "istio-system")

    def offer(self, *objects: dict[str, Any]) -> None:
        for obj in objects:
            self.members.offer(obj, "test", Live(1, {}))

    def names(self, kind: str = "DestinationRule") -> set[str]:
        return {key[1] for found, key in self.store.objects if found == kind}


def test_another_revisions_objects_are_not_ours() -> None:
    world = World("canary")
    world.offer(
        rule("a", "mine", "canary"), rule("a", "theirs", "stable"), rule("a", "everyones"), rule("a", "tagged", "prod")
    )
    assert world.names() == {"mine", "everyones"}
    world.members.use_tags(["prod"])
    assert world.names() == {"mine", "everyones", "tagged"}
    assert ("DestinationRule", ("a", "tagged")) in world.store.live
    world.members.use_tags([])
    assert world.names() == {"mine", "everyones"}
    world.offer(rule("a", "theirs"))
    assert world.names() == {"mine", "everyones", "theirs"}
    world.offer(config_map("a", "labelled"))
    assert world.names("ConfigMap") == {"labelled"}, "the label only counts on Istio's own kinds"


def test_selectors_of_namespaces() -> None:
    world = World()
    world.offer(
        namespace("in", mesh="yes"), namespace("out"), rule("in", "a"), rule("out", "b"), rule("istio-system", "c")
    )
    assert world.names() == {"a", "b", "c"}
    world.members.select([from_message({"matchLabels": {"mesh": "yes"}})])
    assert world.names() == {"a", "c"}
    assert world.names("Namespace") == {"in", "out"}
    world.offer(namespace("out", mesh="yes"))
    assert world.names() == {"a", "b", "c"}
    world.offer(namespace("out"), rule("out", "late"))
    assert world.names() == {"a", "c"}
    world.members.select([])
    assert world.names() == {"a", "b", "c", "late"}


def test_what_went_while_it_was_held_back_stays_away() -> None:
    world = World()
    world.members.select([from_message({"matchLabels": {"mesh": "yes"}})])
    world.offer(rule("out", "b"))
    world.members.withdraw(("DestinationRule", ("out", "b")))
    world.members.select([])
    assert world.names() == set()


def test_who_is_told() -> None:
    world, told = World(), []
    world.members.changed.append(lambda: told.append(world.members.revisions))
    world.members.use_tags(["prod"])
    world.members.use_tags(["prod"])
    assert told == [{"default", "prod"}]
