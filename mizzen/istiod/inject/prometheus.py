"""Merging of metrics: Prometheus scrapes the agent, which adds the application's numbers to the proxy's.

Not here: the merging itself (mizzen.agent).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from mizzen.api.errors import Invalid
from mizzen.istiod.inject.config import Object
from mizzen.istiod.inject.names import MERGE_METRICS, SCRAPE_TARGETS, SECURE_PORT, parse_bool
from mizzen.istiod.inject.probes import find_proxy

VARIABLE = "ISTIO_PROMETHEUS_ANNOTATIONS"
RESERVED = frozenset({15000, 15001, 15004, 15006, 15008, 15020, 15021, 15053, 15090})
WORDS = {"prometheus_io_scrape": "scrape", "prometheus_io_path": "path", "prometheus_io_port": "port"}


def sanitized(name: str) -> str:
    """A name as Prometheus' service discovery sees it."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


def asked(annotations: Mapping[str, str]) -> dict[str, str]:
    """scrape, path and port, whatever the spelling of their annotations."""
    return {WORDS[sanitized(name)]: text for name, text in annotations.items() if sanitized(name) in WORDS}


def clear(annotations: dict[str, str]) -> None:
    """Removes the annotations about scraping, in place."""
    for name in [name for name in annotations if sanitized(name) in WORDS]:
        del annotations[name]


def merge_metrics(pod: Object, enabled: bool, status_port: int) -> None:
    """Leads scraping to the agent, in place. Raises Invalid for targets that are the mesh's own ports."""
    annotations: dict[str, str] = pod["metadata"].setdefault("annotations", {})
    said = asked(annotations)
    word = parse_bool(annotations.get(MERGE_METRICS, ""))
    if parse_bool(said.get("scrape", "")) is False or not (enabled if word is None else word):
        return
    if said.get("port") == str(status_port):
        return
    targets = scrape_targets(annotations.get(SCRAPE_TARGETS, ""), status_port)
    proxy = find_proxy(pod)
    scrape: Object = dict(said)
    if targets:
        scrape |= {"path": targets[0]["path"], "port": targets[0]["port"], "targets": targets}
    if proxy is not None and scrape:
        refuse_reserved("prometheus.io/port", scrape.get("port", ""), status_port)
        proxy["env"] = [
            *(proxy.get("env") or ()),
            {"name": VARIABLE, "value": json.dumps(scrape, separators=(",", ":"))},
        ]
    clear(annotations)
    annotations.pop(SCRAPE_TARGETS, None)
    annotations |= {
        "prometheus.io/port": str(status_port),
        "prometheus.io/path": "/stats/prometheus",
        "prometheus.io/scrape": "true",
    }


def scrape_targets(text: str, status_port: int) -> list[dict[str, str]]:
    """The comma list `port[:path]`."""
    result = []
    for entry in filter(None, (entry.strip() for entry in text.split(","))):
        port, _, path = entry.partition(":")
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise Invalid(SCRAPE_TARGETS, f"{port!r} is no port", by="semantic")
        refuse_reserved(SCRAPE_TARGETS, port, status_port)
        result.append({"path": path or "/metrics", "port": port})
    return result


def refuse_reserved(annotation: str, port: str, status_port: int) -> None:
    if port.isdigit() and int(port) in RESERVED | {status_port}:
        raise Invalid(annotation, f"port {port} is the mesh's own and cannot be scraped", by="semantic")


def secure_port(pod: Object) -> None:
    """Says in an annotation where merged metrics are served over mTLS, if they are."""
    proxy = find_proxy(pod)
    variables = {variable.get("name"): variable.get("value") for variable in (proxy or {}).get("env") or ()}
    port = variables.get("ENVOY_SECURE_MERGED_METRICS_PORT")
    if port and port != "0":
        pod["metadata"].setdefault("annotations", {})[SECURE_PORT] = port
