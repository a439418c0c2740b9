"""Format strings and JSON formats with command operators, compiled to functions of StreamInfo.

`text_format` is for logs and local replies (nothing is "-"), `header_format` for header values (nothing is nothing).
The operators are in operators.py. Source: envoy.config.core.v3.SubstitutionFormatString.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from mizzen.proxy.accesslog.codegen import generated, register
from mizzen.proxy.accesslog.operators import PLAIN, WITH_ARGUMENT
from mizzen.proxy.accesslog.values import Getter, as_text
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.http.info import StreamInfo

TextFormat = Callable[[StreamInfo], str]
COMMAND = re.compile(r"%(?:%|([A-Z0-9_]+)(?:\((.*?)\))?(?::([0-9]+))?%)")
DEFAULT = (
    '[%START_TIME%] "%REQUEST_HEADER(:METHOD)% %REQUEST_HEADER(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% '
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESPONSE_HEADER(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    '"%REQUEST_HEADER(X-FORWARDED-FOR)%" "%REQUEST_HEADER(USER-AGENT)%" "%REQUEST_HEADER(X-REQUEST-ID)%" '
    '"%REQUEST_HEADER(:AUTHORITY)%" "%UPSTREAM_HOST%"\n'
)


def without_query(argument: str) -> Getter:
    """%REQ_WITHOUT_QUERY(A?B)%: a request header up to its question mark."""
    read = WITH_ARGUMENT["REQ"](argument)
    return lambda info: None if (value := read(info)) is None else str(value).partition("?")[0]


# formatter extensions: type → the operators that they add
FORMATTERS: dict[str, dict[str, Callable[[str], Getter]]] = {
    "envoy.extensions.formatter.metadata.v3.Metadata": {},  # METADATA is built in
    "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery": {"REQ_WITHOUT_QUERY": without_query},
}
ADDED: dict[str, Callable[[str], Getter]] = {}


def operator(name: str, argument: str | None, length: int | None) -> Getter:
    """The function of one operator. Raises ConfigError for one that does not exist."""
    if argument is None:
        getter = PLAIN.get(name)
        if getter is None and name in WITH_ARGUMENT:
            getter = WITH_ARGUMENT[name]("")
    elif name in WITH_ARGUMENT:
        getter = WITH_ARGUMENT[name](argument)
    else:
        getter = ADDED[name](argument) if name in ADDED else None
    if getter is None:
        raise ConfigError(f"Not supported field in StreamInfo: {name}")
    if length is None:
        register(name, argument, getter)
        return getter

    def cut(info: StreamInfo) -> str | None:
        value = as_text(getter(info))
        return None if value is None else value[:length]

    return cut


def pieces(text: str) -> list[str | Getter]:
    """A format as literal texts and operators. Raises ConfigError where it is malformed."""
    out: list[str | Getter] = []
    at = 0
    while True:
        mark = text.find("%", at)
        if mark < 0:
            break
        matched = COMMAND.match(text, mark)
        if matched is None:
            raise ConfigError(f"Incorrect configuration: {text[mark:]}. Couldn't find valid command at position {mark}")
        out.append(text[at:mark])
        if matched[1] is None:
            out.append("%")
        else:
            out.append(operator(matched[1], matched[2], int(matched[3]) if matched[3] else None))
        at = matched.end()
    out.append(text[at:])
    return [piece for piece in out if piece != ""]


def join(parts: list[str | Getter], missing: str) -> TextFormat:
    if not parts:
        return lambda info: ""
    if len(parts) == 1:
        only = parts[0]
        if isinstance(only, str):
            return lambda info: only
        return lambda info: missing if (value := as_text(only(info))) is None else value
    return generated(parts, missing)


def text_format(text: str, omit_empty: bool = False) -> TextFormat:
    return join(pieces(text), "" if omit_empty else "-")


def header_format(text: str) -> TextFormat:
    """A header's value: missing values are nothing, wherever they stand, and the result is trimmed."""
    parts = pieces(text)
    if all(isinstance(part, str) for part in parts):
        fixed = "".join(part for part in parts if isinstance(part, str))
        return lambda info: fixed
    render = join(parts, "")
    return lambda info: render(info).strip(" \t")


def is_fixed(text: str) -> bool:
    """Whether a format has no operators."""
    return "%" not in text


def json_value(value: Any) -> Getter:
    """A member of a JSON format: one operator keeps its type, text around operators makes a string."""
    if isinstance(value, dict):
        members = [(key, json_value(item)) for key, item in value.items()]
        return lambda info: {key: member(info) for key, member in members}
    if isinstance(value, list):
        items = [json_value(item) for item in value]
        return lambda info: [item(info) for item in items]
    if isinstance(value, str):
        parts = pieces(value)
        if len(parts) == 1 and not isinstance(parts[0], str):
            return parts[0]
        render = join(parts, "-")
        return lambda info: render(info)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return lambda info: value


def without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_empty(item) for key, item in value.items() if item is not None}
    return value


def json_format(struct: Any, omit_empty: bool = False) -> TextFormat:
    """A google.protobuf.Struct as one line of JSON; members sorted by name as in a protobuf map."""
    root = json_value(struct_value(struct))

    def render(info: StreamInfo) -> str:
        value = root(info)
        return json.dumps(without_empty(value) if omit_empty else value, separators=(",", ":"), ensure_ascii=False)

    return render


def struct_value(message: Any) -> Any:
    """A Struct, ListValue or Value as plain Python, mappings sorted by key."""
    name = message.DESCRIPTOR.name
    if name == "Struct":
        return {key: struct_value(message.fields[key]) for key in sorted(message.fields)}
    if name == "ListValue":
        return [struct_value(item) for item in message.values]
    kind = message.WhichOneof("kind")
    if kind in ("struct_value", "list_value"):
        return struct_value(getattr(message, kind))
    return None if kind in (None, "null_value") else getattr(message, kind)


def substitution_format(message: Any) -> TextFormat:
    """The function of an envoy.config.core.v3.SubstitutionFormatString."""
    kind = message.WhichOneof("format")
    added: dict[str, Callable[[str], Getter]] = {}
    for formatter in message.formatters:
        type_name = formatter.typed_config.type_url.rpartition("/")[2]
        if type_name not in FORMATTERS:
            raise Unsupported(f"SubstitutionFormatString.formatters {formatter.name}")
        added |= FORMATTERS[type_name]
    if not added:
        return _formatted(message, kind)
    ADDED.update(added)  # only while this one format is compiled
    try:
        return _formatted(message, kind)
    finally:
        ADDED.clear()


def _formatted(message: Any, kind: str | None) -> TextFormat:
    if kind == "json_format":
        render = json_format(message.json_format, message.omit_empty_values)
        return lambda info: render(info) + "\n"
    if kind == "text_format":
        return text_format(message.text_format, message.omit_empty_values)
    if kind == "text_format_source":
        return text_format(data_source(message.text_format_source), message.omit_empty_values)
    raise ConfigError("SubstitutionFormatString: format is required")


def data_source(message: Any) -> str:
    """The text of an envoy.config.core.v3.DataSource."""
    return data_source_bytes(message).decode("utf-8", "replace")


def data_source_bytes(message: Any) -> bytes:
    import os

    kind = message.WhichOneof("specifier")
    if kind == "inline_string":
        return str(message.inline_string).encode()
    if kind == "inline_bytes":
        return bytes(message.inline_bytes)
    if kind == "environment_variable":
        value = os.environ.get(message.environment_variable)
        if value is None:
            raise ConfigError(f"Environment variable doesn't exist: {message.environment_variable}")
        return value.encode()
    if kind == "filename":
        try:
            with open(message.filename, "rb") as file:
                return file.read()
        except OSError as error:
            raise ConfigError(f"Invalid path: {message.filename}") from error
    raise ConfigError("DataSource: specifier is required")
