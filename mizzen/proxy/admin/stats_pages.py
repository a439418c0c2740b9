"""/stats and /stats/prometheus. Source: Envoy's admin interface documentation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mizzen.proxy.admin.answers import HTML, JSON, PLAIN, Answer, as_json
from mizzen.proxy.stats.prometheus import exposition
from mizzen.proxy.stats.store import COUNTER, GAUGE, HISTOGRAM, QUANTILES, TEXT, Stat, quantile

if TYPE_CHECKING:
    from mizzen.proxy.server import Server

KINDS = {"All": None, "Counters": COUNTER, "Gauges": GAUGE, "Histograms": HISTOGRAM, "TextReadouts": TEXT}


def selected(server: Server, query: dict[str, str]) -> list[Stat] | Answer:
    """The statistics that a query asks for, or why it cannot be answered."""
    server.refresh_gauges()
    if server.flusher.on_admin:
        server.flusher.flush()
    stats = server.stats.all()
    pattern = None
    if "filter" in query:
        try:
            pattern = re.compile(query["filter"])
        except re.error as error:
            return Answer(f"Invalid re2 regex: {error}\n", status=400)
    kind = query.get("type", "All")
    if kind not in KINDS:
        return Answer("usage: /stats?type=(All|Counters|Gauges|Histograms|TextReadouts)\n", status=400)
    used = "usedonly" in query
    hidden = query.get("hidden", "exclude")
    out = [
        stat
        for stat in stats
        if (KINDS[kind] is None or stat.kind == KINDS[kind])
        and (not used or stat.used)
        and (pattern is None or pattern.search(stat.name))
    ]
    return [] if hidden == "showonly" else out


def number(value: float | None) -> str:
    if value is None:
        return "nan"
    return f"{value:.6g}"


def histogram_text(stat: Stat) -> str:
    histogram = stat.value
    if not histogram.count:
        return "No recorded values"
    parts = []
    for q in QUANTILES:
        label = f"{q * 100:g}"
        interval, total = quantile(histogram.interval_seen, q), quantile(histogram.bins, q)
        parts.append(f"P{label}({number(interval)},{number(total)})")
    return " ".join(parts)


def stats(server: Server, query: dict[str, str]) -> Answer:
    found = selected(server, query)
    if isinstance(found, Answer):
        return found
    fmt = query.get("format", "text")
    if fmt == "prometheus":
        return prometheus(server, query)
    if fmt == "json":
        return Answer(stats_json(found), JSON)
    if fmt not in ("text", "html", "active-html"):
        return Answer("usage: /stats?format=(html|active-html|text|json|prometheus)\n", status=400)
    lines = []
    for stat in sorted(found, key=lambda s: (s.kind == HISTOGRAM, s.kind != TEXT, s.name)):
        if stat.kind == TEXT:
            lines.append(f'{stat.name}: "{stat.value}"')
        elif stat.kind == HISTOGRAM:
            lines.append(f"{stat.name}: {histogram_text(stat)}")
        else:
            lines.append(f"{stat.name}: {stat.value}")
    text = "".join(line + "\n" for line in lines)
    return Answer(text, PLAIN if fmt == "text" else HTML)


def stats_json(found: list[Stat]) -> str:
    out: list[Any] = [{"name": stat.name, "value": stat.value} for stat in found if stat.kind != HISTOGRAM]
    histograms = [stat for stat in found if stat.kind == HISTOGRAM]
    if histograms:
        computed = []
        for stat in histograms:
            values = [
                {"interval": quantile(stat.value.interval_seen, q), "cumulative": quantile(stat.value.bins, q)}
                for q in QUANTILES
            ]
            computed.append({"name": stat.name, "values": values})
        out.append(
            {"histograms": {"supported_quantiles": [q * 100 for q in QUANTILES], "computed_quantiles": computed}}
        )
    return as_json({"stats": out})


def prometheus(server: Server, query: dict[str, str]) -> Answer:
    found = selected(server, query)
    if isinstance(found, Answer):
        return found
    return Answer(exposition(found, server.stats.tag_rules, "text_readouts" in query))


def recent_lookups(server: Server, query: dict[str, str]) -> Answer:
    return Answer("Lookup tracking is not enabled\n", status=200)
