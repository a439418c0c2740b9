"""The bookshop: productpage asks details and reviews; reviews (but for v1) asks ratings.

Each app is made with the version it tells, and answers (path, headers) with (status, JSON). Calls go by service name on port
9080 (BOOKINFO_DOMAIN appends a domain), and hand on the headers that a mesh needs to see a request as one.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

from server import Answer, App

# What an application passes on from the request it serves to the requests it makes.
HANDED_ON = ("x-request-id", "traceparent", "tracestate", "baggage", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid",
             "x-b3-sampled", "x-b3-flags", "b3", "end-user", "user-agent", "authorization")  # fmt: skip
TIMEOUT_S = float(os.environ.get("BOOKINFO_TIMEOUT_S", "10"))
_connections = threading.local()


def fetch(service: str, path: str, headers: Mapping[str, str]) -> Answer:
    """GET http://service:9080path; (503, …) when nobody answers. Connections are kept, one per thread and service."""
    host = service + os.environ.get("BOOKINFO_DOMAIN", "")
    sent = {name: headers[name] for name in HANDED_ON if name in headers}
    pool: dict[str, http.client.HTTPConnection] = _connections.__dict__.setdefault("pool", {})
    for fresh in (False, True):
        connection = None if fresh else pool.pop(host, None)
        if connection is None:
            connection = http.client.HTTPConnection(host, 9080, timeout=TIMEOUT_S)
        try:
            connection.request("GET", path, headers=sent)
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            failure = str(error) or type(error).__name__
            continue
        pool[host] = connection
        try:
            return response.status, json.loads(data)
        except ValueError:
            return response.status, data.decode(errors="replace")
    return 503, {"error": f"{service}: {failure}"}


def _about(version: str) -> dict[str, str]:
    return {"version": version, "pod": socket.gethostname()}


def details(version: str) -> App:
    """GET /details/ID."""

    def app(path: str, headers: Mapping[str, str]) -> Answer:
        match = re.fullmatch(r"/details/(\d+)", path)
        if match is None:
            return 404, {"error": path}
        book = {"id": int(match[1]), "author": "H. Melville", "year": 1851, "pages": 635, "language": "English"}
        return 200, {**book, **_about(version), "client": headers.get("x-forwarded-client-cert", "")}

    return app


def ratings(version: str) -> App:
    """GET /ratings/ID."""

    def app(path: str, headers: Mapping[str, str]) -> Answer:
        match = re.fullmatch(r"/ratings/(\d+)", path)
        if match is None:
            return 404, {"error": path}
        return 200, {"id": int(match[1]), "ratings": {"Reviewer1": 5, "Reviewer2": 4}, **_about(version)}

    return app


STARS = {"v1": None, "v2": "black", "v3": "red"}


def reviews(version: str) -> App:
    """GET /reviews/ID. v1 shows no stars; v2 black ones, v3 red ones."""
    colour = STARS.get(version, "black")

    def app(path: str, headers: Mapping[str, str]) -> Answer:
        match = re.fullmatch(r"/reviews/(\d+)", path)
        if match is None:
            return 404, {"error": path}
        texts = {"Reviewer1": "A whale of a tale.", "Reviewer2": "Too much about rope."}
        result: list[dict[str, Any]] = [{"reviewer": name, "text": text} for name, text in texts.items()]
        if colour is not None:
            status, answer = fetch("ratings", f"/ratings/{match[1]}", headers)
            for entry in result:
                if status == 200:
                    entry["rating"] = {"stars": answer["ratings"][entry["reviewer"]], "color": colour}
                else:
                    entry["rating"] = {"error": f"ratings answered {status}"}
        return 200, {"id": int(match[1]), "reviews": result, **_about(version)}

    return app


def productpage(version: str) -> App:
    """GET /productpage: details and reviews of book 0. The status is 200 as long as the page itself can be made."""

    def app(path: str, headers: Mapping[str, str]) -> Answer:
        if path not in ("/productpage", "/"):
            return 404, {"error": path}
        parts = {}
        for service in ("details", "reviews"):
            status, answer = fetch(service, f"/{service}/0", headers)
            parts[service] = {"status": status, "answer": answer}
        return 200, {"title": "Moby-Dick", **parts, **_about(version)}

    return app


def echo(version: str) -> App:
    """Any path: what it is and who it is."""

    def app(path: str, headers: Mapping[str, str]) -> Answer:
        return 200, {"path": path, "headers": dict(headers), **_about(version)}

    return app


APPS: dict[str, Callable[[str], App]] = {
    "productpage": productpage,
    "details": details,
    "reviews": reviews,
    "ratings": ratings,
    "echo": echo,
}
