"""Which fields of Envoy's messages this proxy serves: the data of the gate (supported.py).

By message, the fields that something reads and acts on. A field that is neither here nor in no_effect.py is refused by its
name. A test holds that every field of these lists is really read.
"""

from __future__ import annotations

from mizzen.proxy.config.fields.extensions import EXTENSIONS
from mizzen.proxy.config.fields.resources import RESOURCES
from mizzen.proxy.config.fields.types import TYPES

FIELDS: dict[str, str] = {**RESOURCES, **EXTENSIONS, **TYPES}
