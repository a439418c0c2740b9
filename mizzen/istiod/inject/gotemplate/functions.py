"""The functions that injection templates have besides the language's own: sprig's common ones, and Istio's.

Sprig's are those on strings, lists, dictionaries, numbers, defaults and encodings; those that make keys, read files or the
network, or depend on the time are not built, and a template that uses one is refused by its name. Not here: the language.
Source: sprig's documentation; the list of functions of Istio's injector.
"""

from __future__ import annotations

import base64
import json
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any

import yaml

from mizzen.istiod.inject.gotemplate.values import shown, truth


def default(fallback: Any, value: Any = None) -> Any:
    return value if truth(value) else fallback


def coalesce(*values: Any) -> Any:
    return next((value for value in values if truth(value)), None)


def text(value: Any) -> str:
    return "" if value is None else shown(value)


def whole(value: Any) -> int:
    """A number of a number or text; 0 for what is none."""
    try:
        return int(float(value)) if not isinstance(value, str) else int(value, 0)
    except (TypeError, ValueError):
        return 0


def title(value: str) -> str:
    return re.sub(r"(^|\s)(\S)", lambda m: m[1] + m[2].upper(), value)


def truncated(count: int, value: str) -> str:
    return value[count:] if count < 0 else value[:count]


def indent(count: int, value: str) -> str:
    pad = " " * count
    return pad + value.replace("\n", "\n" + pad)


def to_yaml(value: Any) -> str:
    plain = json.loads(to_json(value))
    return (
        str(yaml.safe_dump(plain, sort_keys=True, width=1 << 30, allow_unicode=True))
        .removesuffix("\n")
        .removesuffix("\n...")
    )


def to_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def pretty_json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)


def dictionary(*pairs: Any) -> dict[str, Any]:
    keys, values = pairs[::2], pairs[1::2]
    return {text(key): values[n] if n < len(values) else "" for n, key in enumerate(keys)}


def assign(target: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    target[key] = value
    return target


def unset(target: dict[str, Any], key: str) -> dict[str, Any]:
    target.pop(key, None)
    return target


def merged(target: dict[str, Any], *others: Mapping[str, Any]) -> dict[str, Any]:
    """What the first has beats what the others have."""
    for other in others:
        for key, value in other.items():
            if isinstance(target.get(key), dict) and isinstance(value, Mapping):
                merged(target[key], value)
            elif not truth(target.get(key)):
                target[key] = value
    return target


def merged_over(target: dict[str, Any], *others: Mapping[str, Any]) -> dict[str, Any]:
    for other in others:
        for key, value in other.items():
            if isinstance(target.get(key), dict) and isinstance(value, Mapping):
                merged_over(target[key], value)
            else:
                target[key] = value
    return target


def has(needle: Any, haystack: Iterable[Any] | None) -> bool:
    return needle in (haystack or ())


def kind_of(value: Any) -> str:
    if value is None:
        return "invalid"
    for kind, name in ((bool, "bool"), (int, "int"), (float, "float64"), (str, "string"), (Mapping, "map")):
        if isinstance(value, kind):
            return name
    return "slice"


def fail(message: str) -> Any:
    raise ValueError(message)


def quoted(*values: Any) -> str:
    return " ".join(json.dumps(text(value), ensure_ascii=False) for value in values if value is not None)


def unique(values: Iterable[Any]) -> list[Any]:
    out: list[Any] = []
    for value in values:
        if value not in out:
            out.append(value)
    return out


def quotient(one: Any, other: Any) -> int:
    """Go's integer division, towards zero."""
    return int(whole(one) / whole(other))


SPRIG: dict[str, Callable[..., Any]] = {
    "default": default,
    "coalesce": coalesce,
    "empty": lambda value=None: not truth(value),
    "required": lambda message, value=None: value if value not in (None, "") else fail(message),
    "ternary": lambda yes, no, test: yes if test else no,
    "fail": fail,
    "trim": lambda value: value.strip(),
    "trimAll": lambda cut, value: value.strip(cut),
    "trimSuffix": lambda suffix, value: value.removesuffix(suffix),
    "trimPrefix": lambda prefix, value: value.removeprefix(prefix),
    "upper": lambda value: value.upper(),
    "lower": lambda value: value.lower(),
    "title": title,
    "untitle": lambda value: value[:1].lower() + value[1:],
    "repeat": lambda count, value: value * count,
    "substr": lambda start, end, value: value[start : end if end >= 0 else None],
    "nospace": lambda value: re.sub(r"\s", "", value),
    "trunc": truncated,
    "hasPrefix": lambda prefix, value: value.startswith(prefix),
    "hasSuffix": lambda suffix, value: value.endswith(suffix),
    "quote": quoted,
    "squote": lambda *values: " ".join(f"'{text(value)}'" for value in values if value is not None),
    "cat": lambda *values: " ".join(text(value) for value in values if value is not None),
    "replace": lambda old, new, value: value.replace(old, new),
    "nindent": lambda count, value: "\n" + indent(count, value),
    "plural": lambda one, many, count: one if count == 1 else many,
    "kebabcase": lambda value: re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_\s]+", "-", value).lower(),
    "snakecase": lambda value: re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[-\s]+", "_", value).lower(),
    "regexMatch": lambda pattern, value: re.search(pattern, value) is not None,
    "mustRegexMatch": lambda pattern, value: re.search(pattern, value) is not None,
    "regexFind": lambda pattern, value: (re.search(pattern, value) or [""])[0],
    "regexReplaceAll": lambda pattern, value, new: re.sub(pattern, re.sub(r"\$\{?(\w+)\}?", r"\\g<\1>", new), value),
    "join": lambda separator, values: separator.join(text(one) for one in values or ()),
    "splitList": lambda separator, value: value.split(separator),
    "split": lambda separator, value: {f"_{n}": part for n, part in enumerate(value.split(separator))},
    "sortAlpha": lambda values: sorted(map(text, values)),
    "toString": text,
    "toStrings": lambda values: [text(one) for one in values],
    "atoi": whole,
    "int": whole,
    "int64": whole,
    "float64": lambda value: float(value or 0),
    "add": lambda *values: sum(map(whole, values)),
    "add1": lambda value: whole(value) + 1,
    "sub": lambda one, other: whole(one) - whole(other),
    "mul": lambda one, *others: whole(one) * eval_product(others),
    "div": quotient,
    "mod": lambda one, other: whole(one) - quotient(one, other) * whole(other),
    "max": lambda *values: max(map(whole, values)),
    "min": lambda *values: min(map(whole, values)),
    "until": lambda count: list(range(count)),
    "list": lambda *values: list(values),
    "tuple": lambda *values: list(values),
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
    "rest": lambda values: list(values[1:]),
    "initial": lambda values: list(values[:-1]),
    "append": lambda values, value: [*values, value],
    "prepend": lambda values, value: [value, *values],
    "concat": lambda *lists: [one for values in lists for one in values],
    "reverse": lambda values: list(reversed(values)),
    "uniq": unique,
    "without": lambda values, *unwanted: [one for one in values if one not in unwanted],
    "compact": lambda values: [one for one in values if truth(one)],
    "has": has,
    "dict": dictionary,
    "get": lambda target, key: target.get(key, ""),
    "set": assign,
    "unset": unset,
    "hasKey": lambda target, key: key in (target or {}),
    "pluck": lambda key, *targets: [target[key] for target in targets if key in target],
    "dig": lambda *arguments: dig(arguments),
    "keys": lambda *targets: [key for target in targets for key in target],
    "values": lambda target: list(target.values()),
    "pick": lambda target, *keys: {key: target[key] for key in keys if key in target},
    "merge": merged,
    "mergeOverwrite": merged_over,
    "deepCopy": lambda value: json.loads(json.dumps(value)),
    "kindOf": kind_of,
    "typeOf": kind_of,
    "kindIs": lambda kind, value: kind_of(value) == kind,
    "typeIs": lambda kind, value: kind_of(value) == kind,
    "b64enc": lambda value: base64.b64encode(value.encode()).decode(),
    "b64dec": lambda value: base64.b64decode(value).decode(),
    "sha256sum": lambda value: sha256(value.encode()).hexdigest(),
    "toJson": to_json,
    "toRawJson": to_json,
    "toPrettyJson": pretty_json,
    "fromJson": lambda value: json.loads(value) if value else None,
    "base": posixpath.basename,
    "dir": lambda path: posixpath.dirname(path) or ".",
    "clean": posixpath.normpath,
    "ext": lambda path: posixpath.splitext(path)[1],
}


def eval_product(values: Iterable[Any]) -> int:
    """The product of numbers."""
    out = 1
    for value in values:
        out *= whole(value)
    return out


def dig(arguments: tuple[Any, ...]) -> Any:
    """dig "a" "b" fallback target."""
    *keys, fallback, target = arguments
    for key in keys:
        if not isinstance(target, Mapping) or key not in target:
            return fallback
        target = target[key]
    return target


# Istio's


def annotation(meta: Any, name: str, fallback: Any = "") -> str:
    """An annotation of an ObjectMeta, else the fallback as text."""
    found = (meta.get("annotations") or {}).get(name) if meta else None
    return found if found is not None else text(fallback)


def omitted(target: Mapping[str, Any] | None, *keys: str) -> dict[str, Any]:
    return {key: value for key, value in (target or {}).items() if key not in keys}


def is_set(target: Mapping[str, Any] | None, key: str) -> bool:
    return bool(target) and key in (target or {})


def application_ports(containers: Iterable[Mapping[str, Any]] | None) -> str:
    """Container ports of all but the proxy, as a list."""
    return ",".join(
        str(port["containerPort"])
        for container in containers or ()
        if container.get("name") != "istio-proxy"
        for port in container.get("ports") or ()
    )


def included_ports(containers: Iterable[Mapping[str, Any]] | None) -> str:
    """TCP ports of all but the proxy."""
    return ",".join(
        str(port["containerPort"])
        for container in containers or ()
        if container.get("name") != "istio-proxy"
        for port in container.get("ports") or ()
        if (port.get("protocol") or "TCP") == "TCP"
    )


def without_port(port: Any, excluded: str) -> str:
    """The excluded ports with one more, unless that is 0 or listed already."""
    listed = [one.strip() for one in text(excluded).split(",") if one.strip()]
    number = text(port).strip()
    return ",".join(listed if number in ("", "0") or number in listed else [*listed, number])


def multus_network(existing: str, network: str) -> str:
    """One more network in an annotation of Multus: a list of names, or JSON."""
    if not existing:
        return network
    stripped = existing.strip()
    if stripped.startswith("["):
        networks = json.loads(stripped)
        if any(one.get("name") == network for one in networks):
            return existing
        return f"{stripped[: stripped.rindex(']')]}, {json.dumps({'name': network})}]"
    return existing if network in [one.strip() for one in existing.split(",")] else f"{existing}, {network}"


def all_merged(*maps: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for one in maps for key, value in (one or {}).items()}


def json_map(target: Mapping[str, str] | None) -> str:
    """The inside of a JSON object: what stands between its braces."""
    return ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in sorted((target or {}).items()))


ISTIO: dict[str, Callable[..., Any]] = {
    "formatDuration": text,
    "isset": is_set,
    "excludeInboundPort": without_port,
    "includeInboundPorts": included_ports,
    "kubevirtInterfaces": text,
    "excludeInterfaces": text,
    "applicationPorts": application_ports,
    "annotation": annotation,
    "valueOrDefault": lambda value, fallback: value if truth(value) else fallback,
    "toJSON": lambda value: to_json(value or {}),
    "fromJSON": lambda value: json.loads(value) if value else {},
    "structToJSON": to_json,
    "protoToJSON": to_json,
    "toYaml": to_yaml,
    "indent": indent,
    "directory": lambda path: posixpath.dirname(path) + "/" if path else "",
    "contains": lambda value, part: part in text(value),
    "toLower": lambda value: text(value).lower(),
    "appendMultusNetwork": multus_network,
    "env": lambda name, fallback="": os.environ.get(name) or fallback,
    "omit": omitted,
    "omitNil": lambda target: {key: value for key, value in (target or {}).items() if value is not None},
    "strdict": dictionary,
    "toJsonMap": json_map,
    "mergeMaps": all_merged,
}

FUNCTIONS: dict[str, Callable[..., Any]] = {**SPRIG, **ISTIO}
"""Where both have a name, Istio's counts."""
