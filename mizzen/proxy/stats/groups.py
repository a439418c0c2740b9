"""Groups whose busiest members live in native objects (hot.py): attributes of the group as before."""

from __future__ import annotations

from typing import Any

from mizzen.proxy.stats.hot import ClusterHot, CodesHot, HttpHot
from mizzen.proxy.stats.store import Group


def member(name: str) -> property:
    def read(group: Any) -> Any:
        return getattr(group.hot, name)

    def write(group: Any, value: Any) -> None:
        setattr(group.hot, name, value)

    return property(read, write)


def backed(name: str, hot: Any) -> type[Group]:
    """A kind of Group that keeps the members of `hot` there."""
    names: tuple[str, ...] = hot().members()
    members: dict[str, Any] = {each: member(each) for each in names}
    return type(name, (Group,), {"native": names, "new_hot": staticmethod(hot), **members})


HttpGroup = backed("HttpGroup", HttpHot)
ClusterGroup = backed("ClusterGroup", ClusterHot)
CodesGroup = backed("CodesGroup", CodesHot)
