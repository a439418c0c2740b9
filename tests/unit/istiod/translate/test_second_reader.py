"""An independent reader of Envoy's messages, envoy-data-plane, reads what is served as it was meant.

Every resource of every recorded mesh is parsed and written again by it: it knows every field, and what it writes is the same
message. Payloads in an Any are read likewise. Messages that it has not (Istio's own, udpa) are left out.
"""

from __future__ import annotations

import dataclasses
from importlib import import_module
from typing import Any

import pytest
from google.protobuf.message import Message

from mizzen.wire.lookup import ensure
from mizzen.wire.schema import message_class
from tests.support.xds_corpus import CASES, served

NOT_THERE = ("stats.", "istio.", "udpa.", "google.protobuf.")
SEEN: set[bytes] = set()
"""Payloads that were read before, in whichever case."""


def other_class(full_name: str) -> Any:
    """The other reader's class; it spells names in its own way (HTTPFault: HttpFault)."""
    package, _, name = full_name.rpartition(".")
    module = import_module(f"envoy_data_plane.{package}")
    return next(value for key, value in vars(module).items() if key.lower() == name.lower())


def check(message: Message) -> None:
    """The other reader's reading of a message."""
    data = message.SerializeToString(deterministic=True)
    full_name = message.DESCRIPTOR.full_name
    if full_name.startswith(NOT_THERE) or data in SEEN:
        return
    SEEN.add(data)
    other = other_class(full_name).FromString(data)
    check_known(other, full_name)
    assert type(message).FromString(bytes(other)) == message, full_name


def check_known(value: Any, path: str) -> None:
    """No field inside is unknown; payloads are checked as messages of their own."""
    if isinstance(value, list):
        for item in value:
            check_known(item, path)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_known(item, f"{path}[{key}]")
    elif dataclasses.is_dataclass(value):
        assert not getattr(value, "_unknown_fields", b""), path
        if type(value).__name__ == "Any":
            name = value.type_url.rpartition("/")[2]
            if name and ensure(name):
                check(message_class(name).FromString(value.value))
            return
        for field in dataclasses.fields(value):
            check_known(getattr(value, field.name), f"{path}.{field.name}")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("case", CASES)
def test_reads_the_same(case: str) -> None:
    for sections in served(case).values():
        for section, messages in sections.items():
            if section != "name_table":
                for message in messages:
                    check(message)
