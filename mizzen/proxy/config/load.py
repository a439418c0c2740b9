"""Configuration text → protobuf messages: YAML and JSON as Envoy reads them, extension types imported when they are named.

Raises ConfigError with the place of what is wrong. Not here: what messages mean.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import descriptor_pool, json_format, message_factory

from mizzen.proxy.config.errors import ConfigError

log = logging.getLogger("envoy.config")
_POOL = descriptor_pool.Default()


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML scalars as yaml-cpp reads them: a date is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def read_text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise ConfigError(f"unable to read file: {path}: {error.strerror}") from error


def parse_document(text: str, name: str) -> Any:
    """The value of a YAML or JSON text; an empty one is an empty mapping."""
    try:
        value = json.loads(text) if name.endswith(".json") else yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"Unable to parse {name}: {error}") from error
    return {} if value is None else value


def types_in(value: Any) -> Iterator[str]:
    """Every "@type" in a document, without its prefix."""
    if isinstance(value, dict):
        kind = value.get("@type")
        if isinstance(kind, str):
            yield kind.rpartition("/")[2]
        for item in value.values():
            yield from types_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from types_in(item)


def import_type(name: str) -> bool:
    """Make a message type known to the descriptor pool; False when there is no such type."""
    try:
        _POOL.FindMessageTypeByName(name)
        return True
    except KeyError:
        pass
    package = name.rpartition(".")[0]
    while package:
        for module in modules_of(package):
            import_module(module)
            try:
                _POOL.FindMessageTypeByName(name)
                return True
            except KeyError:
                continue
        package = package.rpartition(".")[0]
        if package.count(".") < 1:
            break
    if "mizzen.wire" in sys.modules or find_spec("mizzen.wire") is not None:
        from mizzen.proxy.config.wire import import_wire

        if import_wire(name):
            return True
    return False


def modules_of(package: str) -> list[str]:
    """The generated modules of a protobuf package."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return []
    if spec is None or not spec.submodule_search_locations:
        return []
    out = []
    for folder in spec.submodule_search_locations:
        out += sorted(f"{package}.{path.stem}" for path in Path(folder).glob("*_pb2.py"))
    return out


def message_class(name: str) -> Any:
    """The class of a message type; None when there is no such type."""
    if not name or not import_type(name):
        return None
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


def fill(message: Any, value: Any, where: str, lenient: bool = False) -> Any:
    """Read a document's value into a message. Raises ConfigError that names the field.

    lenient: fields that the message does not have are left out, and the first is told in the log.
    """
    for name in types_in(value):
        if not import_type(name):
            owner = owner_of(value, name)
            raise ConfigError(
                f"{where}: could not find @type 'type.googleapis.com/{name}'{' of ' + owner if owner else ''}"
            )
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a mapping, got {type(value).__name__}")
    try:
        json_format.ParseDict(value, message)
    except (json_format.ParseError, TypeError, ValueError) as error:
        if not lenient or "has no field named" not in str(error):
            raise ConfigError(f"Unable to parse {where}: {error}") from error
        log.warning("%s: %s", where, error)
        message.Clear()
        try:
            json_format.ParseDict(value, message, ignore_unknown_fields=True)
        except (json_format.ParseError, TypeError, ValueError) as still:
            raise ConfigError(f"Unable to parse {where}: {still}") from still
    return message


def owner_of(value: Any, name: str) -> str:
    """The name of the extension whose typed_config has this type."""
    if isinstance(value, dict):
        config = value.get("typed_config") or value.get("typedConfig")
        if isinstance(config, dict) and str(config.get("@type", "")).endswith("/" + name):
            return str(value.get("name", ""))
        for item in value.values():
            if found := owner_of(item, name):
                return found
    elif isinstance(value, list):
        for item in value:
            if found := owner_of(item, name):
                return found
    return ""
