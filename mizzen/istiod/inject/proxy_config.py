"""The ProxyConfig of one pod: the mesh's defaults with the annotation proxy.istio.io/config laid over.

Works on protobuf's JSON. Fields that ProxyConfig does not know are dropped, as the real annotation reader does; values
that a known field cannot have are refused. Not here: what proxies do with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mizzen.api.errors import Invalid
from mizzen.api.istio.proxy_config import ProxyConfig
from mizzen.api.kinds import decode_as, encode
from mizzen.api.manifest import loads
from mizzen.api.mesh_config import DEFAULT_PROXY_CONFIG, merged_proxy_config, normal
from mizzen.api.shapes import Entries, Fields, Items, Shape, shape
from mizzen.api.types import Duration
from mizzen.istiod.inject.names import PROXY_CONFIG

SECOND = 1_000_000_000


def effective(base: ProxyConfig, annotations: Mapping[str, str]) -> dict[str, Any]:
    """A pod's ProxyConfig as JSON. Raises Invalid with the annotation's name."""
    over = annotations.get(PROXY_CONFIG, "")
    below: dict[str, Any] = encode(base)
    if not over.strip():
        return below
    try:
        given = known_fields(shape(ProxyConfig), normal(shape(ProxyConfig), parsed(over)))
        result: dict[str, Any] = encode(decode_as(ProxyConfig, merged_proxy_config(below, given)))
        check(result)
    except Invalid as error:
        raise Invalid(PROXY_CONFIG, str(error), by="semantic") from error
    return result


def parsed(text: str) -> dict[str, Any]:
    documents = loads(text if text.endswith("\n") else text + "\n")
    if not documents:
        return {}
    for problem in documents[0].problems:
        raise Invalid(problem.path, problem.reason)
    return documents[0].object


def known_fields(form: Shape, value: Any) -> Any:
    """A value without the fields that its message does not have."""
    if isinstance(form, Fields) and isinstance(value, Mapping):
        return {name: known_fields(form.fields[name], entry) for name, entry in value.items() if name in form.fields}
    if isinstance(form, Items) and isinstance(value, list):
        return [known_fields(form.item, item) for item in value]
    if isinstance(form, Entries) and isinstance(value, Mapping):
        return {key: known_fields(form.value, entry) for key, entry in value.items()}
    return value


def check(config: Mapping[str, Any]) -> None:
    """What the mesh's validation refuses in a ProxyConfig. Raises Invalid."""
    drain = Duration.parse(config.get("drainDuration", "45s"))
    if drain.nanos < SECOND or drain.nanos % SECOND:
        raise Invalid("drainDuration", f"{drain} is not a whole number of seconds above zero")
    for field in ("proxyAdminPort", "statusPort"):
        if not 1 <= config.get(field, 0) <= 65535:
            raise Invalid(field, f"{config.get(field, 0)} is no port (1 to 65535)")
    for field in ("configPath", "binaryPath"):
        if not config.get(field):
            raise Invalid(field, "must not be empty")
    if config.get("serviceCluster") == "" and "tracingServiceName" not in config:
        raise Invalid("serviceCluster", "must not be empty")
    address("discoveryAddress", config.get("discoveryAddress", ""))
    tracing = config.get("tracing") or {}
    for tracer in ("zipkin", "lightstep", "datadog"):
        if tracer in tracing:
            address(f"tracing.{tracer}.address", tracing[tracer].get("address", ""))
    if (tracing.get("lightstep") or {}).get("accessToken") == "":
        raise Invalid("tracing.lightstep.accessToken", "must not be empty")
    for field in ("statsdUdpAddress", "envoyMetricsServiceAddress", "zipkinAddress"):
        if config.get(field):
            address(field, config[field])
    provider = config.get("privateKeyProvider") or {}
    for name in ("cryptomb", "qat"):
        if name in provider and Duration.parse(provider[name].get("pollDelay", "0s")).nanos <= 0:
            raise Invalid(f"privateKeyProvider.{name}.pollDelay", "must be above zero")


def address(field: str, text: str) -> None:
    """HOST:PORT; the host may be a variable such as $(HOST_IP)."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise Invalid(field, f"{text!r} is not HOST:PORT")


def departing(config: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the defaults of the proxy's own build: what PROXY_CONFIG carries."""
    return {name: value for name, value in config.items() if DEFAULT_PROXY_CONFIG.get(name) != value}
