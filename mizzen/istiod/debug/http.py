"""/debug over HTTP: who may ask, and the answers as JSON; and ControlZ's small API.

Loopback callers may ask everything. Others need a bearer token that proves a service account: those of the
system namespace may ask everything, others only for the configuration of proxies in their own namespace. Not
here: the answers (endpoints.py). Source: istiod's debug authorisation (ENABLE_DEBUG_ENDPOINT_AUTH), ControlZ
topics scope, env, proc, arg, version.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from mizzen.istiod.ca import spiffe
from mizzen.istiod.ca.authenticate import Unauthenticated
from mizzen.istiod.debug.endpoints import ENDPOINTS, Debug, DebugError, answer
from mizzen.istiod.debug.xds import OWN_NAMESPACE_ONLY

ByToken = Callable[[str | None], Awaitable[str]]
LEVELS = {"none": logging.CRITICAL + 10, "fatal": 50, "error": 40, "warn": 30, "info": 20, "debug": 10}
HIDDEN = ("TOKEN", "PASSWORD", "SECRET", "KEY")


def debug_routes(debug: Debug, by_token: ByToken, system_namespace: str) -> list[web.AbstractRouteDef]:
    """GET /debug and /debug/<name>."""

    async def index(_: web.Request) -> web.Response:
        rows = "".join(f'<tr><td><a href="debug/{name}">{name}</a></td></tr>' for name in sorted(ENDPOINTS))
        return web.Response(text=f"<html><body><table>{rows}</table></body></html>", content_type="text/html")

    async def one(request: web.Request) -> web.Response:
        name, query = request.match_info["name"], dict(request.query)
        try:
            await _allowed(request, name, query)
            value = answer(debug, name, query)
        except Unauthenticated as error:
            return web.Response(status=401, text=f"authentication failure: {error}\n")
        except DebugError as error:
            return web.Response(status=error.status, text=error.text + "\n")
        if isinstance(value, str):
            return web.Response(text=value)
        text = json.dumps(value, indent=2 if "pretty" in query else None)
        return web.Response(text=text, content_type="application/json")

    async def _allowed(request: web.Request, name: str, query: dict[str, str]) -> None:
        if request.remote in ("127.0.0.1", "::1"):
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        identity = spiffe.parse(await by_token(token if scheme.lower() == "bearer" and token else None))
        if identity is not None and identity.namespace == system_namespace:
            return
        if name not in OWN_NAMESPACE_ONLY:
            raise DebugError(403, f"{name} is for the system namespace only")
        connection = debug.connection(query)
        if identity is None or connection.raw.namespace != identity.namespace:
            raise DebugError(404, "Proxy not connected to this Pilot instance.")

    return [web.get("/debug", index), web.get("/debug/{name}", one)]


def controlz_routes(version: dict[str, str]) -> list[web.AbstractRouteDef]:
    """ControlZ's JSON API. Scopes are the loggers below `mizzen`."""

    async def scopes(_: web.Request) -> web.Response:
        return web.json_response([_scope(name) for name in _scope_names()])

    async def scope(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _scope_names():
            return web.Response(status=404, text=f"unknown scope name: {name}\n")
        if request.method == "PUT":
            level = str((await request.json()).get("output_level", ""))
            if level not in LEVELS:
                return web.Response(status=400, text=f"output_level {level!r}: one of {', '.join(LEVELS)}\n")
            logging.getLogger(_logger(name)).setLevel(LEVELS[level])
            return web.Response(status=202)
        return web.json_response(_scope(name))

    async def environment(_: web.Request) -> web.Response:
        shown = [(n, "[hidden]" if any(h in n.upper() for h in HIDDEN) else v) for n, v in sorted(os.environ.items())]
        return web.json_response([{"name": name, "value": value} for name, value in shown])

    async def process(_: web.Request) -> web.Response:
        return web.json_response(_process())

    async def arguments(_: web.Request) -> web.Response:
        return web.json_response(sys.argv)

    async def build(_: web.Request) -> web.Response:
        return web.json_response(version)

    return [
        web.get("/scopej/", scopes),
        web.get("/scopej/{name}", scope),
        web.put("/scopej/{name}", scope),
        web.get("/envj/", environment),
        web.get("/procj/", process),
        web.get("/argj/", arguments),
        web.get("/versionj/", build),
    ]


def _scope_names() -> list[str]:
    known = [name.removeprefix("mizzen.") for name in logging.root.manager.loggerDict if name.startswith("mizzen.")]
    return ["default", *sorted(known)]


def _logger(scope: str) -> str:
    return "mizzen" if scope == "default" else f"mizzen.{scope}"


def _scope(name: str) -> dict[str, Any]:
    number = logging.getLogger(_logger(name)).getEffectiveLevel()
    level = next((text for text, value in LEVELS.items() if value <= number), "debug")
    return {"name": name, "description": "", "output_level": level, "stack_trace_level": "none", "log_callers": False}


def _process() -> dict[str, Any]:
    return {
        "egid": os.getegid(),
        "euid": os.geteuid(),
        "gid": os.getgid(),
        "groups": os.getgroups(),
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "uid": os.getuid(),
        "wd": os.getcwd(),
        "hostname": socket.gethostname(),
        "tempdir": os.environ.get("TMPDIR", "/tmp"),
        "threads": threading.active_count(),
        "python": platform.python_version(),
    }
