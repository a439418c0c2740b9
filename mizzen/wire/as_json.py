"""A message as JSON, whatever types its Any fields hold: their modules are imported when they are first met.

protobuf's JSON mapping with the original field names, as Envoy's admin writes it. Not here: finding types (lookup.py).
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import json_format

import mizzen.wire.istio  # noqa: F401 (fills the pool with the types that xds-protos lacks)
from mizzen.wire.lookup import ensure

UNKNOWN = re.compile(r"type_url: ?(\S+)")


def as_json(message: Any) -> Any:
    """The JSON value. Raises TypeError for a type that no module of ours defines, naming it."""
    tried: set[str] = set()
    while True:
        try:
            return json_format.MessageToDict(message, preserving_proto_field_name=True)
        except TypeError as error:
            found = UNKNOWN.search(str(error))
            name = found[1].rpartition("/")[2] if found else ""
            if not name or name in tried or not ensure(name):
                raise
            tried.add(name)
