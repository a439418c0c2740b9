"""The admin pages: one function each, from the server's state to an answer. PAGES at the end is the one list of them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from google.protobuf import json_format

from mizzen.proxy.admin.answers import HTML, JSON, Answer, Page, as_json
from mizzen.proxy.admin.certificates import certs
from mizzen.proxy.admin.clusters import clusters
from mizzen.proxy.admin.log_levels import log_levels
from mizzen.proxy.hot_restart import link
from mizzen.proxy.net.addresses import text_of

if TYPE_CHECKING:
    from mizzen.proxy.server import Server


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


def restart_version(server: Server) -> str:
    return link.VERSION if server.restart is not None else "disabled"


def server_info(server: Server, query: dict[str, str], body: bytes) -> Answer:
    from mizzen.proxy.commands import VERSION
    from mizzen.proxy.server import STATES

    uptime = f"{int(time.time() - server.started)}s"
    options = server.options
    info = {
        "version": VERSION,
        "state": "DRAINING" if server.health_failed else STATES[server.state],
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": f"{int(time.time() - server.first_started)}s",
        "hot_restart_version": restart_version(server),
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
            "restart_epoch": 0 if options.hot_restart is None else options.hot_restart.epoch,
            "drain_time": f"{options.drain_time_s:g}s",
            "parent_shutdown_time": f"{options.parent_shutdown_time_s:g}s",
        },
        "node": json_format.MessageToDict(server.node, preserving_proto_field_name=True),
    }
    return Answer(as_json(info), JSON)


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
        server.drain(inbound)
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
    return Answer(restart_version(server))


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
