"""Hypothesis strategies for objects of any kind, made from the typed model itself: every field, sparsely filled.

`object_of(Kind)` gives JSON objects, `spec_of(type)` specs, `settings_of(MeshConfig)` mesh settings; their values have the
right types, admission may still refuse them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from mizzen.api.kinds import Kind

TEXTS = (
    "a", "b.shop.svc.cluster.local", "*.wild.test", "ext.test", "shop", "shop/a", "./*", "*/*", "~/*", "*", "v1", "mesh",
    "192.0.2.7", "192.0.2.0/24", "unix:///a", "127.0.0.1:80", "80", "HTTP", "TCP", "TLS", "HTTPS", "GRPC", "prometheus",
    "request.headers[x-a]", "source.ip", "request.auth.claims[a]", "source.namespace", "east/east-1", "1.2.*", "/a", "/a/{*}",
    "envoy", "virtualInbound", "envoy.filters.http.router", "PassthroughCluster", "kubernetes://a", "x-a", "oci://r/i:1",
)  # fmt: skip
DURATIONS = ("1s", "250ms", "2h", "0s")
JSON = ({}, {"name": "x"}, {"connect_timeout": "1s"}, {"typed_config": {"@type": "type.googleapis.com/no.such.Type"}})


def strategy(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """JSON values of a type of the model."""
    if isinstance(kind, inspect.UnionType):
        options = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        return st.one_of(*map(strategy, options))
    if isinstance(kind, inspect.StructType):
        return struct(kind)
    if isinstance(kind, inspect.LiteralType):
        return st.sampled_from(kind.values)
    if isinstance(kind, inspect.BoolType):
        return st.booleans()
    if isinstance(kind, inspect.IntType):
        return st.sampled_from([n for n in (0, 1, 80, 443, 9000, 4_000_000_000) if kind.le is None or n <= kind.le])
    if isinstance(kind, inspect.FloatType):
        return st.sampled_from((0.0, 1.0, 12.5, 100.0))
    if isinstance(kind, inspect.CustomType):
        return st.sampled_from(DURATIONS)
    if isinstance(kind, inspect.DateTimeType):
        return st.just("2026-01-02T03:04:05Z")
    if isinstance(kind, inspect.AnyType):
        return st.sampled_from(JSON)
    if isinstance(kind, inspect.VarTupleType | inspect.ListType):
        return st.lists(strategy(kind.item_type), max_size=2)
    if isinstance(kind, inspect.DictType):
        if isinstance(kind.value_type, inspect.AnyType):
            return st.sampled_from(JSON)
        return st.dictionaries(
            st.sampled_from(("app", "80", "9000", "x-a", "http")), strategy(kind.value_type), max_size=2
        )
    return st.sampled_from(TEXTS)


def struct(kind: inspect.StructType) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with all required fields, and a few of the others."""
    required = {f.encode_name: strategy(f.type) for f in kind.fields if f.required}
    optional = [(f.encode_name, f.type) for f in kind.fields if not f.required]

    @st.composite
    def build(draw: Any) -> dict[str, Any]:
        out = {name: draw(one) for name, one in required.items()}
        for name, field_type in draw(st.lists(st.sampled_from(optional), max_size=3)) if optional else ():
            out[name] = draw(strategy(field_type))
        return out

    return build()


def spec_of(kind: type[msgspec.Struct]) -> st.SearchStrategy[Mapping[str, Any]]:
    """Specs of a kind of object."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return strategy(next(field.type for field in info.fields if field.name == "spec"))


def settings_of(kind: type[msgspec.Struct]) -> st.SearchStrategy[Mapping[str, Any]]:
    """Values of a struct that is no object."""
    return strategy(inspect.type_info(kind))


def object_of(kind: Kind) -> st.SearchStrategy[dict[str, Any]]:
    """Objects called `shop/it`; what stands beside the spec is given as sparsely as what stands in it."""
    info = inspect.type_info(kind.type)
    assert isinstance(info, inspect.StructType)
    parts = {
        field.encode_name: strategy(_present(field.type))
        for field in info.fields
        if field.encode_name not in ("apiVersion", "kind", "metadata", "status")
    }
    given = {"spec": parts.pop("spec")} if "spec" in parts else {}
    meta = {"name": "it", "namespace": "shop", "labels": {"kubernetes.io/service-name": "a"}}
    return st.fixed_dictionaries(given, optional=parts).map(
        lambda body: {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta, **body}
    )


def _present(kind: inspect.Type) -> inspect.Type:
    """The type of a value that is there."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    return inspect.UnionType(tuple(one for one in kind.types if not isinstance(one, inspect.NoneType)))
