"""Headers of a VirtualService route → envoy's header options.

Takes the two directions' operations, gives lists sorted by header name. Not here: matching on headers (route_match.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from envoy.config.core.v3 import base_pb2 as core
from envoy.config.route.v3 import route_components_pb2 as routes

from mizzen.api.istio.virtual_service import HeaderOperations, Headers

OVERWRITE = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
APPEND = core.HeaderValueOption.APPEND_IF_EXISTS_OR_ADD


class HeaderChanges(msgspec.Struct, frozen=True):
    """What to do with the headers of requests and responses; authority: the host to write, "" for none."""

    request_add: tuple[core.HeaderValueOption, ...] = ()
    request_remove: tuple[str, ...] = ()
    response_add: tuple[core.HeaderValueOption, ...] = ()
    response_remove: tuple[str, ...] = ()
    authority: str = ""


NO_CHANGES = HeaderChanges()


def header_changes(headers: Headers | None) -> HeaderChanges:
    """The operations in envoy's form; `set` comes before `add`. Host and `:` names become the authority or nothing."""
    if headers is None:
        return NO_CHANGES
    request, response = headers.request or HeaderOperations(), headers.response or HeaderOperations()
    return HeaderChanges(
        request_add=(*_options(request.set, OVERWRITE), *_options(request.add, APPEND)),
        request_remove=_plain(request.remove),
        response_add=(*_options(response.set, OVERWRITE), *_options(response.add, APPEND)),
        response_remove=_plain(response.remove),
        authority=_authority(request.set) or _authority(request.add),
    )


def apply_headers(changes: HeaderChanges, to: routes.Route | routes.WeightedCluster.ClusterWeight) -> None:
    """Append the changes to a route or a weighted cluster; the authority is left to the caller."""
    if changes is NO_CHANGES:
        return
    to.request_headers_to_add.extend(changes.request_add)
    to.request_headers_to_remove.extend(changes.request_remove)
    to.response_headers_to_add.extend(changes.response_add)
    to.response_headers_to_remove.extend(changes.response_remove)


def _options(values: Mapping[str, str], action: int) -> list[core.HeaderValueOption]:
    return [
        core.HeaderValueOption(header=core.HeaderValue(key=name, value=values[name]), append_action=action)
        for name in sorted(values)
        if not _is_internal(name)
    ]


def _plain(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if not _is_internal(name))


def _is_internal(name: str) -> bool:
    return name.startswith(":") or name.lower() == "host"


def _authority(values: Mapping[str, str]) -> str:
    return next((value for name, value in values.items() if name.lower() in (":authority", "host")), "")
