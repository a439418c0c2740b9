"""The admin pages: one function each, from the server's state to an answer. PAGES at the end is the one list of them."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from mizzen.proxy.net.addresses import text_of
from mizzen.proxy.upstream.host import Host

if TYPE_CHECKING:
    from mizzen.proxy.server import Server

PLAIN, JSON, HTML = "text/plain; charset=UTF-8", "application/json", "text/html; charset=UTF-8"
OK = "OK\n"


@dataclass
class Answer:
    """Status, body and type of a page; `then` runs once it is sent."""

    body: str = OK
    content_type: str = PLAIN
    status: int = 200
    then: Callable[[], None] | None = None


@dataclass(frozen=True)
class Page:
    make: Callable[[Server, dict[str, str], bytes], Answer]
    help: str
    changes: bool = False  # POST only


def as_json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def ready(server: Server, query: dict[str, str], body: bytes) -> Answer:
    from mizzen.proxy.server import LIVE, STATES

    if server.health_failed:
        return Answer("DRAINING\n", status=503)
    return Answer(STATES[server.state] + "\n", status=200 if server.state == LIVE else 503)


def listeners(server: Server, query: dict[str, str], body: bytes) -> Answer:
    addresses = server.listeners.addresses()
    if query.get("format") == "json":
        out = []
        for name, (host, port) in addresses:
            local = {"pipe": {"path": host}} if port < 0 else {"socket_address": {"address": host, "port_value": port}}
            out.append({"name": name, "local_address": local})
        return Answer(as_json({"listener_statuses": out}), JSON)
    return Answer("".join(f"{name}::{text_of(address)}\n" for name, address in addresses))


def clusters(server: Server, query: dict[str, str], body: bytes) -> Answer:
    if query.get("format") == "json":
        return Answer(
            as_json({"cluster_statuses": [cluster_status(each) for each in server.clusters.active.values()]}), JSON
        )
    lines: list[str] = []
    for cluster in server.clusters.active.values():
        name = cluster.name
        lines.append(f"{name}::observability_name::{cluster.config.alt_stat_name}")
        if cluster.outlier is not None:
            lines += outlier_lines(name)
        for kind, each in zip(("default", "high"), cluster.resources, strict=True):
            for limit, value in (
                ("max_connections", each.max_connections),
                ("max_pending_requests", each.max_pending),
                ("max_requests", each.max_requests),
                ("max_retries", each.max_retries),
            ):
                lines.append(f"{name}::{kind}_priority::{limit}::{value}")
        lines.append(f"{name}::added_via_api::{str(cluster.config.added_via_api).lower()}")
        if cluster.config.eds_service_name != name and cluster.config.type == "EDS":
            lines.append(f"{name}::eds_service_name::{cluster.config.eds_service_name}")
        for host in cluster.hosts.values():
            lines += [f"{name}::{host.text}::{key}::{value}" for key, value in host_facts(host)]
    return Answer("".join(line + "\n" for line in lines))


def outlier_lines(name: str) -> list[str]:
    kinds = ("success_rate", "local_origin_success_rate")
    return [f"{name}::outlier::{kind}_{what}::-1" for kind in kinds for what in ("average", "ejection_threshold")]


def host_facts(host: Host) -> list[tuple[str, Any]]:
    region, zone, sub_zone = host.locality
    state = host.outlier
    return [
        ("cx_active", host.cx_active),
        ("cx_connect_fail", host.cx_connect_fail),
        ("cx_total", host.cx_total),
        ("rq_active", host.rq_active),
        ("rq_error", host.rq_error),
        ("rq_pending_active", sum(len(pool.pending) for pool in host.pools.values())),
        ("rq_success", host.rq_success),
        ("rq_timeout", host.rq_timeout),
        ("rq_total", host.rq_total),
        ("hostname", host.hostname),
        ("health_flags", host.health_text()),
        ("weight", host.weight),
        ("region", region),
        ("zone", zone),
        ("sub_zone", sub_zone),
        ("canary", str(host.canary).lower()),
        ("priority", host.priority),
        ("success_rate", rate_text(state.rate if state is not None else -1.0)),
        ("local_origin_success_rate", rate_text(state.local_rate if state is not None else -1.0)),
    ]


def rate_text(value: float) -> str:
    return f"{value:g}"


HOST_COUNTERS = (
    ("cx_connect_fail", "COUNTER"),
    ("cx_total", "COUNTER"),
    ("rq_error", "COUNTER"),
    ("rq_success", "COUNTER"),
    ("rq_timeout", "COUNTER"),
    ("rq_total", "COUNTER"),
)
HOST_GAUGES = ("cx_active", "rq_active")


def counter_json(name: str, value: int, kind: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    if value:
        out["value"] = str(value)
    if kind:
        out["type"] = kind
    out["name"] = name
    return out


def host_status(host: Host) -> dict[str, Any]:
    from mizzen.proxy.upstream import host as flags

    host_name, port = host.address
    address = (
        {"pipe": {"path": host_name}} if port < 0 else {"socket_address": {"address": host_name, "port_value": port}}
    )
    stats = [counter_json(name, getattr(host, name)) for name, _ in HOST_COUNTERS]
    stats += [counter_json(name, getattr(host, name), "GAUGE") for name in HOST_GAUGES]
    stats.append(counter_json("rq_pending_active", sum(len(pool.pending) for pool in host.pools.values()), "GAUGE"))
    health: dict[str, Any] = {}
    if host.flags & flags.FAILED_ACTIVE_HC:
        health["failed_active_health_check"] = True
    if host.flags & flags.FAILED_OUTLIER:
        health["failed_outlier_check"] = True
    if host.flags & flags.DEGRADED_ACTIVE_HC:
        health["failed_active_degraded_check"] = True
    eds = "HEALTHY"
    if host.flags & flags.FAILED_EDS:
        eds = "UNHEALTHY"
    elif host.flags & flags.DRAINING_EDS:
        eds = "DRAINING"
    elif host.flags & flags.DEGRADED_EDS:
        eds = "DEGRADED"
    health["eds_health_status"] = eds
    locality = {key: value for key, value in zip(("region", "zone", "sub_zone"), host.locality, strict=True) if value}
    out: dict[str, Any] = {
        "address": address,
        "stats": stats,
        "health_status": health,
        "weight": host.weight,
        "locality": locality,
    }
    if host.hostname:
        out["hostname"] = host.hostname
    if host.priority:
        out["priority"] = host.priority
    return out


def cluster_status(cluster: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"name": cluster.name}
    if cluster.config.added_via_api:
        out["added_via_api"] = True
    out["host_statuses"] = [host_status(host) for host in cluster.hosts.values()]
    thresholds = []
    for kind, each in zip(("DEFAULT", "HIGH"), cluster.resources, strict=True):
        item: dict[str, Any] = {} if kind == "DEFAULT" else {"priority": kind}
        item |= {
            "max_connections": each.max_connections,
            "max_pending_requests": each.max_pending,
            "max_requests": each.max_requests,
            "max_retries": each.max_retries,
        }
        thresholds.append(item)
    out["circuit_breakers"] = {"thresholds": thresholds}
    out["observability_name"] = cluster.config.alt_stat_name
    if cluster.config.type == "EDS":
        out["eds_service_name"] = cluster.config.eds_service_name
    return out


def server_info(server: Server, query: dict[str, str], body: bytes) -> Answer:
    from mizzen.proxy.commands import VERSION
    from mizzen.proxy.server import STATES

    uptime = f"{int(time.time() - server.started)}s"
    options = server.options
    info = {
        "version": VERSION,
        "state": "DRAINING" if server.health_failed else STATES[server.state],
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "hot_restart_version": "disabled",
        "hot_restart_initializing": False,
        "command_line_options": {
            "base_id": str(options.base_id),
            "concurrency": options.concurrency,
            "config_path": options.config_path,
            "config_yaml": options.config_yaml,
            "admin_address_path": options.admin_address_path,
            "log_level": options.log_level,
            "component_log_level": options.component_log_level,
            "service_cluster": options.cluster,
            "service_node": options.node_id,
            "service_zone": options.zone,
            "mode": options.mode.capitalize(),
            "drain_strategy": options.drain_strategy.capitalize(),
            "drain_time": f"{options.drain_time_s:g}s",
            "parent_shutdown_time": f"{options.parent_shutdown_time_s:g}s",
        },
        "node": json_format.MessageToDict(server.node, preserving_proto_field_name=True),
    }
    return Answer(as_json(info), JSON)


def certs(server: Server, query: dict[str, str], body: bytes) -> Answer:
    return Answer(as_json({"certificates": certificates(server)}), JSON)


def certificates(server: Server) -> list[dict[str, Any]]:
    """The certificates in use, each with its chain's facts."""
    configs = []
    for slot in server.listeners.slots.values():
        configs += [chain.tls.tls for chain in slot.listener.all_chains() if chain.tls is not None]
    for cluster in server.clusters.active.values():
        configs += [transport.tls.tls for transport in cluster.transports() if transport.tls is not None]
    out, seen = [], set()
    for config in configs:
        entry: dict[str, Any] = {"ca_cert": [], "cert_chain": []}
        for secret in config.certificates:
            if secret.message is not None:
                entry["cert_chain"].append(certificate_facts(secret.message.certificate_chain))
        validation = config.validation
        if validation is not None and validation.message is not None and validation.message.HasField("trusted_ca"):
            entry["ca_cert"].append(certificate_facts(validation.message.trusted_ca))
        key = json.dumps(entry, sort_keys=True)
        if key not in seen:
            seen.add(key)
            out.append(entry)
    return out


def certificate_facts(source: Any) -> dict[str, Any]:
    from mizzen.proxy.accesslog.format import data_source_bytes
    from mizzen.proxy.net.tls_context import leaf_of

    cert = leaf_of(data_source_bytes(source))
    sans = (
        [{"uri": uri} for uri in cert.uris]
        + [{"dns": dns} for dns in cert.dns]
        + [{"ip_address": ip} for ip in cert.ips]
    )
    days = int((cert.not_after.timestamp() - time.time()) // 86400)
    return {
        "path": source.filename or "<inline>",
        "serial_number": cert.serial,
        "subject_alt_names": sans,
        "days_until_expiration": str(max(0, days)),
        "valid_from": cert.not_before.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "expiration_time": cert.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def memory(server: Server, query: dict[str, str], body: bytes) -> Answer:
    server.refresh_gauges()
    used = str(server.group.memory_physical_size)
    names = (
        "allocated",
        "heap_size",
        "pageheap_unmapped",
        "pageheap_free",
        "total_thread_cache",
        "total_physical_bytes",
    )
    values = (used, used, "0", "0", "0", used)
    return Answer(as_json(dict(zip(names, values, strict=True))), JSON)


def runtime(server: Server, query: dict[str, str], body: bytes) -> Answer:
    layers = [name for name, _ in server.runtime_layers]
    entries = {}
    for key in sorted(server.runtime):
        values = [str(layer.get(key, "")) for _, layer in server.runtime_layers]
        entries[key] = {"final_value": str(server.runtime[key]), "layer_values": values}
    return Answer(as_json({"layers": layers, "entries": entries}), JSON)


def runtime_modify(server: Server, query: dict[str, str], body: bytes) -> Answer:
    if not any(True for _ in server.runtime_layers):
        return Answer("No admin layer specified\n", status=503)
    for key, text in query.items():
        if text == "":
            server.runtime.pop(key, None)
            continue
        try:
            server.runtime[key] = float(text)
        except ValueError:
            server.runtime[key] = text
    return Answer()


COMPONENTS = [
    "admin",
    "alternate_protocols_cache",
    "aws",
    "assert",
    "backtrace",
    "basic_auth",
    "cache_filter",
    "client",
    "config",
    "connection",
    "conn_handler",
    "compression",
    "credential_injector",
    "decompression",
    "dns",
    "dynamic_forward_proxy",
    "envoy_bug",
    "ext_authz",
    "ext_proc",
    "file",
    "filter",
    "filter_state",
    "forward_proxy",
    "geolocation",
    "golang",
    "grpc",
    "happy_eyeballs",
    "hc",
    "health_checker",
    "http",
    "http2",
    "hystrix",
    "init",
    "io",
    "jwt",
    "json_to_metadata",
    "kafka",
    "key_value_store",
    "lua",
    "main",
    "matcher",
    "mcp",
    "misc",
    "mongo",
    "multi_connection",
    "oauth2",
    "quic",
    "quic_stream",
    "pool",
    "prefetch",
    "rate_limit_quota",
    "rbac",
    "redis",
    "router",
    "runtime",
    "stats",
    "secret",
    "tap",
    "testing",
    "thrift",
    "tracing",
    "upstream",
    "udp",
    "wasm",
    "websocket",
]
LEVEL_NAMES = {5: "trace", 10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical", 60: "off"}


def log_levels(server: Server, query: dict[str, str], body: bytes) -> Answer:
    from mizzen.proxy.commands import LEVELS

    for key, value in query.items():
        if key == "paths":
            for part in value.split(","):
                name, _, level = part.partition(":")
                if name not in COMPONENTS or level not in LEVELS:
                    return Answer(f"error: invalid logger name or level: {part}\n", status=400)
                logging.getLogger(f"envoy.{name}").setLevel(LEVELS[level])
            continue
        if value not in LEVELS:
            return Answer("error: invalid logger level\n", status=400)
        if key == "level":
            logging.getLogger().setLevel(LEVELS[value])
            for name in COMPONENTS:
                logging.getLogger(f"envoy.{name}").setLevel(LEVELS[value])
        elif key in COMPONENTS:
            logging.getLogger(f"envoy.{key}").setLevel(LEVELS[value])
        else:
            return Answer("error: invalid logger name\n", status=400)
    lines = ["active loggers:"]
    for name in COMPONENTS:
        effective = logging.getLogger(f"envoy.{name}").getEffectiveLevel()
        lines.append(f"  {name}: {LEVEL_NAMES.get(effective, 'info')}")
    return Answer("\n".join(lines) + "\n\n")


def quit_(server: Server, query: dict[str, str], body: bytes) -> Answer:
    return Answer(then=server.stopping.set)


def health_fail(server: Server, query: dict[str, str], body: bytes) -> Answer:
    server.health_failed = True
    server.group.state = 1
    return Answer()


def health_ok(server: Server, query: dict[str, str], body: bytes) -> Answer:
    server.health_failed = False
    server.group.state = server.state
    return Answer()


def drain_listeners(server: Server, query: dict[str, str], body: bytes) -> Answer:
    inbound = "inboundonly" in query
    graceful = "graceful" in query
    if graceful:
        server.drain(True)
        if "skip_exit" not in query:
            server.loop.call_later(
                server.options.drain_time_s, lambda: server.spawn(server.listeners.stop(inbound), "drain listeners")
            )
    else:
        server.spawn(server.listeners.stop(inbound), "drain listeners")
    return Answer()


def reopen_logs(server: Server, query: dict[str, str], body: bytes) -> Answer:
    server.logs.reopen()
    return Answer()


def reset_counters(server: Server, query: dict[str, str], body: bytes) -> Answer:
    server.stats.reset_counters()
    return Answer()


def init_dump(server: Server, query: dict[str, str], body: bytes) -> Answer:
    unready = [{"name": f"Listener {name}", "target_names": []} for name in server.listeners.warming]
    return Answer(as_json({"unready_targets_dumps": unready} if unready else {}), JSON)


def hot_restart_version(server: Server, query: dict[str, str], body: bytes) -> Answer:
    return Answer("disabled")


def contention(server: Server, query: dict[str, str], body: bytes) -> Answer:
    return Answer(
        "Mutex contention tracing is not enabled. To enable, run Envoy with flag --enable-mutex-tracing.", status=200
    )


def help_(server: Server, query: dict[str, str], body: bytes) -> Answer:
    lines = ["admin commands are:"]
    for path in sorted(PAGES):
        page = PAGES[path]
        lines.append(f"  {path}{' (POST)' if page.changes else ''}: {page.help}")
    return Answer("\n".join(lines) + "\n")


def home(server: Server, query: dict[str, str], body: bytes) -> Answer:
    items = "".join(
        f'<li><a href="{path[1:]}">{path}</a>: {page.help}</li>' for path, page in sorted(PAGES.items()) if path != "/"
    )
    return Answer(
        f"<!DOCTYPE html><html><head><title>Envoy Admin</title></head><body><ul>{items}</ul></body></html>\n", HTML
    )


def _stats(name: str) -> Callable[[Server, dict[str, str], bytes], Answer]:
    def make(server: Server, query: dict[str, str], body: bytes) -> Answer:
        from mizzen.proxy.admin import stats_pages

        answer: Answer = getattr(stats_pages, name)(server, query)
        return answer

    return make


def _dump(server: Server, query: dict[str, str], body: bytes) -> Answer:
    from mizzen.proxy.admin.dump import config_dump

    return config_dump(server, query)


PAGES: dict[str, Page] = {
    "/": Page(home, "Admin home page"),
    "/certs": Page(certs, "print certs on machine"),
    "/clusters": Page(clusters, "upstream cluster status"),
    "/config_dump": Page(_dump, "dump current Envoy configs (experimental)"),
    "/contention": Page(contention, "dump current Envoy mutex contention stats (if enabled)"),
    "/drain_listeners": Page(drain_listeners, "drain listeners", True),
    "/healthcheck/fail": Page(health_fail, "cause the server to fail health checks", True),
    "/healthcheck/ok": Page(health_ok, "cause the server to pass health checks", True),
    "/help": Page(help_, "print out list of admin commands"),
    "/hot_restart_version": Page(hot_restart_version, "print the hot restart compatibility version"),
    "/init_dump": Page(init_dump, "dump current Envoy init manager information (experimental)"),
    "/listeners": Page(listeners, "print listener info"),
    "/logging": Page(log_levels, "query/change logging levels", True),
    "/memory": Page(memory, "print current allocation/heap usage"),
    "/quitquitquit": Page(quit_, "exit the server", True),
    "/ready": Page(ready, "print server state, return 200 if LIVE, otherwise return 503"),
    "/reopen_logs": Page(reopen_logs, "reopen access logs", True),
    "/reset_counters": Page(reset_counters, "reset all counters to zero", True),
    "/runtime": Page(runtime, "print runtime values"),
    "/runtime_modify": Page(runtime_modify, "modify runtime values", True),
    "/server_info": Page(server_info, "print server version/status information"),
    "/stats": Page(_stats("stats"), "print server stats"),
    "/stats/prometheus": Page(_stats("prometheus"), "print server stats in prometheus format"),
    "/stats/recentlookups": Page(_stats("recent_lookups"), "Show recent stat-name lookups"),
}
__all__ = ["PAGES", "Answer", "Page", "asyncio", "re"]
