"""Small protobuf values as plain Python ones: durations, percentages, addresses, wrapper scalars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.supported import check

DENOMINATORS = {0: 100, 1: 10_000, 2: 1_000_000}


def seconds(message: Any) -> float:
    """A google.protobuf.Duration in seconds."""
    return float(message.seconds) + float(message.nanos) / 1e9


def optional_seconds(message: Any, field: str, default: float | None = None) -> float | None:
    """A Duration field in seconds, `default` when it is not set."""
    return seconds(getattr(message, field)) if message.HasField(field) else default


def wrapped(message: Any, field: str, default: Any) -> Any:
    """The value of a wrapper field, `default` when it is not set."""
    return getattr(message, field).value if message.HasField(field) else default


def fraction(message: Any) -> float:
    """An envoy.type.v3.FractionalPercent as a number from 0 to 1."""
    return min(1.0, float(message.numerator) / DENOMINATORS[message.denominator])


def only_v3(message: Any, field: str, where: str) -> None:
    """Raise ConfigError for another version of the xDS protocol or of its resources: there is no other any more."""
    if getattr(message, field) == 1:
        raise ConfigError(f"{where}.{field}: V2 is not spoken")


def socket_address(address: Any, where: str) -> tuple[str, int]:
    """Host and port of an envoy.config.core.v3.Address; a pipe gives its path and port -1."""
    kind = address.WhichOneof("address")
    if kind == "socket_address":
        sock = address.socket_address
        if sock.WhichOneof("port_specifier") == "named_port":
            raise Unsupported(f"{where}.socket_address.named_port")
        if sock.protocol == 1:
            raise Unsupported(f"{where}.socket_address.protocol UDP")
        return str(sock.address), int(sock.port_value)
    if kind == "pipe":
        return str(address.pipe.path), -1
    raise Unsupported(f"{where}.{kind}")


def unpack(any_message: Any, kind: type[Any], where: str) -> Any:
    """The message inside a google.protobuf.Any, which must be of this type. Raises Unsupported for fields that nobody serves."""
    message = kind()
    if not any_message.Unpack(message):
        got = any_message.type_url.rpartition("/")[2]
        raise ConfigError(f"{where}: expected {message.DESCRIPTOR.full_name}, got {got or 'nothing'}")
    check(message, message.DESCRIPTOR.name)
    return message


Predicate = Callable[[Any], bool]
