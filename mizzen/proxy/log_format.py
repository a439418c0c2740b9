"""The process's own log lines in the format that the bootstrap or `--log-format` asks for.

Takes spdlog's patterns (`%T`, `%l`, `%n`, `%v` …) and JSON formats made of them; a flag that is not known is refused by
name. Source: envoy.config.bootstrap.v3.Bootstrap.ApplicationLogConfig, Envoy's `--log-format`.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable
from typing import Any

from mizzen.proxy.accesslog.format import struct_value
from mizzen.proxy.config.errors import ConfigError, Unsupported

Flag = Callable[[logging.LogRecord], str]
DEFAULT = "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v"


def _clock(pattern: str) -> Flag:
    return lambda record: time.strftime(pattern, time.localtime(record.created))


def _fraction(digits: int) -> Flag:
    return lambda record: f"{record.created % 1:.9f}"[2 : 2 + digits]


def _component(record: logging.LogRecord) -> str:
    return record.name.removeprefix("envoy.")


def _escaped(text: str) -> str:
    """As the inside of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


FLAGS: dict[str, Flag] = {
    **{flag: _clock(f"%{flag}") for flag in "YmdHMSTFDaAbByIpcxX"},
    "f": _fraction(6), "e": _fraction(3), "z": _clock("%z"),
    "l": lambda record: record.levelname.lower(), "L": lambda record: record.levelname[:1].upper(),
    "n": _component, "v": lambda record: record.getMessage(), "_": lambda record: _escaped(record.getMessage()),
    "j": lambda record: _escaped(record.getMessage()),
    "g": lambda record: record.pathname, "s": lambda record: record.filename, "#": lambda record: str(record.lineno),
    "!": lambda record: record.funcName, "t": lambda record: str(record.thread), "P": lambda record: str(record.process),
    "%": lambda record: "%",
}  # fmt: skip


def pattern(text: str, where: str) -> Flag:
    """A line's maker of a pattern. Raises Unsupported for a flag that is not served."""
    parts: list[Flag | str] = []
    for literal, flag in re.findall(r"([^%]+)|%(.?)", text, re.DOTALL):
        if literal:
            parts.append(literal)
        elif flag in FLAGS:
            parts.append(FLAGS[flag])
        else:
            raise Unsupported(f"{where} %{flag}")
    return lambda record: "".join(part if isinstance(part, str) else part(record) for part in parts)


class Lines(logging.Formatter):
    """A formatter for a line's maker; a failure's traceback follows the line. escaped: as C writes strings, in one line."""

    def __init__(self, line: Flag, escaped: bool = False) -> None:
        super().__init__()
        self._line = line
        self._escaped = escaped

    def format(self, record: logging.LogRecord) -> str:
        text = self._line(record)
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return c_escaped(text) if self._escaped else text


def c_escaped(text: str) -> str:
    """Quotes, backslashes and what is not printable as in a C string."""
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "'": "\\'", "\\": "\\\\"}
    return "".join(named.get(c) or (c if c.isprintable() and c.isascii() else octal(c)) for c in text)


def octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode())


def configured(message: Any, escaped: bool = False) -> Lines:
    """The formatter of a LogFormat. Raises ConfigError, Unsupported."""
    where = "Bootstrap.application_log_config.log_format"
    if message.WhichOneof("log_format") == "text_format":
        return Lines(pattern(message.text_format, where), escaped)
    fields = struct_value(message.json_format)
    if not all(isinstance(value, str) for value in fields.values()):
        raise ConfigError(f"{where}: json_format takes texts only")
    made = {name: pattern(text, f"{where}.{name}") for name, text in fields.items()}
    return Lines(lambda record: "{" + ",".join(f'"{k}":"{make(record)}"' for k, make in made.items()) + "}", escaped)


def use(lines: Lines) -> None:
    for handler in logging.getLogger().handlers:
        handler.setFormatter(lines)
