"""Functions and methods of CEL and of Kubernetes' libraries: strings, lists, regular expressions, quantities, addresses, …

`FUNCTIONS` are called as f(x), `METHODS` as x.f(…), with the target first. Each takes evaluated values; wrong kinds raise EvaluationError.
Source: CEL standard definitions; Kubernetes' CEL libraries.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import re2

from .quantity import quantity as parse_quantity
from .values import NOTHING, EvaluationError, Optional, Quantity, Semver, Uint, Url, duration, timestamp, type_name


def no_overload(name: str, *_: Any) -> EvaluationError:
    return EvaluationError("no such overload")


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# conversions


def to_int(value: Any) -> int:
    if isinstance(value, datetime):
        return int(value.timestamp())
    try:
        return int(value)
    except (TypeError, ValueError):
        raise EvaluationError("type conversion error") from None


def to_double(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise EvaluationError("type conversion error") from None


def to_string(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Url):
        return value.text
    return str(value)


def to_bool(value: Any) -> bool:
    if value in (True, "true", "TRUE", "True", "t", "1"):
        return True
    if value in (False, "false", "FALSE", "False", "f", "0"):
        return False
    raise EvaluationError("type conversion error")


def size(value: Any) -> int:
    if isinstance(value, (str, bytes, list, dict)):
        return len(value)
    raise no_overload("size")


def quantity(text: Any) -> Quantity:
    try:
        return Quantity(parse_quantity(text))
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def url(text: Any) -> Url:
    if not isinstance(text, str):
        raise no_overload("url")
    parts = urlsplit(text)
    if not (parts.scheme and parts.netloc) and not text.startswith("/"):
        raise EvaluationError(f"URL parse error during conversion from string: parse {text!r}: invalid URI for request")
    return Url(text, parts)


def ip(text: Any) -> Any:
    try:
        if "%" in text or (text.lower().startswith("::ffff:") and "." in text):
            raise ValueError
        return ipaddress.ip_address(text)
    except (ValueError, TypeError):
        raise EvaluationError(
            f'IP Address {text!r} parse error during conversion from string: ParseAddr("{text}"): unable to parse IP'
        ) from None


def cidr(text: Any) -> Any:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise EvaluationError(
            f'network address parse error during conversion from string: netip.ParsePrefix("{text}")'
        ) from None


def _succeeds(make: Callable[[Any], Any]) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        try:
            make(value)
        except EvaluationError:
            return False
        return True

    return check


# lists and strings


def ordered(items: list[Any]) -> list[Any]:
    try:
        return sorted(items)
    except TypeError:
        raise no_overload("sort") from None


def _minimum(items: list[Any]) -> Any:
    if not items:
        raise EvaluationError("min called on empty list")
    return min(items)


def _maximum(items: list[Any]) -> Any:
    if not items:
        raise EvaluationError("max called on empty list")
    return max(items)


def _index(text: Any, part: Any, start: int = 0) -> int:
    if isinstance(text, list):
        return text.index(part) if part in text else -1
    return int(text.find(part, start))


def _last_index(text: Any, part: Any, *start: int) -> int:
    if isinstance(text, list):
        return len(text) - 1 - text[::-1].index(part) if part in text else -1
    return int(text.rfind(part, 0, start[0] + len(part))) if start else int(text.rfind(part))


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    parts = list(text) if separator == "" else text.split(separator)
    if 0 < limit < len(parts):
        return [*parts[: limit - 1], separator.join(parts[limit - 1 :])]
    return parts


def _replace(text: str, old: str, new: str, limit: int = -1) -> str:
    return text.replace(old, new, limit)


def _substring(text: str, start: int, end: int | None = None) -> str:
    end = len(text) if end is None else end
    if not 0 <= start <= end <= len(text):
        raise EvaluationError(f"index out of range: {start}")
    return text[start:end]


def _char(text: str, place: int) -> str:
    if not 0 <= place <= len(text):
        raise EvaluationError(f"index out of range: {place}")
    return text[place : place + 1]


def _strings(name: str, *values: Any) -> None:
    if not all(isinstance(one, str) for one in values):
        raise no_overload(name)


def matches(text: Any, pattern: Any) -> bool:
    _strings("matches", text, pattern)
    try:
        return re2.search(pattern, text) is not None
    except re2.error as error:
        raise EvaluationError(f"error parsing regexp: {error}") from None


def _find(text: str, pattern: str) -> str:
    found = re2.search(pattern, text)
    return str(found.group()) if found else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [one.group() for one in re2.finditer(pattern, text)]
    return found[:limit] if limit >= 0 else found


def _format(template: str, values: list[Any]) -> str:
    place = 0

    def one(found: re.Match[str]) -> str:
        nonlocal place
        if found[2] == "%":
            return "%"
        if place >= len(values):
            raise EvaluationError(f"index {place} out of range")
        value, place = values[place], place + 1
        return _formatted(found[2], found[1], value)

    return re.sub(r"%(?:\.(\d+))?([%sdfexXob])", one, template)


def _formatted(clause: str, precision: str | None, value: Any) -> str:
    match clause:
        case "d":
            return str(value)
        case "f":
            return f"{float(value):.{precision or 6}f}"
        case "e":
            return f"{float(value):.{precision or 6}e}"
        case "x" | "X":
            text = (
                value.encode().hex()
                if isinstance(value, str)
                else value.hex()
                if isinstance(value, bytes)
                else f"{value:x}"
            )
            return str(text.upper() if clause == "X" else text)
        case "o" | "b":
            return f"{value:{clause}}"
    if isinstance(value, list):
        return "[" + ", ".join(_formatted("s", None, one) for one in value) + "]"
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{_formatted('s', None, key)}: {_formatted('s', None, value[key])}" for key in sorted(value))
            + "}"
        )
    return "null" if value is None else to_string(value)


# times


def _zoned(moment: datetime, zone: str = "UTC") -> datetime:
    try:
        return moment.astimezone(ZoneInfo(zone) if zone != "UTC" else UTC)
    except (KeyError, ValueError):
        raise EvaluationError(f"unknown time zone {zone}") from None


def _seconds_of(value: Any, part: str, zone: str = "UTC") -> int:
    if isinstance(value, timedelta):
        total = value.total_seconds()
        return {
            "getHours": int(total // 3600),
            "getMinutes": int(total // 60),
            "getSeconds": int(total),
            "getMilliseconds": int(total * 1000) % 1000,
        }[part]
    moment = _zoned(value, zone)
    parts = {
        "getHours": moment.hour,
        "getMinutes": moment.minute,
        "getSeconds": moment.second,
        "getMilliseconds": moment.microsecond // 1000,
    }
    return parts[part]


def _distinct(items: list[Any]) -> list[Any]:
    out: list[Any] = []
    for one in items:
        if one not in out:
            out.append(one)
    return out


def _flatten(items: list[Any], depth: int = 1) -> list[Any]:
    out: list[Any] = []
    for one in items:
        out += _flatten(one, depth - 1) if isinstance(one, list) and depth > 0 else [one]
    return out


def _amount(value: Any) -> Fraction:
    if isinstance(value, Quantity):
        return value.amount
    if _number(value):
        return Fraction(value)
    raise no_overload("quantity")


def _compare(one: Any, other: Any) -> int:
    mine: Any = one.key if isinstance(one, Semver) else _amount(one)
    theirs: Any = other.key if isinstance(one, Semver) else _amount(other)
    return int(mine > theirs) - int(mine < theirs)


def _as_integer(value: Quantity) -> int:
    if value.amount.denominator != 1:
        raise EvaluationError("cannot convert value to integer")
    return int(value.amount)


def _or_value(one: Optional, other: Any) -> Any:
    return one.value if one.there else other


def _value(one: Optional) -> Any:
    if not one.there:
        raise EvaluationError("optional.none() dereference")
    return one.value


def _of_non_zero(value: Any) -> Optional:
    empty = value is None or value is False or value == 0 or value == "" or value == [] or value == {}
    return NOTHING if empty else Optional(True, value)


def _semver(text: Any, normalize: bool = False) -> Semver:
    if normalize:
        text = text.removeprefix("v")
        head, _, rest = text.partition("-")
        numbers = [one.lstrip("0") or "0" for one in head.split(".")]
        text = ".".join([*numbers, "0", "0"][:3]) + (f"-{rest}" if rest else "")
    return Semver(text)


def _ip_in(network: Any, address: Any) -> bool:
    return (ip(address) if isinstance(address, str) else address) in network


def _network_in(network: Any, other: Any) -> bool:
    inner = cidr(other) if isinstance(other, str) else other
    return bool(inner.version == network.version and inner.subnet_of(network))


_FORMATS: dict[str, Callable[[str], list[str]]] = {}


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "size": size, "int": to_int, "uint": lambda one: Uint(to_int(one)), "double": to_double, "string": to_string, "bool": to_bool,
    "bytes": lambda one: one.encode() if isinstance(one, str) else one, "dyn": lambda one: one, "type": type_name,
    "timestamp": lambda one: one if isinstance(one, datetime) else datetime.fromtimestamp(one, UTC) if isinstance(one, int) else timestamp(one),
    "duration": lambda one: one if isinstance(one, timedelta) else duration(one), "matches": matches,
    "quantity": quantity, "isQuantity": _succeeds(quantity), "url": url, "isURL": _succeeds(url), "ip": ip, "isIP": _succeeds(ip),
    "cidr": cidr, "isCIDR": _succeeds(cidr), "semver": _semver, "isSemver": _succeeds(_semver),
    "ip.isCanonical": lambda one: str(ip(one)) == one, "optional.of": lambda one: Optional(True, one), "optional.none": lambda: NOTHING,
    "optional.ofNonZeroValue": _of_non_zero, "sets.contains": lambda one, other: all(item in one for item in other),
    "sets.equivalent": lambda one, other: all(item in one for item in other) and all(item in other for item in one),
    "sets.intersects": lambda one, other: any(item in one for item in other) or (not one and not other),
    "math.greatest": lambda *values: max(values[0] if len(values) == 1 and isinstance(values[0], list) else values),
    "math.least": lambda *values: min(values[0] if len(values) == 1 and isinstance(values[0], list) else values),
    "jsonpatch.escapeKey": lambda one: one.replace("~", "~0").replace("/", "~1"), "math.abs": abs, "base64.encode": lambda one: base64.b64encode(one).decode(), "base64.decode": base64.b64decode,
    "strings.quote": lambda one: '"' + one.replace("\\", "\\\\").replace('"', '\\"') + '"', "lists.range": lambda one: list(range(one)),
}  # fmt: skip

METHODS: dict[str, Callable[..., Any]] = {
    "size": size, "startsWith": lambda one, part: one.startswith(part), "endsWith": lambda one, part: one.endswith(part),
    "contains": lambda one, part: part in one, "matches": matches, "isSorted": lambda one: one == ordered(one), "sum": lambda one: sum(one),
    "min": _minimum, "max": _maximum, "indexOf": _index, "lastIndexOf": _last_index, "charAt": _char, "lowerAscii": lambda one: one.lower(),
    "upperAscii": lambda one: one.upper(), "replace": _replace, "split": _split, "substring": _substring, "trim": lambda one: one.strip(),
    "join": lambda one, separator="": separator.join(one), "reverse": lambda one: one[::-1], "find": _find, "findAll": _find_all,
    "format": _format, "getScheme": lambda one: one.parts.scheme, "getHost": lambda one: one.parts.netloc.rpartition("@")[2],
    "getHostname": lambda one: (one.parts.hostname or ""), "getPort": lambda one: str(one.parts.port or ""),
    "getEscapedPath": lambda one: one.parts.path, "getQuery": lambda one: parse_qs(one.parts.query, keep_blank_values=True),
    "sign": lambda one: (one.amount > 0) - (one.amount < 0), "isInteger": lambda one: one.amount.denominator == 1, "asInteger": _as_integer,
    "asApproximateFloat": lambda one: float(one.amount), "add": lambda one, other: Quantity(one.amount + _amount(other)),
    "sub": lambda one, other: Quantity(one.amount - _amount(other)), "compareTo": _compare,
    "isGreaterThan": lambda one, other: _compare(one, other) > 0, "isLessThan": lambda one, other: _compare(one, other) < 0,
    "family": lambda one: one.version, "isUnspecified": lambda one: one.is_unspecified, "isLoopback": lambda one: one.is_loopback,
    "isLinkLocalMulticast": lambda one: one.is_multicast and one.is_link_local, "isLinkLocalUnicast": lambda one: one.is_link_local,
    "isGlobalUnicast": lambda one: not (one.is_unspecified or one.is_loopback or one.is_multicast or one.is_link_local),
    "containsIP": _ip_in, "containsCIDR": _network_in, "prefixLength": lambda one: one.prefixlen, "masked": lambda one: one,
    "ip": lambda one: one.network_address, "hasValue": lambda one: one.there, "value": _value, "orValue": _or_value,
    "or": lambda one, other: one if one.there else other, "getFullYear": lambda one, zone="UTC": _zoned(one, zone).year,
    "getMonth": lambda one, zone="UTC": _zoned(one, zone).month - 1, "getDate": lambda one, zone="UTC": _zoned(one, zone).day,
    "getDayOfMonth": lambda one, zone="UTC": _zoned(one, zone).day - 1, "getDayOfWeek": lambda one, zone="UTC": (_zoned(one, zone).weekday() + 1) % 7,
    "getDayOfYear": lambda one, zone="UTC": _zoned(one, zone).timetuple().tm_yday - 1,
    "getHours": lambda one, zone="UTC": _seconds_of(one, "getHours", zone), "getMinutes": lambda one, zone="UTC": _seconds_of(one, "getMinutes", zone),
    "getSeconds": lambda one, zone="UTC": _seconds_of(one, "getSeconds", zone),
    "getMilliseconds": lambda one, zone="UTC": _seconds_of(one, "getMilliseconds", zone), "distinct": _distinct, "flatten": _flatten,
    "slice": lambda one, start, end: one[start:end], "sort": ordered, "first": lambda one: Optional(True, one[0]) if one else NOTHING,
    "last": lambda one: Optional(True, one[-1]) if one else NOTHING, "major": lambda one: one.major, "minor": lambda one: one.minor,
    "patch": lambda one: one.patch,
}  # fmt: skip
