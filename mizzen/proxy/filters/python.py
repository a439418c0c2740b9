"""HTTP filters that are Python classes (mizzen.http_filter): found, made, and driven by the data path.

Configured by a TypedStruct of type mizzen.filters.http.python.v1.Python: `filter` ("module:Class", or the name of an entry
point), `config` (a mapping for the class). Code comes only from where whoever runs the proxy says: folders (--python-filters)
and installed distributions (entry points of group mizzen.http_filters); a control plane can choose among them, no more.
"""

from __future__ import annotations

import importlib.util
import inspect
import logging
import re
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mizzen import http_filter as public
from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.filters.base import HttpFilter
from mizzen.proxy.filters.python_exchange import Exchange

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

log = logging.getLogger("envoy.filter")
TYPE, PER_ROUTE = "mizzen.filters.http.python.v1.Python", "mizzen.filters.http.python.v1.PerRoute"
GROUP = "mizzen.http_filters"
NAME = re.compile(r"([A-Za-z_]\w*):([A-Za-z_]\w*)")
_loaded: dict[Path, tuple[int, Any]] = {}  # modules with the time of their files


def load(name: str, folders: tuple[str, ...]) -> type[public.HttpFilter]:
    """The class that a configuration names. Raises ConfigError."""
    found = NAME.fullmatch(name)
    if found is not None:
        made = getattr(_module(found[1], folders), found[2], None)
    else:
        points = {point.name: point for point in entry_points(group=GROUP)}
        if name not in points:
            known = ", ".join(sorted(points)) or "none"
            raise ConfigError(
                f"Python filter {name!r}: no entry point of group {GROUP} has this name (there is {known})"
            )
        made = points[name].load()
    if not (inspect.isclass(made) and issubclass(made, public.HttpFilter)):
        raise ConfigError(f"Python filter {name!r}: no class derived from mizzen.http_filter.HttpFilter")
    return made


def _module(name: str, folders: tuple[str, ...]) -> Any:
    if not folders:
        raise ConfigError(
            f"Python filter module {name!r}: the proxy runs without --python-filters, which says where modules are"
        )
    for folder in folders:
        file = Path(folder) / f"{name}.py"
        if file.is_file():
            return _run(name, file)
    raise ConfigError(f"Python filter module {name!r}: not in {', '.join(folders)}")


def _run(name: str, file: Path) -> Any:
    """The module of a file, run anew when the file has changed."""
    stamp = file.stat().st_mtime_ns
    known = _loaded.get(file)
    if known is not None and known[0] == stamp:
        return known[1]
    spec = importlib.util.spec_from_file_location(f"mizzen_python_filters.{name}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the module does: it is the configuration's fault, and is told as such
        raise ConfigError(f"Python filter module {file}: {type(error).__name__}: {error}") from error
    _loaded[file] = (stamp, module)
    return module


class PythonFilter(HttpFilter):
    """One configured filter in a chain."""

    def __init__(self, made: public.HttpFilter, name: str, server: Any, hcm: Any) -> None:
        self.made = made
        self.server = server
        self.stats: Any = server.stats.group(f"http.{hcm.stat_prefix}.python.{name}", ["errors"])
        made._counter = self.stats.counter
        kind = type(made)
        base = public.HttpFilter
        self.decodes = kind.on_request is not base.on_request
        self.encodes = kind.on_response is not base.on_response
        self.finishes = kind.on_end is not base.on_end or self.decodes or self.encodes
        self.reads_request_data = self.decodes and kind.reads_request_body
        self.reads_response_data = self.encodes and kind.reads_response_body

    def exchange(self, stream: Stream) -> Exchange:
        if stream.state is None:
            stream.state = {}
        found: Exchange | None = stream.state.get(self)
        if found is None:
            found = stream.state[self] = Exchange(self, stream)
        return found

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        return self.exchange(stream).request_headers(headers, end)

    def request_data(self, stream: Stream, data: bytes, end: bool) -> bytes | None:
        return self.exchange(stream).request_data(data, end)

    def request_trailers(self, stream: Stream, trailers: Headers) -> bool:
        return self.exchange(stream).request_trailers(trailers)

    def response_headers(self, stream: Stream, headers: ResponseHeaders, end: bool) -> bool:
        return self.exchange(stream).response_headers(headers, end)

    def response_data(self, stream: Stream, data: bytes, end: bool) -> bytes | None:
        return self.exchange(stream).response_data(data, end)

    def response_trailers(self, stream: Stream, trailers: Headers) -> bool:
        return self.exchange(stream).response_trailers(trailers)

    def finished(self, stream: Stream) -> None:
        self.exchange(stream).finished()


def http_filter(config: Any, server: Any, hcm: Any) -> PythonFilter:
    settings = checked(config, {"filter": str, "config": dict}, TYPE)
    name = settings.get("filter") or ""
    if not name:
        raise ConfigError(f"{TYPE}.filter is required")
    kind = load(name, server.options.python_filters)
    try:
        made = kind(settings.get("config") or {})
    except Exception as error:  # the class refuses its configuration
        raise ConfigError(
            f"Python filter {name!r} refuses its configuration: {type(error).__name__}: {error}"
        ) from error
    return PythonFilter(made, name.partition(":")[2] or name, server, hcm)


def route_config(config: Any, server: Any) -> Mapping[str, Any]:
    settings: Mapping[str, Any] = checked(config, {"config": dict}, PER_ROUTE).get("config") or {}
    return settings


def checked(config: Any, fields: Mapping[str, type], where: str) -> Mapping[str, Any]:
    """The mapping, with these fields at most. Raises ConfigError, Unsupported."""
    if not isinstance(config, dict):
        raise ConfigError(f"{where}: a TypedStruct is expected")
    for key, value in config.items():
        if key not in fields:
            raise Unsupported(f"{where}.{key}")
        if not isinstance(value, fields[key]):
            raise ConfigError(f"{where}.{key}: expected {'a mapping' if fields[key] is dict else 'text'}")
    return config
